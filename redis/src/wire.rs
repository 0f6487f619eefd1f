//! Bytes to and from a server, encrypted or not, with an end to what is read. The end to waiting is the socket's.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use crate::address::Address;
use crate::socket::Socket;
use crate::tls::Encrypted;

/// How what a server sends begins that speaks TLS and was not asked so: an alert, and the version that all have.
const ALERT: [u8; 2] = [21, 3];

/// What a server does that wants TLS and does not even say so: Redis is one.
const ENDED_AT_ONCE: &str = "it ended the connection before it answered anything; if it speaks TLS, write `rediss://` in `url`";

/// A connection. What it does ends at its deadline, and what it reads at a number of bytes.
pub(crate) struct Wire {
    stream: Stream,
    /// Bytes that may still be read of the answer under way.
    left: u64,
    is_over_full: bool,
    /// Whether nothing was read yet.
    is_new: bool,
    /// What both sides do not agree about.
    disagreement: Option<String>,
}

enum Stream {
    Plain(Socket),
    Encrypted(Box<Encrypted>),
}

impl Wire {
    /// Connects by a deadline.
    pub(crate) fn connect(address: &Address, deadline: Instant) -> io::Result<Self> {
        let socket = Socket::connect(&address.host, address.port, deadline)?;
        let stream = match address.encrypted {
            false => Stream::Plain(socket),
            true => {
                let agreed = Encrypted::agree(address.tls.as_ref(), &address.host, socket)?;
                Stream::Encrypted(Box::new(agreed))
            }
        };
        Ok(Wire {
            stream,
            left: 0,
            is_over_full: false,
            is_new: true,
            disagreement: None,
        })
    }

    /// From now on all has to be done by then.
    pub(crate) fn until(&mut self, deadline: Instant) {
        match &mut self.stream {
            Stream::Plain(socket) => socket.until(deadline),
            Stream::Encrypted(encrypted) => encrypted.socket().until(deadline),
        }
    }

    /// The next answer may have so many bytes.
    pub(crate) fn allow(&mut self, bytes: u64) {
        self.left = bytes;
    }

    /// Whether an answer was larger than it may be.
    pub(crate) fn is_over_full(&self) -> bool {
        self.is_over_full
    }

    /// Why nothing more can come of this connection, if both sides do not agree how to speak.
    pub(crate) fn disagreement(&self) -> Option<&str> {
        self.disagreement.as_deref()
    }

    fn disagree(&mut self, why: impl Into<String>) -> io::Error {
        let why = why.into();
        self.disagreement = Some(why.clone());
        io::Error::new(ErrorKind::InvalidData, why)
    }
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
        let read = match &mut self.stream {
            Stream::Plain(socket) => match socket.read(buffer) {
                Ok(0) if self.is_new => return Err(self.disagree(ENDED_AT_ONCE)),
                Err(error) if self.is_new && error.kind() == ErrorKind::ConnectionReset => {
                    return Err(self.disagree(ENDED_AT_ONCE));
                }
                read => read?,
            },
            Stream::Encrypted(encrypted) => match encrypted.read(buffer) {
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    return Err(self.disagree(error.to_string()));
                }
                read => read?,
            },
        };
        if self.is_new && buffer.starts_with(&ALERT) {
            return Err(self.disagree("it speaks TLS: write `rediss://` in `url`"));
        }
        self.is_new = false;
        self.left -= read as u64;
        Ok(read)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Encrypted(encrypted) => encrypted.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.flush(),
            Stream::Encrypted(encrypted) => encrypted.flush(),
        }
    }
}
