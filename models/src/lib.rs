//! What a network says about a batch of rows: loading ONNX models, refusing wrong ones, scoring.
//!
//! The crate knows numbers only: rows of `f32` in, one `f32` or some a row out. It knows nothing of events,
//! keys or streams, so it can be tested and measured alone.
//!
//! In reading order:
//! - [`digest`]: the SHA-256 by which a pipeline names the one model it accepts.
//! - [`spec`]: what a caller asks for ([`ModelSpec`]) and every way of refusing it ([`LoadError`]).
//! - [`info`]: who a loaded model is.
//! - `onnx`: the only file that touches the ONNX runtime.
//! - `golden`: rows with known scores, compared at every load.
//! - [`model`]: the loaded [`Model`], shared by threads, and the [`Scorer`] that each of them has.
//! - [`builtin`]: the reference model, embedded.

pub mod digest;
pub mod spec;
pub mod info;

mod panics;
mod vector_state;
mod onnx;

mod golden;
pub mod model;

pub mod builtin;

pub use digest::ModelDigest;
pub use golden::GoldenMatch;
pub use info::{ModelInfo, OutputInfo};
pub use model::{Model, Scorer};
pub use spec::{LoadError, ModelSpec, OutputSpec, ScoreError};
