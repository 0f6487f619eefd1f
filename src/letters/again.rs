//! Sends the records behind dead letters again: to where they were read from, each once.
//!
//! Partition by partition of the streams, some records at a time: with them goes how far the replay is, in one
//! transaction. So it can be interrupted anywhere, and goes on when it is asked for the same dead letters again.

use std::collections::BTreeMap;
use std::mem;
use std::ops::ControlFlow;

use slackwater_kafka::client::Cluster;
use slackwater_kafka::letters::{Extent, Forwarded, Progress, Replay, StoredRecord, TopicReader};
use slackwater_kafka::sink::RECORD_OVERHEAD_BYTES;
use slackwater_kafka::topics::{DEFAULT_TAKES, Topics};

use crate::letters::letter::{Letter, Place, Repeats, SourcePlace, behind, replayed, sent_again};
use crate::letters::selection::Selection;
use crate::letters::streams::{LettersError, check, names};
use crate::pipeline::Pipeline;
use crate::pipeline::spec::{KafkaSourceSpec, SinkKind, SourceSpec};
use crate::pipeline::topics::greeted;

/// Most records of a transaction.
const RECORDS_MAX: usize = 500;

/// Bytes that end one.
const BYTES_MAX: usize = 4 << 20;

/// What is done here, for errors.
const WHAT: &str = "replay";

/// How records are sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Which.
    pub selection: Selection,
    /// One that was sent again so often stays where it is.
    pub replays_max: u32,
    /// Whether those are sent again that a replay of this selection has sent before.
    pub again: bool,
    /// Whether they are only counted.
    pub dry_run: bool,
}

/// Why a record was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// It was sent again often enough.
    OftenEnough,
    /// It is no longer where it was read from, and the dead letter has not all of it.
    Gone,
    /// It was read from something that the pipeline does not read any more.
    Elsewhere,
    /// The topic would not take it: it is larger without compression than what that allows.
    TooLarge,
}

/// What has become of the selected dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Records that were sent, or would be.
    pub sent: u64,
    /// Of which were late.
    pub late: u64,
    /// Records that were not, and why.
    pub left: BTreeMap<Left, u64>,
    /// Whether a replay of the same selection had gone through some of them before.
    pub goes_on: bool,
}

/// Sends records again.
///
/// # Errors
/// Not with this pipeline; or brokers do not answer, and what was sent so far counts.
pub fn replay(pipeline: &Pipeline, wish: &Wish) -> Result<Outcome, LettersError> {
    check(pipeline, &wish.selection)?;
    let (cluster, source) = places(pipeline)?;
    let job = &pipeline.job.name;
    let done = Progress::of(&cluster, job, &wish.selection.name())?;
    let mut letters = TopicReader::of(&cluster)?;
    let record_bytes_max = record_bytes_max(&cluster, source)?;
    // Before anything is asked of the progress: an earlier replay that still goes on could move it.
    let mut replay = match wish.dry_run {
        true => None,
        false => Some(Replay::begin(&cluster, job, &done, record_bytes_max)?),
    };
    let parts = parts(pipeline, wish, &letters, &done)?;
    if let (Some(replay), true) = (&mut replay, wish.again) {
        // First of all: so an interrupted one can be gone on with.
        for part in &parts {
            replay.send(&[], &part.stream, part.extent.partition, part.extent.from)?;
        }
    }
    let mut sending = Sending {
        replay,
        record_bytes_max,
        sources: TopicReader::of(&cluster)?,
        topics: &source.topics,
        wish,
        batch: Vec::new(),
        batch_bytes: 0,
        outcome: Outcome {
            goes_on: parts.iter().any(|it| it.goes_on),
            ..Outcome::default()
        },
    };
    for part in parts {
        sending.part(&mut letters, &part)?;
    }
    Ok(sending.outcome)
}

/// The cluster of a pipeline that reads topics and writes topics, and what it reads.
fn places(pipeline: &Pipeline) -> Result<(Cluster, &KafkaSourceSpec), LettersError> {
    let refused = |why| LettersError::NotTopics { what: WHAT, why };
    let sink = match &pipeline.sink.kind {
        SinkKind::Kafka(sink) => sink,
        SinkKind::File { .. } => {
            let why = "dead letters of this pipeline go to files: put the records that are to be read again into a new input; \
                       `dlq show PIPELINE PLACE --json` has each as `value`, whole with `form = \"raw\"`";
            return Err(refused(why));
        }
        SinkKind::Stdout | SinkKind::Discard => {
            return Err(refused("dead letters of this pipeline are not kept"));
        }
    };
    let SourceSpec::Kafka(source) = &pipeline.source else {
        return Err(refused("this pipeline reads something else"));
    };
    if source.cluster.brokers != sink.brokers {
        let why = "source and sink of this pipeline are at different brokers, and one transaction cannot be at both";
        return Err(refused(why));
    }
    Ok((greeted(pipeline, sink)?, source))
}

