//! A store in memory that fails on demand: the test double.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::lookup::{Answer, AskError, Connect, Connection};

/// What a store does when it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// It answers.
    #[default]
    Serves,
    /// It answers after so long.
    Slow(Duration),
    /// It never answers.
    Hangs,
    /// It lets nobody in.
    Refuses,
    /// It lets nobody in, and does not say so.
    Ignores,
    /// It closes each connection that asks.
    Closes,
    /// Of several questions it answers half in time.
    Halves,
    /// It gives one answer too few.
    Forgets,
    /// Whoever asks it crashes.
    Crashes,
}

/// What was done with a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Connections that were made.
    pub connected: u64,
    /// How many keys were asked for, each time.
    pub asked: Vec<usize>,
    /// Probes.
    pub pinged: u64,
}

/// A store. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct ScriptedStore(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    values: HashMap<Box<[u8]>, Answer>,
    mood: Mood,
    done: Done,
    /// Connections made before are closed by now.
    closed: u64,
}

impl ScriptedStore {
    /// A store that has this of each of these keys, and nothing of others.
    pub fn of<'k>(values: impl IntoIterator<Item = (&'k str, Answer)>) -> Self {
        let store = ScriptedStore::default();
        let values = values.into_iter();
        store.script().values = values
            .map(|(key, answer)| (Box::from(key.as_bytes()), answer))
            .collect();
        store
    }

    /// From now on it does this.
    pub fn set(&self, mood: Mood) {
        self.script().mood = mood;
    }

    /// Closes all connections that there are; it lets them in again.
    pub fn close_all(&self) {
        let mut script = self.script();
        script.closed = script.done.connected;
    }

    /// What was done with it so far.
    pub fn done(&self) -> Done {
        self.script().done.clone()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connect for ScriptedStore {
    fn connect(&self, timeout: Duration) -> Result<Box<dyn Connection>, AskError> {
        if self.script().mood == Mood::Ignores {
            thread::sleep(timeout);
            return Err(AskError::TimedOut);
        }
        let mut script = self.script();
        if script.mood == Mood::Refuses {
            return Err(AskError::Unavailable("connection refused".to_owned()));
        }
        script.done.connected += 1;
        Ok(Box::new(ScriptedConnection {
            store: self.clone(),
            number: script.done.connected,
        }))
    }
}

struct ScriptedConnection {
    store: ScriptedStore,
    number: u64,
}

impl ScriptedConnection {
    /// What the store's mood lets through.
    #[expect(clippy::panic, reason = "what it is told to do")]
    fn serve(&self, timeout: Duration) -> Result<(), AskError> {
        let (mood, is_closed) = {
            let script = self.store.script();
            (script.mood, self.number <= script.closed)
        };
        match mood {
            _ if is_closed => Err(AskError::Unavailable("connection closed".to_owned())),
            Mood::Serves | Mood::Forgets | Mood::Halves => Ok(()),
            Mood::Slow(delay) if delay < timeout => {
                thread::sleep(delay);
                Ok(())
            }
            Mood::Slow(_) | Mood::Hangs => {
                thread::sleep(timeout);
                Err(AskError::TimedOut)
            }
            Mood::Refuses | Mood::Ignores | Mood::Closes => {
                Err(AskError::Unavailable("connection closed".to_owned()))
            }
            Mood::Crashes => panic!("told to crash"),
        }
    }
}

impl Connection for ScriptedConnection {
    fn ask(
        &mut self,
        keys: &[Box<[u8]>],
        timeout: Duration,
        give: &mut dyn FnMut(Answer),
    ) -> Result<(), AskError> {
        self.store.script().done.asked.push(keys.len());
        let served = self.serve(timeout);
        let halved = self.store.script().mood == Mood::Halves && keys.len() > 1;
        if !halved {
            served?;
        }
        let script = self.store.script();
        let kept = match script.mood {
            Mood::Forgets => keys.len().saturating_sub(1),
            Mood::Halves if halved => keys.len() / 2,
            _ => keys.len(),
        };
        let answers = keys.iter().take(kept).map(|key| {
            let found = script.values.get(key).cloned();
            found.unwrap_or(Answer::Missing)
        });
        answers.for_each(give);
        match halved {
            true => Err(AskError::TimedOut),
            false => Ok(()),
        }
    }

    fn ping(&mut self, timeout: Duration) -> Result<(), AskError> {
        self.store.script().done.pinged += 1;
        self.serve(timeout)
    }
}
