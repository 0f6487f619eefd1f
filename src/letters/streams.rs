//! Reads the streams of dead letters of a pipeline, from topics or files.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;

use slackwater_connectors::file::committed_length;
use slackwater_dataflow::sink::OutputStream;
use slackwater_kafka::client::Fault;
use slackwater_kafka::letters::{StoredRecord, TopicReader};

use crate::letters::letter::{Place, of_line};
use crate::letters::selection::Selection;
use crate::pipeline::Pipeline;
use crate::pipeline::preflight::PreflightError;
use crate::pipeline::spec::SinkKind;
use crate::pipeline::topics;

/// Why dead letters cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LettersError {
    /// There are none that are kept.
    #[error(
        "results of this pipeline go to {0}: no dead letters are kept that could be read again"
    )]
    NotKept(&'static str),
    /// The pipeline has no such stream.
    #[error("there is no stream of dead letters `{stream}`; those of this pipeline are {known}")]
    NoStream {
        /// What was asked for.
        stream: String,
        /// Their names.
        known: String,
    },
    /// What was asked for is done with topics only.
    #[error("{what} is for topics: {why}")]
    NotTopics {
        /// What.
        what: &'static str,
        /// Why not here.
        why: &'static str,
    },
    /// What is needed to reach brokers is not there.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// Brokers do not give them.
    #[error(transparent)]
    Kafka(#[from] Fault),
    /// A file can't be read.
    #[error("cannot read `{path}`: {source}")]
    File {
        /// The file or folder.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

/// The streams of dead letters, in the order in which they are read.
const STREAMS: [OutputStream; 3] = [
    OutputStream::ValidationErrors,
    OutputStream::ProcessingErrors,
    OutputStream::LateEvents,
];

/// What becomes of each record.
pub type Each<'e> = dyn FnMut(Place, StoredRecord) -> ControlFlow<()> + 'e;

/// Names of the streams of dead letters.
pub fn names(pipeline: &Pipeline) -> [&str; 3] {
    STREAMS.map(|stream| pipeline.sink.streams.of(stream))
}

/// Looks whether all streams that are meant are there.
///
/// # Errors
/// One is not.
pub fn check(pipeline: &Pipeline, selection: &Selection) -> Result<(), LettersError> {
    let known = names(pipeline);
    let mut wanted = selection.streams.iter();
    match wanted.find(|it| !known.contains(&it.as_str())) {
        None => Ok(()),
        Some(stream) => Err(LettersError::NoStream {
            stream: stream.clone(),
            known: known.map(|name| format!("`{name}`")).join(", "),
        }),
    }
}

/// Reads all records that a selection reaches, stream by stream, partition by partition, in order, until `each` has seen
/// enough. Which of them are meant is for `each` to say.
///
/// # Errors
/// They cannot be read.
pub fn read(
    pipeline: &Pipeline,
    selection: &Selection,
    each: &mut Each<'_>,
) -> Result<(), LettersError> {
    check(pipeline, selection)?;
    match &pipeline.sink.kind {
        SinkKind::Stdout => Err(LettersError::NotKept("the standard output")),
        SinkKind::Discard => Err(LettersError::NotKept("nowhere")),
        SinkKind::File { path } => read_files(pipeline, Path::new(path), selection, each),
        SinkKind::Kafka(spec) => {
            let mut reader = TopicReader::of(&topics::greeted(pipeline, spec)?)?;
            read_topics(pipeline, &mut reader, selection, each)
        }
    }
}

fn read_topics(
    pipeline: &Pipeline,
    reader: &mut TopicReader,
    selection: &Selection,
    each: &mut Each<'_>,
) -> Result<(), LettersError> {
    for stream in names(pipeline) {
        if !selection.means(stream) {
            continue;
        }
        let wholes = reader.extents(stream)?.into_iter();
        for part in wholes.filter_map(|whole| selection.part_of(stream, whole)) {
            let mut flow = ControlFlow::Continue(());
            reader.read(stream, part, &mut |record| {
                let place = Place {
                    stream: stream.to_owned(),
                    partition: record.partition,
                    offset: record.offset,
                };
                flow = each(place, record);
                flow
            })?;
            if flow.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn read_files(
    pipeline: &Pipeline,
    root: &Path,
    selection: &Selection,
    each: &mut Each<'_>,
) -> Result<(), LettersError> {
    for stream in names(pipeline) {
        for shard in 0..pipeline.sink.shards {
            if !selection.reaches(stream, shard) {
                continue;
            }
            let path = root.join(stream).join(format!("shard-{shard}.jsonl"));
            let read = read_file(&path, stream, shard, selection, each);
            let flow = read.map_err(|source| LettersError::File {
                path: path.display().to_string(),
                source,
            })?;
            if flow.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reads the lines of a part that whole epochs have written.
fn read_file(
    path: &Path,
    stream: &str,
    shard: u32,
    selection: &Selection,
    each: &mut Each<'_>,
) -> io::Result<ControlFlow<()>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        // A stream on which nothing has gone out yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_written(path) => {
            return Ok(ControlFlow::Continue(()));
        }
        Err(error) => return Err(error),
    };
    let end = committed_length(path).unwrap_or(file.metadata()?.len());
    // From the byte before, whose line, if it does not end there, is another one's.
    let from = selection.from.unwrap_or_default().min(end);
    let mut offset = from.saturating_sub(1);
    file.seek(SeekFrom::Start(offset))?;
    let mut lines = BufReader::new(file.take(end - offset));
    let mut line = Vec::new();
    if from > 0 {
        offset += lines.read_until(b'\n', &mut line)? as u64;
    }
    loop {
        line.clear();
        let length = lines.read_until(b'\n', &mut line)? as u64;
        let is_whole = line.last() == Some(&b'\n');
        if !is_whole || selection.to.is_some_and(|to| offset >= to) {
            return Ok(ControlFlow::Continue(()));
        }
        let place = Place {
            stream: stream.to_owned(),
            partition: shard,
            offset,
        };
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        if each(place, of_line(text)).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        offset += length;
    }
}

/// Whether the outputs are there to which this file belongs: then nothing has come onto its stream.
fn is_written(path: &Path) -> bool {
    let root = path.parent().and_then(Path::parent);
    root.is_some_and(|root| fs::metadata(root).is_ok_and(|it| it.is_dir()))
}
