//! The manifest log: who runs the job, and which checkpoints there are.
//!
//! A run claims the next number and reads only then. So whatever an older run creates afterwards has a greater number
//! than the claim's, or none: a record can be created at one number once, and every run creates the next one to the last
//! that it knows. Numbers of manifests that were deleted are free again, so a claim counts only if nothing is above
//! it. And whoever has created a record looks for one above it before it counts on it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::checkpoint::fault::FormatError;
use crate::checkpoint::manifest::{Claim, Manifest, Record};
use crate::checkpoint::names::{LOG, RecordNumber};
use crate::checkpoint::record::{decode, encode};
use crate::faults::{self, Defect};
use crate::identity::{CheckpointId, Generation};
use crate::store::{Put, Store, StoreError, read_all};

/// Longest record that is read: manifests are a few kilobytes, with hundreds of partitions and a long outage some
/// megabytes.
const RECORD_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Tries to take a number before a claim is given up: each says that another run was quicker, or that the store did
/// not say what became of the one before.
const CLAIM_ATTEMPTS: u32 = 100;

/// Who claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The machine's name.
    pub host: String,
    /// Number of the process there.
    pub process: u32,
    /// Wall clock, in milliseconds since 1970.
    pub now_ms: i64,
}

/// What became of a manifest.
#[derive(Debug)]
pub enum Recorded {
    /// It is in the log, and nothing is above it.
    Created,
    /// Nobody knows: it is to be put again.
    Unknown(StoreError),
    /// Another run has the log.
    Lost(RecordNumber),
}

/// A manifest that could be read, or why a record could not.
#[derive(Debug)]
pub struct Found {
    /// The record's number.
    pub number: RecordNumber,
    /// The manifest.
    pub manifest: Result<Manifest, FormatError>,
}

/// The log, as the run that has it sees it.
pub struct ManifestLog {
    store: Arc<dyn Store>,
    generation: Generation,
    /// The last record that is known.
    last: RecordNumber,
}

/// The numbers of all records, ascending.
fn numbers(store: &dyn Store) -> Result<Vec<RecordNumber>, StoreError> {
    let names = store.list(LOG)?.into_iter();
    // What has another name is none of ours, and does not count.
    Ok(names
        .filter_map(|name| RecordNumber::of_name(&name).ok())
        .collect())
}

/// The number of the last record; 0 if there is none.
fn last_number(store: &dyn Store) -> Result<RecordNumber, StoreError> {
    Ok(numbers(store)?.pop().unwrap_or_default())
}

fn read_record(store: &dyn Store, number: RecordNumber) -> Result<Record, FormatError> {
    let bytes = read_all(store, &number.name(), RECORD_BYTES_MAX)?;
    decode(&bytes, number)
}

/// All manifests of a store, oldest first. Claims are left out.
///
/// # Errors
/// The records cannot be listed.
pub fn manifests(store: &dyn Store) -> Result<Vec<Found>, StoreError> {
    let found = numbers(store)?.into_iter().filter_map(|number| {
        let manifest = match read_record(store, number) {
            Ok(Record::Manifest(manifest)) => Ok(*manifest),
            Ok(Record::Claim(_)) => return None,
            Err(error) => Err(error),
        };
        Some(Found { number, manifest })
    });
    Ok(found.collect())
}

/// The newest claim of a store: who runs the job, or ran it last.
///
/// # Errors
/// Records cannot be listed.
pub fn newest_claim(store: &dyn Store) -> Result<Option<Claim>, StoreError> {
    let newest_first = numbers(store)?.into_iter().rev();
    let mut claims = newest_first.filter_map(|number| match read_record(store, number) {
        Ok(Record::Claim(claim)) => Some(claim),
        _ => None,
    });
    Ok(claims.next())
}

/// The newest run that has claimed the log after that of `generation`; none if there is none.
///
/// # Errors
/// Records cannot be listed.
pub fn newer_claim(store: &dyn Store, generation: Generation) -> Result<Option<Claim>, StoreError> {
    let newest = newest_claim(store)?;
    Ok(newest.filter(|claim| claim.number.0 > generation.0))
}

/// The same, and none if the store does not say. Who was replaced so fails sooner or later in one way or another, and
/// none of them is the reason.
pub fn successor(store: &dyn Store, generation: Generation) -> Option<Claim> {
    newer_claim(store, generation).ok().flatten()
}

