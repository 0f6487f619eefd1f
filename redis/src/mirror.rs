//! A copy of lists that others read.
//!
//! A list is replaced as a whole, with an expiry of its own, by a script: so no reader ever sees half of one, and to do it once
//! more does no harm. With each write goes who writes, and at which checkpoint the copy was left; the script compares both
//! with what Redis has, in the hash `slackwater:mirror:JOB`. So an older run can write nothing, and a server that has lost
//! what it had acknowledged is found out.
//!
//! The hash:
//!
//! | field | what |
//! | --- | --- |
//! | `generation` | the run that writes |
//! | `turn` | how often it was taken over: what a network brings late, after another turn has begun, is refused |
//! | `layout` | how lists are called, and how long they stay |
//! | `epoch`, `checkpoint` | the checkpoint whose state the lists are, or were before a write that is under way |

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Cmd, Value};
use slackwater_dataflow::identity::{CheckpointId, Generation};
use slackwater_dataflow::lookup::AskError;
use slackwater_dataflow::mirror::{Change, Mirror, MirrorError, Point};
use slackwater_dataflow::moment::Epoch;
use xxhash_rust::xxh3::xxh3_128;

use crate::address::Address;
use crate::session::{Reply, Session};

/// What the key of the hash begins with.
pub const MARKERS: &str = "slackwater:mirror:";

/// Bytes of the largest reply: a page of keys.
const REPLY_BYTES_MAX: u64 = 64 << 20;

/// The oldest server that can look for lists among all keys.
const VERSION_LEAST: u32 = 6;

/// Where the keys of a server begin, and where there are no more.
const FIRST_PAGE: &str = "0";

/// Keys that are looked at at once for what is to be removed.
const PAGE: u32 = 1_000;

/// Bytes of elements from which on lists are sent on their way.
const BYTES_MOST: usize = 1 << 20;

/// Compares what Redis has with what the writer knows, then writes.
///
/// Keys: the hash, then the lists. Arguments: generation; turn; checkpoint; epoch and checkpoint that are reached, or nothing;
/// milliseconds until lists expire, 0 for never; then of each list the number of its elements, and these.
const WRITE: &str = r"
local held = redis.call('HMGET', KEYS[1], 'generation', 'turn', 'checkpoint')
if held[1] and tonumber(held[1]) > tonumber(ARGV[1]) then return held[1] end
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] or (held[3] or '') ~= ARGV[3] then return 'moved' end
local at = 7
for list = 2, #KEYS do
  redis.call('DEL', KEYS[list])
  local last = at + tonumber(ARGV[at])
  for from = at + 1, last, 1000 do
    redis.call('RPUSH', KEYS[list], unpack(ARGV, from, math.min(from + 999, last)))
  end
  if last > at and ARGV[6] ~= '0' then redis.call('PEXPIRE', KEYS[list], ARGV[6]) end
  at = last + 1
end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'epoch', ARGV[4], 'checkpoint', ARGV[5]) end
return 'written'
";

/// Makes a run the one that writes, and says where the copy is.
///
/// Arguments: generation; layout; whether it may be taken from a greater generation; epoch and checkpoint that stand for
/// nowhere.
const TAKE_OVER: &str = r"
local held = redis.call('HMGET', KEYS[1], 'generation', 'layout', 'epoch', 'checkpoint')
local is_newer = held[1] and tonumber(held[1]) > tonumber(ARGV[1])
if is_newer and ARGV[3] ~= '1' then return {held[1]} end
redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'layout', ARGV[2])
local turn = tostring(redis.call('HINCRBY', KEYS[1], 'turn', 1))
if is_newer or (held[2] and held[2] ~= ARGV[2]) then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[4], 'checkpoint', ARGV[5])
  return {turn, ARGV[4], ARGV[5]}
end
return {turn, held[3] or '', held[4] or ''}
";

/// A list under a key, its elements in order; none of them for no list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Its key.
    pub key: Vec<u8>,
    /// What it holds.
    pub elements: Vec<Vec<u8>>,
}

