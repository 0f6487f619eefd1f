//! What a pipeline needs besides its own text, checked before anything is read or written: no run may
//! find out half-way that it writes over its own input, or that none of its events has the right fields.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use slackwater_connectors::file::{FileSink, FileSinkConfig};
use slackwater_connectors::generator::{GeneratorError, field_names};
use slackwater_dataflow::sink::{OutputStream, SinkError};
use slackwater_dataflow::source::SourceError;
use slackwater_kafka::client::Fault;
use slackwater_kafka::security::is_secret;
use slackwater_models::{LoadError, builtin};

use crate::pipeline::Pipeline;
use crate::pipeline::lookups::called;
use crate::pipeline::mirror::CALLED;
use crate::pipeline::mistakes::Place;
use crate::pipeline::servers::has_password;
use crate::pipeline::spec::{FieldSpec, PropertySpec, SourceSpec};

/// Something that a pipeline needs is not as it should be; nothing has been read or written yet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreflightError {
    /// The model, or its golden vector, does not fit the pipeline.
    #[error("{place}{source}")]
    Model {
        /// Where it is declared.
        place: Place,
        /// What does not fit.
        source: LoadError,
    },
    /// A file that the pipeline names cannot be read.
    #[error("cannot read {what} `{path}`: {source}")]
    Unreadable {
        /// What it is.
        what: &'static str,
        /// Where it should be.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// Nothing scores.
    #[error("the pipeline has no [model]: its features go out as they are")]
    NoModel,
    /// There is no such embedded model.
    #[error("there is no builtin model `{0}`; `builtin:{known}` is the only one", known = builtin::USER_EVENTS)]
    NoBuiltin(String),
    /// The source cannot be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The generator's settings make no sense together.
    #[error(transparent)]
    Generator(#[from] GeneratorError),
    /// Every generated event would be rejected.
    #[error(
        "the generator cannot make events with the required field `{field}`; it makes {made}: \
         read files with `kind = \"file\"` in [source] instead",
        made = generated_fields()
    )]
    NotGenerated {
        /// The first such field.
        field: String,
    },
    /// The outputs of an earlier run are in the way.
    #[error("`{path}` holds the outputs of an earlier run; `--overwrite` replaces them")]
    OutputsExist {
        /// The first such output.
        path: PathBuf,
    },
    /// The job reads what it is to write over.
    #[error(
        "the source reads `{input}`, which lies in the folder `{folder}` of the job's own outputs; \
         write to another folder or move the input"
    )]
    InputInOutputs {
        /// The first such input, as the source names it.
        input: PathBuf,
        /// The folder of a stream.
        folder: PathBuf,
    },
    /// The outputs cannot be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Kafka is not there, or not as the pipeline needs it.
    #[error(transparent)]
    Kafka(#[from] Fault),
    /// A server is not to be had, or can't be what it is wanted for.
    #[error("{of}: {reason}")]
    Server {
        /// What in the pipeline needs it.
        of: String,
        /// Why.
        reason: String,
    },
    /// A setting can't be read from where it is.
    #[error("no value for the {name}: {place}")]
    NoSecret {
        /// What it is.
        name: String,
        /// Where it should be, and why it is not.
        place: String,
    },
    /// A setting of the Kafka client names a file that can't be read.
    #[error("the property `{name}` names `{path}`, which cannot be read: {source}")]
    NoFile {
        /// Its name.
        name: String,
        /// The file, or folder.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// Tables of Parquet are wanted of a program without them.
    #[error(
        "this program writes no tables of Parquet: it needs one that was built with \
         `cargo build --release --features parquet`"
    )]
    NoParquet,
    /// The checkpoint store can't be used.
    #[error("{0}")]
    Store(String),
}

/// What is to be said of secrets that stand in the pipeline file itself.
pub fn written_secrets(pipeline: &Pipeline) -> Vec<String> {
    let mut said = Vec::new();
    for (table, cluster) in pipeline.clusters() {
        let properties = cluster.properties.iter();
        let written = properties
            .filter(|(name, value)| is_secret(name) && matches!(value, PropertySpec::Text(_)));
        said.extend(written.map(|(name, _)| {
            format!(
                "`{name}` in the properties of [{table}] is a secret, and stands in the pipeline file, or above it, \
                 for all who can read that: write {{ env = \"NAME\" }} or {{ file = \"PATH\" }} instead"
            )
        }));
    }
    let lookups = pipeline.lookups.iter();
    let urls = lookups.map(|it| (called(it), &it.server.url));
    let mirror = pipeline.mirror.iter();
    let urls = urls.chain(mirror.map(|it| (CALLED.to_owned(), &it.server.url)));
    let with_password = urls.filter(|(_, url)| has_password(url));
    said.extend(with_password.map(|(of, _)| {
        format!(
            "`url` of {of} holds a password, which stands in the pipeline file, or above it, for all who can read that: \
             write password = {{ env = \"NAME\" }} or {{ file = \"PATH\" }} instead"
        )
    }));
    said
}

