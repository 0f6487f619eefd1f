//! A network that takes its time: a proxy that passes on all that it gets, unchanged and in order, only later.
//!
//! Bytes wait together with the time at which they go on. While some wait others come in, so a delay limits no throughput.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Most bytes that are taken at once.
const PIECE_BYTES: usize = 64 * 1024;

/// A proxy at a port of its own. Dropped, it takes no more connections; those that it has go on until one of both sides ends
/// them.
pub struct Delay {
    port: u16,
    is_over: Arc<AtomicBool>,
}

impl Delay {
    /// Passes connections on to a port of this machine; what goes either way takes so much longer.
    ///
    /// # Errors
    /// The system has no port or no thread for it.
    pub fn start(to: u16, each_way: Duration) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("no port for a proxy")?;
        let address = listener.local_addr().context("no port for a proxy")?;
        let is_over = Arc::new(AtomicBool::new(false));
        let delay = Delay {
            port: address.port(),
            is_over: Arc::clone(&is_over),
        };
        let accepting = move || {
            for client in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                // One that cannot be passed on is closed, as that server would.
                drop(client.map(|client| pass(client, to, each_way)));
            }
        };
        spawn("delay", accepting)?;
        Ok(delay)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // It waits for a connection; this is one.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(work).context("no thread for a proxy")?;
    Ok(())
}

/// Passes a connection on, both ways.
fn pass(client: TcpStream, to: u16, each_way: Duration) -> Result<()> {
    let server = TcpStream::connect(("127.0.0.1", to))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    one_way(client.try_clone()?, server.try_clone()?, each_way)?;
    one_way(server, client, each_way)
}

/// What comes from one side goes to the other.
fn one_way(from: TcpStream, to: TcpStream, delay: Duration) -> Result<()> {
    let (come, coming) = mpsc::channel();
    let source = from.try_clone()?;
    spawn("delay, in", move || take(from, delay, &come))?;
    spawn("delay, out", move || give(to, &source, coming))
}

/// Takes what comes, with the time at which it goes on. Ends when the sender does, or when nobody takes it any more.
fn take(mut from: TcpStream, delay: Duration, come: &Sender<(Instant, Vec<u8>)>) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        let bytes = piece.get(..length).unwrap_or_default().to_vec();
        if come.send((Instant::now() + delay, bytes)).is_err() {
            break;
        }
    }
}

/// Gives each piece when it is due.
fn give(mut to: TcpStream, from: &TcpStream, coming: Receiver<(Instant, Vec<u8>)>) {
    for (due, bytes) in coming {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            // Nothing more is to come for one that has gone.
            drop(from.shutdown(Shutdown::Both));
            return;
        }
    }
    // Its end comes as late as all else.
    drop(to.shutdown(Shutdown::Write));
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::Delay;

    const EACH_WAY: Duration = Duration::from_millis(20);
    const MESSAGES: u32 = 20_000;
    const BYTES: usize = size_of::<u32>();

    /// A server that sends all back that it gets.
    fn echo() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut from, _) = listener.accept().unwrap();
            let mut to = from.try_clone().unwrap();
            std::io::copy(&mut from, &mut to).unwrap();
            to.shutdown(Shutdown::Write).unwrap();
        });
        port
    }

    #[test]
    fn does_all_come_later_and_in_order() {
        let delay = Delay::start(echo(), EACH_WAY).unwrap();
        let mut to = TcpStream::connect(("127.0.0.1", delay.port())).unwrap();
        let mut from = to.try_clone().unwrap();
        let begun = Instant::now();
        let sending = thread::spawn(move || {
            let mut sent = Vec::new();
            for number in 0..MESSAGES {
                sent.push(Instant::now());
                to.write_all(&number.to_be_bytes()).unwrap();
            }
            to.shutdown(Shutdown::Write).unwrap();
            sent
        });
        let mut came = Vec::new();
        for number in 0..MESSAGES {
            let mut message = [0; BYTES];
            from.read_exact(&mut message).unwrap();
            assert_eq!(u32::from_be_bytes(message), number);
            came.push(Instant::now());
        }
        let took = begun.elapsed();
        let sent = sending.join().unwrap();
        for (sent, came) in sent.iter().zip(&came) {
            let later = came.duration_since(*sent);
            assert!(later >= 2 * EACH_WAY, "{later:?}");
        }
        // One after the other would take a quarter of an hour.
        assert!(took < Duration::from_secs(20), "{took:?}");
        // The end comes as well.
        assert_eq!(from.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn does_a_server_that_is_away_close_the_connection() {
        let nobody = {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            listener.local_addr().unwrap().port()
        };
        let delay = Delay::start(nobody, EACH_WAY).unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", delay.port())).unwrap();
        let read = client.read(&mut [0]);
        assert!(!matches!(read, Ok(1)), "{read:?}");
    }
}