/// What lists are made of state.
pub trait Layout: Send + Sync {
    /// The stage whose state it is.
    fn stage(&self) -> &str;

    /// The list of a key; none if state is not what it should be.
    fn list(&self, change: &Change) -> Option<List>;

    /// How lists are called. Lists with another name are other lists.
    fn name(&self) -> String;

    /// A pattern of Redis that fits all keys of lists, and as little else as can be.
    fn pattern(&self) -> Vec<u8>;
}

/// Where lists are kept, and how.
#[derive(Clone)]
pub struct MirrorConfig {
    /// The job.
    pub job: String,
    /// The server.
    pub address: Address,
    /// How long a write may take, but for connecting.
    pub timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a list stays that is not written again; none for ever.
    pub ttl: Option<Duration>,
    /// What lists are made of state.
    pub layout: Arc<dyn Layout>,
}

/// The lists of a job.
pub struct RedisMirror {
    config: MirrorConfig,
    session: Option<Session>,
    generation: Generation,
    /// As the server counts them.
    turn: String,
    /// Where it was left.
    at: Option<Point>,
    /// Hashes of keys that were written, where that is to be known.
    written: Option<HashSet<u128>>,
    /// Where the next page of keys begins, of those that are looked through.
    cursor: String,
}

/// Asks a server whether it can hold a mirror.
///
/// # Errors
/// It can't, and why, or it does not answer.
pub fn greet(config: &MirrorConfig) -> Result<(), MirrorError> {
    let mut mirror = RedisMirror::new(config.clone());
    mirror.ask(&redis::cmd("PING")).map(drop)
}

/// Whether a server that says this of itself keeps what it is given.
fn fits(info: &str) -> Result<(), String> {
    let said = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.find_map(|(key, value)| (key == name).then(|| value.trim()))
    };
    if said("cluster_enabled") == Some("1") {
        return Err("the server is part of a cluster, which a mirror cannot be kept in: its lists have to be where its marker \
                    is. Take a server that is in none"
            .to_owned());
    }
    let version = said("redis_version").and_then(|it| it.split('.').next()?.parse().ok());
    if version.is_some_and(|version: u32| version < VERSION_LEAST) {
        return Err(format!(
            "the server is older than Redis {VERSION_LEAST}: take a newer one"
        ));
    }
    if said("role") == Some("slave") {
        let reason = "the server is a replica of another one, and takes no writes: name that one";
        return Err(reason.to_owned());
    }
    let (most, policy) = (said("maxmemory"), said("maxmemory_policy"));
    match policy {
        Some(policy) if policy != "noeviction" && most.is_some_and(|most| most != "0") => {
            Err(format!(
                "the server removes keys when its memory is full (maxmemory-policy {policy}), and lists would be missing: set \
             `maxmemory-policy noeviction`, or take another server"
            ))
        }
        _ => Ok(()),
    }
}

impl RedisMirror {
    /// Lists that nobody has taken over yet.
    pub fn new(config: MirrorConfig) -> Self {
        RedisMirror {
            config,
            session: None,
            generation: Generation::default(),
            turn: String::new(),
            at: None,
            written: None,
            cursor: FIRST_PAGE.to_owned(),
        }
    }

    fn marker(&self) -> String {
        format!("{MARKERS}{}", self.config.job)
    }

