//! What lookups ask.

use std::time::{Duration, Instant};

use redis::{Cmd, Value};
use slackwater_dataflow::lookup::{Answer, AskError, Connect, Connection};

use crate::address::Address;
use crate::session::{Reply, Session};

/// The code of an error that is about one key alone: its value is of another type.
const WRONG_TYPE: &str = "WRONGTYPE";

/// What is read of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The value, which is a string: one field of that.
    Value,
    /// These fields of the value, which is a hash.
    Fields(Vec<String>),
}

/// A database of a server.
#[derive(Clone, Debug)]
pub struct RedisStore {
    /// Where it is.
    pub address: Address,
    /// What is read of each key.
    pub read: Read,
    /// Bytes of the largest answer about one key.
    pub answer_bytes_max: u64,
}

impl Connect for RedisStore {
    fn connect(&self, timeout: Duration) -> Result<Box<dyn Connection>, AskError> {
        Ok(Box::new(RedisConnection {
            session: Session::open(&self.address, timeout)?,
            store: self.clone(),
        }))
    }
}

struct RedisConnection {
    session: Session,
    store: RedisStore,
}

impl RedisStore {
    fn question(&self, key: &[u8]) -> Cmd {
        match &self.read {
            Read::Value => {
                let mut get = redis::cmd("GET");
                get.arg(key);
                get
            }
            Read::Fields(fields) => {
                let mut get = redis::cmd("HMGET");
                get.arg(key).arg(fields);
                get
            }
        }
    }

    fn answer(&self, value: Value) -> Answer {
        let field = |value: Value| match value {
            Value::Nil => Ok(None),
            Value::BulkString(bytes) => Ok(Some(bytes.into_boxed_slice())),
            _ => Err("it is no string".to_owned()),
        };
        let fields = match (&self.read, value) {
            (Read::Value, value) => field(value).map(|field| vec![field]),
            (Read::Fields(fields), Value::Array(values)) if values.len() == fields.len() => {
                values.into_iter().map(field).collect()
            }
            (Read::Fields(_), _) => Err("it is no hash".to_owned()),
        };
        match fields {
            // Redis makes no difference between no key and a key without any of the fields.
            Ok(fields) if fields.iter().all(Option::is_none) => Answer::Missing,
            Ok(fields) => Answer::Found(fields),
            Err(reason) => Answer::Bad(reason),
        }
    }
}

impl Connection for RedisConnection {
    fn ask(
        &mut self,
        keys: &[Box<[u8]>],
        timeout: Duration,
        give: &mut dyn FnMut(Answer),
    ) -> Result<(), AskError> {
        let (deadline, mut given) = (Instant::now() + timeout, 0);
        while let Some(rest) = keys.get(given..)
            && !rest.is_empty()
        {
            self.session.until(deadline);
            let questions: Vec<Cmd> = rest.iter().map(|key| self.store.question(key)).collect();
            self.session.send(&questions)?;
            for _ in rest {
                let reply = self.session.receive(self.store.answer_bytes_max)?;
                let is_too_large = matches!(reply, Reply::TooLarge);
                give(match reply {
                    Reply::Value(value) => self.store.answer(value),
                    // Anything else would be said of other keys as well.
                    Reply::Refused { code, reason } if code == WRONG_TYPE => Answer::Bad(reason),
                    Reply::Refused { reason, .. } => return Err(AskError::Unavailable(reason)),
                    Reply::TooLarge => {
                        let most = self.store.answer_bytes_max;
                        Answer::Bad(format!("it is larger than {most} bytes"))
                    }
                });
                given += 1;
                if is_too_large {
                    // What is left of it is not waited for: the others are asked for on a new connection.
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.session = Session::open(&self.store.address, left)?;
                    break;
                }
            }
        }
        Ok(())
    }

    fn ping(&mut self, timeout: Duration) -> Result<(), AskError> {
        self.session.until(Instant::now() + timeout);
        self.session.send(&[redis::cmd("PING")])?;
        self.session.accepted(false)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests;
