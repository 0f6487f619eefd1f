//! Does a store keep its word? Asked once at start, because everything else rests on it: a service that only
//! resembles the one it was made after may take a condition and never look at it.

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

/// What is put. Always the same, and left where it is: an object of each start's own would be left by a run that ends
/// before it deletes it, and nobody could delete it for that run, which may be asking with it just then.
const NAME: &str = "probe/conditions";

/// Puts one object twice, to see that the store refuses the second.
///
/// # Errors
/// The store took the second too, or an operation failed.
pub fn check_conditions(store: &dyn Store) -> Result<(), ConditionsError> {
    // What the first answers shows nothing: an earlier start may have put it.
    store.put_if_absent(NAME, b"first")?;
    match store.put_if_absent(NAME, b"second")? {
        Put::Exists => Ok(()),
        Put::Created => Err(ConditionsError::Ignored {
            name: NAME.to_owned(),
        }),
    }
}