    /// One command, and its reply. A new connection first finds out whether the server can hold a mirror.
    fn ask(&mut self, command: &Cmd) -> Result<Value, MirrorError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => self.open()?,
        };
        let (session, value) = self.ask_over(session, command)?;
        self.session = Some(session);
        Ok(value)
    }

    fn open(&self) -> Result<Session, MirrorError> {
        let config = &self.config;
        let opened = Session::open(&config.address, config.connect_timeout);
        let session = opened.map_err(|error| self.unavailable(&error))?;
        let (session, info) = self.ask_over(session, &redis::cmd("INFO"))?;
        let info = match &info {
            Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Value::VerbatimString { text, .. } => text.clone(),
            _ => String::new(),
        };
        fits(&info).map_err(MirrorError::Unfit)?;
        Ok(session)
    }

    /// Asks over a connection, which is gone after an error.
    fn ask_over(
        &self,
        mut session: Session,
        command: &Cmd,
    ) -> Result<(Session, Value), MirrorError> {
        session.until(Instant::now() + self.config.timeout);
        let sent = session.send(std::slice::from_ref(command));
        let reply = sent.and_then(|()| session.receive(REPLY_BYTES_MAX));
        match reply.map_err(|error| self.unavailable(&error))? {
            Reply::Value(value) => Ok((session, value)),
            Reply::Refused { reason, .. } => {
                let address = &self.config.address;
                let reason = format!("Redis at {address} refuses: {reason}");
                Err(MirrorError::Unavailable(reason))
            }
            Reply::TooLarge => Err(self.strange()),
        }
    }

    fn unavailable(&self, error: &AskError) -> MirrorError {
        MirrorError::Unavailable(format!("Redis at {} {error}", self.config.address))
    }

    fn strange(&self) -> MirrorError {
        let address = &self.config.address;
        MirrorError::Unavailable(format!(
            "Redis at {address} answers something else than was asked"
        ))
    }

    /// Writes lists, and what is reached with them.
    fn write(&mut self, lists: &[List], reaches: Option<Point>) -> Result<(), MirrorError> {
        let mut command = redis::cmd("EVAL");
        command.arg(WRITE).arg(1 + lists.len()).arg(self.marker());
        for list in lists {
            command.arg(list.key.as_slice());
        }
        command.arg(self.generation.0).arg(&self.turn);
        command.arg(
            self.at
                .map_or_else(String::new, |at| at.checkpoint.to_string()),
        );
        match reaches {
            Some(point) => command.arg(point.epoch.0).arg(point.checkpoint.to_string()),
            None => command.arg("").arg(""),
        };
        let ttl = self.config.ttl.map_or(0, |ttl| ttl.as_millis());
        command.arg(u64::try_from(ttl).unwrap_or(u64::MAX));
        for list in lists {
            command.arg(list.elements.len());
            for element in &list.elements {
                command.arg(element.as_slice());
            }
        }
        let reply = self.ask(&command)?;
        match text(&reply).as_deref() {
            Some("written") => {
                self.at = reaches.or(self.at);
                Ok(())
            }
            Some("moved") => Err(MirrorError::Moved),
            Some(newer) => Err(replaced(newer).unwrap_or_else(|| self.strange())),
            None => Err(self.strange()),
        }
    }

    /// Keys of lists, a page of them, and where the next one begins.
    fn page(&mut self) -> Result<(String, Vec<Vec<u8>>), MirrorError> {
        let mut scan = redis::cmd("SCAN");
        scan.arg(&self.cursor)
            .arg("MATCH")
            .arg(self.config.layout.pattern());
        scan.arg("COUNT").arg(PAGE).arg("TYPE").arg("list");
        let reply = self.ask(&scan)?;
        let page = match reply {
            Value::Array(mut parts) => parts.pop().zip(parts.pop()),
            _ => None,
        };
        let Some((Value::Array(keys), cursor)) = page else {
            return Err(self.strange());
        };
        let keys = keys.into_iter().filter_map(|key| match key {
            Value::BulkString(key) => Some(key),
            _ => None,
        });
        let keys = keys.collect();
        Ok((text(&cursor).ok_or_else(|| self.strange())?, keys))
    }
}

