//! A socket whose every step ends at a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A connection by TCP. What it does ends at its deadline, however it is used.
pub(crate) struct Socket {
    stream: TcpStream,
    deadline: Instant,
}

impl Socket {
    /// Connects by a deadline.
    pub(crate) fn connect(host: &str, port: u16, deadline: Instant) -> io::Result<Self> {
        let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
        let sockets = resolve(host, port, deadline)?;
        for socket in &sockets {
            match TcpStream::connect_timeout(socket, remaining(deadline)?) {
                Ok(stream) => {
                    // Questions are small, and nobody sends a second one before the answer.
                    stream.set_nodelay(true)?;
                    return Ok(Socket { stream, deadline });
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

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = remaining(self.deadline)?;
        self.stream.set_read_timeout(Some(left))?;
        in_time(self.stream.read(buffer))
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = remaining(self.deadline)?;
        self.stream.set_write_timeout(Some(left))?;
        in_time(self.stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
