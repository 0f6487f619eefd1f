//! The seam between the engine and stores that are asked for what others have written there, key by key.
//!
//! A store may be slow, away, or answer nonsense; a job must not hang for it. So a question is asked by threads beside the
//! workers, each try has a hard time, and every question gets exactly one answer or one reason why there is none.
//!
//! - [`breaker`]: when a store is not asked at all.
//! - [`pauses`]: how long to wait before a question is asked once more.
//! - [`counts`]: what is counted meanwhile.
//! - [`asking`]: the threads that ask.
//! - [`scripted`]: a store in memory that fails on demand: the test double.

pub mod breaker;
pub mod pauses;
pub mod counts;
pub mod asking;
pub mod scripted;

use std::time::Duration;

/// Connects to a store. Called by several threads.
pub trait Connect: Send + Sync {
    /// A new connection, ready to be asked.
    ///
    /// # Errors
    /// There is none by then, whatever the other side does.
    fn connect(&self, timeout: Duration) -> Result<Box<dyn Connection>, AskError>;
}

/// A connection to a store. Used by one thread, and thrown away after an error.
pub trait Connection: Send {
    /// Gives what the store has of each key, in their order, each as it comes: so no more than one is in memory as the store
    /// gave it.
    ///
    /// # Errors
    /// The answers are not all there by then, whatever the other side does. Those that are there were given.
    fn ask(
        &mut self,
        keys: &[Box<[u8]>],
        timeout: Duration,
        give: &mut dyn FnMut(Answer),
    ) -> Result<(), AskError>;

    /// Whether the store answers at all.
    ///
    /// # Errors
    /// It does not by then, or says that it can't serve.
    fn ping(&mut self, timeout: Duration) -> Result<(), AskError>;
}

/// What a store has of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The fields that were asked for, in their order; none where the key has no such field.
    Found(Vec<Option<Box<[u8]>>>),
    /// Nothing.
    Missing,
    /// Something that can't be used, and why: of another type, too large. Of this key alone.
    Bad(String),
}

/// Asks for one worker, without waiting. Answers come as `T`: read already.
pub trait Questions<T> {
    /// Asks for a key. How many may be under way at a time is the caller's to bound.
    fn ask(&mut self, key: Box<[u8]>);

    /// The next answer that has come, to whichever key; each question gets exactly one.
    fn next_answer(&mut self) -> Option<Answered<T>>;

    /// Counts answers that were remembered and taken, key by key of each batch: so many stood for the store's, and so many
    /// that had expired stood in where it gave none.
    fn count_remembered(&mut self, fresh: u64, last_known: u64);
}

/// A question, and what became of it.
pub type Answered<T> = (Box<[u8]>, Result<T, AskError>);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Not in time.
    #[error("timed out")]
    TimedOut,
    /// There was no connection in time to ask on.
    #[error("gave no connection in time")]
    NoConnection,
    /// The connection was refused or lost, or the store says that it can't serve.
    #[error("is not available: {0}")]
    Unavailable(String),
}