/// Most bytes of a record that each of the topics takes.
fn record_bytes_max(cluster: &Cluster, source: &KafkaSourceSpec) -> Result<usize, LettersError> {
    let asked: Vec<&str> = source.topics.iter().map(String::as_str).collect();
    let takes = Topics::of(cluster)?.takes(&asked)?;
    let takes = takes.into_iter().map(|it| it.unwrap_or(DEFAULT_TAKES));
    let least = takes
        .map(|it| it.record_bytes_max)
        .min()
        .unwrap_or_default();
    let least = usize::try_from(least).unwrap_or(usize::MAX);
    Ok(least.saturating_sub(RECORD_OVERHEAD_BYTES))
}

/// Bytes of a record as the client counts them.
fn record_bytes(record: &StoredRecord) -> usize {
    let headers = record.headers.iter();
    let headers = headers.map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len) + 8);
    let key = record.key.as_ref().map_or(0, Vec::len);
    key + record.value.len() + headers.sum::<usize>()
}

/// A part of a stream that is to be gone through.
struct Part {
    stream: String,
    extent: Extent,
    goes_on: bool,
}

fn parts(
    pipeline: &Pipeline,
    wish: &Wish,
    letters: &TopicReader,
    done: &Progress,
) -> Result<Vec<Part>, LettersError> {
    let selection = &wish.selection;
    let mut parts = Vec::new();
    for stream in names(pipeline) {
        if !selection.means(stream) {
            continue;
        }
        let extents = letters.extents(stream)?;
        let done = done.read(stream, extents.len() as u32)?;
        for (whole, done) in extents.into_iter().zip(done) {
            let done = done.filter(|_| !wish.again);
            let Some(part) = selection.part_of(stream, whole) else {
                continue;
            };
            parts.push(Part {
                stream: stream.to_owned(),
                extent: Extent {
                    from: part.from.max(done.unwrap_or_default()),
                    ..part
                },
                goes_on: done.is_some(),
            });
        }
    }
    Ok(parts)
}

struct Sending<'w, 'p> {
    /// None if it is only tried.
    replay: Option<Replay<'p>>,
    record_bytes_max: usize,
    /// Reads records where they were read from.
    sources: TopicReader,
    topics: &'w [String],
    wish: &'w Wish,
    batch: Vec<Forwarded>,
    batch_bytes: usize,
    outcome: Outcome,
}

impl Sending<'_, '_> {
    fn part(&mut self, letters: &mut TopicReader, part: &Part) -> Result<(), LettersError> {
        let extent = part.extent;
        let mut failed = None;
        letters.read(&part.stream, extent, &mut |record| {
            let behind = record.offset + 1;
            let taken = self.take(part, record).and_then(|()| {
                if self.batch.len() < RECORDS_MAX && self.batch_bytes < BYTES_MAX {
                    return Ok(());
                }
                self.flush(part, behind)
            });
            match taken {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if extent.from < extent.to {
            self.flush(part, extent.to)?;
        }
        Ok(())
    }

    /// Takes what is to be sent of a record of a stream.
    fn take(&mut self, part: &Part, record: StoredRecord) -> Result<(), LettersError> {
        let place = Place {
            stream: part.stream.clone(),
            partition: record.partition,
            offset: record.offset,
        };
        let Some(letter) = Letter::of(&record) else {
            return Ok(());
        };
        if !self.wish.selection.takes(&place, &letter) {
            return Ok(());
        }
        match self.forwarded(&letter, record)? {
            Ok(forwarded) => {
                self.outcome.sent += 1;
                self.outcome.late += u64::from(letter.stage == "late");
                self.batch_bytes += forwarded.record.value.len();
                self.batch.push(forwarded);
            }
            Err(left) => *self.outcome.left.entry(left).or_default() += 1,
        }
        Ok(())
    }

    /// The record behind a dead letter, or why it is not sent.
    fn forwarded(
        &mut self,
        letter: &Letter,
        record: StoredRecord,
    ) -> Result<Result<Forwarded, Left>, LettersError> {
        let known = letter.source.as_ref();
        let Some(source) = known.filter(|it| self.topics.contains(&it.topic)) else {
            return Ok(Err(Left::Elsewhere));
        };
        let original = match letter.repeats {
            Repeats::Everything => Some(behind(record)),
            Repeats::Values | Repeats::Beginning => self.original(source)?,
        };
        let Some(original) = original else {
            return Ok(Err(Left::Gone));
        };
        if replayed(&original) >= self.wish.replays_max {
            return Ok(Err(Left::OftenEnough));
        }
        let record = StoredRecord {
            partition: source.partition,
            ..sent_again(original)
        };
        if record_bytes(&record) > self.record_bytes_max {
            return Ok(Err(Left::TooLarge));
        }
        Ok(Ok(Forwarded {
            topic: source.topic.clone(),
            record,
        }))
    }

    fn original(&mut self, source: &SourcePlace) -> Result<Option<StoredRecord>, LettersError> {
        let SourcePlace {
            topic,
            partition,
            offset,
        } = source;
        Ok(self.sources.at(topic, *partition, *offset)?)
    }

    /// Sends what was taken, and notes that everything before `offset` is done.
    fn flush(&mut self, part: &Part, offset: u64) -> Result<(), LettersError> {
        let batch = mem::take(&mut self.batch);
        self.batch_bytes = 0;
        if let Some(replay) = &mut self.replay {
            replay.send(&batch, &part.stream, part.extent.partition, offset)?;
        }
        Ok(())
    }
}
