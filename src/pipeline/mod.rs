//! The pipeline file: from its text to either a typed [`Pipeline`] or every mistake in it at once.
//!
//! A person who edits a pipeline file should need one run to see all that is wrong with it, each
//! mistake with its line, column and what would be right, before anything starts. So reading has
//! three steps, and none stops at the first mistake:
//!
//! 1. the recoverable TOML parser gives a tree with positions, and its syntax mistakes; [`layers`] puts into it what the
//!    environment and the command line say;
//! 2. [`keys`] declares every key once, and `read` holds the tree against that table: unknown keys,
//!    wrong types, values out of range, keys that are missing or not supported in this version;
//! 3. `resolve` turns names into indices and checks what one key says about another.
//!
//! From the same table comes [`schema`], for editors.
//!
//! None of this opens a file, a model or a socket. What does stands behind it: [`plan`] turns a typed
//! pipeline into the plans of the stages, [`topics`] reaches Kafka, [`graph`] opens what it names and builds the graph, and
//! [`preflight`] says what keeps it from that. [`outline`] shows what would be built, and [`effective`] the file that
//! says so, with all layers and defaults.

mod units;
pub mod mistakes;
pub mod keys;
pub mod schema;
mod value;
pub(crate) mod saved;
pub(crate) mod tables;
pub mod layers;
mod read;
pub mod spec;
mod resolve;
pub mod effective;
pub mod plan;
pub mod preflight;
pub mod identity;
pub(crate) mod topics;
pub(crate) mod servers;
pub(crate) mod lookups;
pub(crate) mod mirror;
pub mod graph;
#[cfg(feature = "parquet")]
pub(crate) mod feature_tables;
pub mod outline;

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests;

pub use mistakes::{Mistake, Mistakes};
pub use spec::Pipeline;

use layers::{Layers, Places};
use mistakes::Findings;
use read::Section;
use slackwater_operators::window::MARKS_MAX;
use toml::de::DeTable;

/// A pipeline file is written by hand; a larger one is some other file named by accident, and
/// listing its mistakes would help nobody.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

impl Pipeline {
    /// Reads a pipeline file. `file_name` is only used to name the file in mistakes. Of a file that is
    /// too long, [`MAX_FILE_BYTES`] and one more byte are enough.
    ///
    /// # Errors
    /// All mistakes of the file, sorted by position; at least one.
    pub fn parse_bytes(file_name: &str, bytes: &[u8]) -> Result<Self, Mistakes> {
        Self::parse(file_name, text_of(file_name, bytes)?)
    }

    /// Reads the text of a pipeline file, as [`Self::parse_bytes`] does.
    ///
    /// # Errors
    /// All mistakes of the file, sorted by position; at least one.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Mistakes> {
        Self::parse_layered(file_name, text.as_bytes(), &Layers::default())
    }

    /// Reads a pipeline file as [`Self::parse_bytes`] does, with what is said above it.
    ///
    /// # Errors
    /// All mistakes of the file, sorted by position, and then those of the layers; at least one.
    pub fn parse_layered(file_name: &str, bytes: &[u8], layers: &Layers) -> Result<Self, Mistakes> {
        let text = text_of(file_name, bytes)?;
        parse_tree(file_name, text, layers).map(|parsed| parsed.pipeline)
    }
}

/// A pipeline, and the tree that it was read from.
struct Parsed<'t> {
    pipeline: Pipeline,
    tree: DeTable<'t>,
    places: Places,
}

fn parse_tree<'t>(
    file_name: &str,
    text: &'t str,
    layers: &'t Layers,
) -> Result<Parsed<'t>, Mistakes> {
    let mut findings = Findings::default();
    let (tree, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let at = error.span().map_or(0, |span| span.start);
        findings.syntax(text, at, error.message());
    }
    let mut tree = tree.into_inner();
    let places = layers.apply(text.len(), &mut tree, &mut findings);
    let root = read::file(&tree, &mut findings);
    let pipeline = resolve::pipeline(&root, &mut findings);
    if let Some(pipeline) = pipeline.as_ref().filter(|_| findings.is_empty()) {
        find_excess(pipeline, &root, &mut findings);
    }
    match pipeline {
        Some(mut pipeline) if findings.is_empty() => {
            if let Some((model, section)) = pipeline.model.as_mut().zip(root.table("model")) {
                model.place = mistakes::place(file_name, text, section.at);
            }
            Ok(Parsed {
                pipeline,
                tree,
                places,
            })
        }
        _ => Err(findings.settle(file_name, text)),
    }
}

/// Where features ask for more of windows than can be kept, that is a mistake of the last one.
fn find_excess(pipeline: &Pipeline, root: &Section, findings: &mut Findings) {
    let last = root.tables("feature").last().map(|section| section.at);
    if let Some(((key, marks), at)) = plan::features::excess(pipeline).zip(last) {
        let message = format!(
            "features over windows of key {key} have {marks} different `where` and `distinct`, at most {MARKS_MAX} go together: leave some out, or make them of others with `expr`"
        );
        findings.add(at, message);
    }
}

/// The text of a pipeline file, or the one mistake that is to be told of a file that is none.
fn text_of<'b>(file_name: &str, bytes: &'b [u8]) -> Result<&'b str, Mistakes> {
    let alone = |at: usize, text: &str, message: String| {
        let mut findings = Findings::default();
        findings.add(at, message);
        Err(findings.settle(file_name, text))
    };
    if bytes.len() > MAX_FILE_BYTES {
        let most = units::show_bytes(MAX_FILE_BYTES as u64);
        let message = format!(
            "the file has more than {most}: expected a pipeline file, which is written by hand in TOML"
        );
        return alone(0, "", message);
    }
    str::from_utf8(bytes).or_else(|error| {
        let at = error.valid_up_to();
        let text = bytes.get(..at).map(String::from_utf8_lossy);
        let message = format!(
            "byte {at} of the file is not UTF-8: expected a pipeline file, which is text in TOML"
        );
        alone(at, &text.unwrap_or_default(), message)
    })
}