/// Whether a run still has the job, for a sink that keeps others from writing by whoever came last, which need not be
/// the newest run.
pub struct Fence {
    store: Arc<dyn Store>,
    /// The last record that is known not to be another run's claim.
    seen: Mutex<RecordNumber>,
}

/// A run cannot tell that it still has the job.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// It has not: another one goes on.
    #[error("another run of the job has begun and goes on: {0}")]
    Lost(Box<Claim>),
    /// The store does not say.
    #[error(transparent)]
    Unknown(#[from] FormatError),
}

impl Fence {
    /// Of the run with this claim.
    pub fn new(store: Arc<dyn Store>, generation: Generation) -> Self {
        Fence {
            store,
            seen: Mutex::new(RecordNumber(generation.0)),
        }
    }

    /// Asks the store.
    ///
    /// # Errors
    /// Another run has claimed the job, or nobody knows.
    pub fn check(&self) -> Result<(), FenceError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = numbers(self.store.as_ref()).map_err(FormatError::from)?;
        let known = *seen;
        for number in numbers.into_iter().filter(|number| *number > known) {
            match read_record(self.store.as_ref(), number) {
                Ok(Record::Claim(claim)) => return Err(FenceError::Lost(Box::new(claim))),
                Ok(Record::Manifest(_)) => *seen = number,
                // An older one of this run, deleted meanwhile.
                Err(FormatError::Store(error)) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl ManifestLog {
    /// Takes the log for a new run: from now on no older one can add to it.
    ///
    /// # Errors
    /// The store fails.
    pub fn claim(store: Arc<dyn Store>, claimant: &Claimant) -> Result<Self, FormatError> {
        let mut last = last_number(store.as_ref())?;
        let id = CheckpointId(rand::random());
        let mut failure = None;
        for _ in 0..CLAIM_ATTEMPTS {
            let number = RecordNumber(last.0 + 1);
            let claim = Claim {
                number,
                id,
                claimed_ms: claimant.now_ms,
                host: claimant.host.clone(),
                process: claimant.process,
            };
            let bytes = encode(&Record::Claim(claim))?;
            let is_ours = match store.put_if_absent(&number.name(), &bytes) {
                Ok(Put::Created) => true,
                Ok(Put::Exists) => {
                    let there = read_all(store.as_ref(), &number.name(), RECORD_BYTES_MAX)?;
                    // One of ours whose put seemed to fail.
                    there == bytes
                }
                Err(error) => {
                    // The same number again: it says what became of it.
                    failure = Some(error);
                    continue;
                }
            };
            // Between the look at the log and the claim another run may have written this number and deleted it again.
            // It has newer records then, and would not see a claim below them.
            let newest = last_number(store.as_ref())?;
            if is_ours && newest <= number {
                return Ok(ManifestLog {
                    generation: Generation(number.0),
                    last: number,
                    store,
                });
            }
            last = newest.max(number);
        }
        Err(failure.map_or_else(
            || {
                let reason = "other runs of this job keep taking the log";
                FormatError::Store(StoreError {
                    action: "claim",
                    name: LOG.to_owned(),
                    source: std::io::Error::other(reason),
                })
            },
            FormatError::Store,
        ))
    }

    /// Of this run.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The number of the next manifest.
    pub fn next(&self) -> RecordNumber {
        RecordNumber(self.last.0 + 1)
    }

    /// Puts a manifest at [`Self::next`]. While it is unknown what became of it the same bytes are to be put again.
    pub fn put(&mut self, bytes: &[u8]) -> Recorded {
        let number = self.next();
        let outcome = self.try_put(number, bytes);
        if matches!(outcome, Ok(Recorded::Created)) {
            self.last = number;
        }
        outcome.unwrap_or_else(Recorded::Unknown)
    }

    fn try_put(&self, number: RecordNumber, bytes: &[u8]) -> Result<Recorded, StoreError> {
        let store = self.store.as_ref();
        if faults::is_on(Defect::StaleGeneration) {
            store.put_if_absent(&number.name(), bytes)?;
            return Ok(Recorded::Created);
        }
        if store.put_if_absent(&number.name(), bytes)? == Put::Exists
            && read_all(store, &number.name(), RECORD_BYTES_MAX)? != bytes
        {
            return Ok(Recorded::Lost(number));
        }
        // A newer run that has claimed above this number has not seen it.
        let above = RecordNumber(number.0 + 1);
        match store.open(&above.name()) {
            Ok(_) => Ok(Recorded::Lost(above)),
            Err(error) if error.is_not_found() => Ok(Recorded::Created),
            Err(error) => Err(error),
        }
    }
}
