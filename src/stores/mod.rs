//! The checkpoint store that a pipeline names, opened: the only place that knows kinds of stores.
//!
//! - [`room`]: the folder of a job's control socket.

pub mod room;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

#[cfg(feature = "s3")]
use slackwater_buckets::{BucketStore, Patience};
use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::store::Store;
use slackwater_dataflow::store::local::{LocalStore, OpenStoreError};

use crate::pipeline::spec::StorePlace;

/// How long another process may still have a folder: a worker whose supervisor was killed dies a moment later, and
/// who starts the job again at once must not be refused for that.
const LEAVING_MAX: Duration = Duration::from_secs(5);

/// Between two attempts to open it.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);

/// A store can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process works on it.
    #[error("{0}")]
    InUse(String),
    /// It can't be used.
    #[error("{0}")]
    Unusable(String),
}

impl From<OpenStoreError> for OpenError {
    fn from(error: OpenStoreError) -> Self {
        match &error {
            OpenStoreError::InUse { .. } => OpenError::InUse(error.to_string()),
            _ => OpenError::Unusable(error.to_string()),
        }
    }
}

/// Opens a store for a run. A local one is then this process's alone; one in a bucket has no lock, and there the log
/// alone decides who runs the job.
///
/// # Errors
/// Another process has it, or it can't be used.
pub fn open(place: &StorePlace, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Store>, OpenError> {
    match place {
        StorePlace::Folder(folder) => {
            let is_held = |error: &_| matches!(error, OpenStoreError::InUse { .. });
            let store = open_once_left(clock, is_held, || LocalStore::open(folder))?;
            let removed = store.remove_leftovers();
            removed.map_err(|error| OpenError::Unusable(error.to_string()))?;
            Ok(Arc::new(store))
        }
        StorePlace::Bucket { bucket, prefix } => open_bucket(bucket, prefix, Use::ByAJob),
    }
}

/// Opens a store to read it, also while a job works on it.
///
/// # Errors
/// There is none, or it can't be used.
pub fn open_to_read(place: &StorePlace) -> Result<Arc<dyn Store>, OpenError> {
    match place {
        StorePlace::Folder(folder) => Ok(Arc::new(LocalStore::open_to_read(folder)?)),
        StorePlace::Bucket { bucket, prefix } => open_bucket(bucket, prefix, Use::ByAPerson),
    }
}

/// Opens what only one process may have, once the worker of an earlier run has left it that may be about to end.
///
/// # Errors
/// The last attempt's: it has not been left, which `is_held` tells, or can't be opened.
pub(crate) fn open_once_left<T, E>(
    clock: &Arc<dyn Clock>,
    is_held: impl Fn(&E) -> bool,
    open: impl Fn() -> Result<T, E>,
) -> Result<T, E> {
    let until = clock.monotonic().saturating_add(LEAVING_MAX);
    loop {
        match open() {
            Err(error) if is_held(&error) && clock.monotonic() < until => {
                thread::sleep(BETWEEN_ATTEMPTS);
            }
            opened => return opened,
        }
    }
}

/// Who waits while a service is away.
enum Use {
    ByAJob,
    ByAPerson,
}

#[cfg(feature = "s3")]
fn open_bucket(bucket: &str, prefix: &str, by: Use) -> Result<Arc<dyn Store>, OpenError> {
    let patience = match by {
        Use::ByAJob => Patience::OfAJob,
        Use::ByAPerson => Patience::OfAPerson,
    };
    // What is no text is none of the client's.
    let variables = std::env::vars_os();
    let variables = variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    match BucketStore::open(bucket, prefix, patience, variables) {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(OpenError::Unusable(error.to_string())),
    }
}

#[cfg(not(feature = "s3"))]
fn open_bucket(bucket: &str, _: &str, _: Use) -> Result<Arc<dyn Store>, OpenError> {
    // A pipeline file that names one is refused before that.
    let message = format!("this program was built without S3, where the bucket `{bucket}` is");
    Err(OpenError::Unusable(message))
}