/// The fields of generated events, as a sentence says them.
pub(crate) fn generated_fields() -> String {
    field_names().map(|name| format!("`{name}`")).join(", ")
}

/// The declared fields that generated events do not have.
pub(crate) fn not_generated(pipeline: &Pipeline) -> impl Iterator<Item = &FieldSpec> {
    let fields = pipeline.event.fields.iter();
    let is_generated = |field: &FieldSpec| match field.path.as_slice() {
        [key] => field_names().contains(&key.as_str()),
        _ => false,
    };
    fields.filter(move |field| !is_generated(field))
}

/// Refuses a generator whose events would all be rejected. An optional field may be missing.
pub(crate) fn fits_generator(pipeline: &Pipeline) -> Result<(), PreflightError> {
    let is_generator = matches!(pipeline.source, SourceSpec::Generator(_));
    match not_generated(pipeline).find(|field| is_generator && field.required) {
        Some(field) => Err(PreflightError::NotGenerated {
            field: field.name.clone(),
        }),
        None => Ok(()),
    }
}

/// Refuses inputs that lie in a folder of the outputs, by whatever way their paths lead there.
pub(crate) fn inputs_outside(
    inputs: &[PathBuf],
    outputs: &FileSinkConfig,
) -> Result<(), PreflightError> {
    // A folder that is not there holds no input.
    let folders: Vec<(PathBuf, PathBuf)> = folders(outputs)
        .filter_map(|folder| Some((folder.canonicalize().ok()?, folder)))
        .collect();
    if folders.is_empty() {
        return Ok(());
    }
    for input in inputs {
        // Where the file is, and where the link to it is, if it is one: both would be replaced.
        let file = input.canonicalize().ok();
        let file = file.as_deref().and_then(Path::parent).map(Path::to_owned);
        let name = input
            .parent()
            .and_then(|parent| here(parent).canonicalize().ok());
        let places = [file, name];
        let inside = folders
            .iter()
            .find(|(canonical, _)| places.iter().flatten().any(|place| place == canonical));
        if let Some((_, folder)) = inside {
            return Err(PreflightError::InputInOutputs {
                input: input.clone(),
                folder: folder.clone(),
            });
        }
    }
    Ok(())
}

/// Checks the outputs' place as far as that goes without writing; the first output of an earlier run, if
/// there is one.
pub(crate) fn examine(outputs: &FileSinkConfig) -> Result<Option<PathBuf>, PreflightError> {
    let existing = FileSink::examine(outputs)?;
    for folder in folders(outputs) {
        // What is there of the folder: it, or what it would be made in.
        let standing = folder.ancestors().map(here).find(|path| path.exists());
        let Some(standing) = standing else { continue };
        access(standing, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| SinkError {
            action: "write below",
            subject: standing.display().to_string(),
            source: error.into(),
        })?;
    }
    Ok(existing)
}

fn folders(outputs: &FileSinkConfig) -> impl Iterator<Item = PathBuf> {
    let streams = OutputStream::ALL.into_iter();
    streams.map(|stream| outputs.root.join(outputs.folders.of(stream)))
}

/// The parent of a relative name is the empty path, which means the current folder.
fn here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::pipeline::Pipeline;
    use crate::pipeline::preflight::written_secrets;

    #[test]
    fn is_a_secret_in_the_file_itself_told_without_it() {
        let on_kafka = include_str!("../../pipelines/user-events.kafka.toml");
        let check = |value: &str, count: usize| {
            let property = format!("properties = {{ \"sasl.password\" = {value} }}\n");
            let text = on_kafka.replace("\n[sink]\n", &format!("\n[sink]\n{property}"));
            let pipeline = Pipeline::parse("job.toml", &text).unwrap();
            let told = written_secrets(&pipeline);
            assert_eq!(told.len(), count, "{told:?}");
            for told in told {
                let what = told.starts_with("`sasl.password` in the properties of [sink] is");
                assert!(what && !told.contains("canary"), "{told}");
            }
            // Nor does anything else that can be shown of it, or kept with a checkpoint.
            assert!(!format!("{pipeline:?}").contains("canary"));
        };
        check("\"canary\"", 1);
        check("{ env = \"PASSWORD\" }", 0);
        check("{ file = \"password\" }", 0);
    }
}
