//! The last stage: final bytes of every record, decided once.
//!
//! - [`EncodePredictions`]: scored events. [`EncodeVectors`]: feature vectors in their place, where there is no model.
//! - [`EncodeDeadLetters`]: rejected events, in the envelope that says why, or raw, as they were read.
//! - [`EncodeFeatures`]: feature vectors, for training.
//!
//! Records are compact JSON, one a line or each with its address, or rows of a table ([`Form`]). The clock is read once per batch, never per event.

mod json;
mod form;
mod raw;
mod dead_letter;
mod features;
mod around;
mod prediction;
mod vectors;

pub use self::dead_letter::{DeadLetterPlan, EncodeDeadLetters};
pub use self::features::{EncodeFeatures, FeatureRow, FeatureRowPlan};
pub use self::form::Form;
pub use self::prediction::{EncodePredictions, ModelIdentity, PredictionPlan};
pub use self::raw::RawPlan;
pub use self::vectors::{EncodeVectors, VectorPlan};

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
