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
        for (nth, socket) in sockets.iter().enumerate() {
            let time = share(remaining(deadline)?, sockets.len() - nth);
            match TcpStream::connect_timeout(socket, time) {
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

/// The time of the next of so many addresses: one that does not answer leaves some to those after it, and one that refuses
/// all of its own.
fn share(left: Duration, addresses: usize) -> Duration {
    let addresses = u32::try_from(addresses).unwrap_or(u32::MAX);
    let share = left.checked_div(addresses).unwrap_or(left);
    // To connect in no time at all is an error of another kind.
    share.max(Duration::from_nanos(1))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::share;

    #[test]
    fn does_each_address_of_a_host_get_some_of_the_time() {
        let check = |left_ms, addresses, expected_ms| {
            let found = share(Duration::from_millis(left_ms), addresses);
            assert_eq!(found, Duration::from_millis(expected_ms));
        };
        // Three of which none answers, and the last of them after two that refuse.
        check(900, 3, 300);
        check(600, 2, 300);
        check(300, 1, 300);
        check(900, 1, 900);
        assert!(!share(Duration::ZERO, 5).is_zero());
    }
}
