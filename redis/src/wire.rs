//! Bytes to and from a server, with a hard end to waiting and to what is read.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::address::Address;

/// A connection. What it does ends at its deadline, and what it reads at a number of bytes.
pub(crate) struct Wire {
    stream: TcpStream,
    deadline: Instant,
    /// Bytes that may still be read of the answer under way.
    left: u64,
    is_over_full: bool,
}

impl Wire {
    /// Connects by a deadline.
    pub(crate) fn connect(address: &Address, deadline: Instant) -> io::Result<Self> {
        let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
        for socket in resolve(&address.host, address.port, deadline)? {
            match TcpStream::connect_timeout(&socket, remaining(deadline)?) {
                Ok(stream) => {
                    // Questions are small, and nobody sends a second one before the answer.
                    stream.set_nodelay(true)?;
                    return Ok(Wire {
                        stream,
                        deadline,
                        left: 0,
                        is_over_full: false,
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// From now on all has to be done by then.
    pub(crate) fn until(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// The next answer may have so many bytes.
    pub(crate) fn allow(&mut self, bytes: u64) {
        self.left = bytes;
    }

    /// Whether an answer was larger than it may be.
    pub(crate) fn is_over_full(&self) -> bool {
        self.is_over_full
    }
}

/// What is left until a deadline.
fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

/// Where a host is, by a deadline. The system's own way to find that out knows none, so a thread of its own goes it.
fn resolve(host: &str, port: u16, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (tell, told) = mpsc::channel();
    let asked = (host.to_owned(), port);
    let builder = thread::Builder::new().name("resolver".to_owned());
    builder.spawn(move || {
        let found = asked.to_socket_addrs().map(Iterator::collect);
        // Who does not listen any more has given up.
        drop(tell.send(found));
    })?;
    let told = told.recv_timeout(remaining(deadline)?);
    told.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

/// Systems disagree about what a read or write says that took too long.
fn in_time<T>(done: io::Result<T>) -> io::Result<T> {
    done.map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    })
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        if most == 0 {
            self.is_over_full = true;
            return Err(ErrorKind::FileTooLarge.into());
        }
        let length = buffer.len().min(most);
        let buffer = buffer.get_mut(..length).unwrap_or_default();
        self.stream
            .set_read_timeout(Some(remaining(self.deadline)?))?;
        let read = in_time(self.stream.read(buffer))?;
        self.left -= read as u64;
        Ok(read)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream
            .set_write_timeout(Some(remaining(self.deadline)?))?;
        in_time(self.stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
