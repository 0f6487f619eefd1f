//! Commands and replies on one connection.

use std::io::{self, ErrorKind, Write as _};
use std::time::{Duration, Instant};

use redis::{Cmd, Parser, Value};
use slackwater_dataflow::lookup::AskError;
use slackwater_dataflow::text::shortened;

use crate::address::Address;
use crate::wire::Wire;

/// Most bytes of a reply to a command that gives no value.
const SHORT_REPLY_BYTES: u64 = 64 * 1024;

/// Longest refusal that is repeated, in characters.
const REFUSAL_CHARS_MOST: usize = 200;

/// What became of a command.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The server has replied.
    Value(Value),
    /// It has refused the command, with this code, and for this reason.
    Refused { code: String, reason: String },
    /// Its reply is larger than it may be. The connection is of no use any more.
    TooLarge,
}

/// A connection that is let in.
pub(crate) struct Session {
    wire: Wire,
    parser: Parser,
}

impl Session {
    /// Connects, says who asks, and chooses the database.
    pub(crate) fn open(address: &Address, timeout: Duration) -> Result<Self, AskError> {
        let deadline = Instant::now() + timeout;
        let wire = Wire::connect(address, deadline);
        let mut session = Session {
            wire: wire.map_err(|error| because(&error))?,
            parser: Parser::new(),
        };
        let mut commands = Vec::new();
        if let Some(password) = &address.password {
            let mut auth = redis::cmd("AUTH");
            auth.arg(address.user.as_deref()).arg(password);
            commands.push(auth);
        }
        if address.database != 0 {
            let mut select = redis::cmd("SELECT");
            select.arg(address.database);
            commands.push(select);
        }
        session.send(&commands)?;
        for nth in 0..commands.len() {
            session.accepted(nth == 0 && address.password.is_some())?;
        }
        Ok(session)
    }

    /// From now on all has to be done by then.
    pub(crate) fn until(&mut self, deadline: Instant) {
        self.wire.until(deadline);
    }

    /// Sends commands. As many replies are to be received.
    pub(crate) fn send(&mut self, commands: &[Cmd]) -> Result<(), AskError> {
        let mut bytes = Vec::new();
        for command in commands {
            command.write_packed_command(&mut bytes);
        }
        let sent = self.wire.write_all(&bytes);
        sent.map_err(|error| because(&error))
    }

    /// The next reply, of at most so many bytes.
    pub(crate) fn receive(&mut self, bytes_most: u64) -> Result<Reply, AskError> {
        self.wire.allow(bytes_most);
        let parsed = self.parser.parse_value(&mut self.wire);
        match parsed {
            Ok(Value::ServerError(error)) => {
                let (code, details) = (error.code(), error.details().unwrap_or_default());
                Ok(Reply::Refused {
                    reason: shortened(format!("{code} {details}").trim_end(), REFUSAL_CHARS_MOST),
                    code: code.to_owned(),
                })
            }
            Ok(value) => Ok(Reply::Value(value)),
            Err(_) if self.wire.is_over_full() => Ok(Reply::TooLarge),
            Err(error) if let Some(why) = self.wire.disagreement() => {
                debug_assert!(!error.is_timeout());
                Err(AskError::Unavailable(why.to_owned()))
            }
            Err(error) if error.is_timeout() => Err(AskError::TimedOut),
            Err(error) if error.is_io_error() => Err(AskError::Unavailable(format!(
                "the connection was lost: {error}"
            ))),
            Err(error) => Err(AskError::Unavailable(format!(
                "it does not speak as Redis does: {error}"
            ))),
        }
    }

    /// Receives a reply that says that all is well. Of one that does not only the code is told where the command held a
    /// secret: a server may repeat what it was sent.
    pub(crate) fn accepted(&mut self, is_secret: bool) -> Result<(), AskError> {
        let unknown = "it does not speak as Redis does".to_owned();
        match self.receive(SHORT_REPLY_BYTES)? {
            Reply::Value(Value::Okay) => Ok(()),
            Reply::Value(Value::SimpleString(text)) if text == "PONG" => Ok(()),
            Reply::Refused { code, .. } if is_secret => Err(AskError::Unavailable(format!(
                "it answers {} to who we say we are",
                word(&code)
            ))),
            Reply::Refused { reason, .. } => Err(AskError::Unavailable(reason)),
            Reply::Value(_) | Reply::TooLarge => Err(AskError::Unavailable(unknown)),
        }
    }
}

/// A code, if it is a word as codes are; anything else may be what the server was sent.
fn word(code: &str) -> &str {
    let is_word = code.len() <= 32 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_word { code } else { "an error" }
}

fn because(error: &io::Error) -> AskError {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => AskError::TimedOut,
        _ => AskError::Unavailable(error.to_string()),
    }
}
