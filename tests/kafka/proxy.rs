//! Stands between a job and its broker, and does on purpose what networks do now and then: it swallows the answer to a
//! request and cuts the connection, brings a copy of the request late, which a client may notice or not, or holds a request back.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Requests of the protocol, by their numbers in it.
pub const PRODUCE: i16 = 0;
pub const FETCH: i16 = 1;
pub const LIST_OFFSETS: i16 = 2;
pub const FIND_COORDINATOR: i16 = 10;
pub const INIT_PRODUCER_ID: i16 = 22;
pub const ADD_PARTITIONS: i16 = 24;
pub const END_TRANSACTION: i16 = 26;

/// Larger than any request of ours.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// What is done to the next request of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The broker gets it, its answer is swallowed, and the connection cut.
    DropAnswer(i16),
    /// The same, and while the shard's next transaction has records on their way, the broker gets a copy of it.
    RepeatLate(i16),
    /// Nothing that the client could notice; but the broker gets a copy of it at the same moment.
    CopyLate(i16),
    /// It is held back for so long.
    Stall(i16, Duration),
}

impl Act {
    fn request(self) -> i16 {
        match self {
            Act::DropAnswer(request)
            | Act::RepeatLate(request)
            | Act::CopyLate(request)
            | Act::Stall(request, _) => request,
        }
    }
}

#[derive(Default)]
struct Plan {
    /// What is to be done next.
    next: Option<Act>,
    /// What was done.
    done: Vec<Act>,
    /// A request that is to be repeated, in the middle of the next transaction.
    late: Option<Vec<u8>>,
    /// Whether the broker has obeyed each that was.
    repeated: Vec<bool>,
}

/// A proxy at a port of its own.
pub struct Proxy {
    plan: Arc<Mutex<Plan>>,
}

impl Proxy {
    /// Takes connections at `listener` and passes them on to `broker`.
    pub fn start(listener: TcpListener, broker: String) -> Self {
        let plan = Arc::<Mutex<Plan>>::default();
        let shared = Arc::clone(&plan);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (plan, broker) = (Arc::clone(&shared), broker.clone());
                thread::spawn(move || client.and_then(|client| pass(client, &broker, &plan)));
            }
        });
        Proxy { plan }
    }

    /// What is to be done to the next such request.
    pub fn act(&self, act: Act) {
        self.plan.lock().unwrap().next = Some(act);
    }

    /// What was done so far, and whether the broker has obeyed each request that was repeated late.
    pub fn done(&self) -> (Vec<Act>, Vec<bool>) {
        let plan = self.plan.lock().unwrap();
        (plan.done.clone(), plan.repeated.clone())
    }
}

/// Passes a connection on until one of both sides ends it.
fn pass(mut client: TcpStream, broker: &str, plan: &Mutex<Plan>) -> io::Result<()> {
    let mut server = TcpStream::connect(broker)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut answers, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || {
        drop(io::copy(&mut answers, &mut to_client));
        drop(to_client.shutdown(Shutdown::Both));
    });
    while let Some(frame) = request(&mut client)? {
        let kind = i16::from_be_bytes([frame[4], frame[5]]);
        let (act, late) = {
            let mut plan = plan.lock().unwrap();
            let act = plan.next.take_if(|act| act.request() == kind);
            plan.done.extend(act);
            let is_next = |late: &mut Vec<u8>| kind == PRODUCE && shard(late) == shard(&frame);
            (act, plan.late.take_if(is_next))
        };
        if let Some(late) = late {
            server.write_all(&frame)?;
            let obeyed = repeat(&late, broker).unwrap();
            plan.lock().unwrap().repeated.push(obeyed);
            continue;
        }
        match act {
            None => server.write_all(&frame)?,
            Some(Act::CopyLate(_)) => {
                server.write_all(&frame)?;
                plan.lock().unwrap().late = Some(frame);
            }
            Some(Act::Stall(_, time)) => {
                thread::sleep(time);
                server.write_all(&frame)?;
            }
            Some(Act::DropAnswer(_) | Act::RepeatLate(_)) => {
                // Nobody hears of it any more. A client that has gone by itself is none the wiser either.
                drop(client.shutdown(Shutdown::Both));
                server.write_all(&frame)?;
                // The broker has done it before the client is back.
                thread::sleep(Duration::from_millis(50));
                if matches!(act, Some(Act::RepeatLate(_))) {
                    plan.lock().unwrap().late = Some(frame);
                }
                break;
            }
        }
    }
    server.shutdown(Shutdown::Both)?;
    drop(back.join());
    Ok(())
}

/// Of which shard's producer a request is, by its transactional id.
fn shard(frame: &[u8]) -> Option<u8> {
    const ID: &[u8] = b"slackwater.user-events.";
    let at = frame.windows(ID.len()).position(|window| window == ID)?;
    frame.get(at + ID.len()).copied()
}

/// The next request with its length; none at the end.
fn request(client: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match client.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let bytes = u32::from_be_bytes(length) as usize;
    assert!(bytes < FRAME_BYTES_MAX, "no request has {bytes} bytes");
    let mut frame = length.to_vec();
    frame.resize(4 + bytes, 0);
    client.read_exact(&mut frame[4..])?;
    Ok(Some(frame))
}

/// Ends a transaction once more, by a way of its own; whether the broker has done that.
fn repeat(frame: &[u8], broker: &str) -> io::Result<bool> {
    let mut server = TcpStream::connect(broker)?;
    server.write_all(frame)?;
    // Length, number of the request, time to wait, and the code of an error.
    let mut answer = [0; 14];
    server.read_exact(&mut answer)?;
    Ok(answer[12..] == [0, 0])
}
