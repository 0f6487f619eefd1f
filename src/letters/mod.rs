//! Dead letters as they lie in topics and files: what each says, in either form, and which of them are meant.
//!
//! - [`letter`]: what a record of a stream of dead letters says.
//! - [`selection`]: which of them a person means.
//! - [`streams`]: reads those of a pipeline, wherever they are.
//! - [`again`]: sends the records behind them again.

pub mod letter;
pub mod selection;
pub mod streams;
pub mod again;
