//! The one request of Kafka's protocol that is made here by hand: for metadata. Its answer lists the brokers that have
//! joined their cluster, so it proves more than an open port, and the topics.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// What is asked, and in which version: the last one of fixed widths.
const METADATA: (i16, i16) = (3, 8);
/// What the answer to ours bears.
const CORRELATION: i32 = 7;
/// Longer than a broker that is well takes, short enough to ask again.
const PATIENCE: Duration = Duration::from_secs(2);
/// No answer of a node on one machine is longer.
const LONGEST: usize = 64 << 20;

/// What a broker says of its cluster.
#[derive(Debug, PartialEq, Eq)]
pub struct Metadata {
    /// How many brokers serve.
    pub brokers: usize,
    /// The name of their cluster.
    pub cluster: String,
    /// The topics' names, without Kafka's own.
    pub topics: Vec<String>,
}

/// Asks the broker at a port of this machine.
///
/// # Errors
/// When nobody answers, or what answers is no broker.
pub fn metadata(port: u16) -> Result<Metadata> {
    let place = SocketAddr::from(([127, 0, 0, 1], port));
    let asked = || format!("cannot ask the broker at {place}");
    let answer = ask(place).with_context(asked)?;
    parse(&answer).with_context(asked)
}

/// Sends the request and returns the answer without its length.
fn ask(place: SocketAddr) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&place, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&request())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > LONGEST {
        bail!("the answer has {length} bytes");
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// For the metadata of all topics.
fn request() -> Vec<u8> {
    let (kind, version) = METADATA;
    let mut body = Vec::new();
    body.extend(kind.to_be_bytes());
    body.extend(version.to_be_bytes());
    body.extend(CORRELATION.to_be_bytes());
    body.extend((-1_i16).to_be_bytes()); // No name of the client.
    body.extend((-1_i32).to_be_bytes()); // All topics.
    body.extend([0, 0, 0]); // Create none; say nothing of what is allowed.
    let length = u32::try_from(body.len()).unwrap_or_default();
    [length.to_be_bytes().to_vec(), body].concat()
}

/// Reads the answer.
fn parse(answer: &[u8]) -> Result<Metadata> {
    let mut rest = Rest(answer);
    if rest.int()? != CORRELATION {
        bail!("it answers something else");
    }
    rest.int()?; // Throttle time.
    let brokers = rest.count()?;
    for _ in 0..brokers {
        rest.int()?; // Its number.
        rest.text()?; // Host.
        rest.int()?; // Port.
        rest.text()?; // Rack.
    }
    let cluster = rest.text()?;
    rest.int()?; // Its controller.
    let mut topics = Vec::new();
    for _ in 0..rest.count()? {
        rest.take::<2>()?; // Error.
        let name = rest.text()?;
        let [internal] = rest.take()?;
        for _ in 0..rest.count()? {
            rest.take::<2>()?; // Error.
            rest.take::<12>()?; // Its number, leader, the leader's epoch.
            for _ in 0..3 {
                // Replicas, those in sync, those offline.
                for _ in 0..rest.count()? {
                    rest.int()?;
                }
            }
        }
        rest.int()?; // Operations allowed.
        if internal == 0 {
            topics.push(name);
        }
    }
    Ok(Metadata {
        brokers,
        cluster,
        topics,
    })
}

/// What of an answer is not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self
            .0
            .split_first_chunk()
            .context("the answer is cut off")?;
        self.0 = rest;
        Ok(*head)
    }

    fn int(&mut self) -> Result<i32> {
        self.take().map(i32::from_be_bytes)
    }

    /// The length of a list; none is as good as empty.
    fn count(&mut self) -> Result<usize> {
        self.int().map(|count| usize::try_from(count).unwrap_or(0))
    }

    /// A text; none is as good as empty.
    fn text(&mut self) -> Result<String> {
        let length = usize::try_from(i16::from_be_bytes(self.take()?)).unwrap_or(0);
        let (head, rest) = self
            .0
            .split_at_checked(length)
            .context("the answer is cut off")?;
        self.0 = rest;
        Ok(String::from_utf8_lossy(head).into_owned())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Metadata, parse, request};

    fn text(text: &str) -> Vec<u8> {
        let length = i16::try_from(text.len()).unwrap();
        [&length.to_be_bytes(), text.as_bytes()].concat()
    }

    fn topic(name: &str, internal: u8) -> Vec<u8> {
        let partition = [
            [0, 0].to_vec(),
            [0; 12].to_vec(),
            [0, 0, 0, 1, 0, 0, 0, 1].to_vec(),
            [0, 0, 0, 1, 0, 0, 0, 1].to_vec(),
            [0; 4].to_vec(),
        ];
        let parts = [
            [0, 0].to_vec(),
            text(name),
            vec![internal],
            [0, 0, 0, 1].to_vec(),
            partition.concat(),
            [0x80, 0, 0, 0].to_vec(),
        ];
        parts.concat()
    }

    fn answer() -> Vec<u8> {
        let parts = [
            [0, 0, 0, 7].to_vec(),
            [0; 4].to_vec(),
            [0, 0, 0, 1].to_vec(),
            [
                [0, 0, 0, 1].to_vec(),
                text("h"),
                [0, 0, 0x23, 0x84].to_vec(),
                [0xff, 0xff].to_vec(),
            ]
            .concat(),
            text("cluster"),
            [0, 0, 0, 1].to_vec(),
            [0, 0, 0, 2].to_vec(),
            topic("__consumer_offsets", 1),
            topic("events", 0),
        ];
        parts.concat()
    }

    #[test]
    fn what_does_an_answer_say() {
        let expected = Metadata {
            brokers: 1,
            cluster: "cluster".to_owned(),
            topics: vec!["events".to_owned()],
        };
        assert_eq!(parse(&answer()).unwrap(), expected);
    }

    #[test]
    fn is_an_answer_that_is_cut_off_anywhere_an_error() {
        let whole = answer();
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn is_an_answer_to_another_question_an_error() {
        let mut other = answer();
        other[3] = 8;
        assert!(
            parse(&other)
                .unwrap_err()
                .to_string()
                .contains("something else")
        );
    }

    #[test]
    fn does_a_request_say_its_length() {
        let request = request();
        let length = u32::from_be_bytes(*request.first_chunk().unwrap());
        assert_eq!(usize::try_from(length).unwrap() + 4, request.len());
    }
}
