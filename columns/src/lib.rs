//! TABLES IN COLUMNS: rows of Parquet as JSON objects, and feature vectors as Parquet.
//!
//! All that knows Parquet and Arrow is here, behind one feature of the program, because it is heavy: nothing else names
//! their types, and this names none of ours.
//!
//! - [`reading`]: the rows of a file, one after the other.
//! - [`writing`]: vectors with what identifies them and what is to be predicted of them.

mod json;

pub mod reading;
pub mod writing;
