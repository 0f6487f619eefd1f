//! The pipeline file: from its text to either a typed [`Pipeline`] or every mistake in it at once.
//!
//! A person who edits a pipeline file should need one run to see all that is wrong with it, each
//! mistake with its line, column and what would be right, before anything starts. So reading has
//! three steps, and none stops at the first mistake:
//!
//! 1. the recoverable TOML parser gives a tree with positions, and its syntax mistakes;
//! 2. [`keys`] declares every key once, and `read` holds the tree against that table: unknown keys,
//!    wrong types, values out of range, keys that are missing or not supported in this version;
//! 3. `resolve` turns names into indices and checks what one key says about another.
//!
//! None of this opens a file, a model or a socket. What does stands behind it: [`plan`] turns a typed
//! pipeline into the plans of the stages, and [`graph`] opens what it names and builds the graph.

mod units;
pub mod mistakes;
pub mod keys;
mod value;
mod read;
pub mod spec;
mod resolve;
pub mod plan;
pub mod graph;

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests;

pub use mistakes::{Mistake, Mistakes};
pub use spec::Pipeline;

use mistakes::Findings;
use toml::de::DeTable;

/// A pipeline file is written by hand; a larger one is some other file named by accident, and
/// listing its mistakes would help nobody.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

impl Pipeline {
    /// Reads the text of a pipeline file. `file_name` is only used to name the file in mistakes.
    ///
    /// # Errors
    /// All mistakes of the file, sorted by position; at least one.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Mistakes> {
        let mut findings = Findings::default();
        if text.len() > MAX_FILE_BYTES {
            findings.add(
                0,
                format!(
                    "the file has {} bytes, a pipeline file has at most {MAX_FILE_BYTES}",
                    text.len()
                ),
            );
            return Err(findings.settle(file_name, text));
        }
        let (tree, syntax) = DeTable::parse_recoverable(text);
        for error in &syntax {
            let at = error.span().map_or(0, |span| span.start);
            findings.syntax(text, at, error.message());
        }
        let root = read::file(tree.get_ref(), &mut findings);
        let pipeline = resolve::pipeline(&root, &mut findings);
        match pipeline {
            Some(pipeline) if findings.is_empty() => Ok(pipeline),
            _ => Err(findings.settle(file_name, text)),
        }
    }
}