/// Who a script says that writes.
fn replaced(text: &str) -> Option<MirrorError> {
    let generation = text.parse().ok()?;
    Some(MirrorError::Replaced(Generation(generation)))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

impl Mirror for RedisMirror {
    fn stage(&self) -> &str {
        self.config.layout.stage()
    }

    fn take_over(
        &mut self,
        generation: Generation,
        from_anybody: bool,
    ) -> Result<Option<Point>, MirrorError> {
        self.written = None;
        let ttl = self.config.ttl.unwrap_or_default();
        let layout = format!("{} {}ms", self.config.layout.name(), ttl.as_millis());
        let nowhere = Point::NOWHERE;
        let mut command = redis::cmd("EVAL");
        command.arg(TAKE_OVER).arg(1).arg(self.marker());
        command.arg(generation.0).arg(layout);
        command.arg(u8::from(from_anybody));
        command
            .arg(nowhere.epoch.0)
            .arg(nowhere.checkpoint.to_string());
        let reply = self.ask(&command)?;
        let Value::Array(parts) = &reply else {
            return Err(self.strange());
        };
        let parts: Vec<Option<String>> = parts.iter().map(text).collect();
        match parts.as_slice() {
            [Some(newer)] => Err(replaced(newer).unwrap_or_else(|| self.strange())),
            [Some(turn), Some(epoch), Some(checkpoint)] => {
                let point = || {
                    Some(Point {
                        epoch: Epoch(epoch.parse().ok()?),
                        checkpoint: checkpoint.parse::<CheckpointId>().ok()?,
                    })
                };
                self.generation = generation;
                self.turn.clone_from(turn);
                self.at = point();
                Ok(self.at)
            }
            _ => Err(self.strange()),
        }
    }

    fn begin_whole(&mut self) {
        self.written = Some(HashSet::new());
        FIRST_PAGE.clone_into(&mut self.cursor);
    }

    fn put(&mut self, changes: &[Change], reaches: Option<Point>) -> Result<(), MirrorError> {
        let (mut lists, mut bytes) = (Vec::new(), 0);
        for change in changes {
            let Some(list) = self.config.layout.list(change) else {
                let reason = "a checkpoint holds something else than histories".to_owned();
                return Err(MirrorError::Unavailable(reason));
            };
            if let Some(written) = self.written.as_mut().filter(|_| !list.elements.is_empty()) {
                written.insert(xxh3_128(&list.key));
            }
            bytes += list.elements.iter().map(Vec::len).sum::<usize>();
            lists.push(list);
            if bytes >= BYTES_MOST {
                self.write(&lists, None)?;
                lists.clear();
                bytes = 0;
            }
        }
        match lists.is_empty() && reaches.is_none() {
            true => Ok(()),
            false => self.write(&lists, reaches),
        }
    }

    fn sweep(&mut self) -> Result<bool, MirrorError> {
        let (next, keys) = self.page()?;
        let written = self.written.as_ref();
        let is_other = |key: &Vec<u8>| written.is_none_or(|it| !it.contains(&xxh3_128(key)));
        let gone = keys.into_iter().filter(is_other).map(|key| List {
            key,
            elements: Vec::new(),
        });
        let gone: Vec<List> = gone.collect();
        if !gone.is_empty() {
            self.write(&gone, None)?;
        }
        self.cursor = next;
        let has_more = self.cursor != FIRST_PAGE;
        if !has_more {
            self.written = None;
        }
        Ok(has_more)
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn which_servers_keep_what_they_are_given() {
        let check = |info: &str, refused: Option<&str>| match (fits(info), refused) {
            (Ok(()), None) => {}
            (Err(reason), Some(expected)) => assert!(reason.contains(expected), "{reason}"),
            (found, _) => unreachable!("{info:?}: {found:?}"),
        };
        check("", None);
        check("redis_version:7.0.15\r\nrole:master\r\n", None);
        check("redis_version:5.0.1\r\n", Some("older than Redis 6"));
        check("redis_version:7.0.15\r\nrole:slave\r\n", Some("a replica"));
        check("# Cluster\r\ncluster_enabled:0\r\n", None);
        check("cluster_enabled:1\r\n", Some("cluster"));
        check("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n", None);
        check("maxmemory:9\r\nmaxmemory_policy:noeviction\r\n", None);
        check(
            "maxmemory:9\r\nmaxmemory_policy:volatile-ttl\r\n",
            Some("noeviction"),
        );
    }
}
