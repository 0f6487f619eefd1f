//! Stands between a client and the service, writes down what passes, and does with it what a test wants.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request on its way.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Whether it is to be done only if nothing is there.
    pub is_conditional: bool,
    /// How many of its method and condition came before it.
    pub before: usize,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It is done and answered.
    Forward,
    /// It is done whatever its condition says.
    WithoutCondition,
    /// It is done, and the connection cut before it is answered.
    LoseAnswer,
    /// The connection is cut at once.
    HangUp,
    /// It is not done; the answer has this status.
    Answer(u16),
}

/// A request that the service has answered, and the status of the answer.
pub type Done = (Request, u16);

pub struct Proxy {
    pub port: u16,
    done: Arc<Mutex<Vec<Done>>>,
}

type Decide = dyn Fn(&Request) -> Act + Send + Sync;

impl Proxy {
    /// Before the service on this port. Ends with the process.
    pub fn start(service: u16, decide: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (done, seen) = (Arc::<Mutex<Vec<Done>>>::default(), Arc::default());
        let (to, decide) = (Arc::clone(&done), Arc::<Box<Decide>>::new(Box::new(decide)));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (to, decide, seen) = (Arc::clone(&to), Arc::clone(&decide), Arc::clone(&seen));
                // A connection that breaks is the client's to deal with.
                thread::spawn(move || pass(stream, service, &**decide, &seen, &to));
            }
        });
        Proxy { port, done }
    }

    /// What the service has answered so far.
    pub fn done(&self) -> Vec<Done> {
        self.done.lock().unwrap().clone()
    }
}

/// One request, and the end of the connection.
fn pass(
    mut client: TcpStream,
    service: u16,
    decide: &Decide,
    seen: &Mutex<Vec<Request>>,
    done: &Mutex<Vec<Done>>,
) -> io::Result<()> {
    let (head, body) = read(&client)?;
    let mut words = head.split_whitespace().map(str::to_owned);
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let is_conditional = head.to_ascii_lowercase().contains("\r\nif-none-match:");
    let request = {
        let mut seen = seen.lock().unwrap();
        let same = |it: &&Request| it.method == method && it.is_conditional == is_conditional;
        let before = seen.iter().filter(same).count();
        let request = Request {
            method,
            path,
            is_conditional,
            before,
        };
        seen.push(request.clone());
        request
    };
    let act = decide(&request);
    match act {
        Act::HangUp => return Ok(()),
        Act::Answer(status) => {
            let answer =
                format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return client.write_all(answer.as_bytes());
        }
        Act::Forward | Act::WithoutCondition | Act::LoseAnswer => {}
    }
    let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    let begins = |line: &str, name: &str| line.to_ascii_lowercase().starts_with(name);
    lines.retain(|line| {
        let is_condition = act == Act::WithoutCondition && begins(line, "if-none-match:");
        !is_condition && !begins(line, "connection:")
    });
    let mut server = TcpStream::connect(("127.0.0.1", service))?;
    let head = format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"));
    server.write_all(head.as_bytes())?;
    server.write_all(&body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    let status = answer
        .get(9..12)
        .and_then(|it| std::str::from_utf8(it).ok()?.parse().ok());
    done.lock()
        .unwrap()
        .push((request, status.unwrap_or_default()));
    if act == Act::LoseAnswer {
        return Ok(());
    }
    client.write_all(&answer)
}

fn read(client: &TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut reader = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let lower = head.to_ascii_lowercase();
    let length = lower
        .split_once("\r\ncontent-length:")
        .map(|(_, rest)| rest);
    let length = length.and_then(|rest| rest.split("\r\n").next()?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    reader.read_exact(&mut body)?;
    Ok((head, body))
}
