//! Does a store keep its word? Asked once at start, because everything else rests on it: a service that only
//! resembles the one it was made after may take a condition and never look at it.

use crate::store::name::random_digits;
use crate::store::{Put, Store, StoreError};

/// A store was found unfit, or could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ConditionsError {
    /// It creates what is there already.
    #[error(
        "the checkpoint store ignores conditions: it created `{name}` twice; two copies of a job could overwrite \
         each other's checkpoints there, so it is refused: use a store that supports put-if-absent"
    )]
    Ignored {
        /// What was created twice.
        name: String,
    },
    /// It did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Creates one object twice, to see that the store refuses the second, and deletes it.
///
/// # Errors
/// The store took the second too, or an operation failed. The object may be left then; nobody ever reads it.
pub fn check_conditions(store: &dyn Store) -> Result<(), ConditionsError> {
    let name = format!("probe/{}", random_digits());
    // What the first answers shows nothing: a client that repeats a request by itself, because the answer
    // was lost, is told of its own object.
    store.put_if_absent(&name, b"first")?;
    let second = store.put_if_absent(&name, b"second");
    let deleted = store.delete(&name);
    if second? == Put::Created {
        return Err(ConditionsError::Ignored { name });
    }
    Ok(deleted?)
}
