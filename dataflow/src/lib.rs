//! WHEN things happen.

pub mod place;
pub mod source;
pub mod sink;
