//! Files as a source: each is one partition, in the order of their paths. A file has ended where it
//! ends, or is followed: then its reader waits there for more, and says when it has been silent for long.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::place::{Mark, Offset, PartitionId};
use slackwater_dataflow::source::{
    Demand, Origin, Partition, Polled, Readiness, Share, Source, SourceError, SourceReader, Start,
    Starts, Topics, Wake,
};

use crate::file::again::{self, Tail};
use crate::file::compressed::{decompressed, is_compressed};
use crate::file::form::{FileForm, OpenTable, Records, TableReader, form};
use crate::file::growing::{Growing, Pause};
use crate::file::lines::{BLOCK_BYTES, LineReader, Lines};
use crate::file::listing::{self, Listing, failed};
use crate::file::rows::{CellKinds, Header, RowReader};

/// How often to look for new files in a followed folder: soon enough that nobody waits, and a look at a thousand
/// names takes a millisecond.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Which files are read, and how.
#[derive(Clone, Debug)]
pub struct FileConfig {
    /// A path, or a pattern like `events/*.jsonl` (`*`, `?`, `[..]`, `**`). A file whose name has these
    /// characters in it is found by its name first.
    pub path: String,
    /// Whether to wait for more at the end of each file, without end. What is behind the last line feed is no
    /// record then before its line feed comes.
    pub follow: bool,
    /// After which time without anything new a followed file is silent; none if it never is.
    pub silent_after: Option<Duration>,
    /// Folders that nothing is read from that is found later: those of the job's outputs.
    pub not_below: Vec<PathBuf>,
    /// Longest record that is handed out whole, in bytes.
    pub max_bytes: usize,
    /// What columns of CSV are.
    pub cells: CellKinds,
    /// Opens tables of Parquet; none if they cannot be read.
    pub tables: Option<OpenTable>,
}

/// Files of JSON lines, of CSV where their names end in `.csv`, both decompressed where these end in `.gz` or `.zst`, and
/// tables where they end in `.parquet`. The offset of a record is the position of its first byte in its file; of a
/// compressed file, in what it decompresses to; of a table its row. To open a compressed file elsewhere than at its
/// beginning takes as long as to decompress all that is before.
pub struct FileSource {
    /// Those of the start.
    partitions: Vec<Partition>,
    paths: Vec<PathBuf>,
    topics: Arc<Topics>,
    files: Arc<Files>,
}

/// What readers need of their source.
struct Files {
    config: FileConfig,
    /// Of the start, and found since.
    listing: Listing,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSource")
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

impl FileSource {
    /// Finds the files and checks that each can be read.
    ///
    /// Partitions are numbered in the order of the paths' bytes; their topic is the path as the pattern
    /// matched it. Where files are followed by a pattern, those that come later are found, and get the next numbers.
    /// The `clock` says when to look at a followed file again, and how long it has been silent.
    ///
    /// # Errors
    /// No file matches and none is waited for, one is a folder or can't be opened, one is compressed or a table and is to be
    /// followed, one of CSV has no header, or there are more than 1,000.
    pub fn new(config: FileConfig, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        FileSource::resumed(config, &[], &Starts::beginning(), clock)
    }

    /// The same for a job that has read the `known` partitions up to `starts`: they keep their numbers, and
    /// files that are new get the next higher ones. A file that had ended may be gone; its partition is there
    /// all the same.
    ///
    /// # Errors
    /// Those of [`FileSource::new`], or a known file that had not ended is not found.
    pub fn resumed(
        config: FileConfig,
        known: &[Partition],
        starts: &Starts,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SourceError> {
        let numbered = listing::list(&config.path, config.follow, known, starts)?;
        for (&id, path) in &numbered {
            if !starts.has_ended(id) {
                check_form(&config, path)?;
            }
        }
        let partitions = numbered.iter();
        let partitions: Vec<_> = partitions
            .map(|(&id, path)| listing::partition(id, path))
            .collect();
        Ok(FileSource {
            topics: Arc::new(Topics::of(&partitions)),
            partitions,
            paths: numbered.values().cloned().collect(),
            files: Arc::new(Files {
                config,
                listing: Listing::of(numbered),
                clock,
            }),
        })
    }

    /// The files, by partition.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

impl Source for FileSource {
    fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    fn open(
        &self,
        share: Share,
        from: &Starts,
        _: Wake,
    ) -> Result<Box<dyn SourceReader>, SourceError> {
        let mut files = Vec::new();
        for (partition, path) in self.partitions.iter().zip(&self.paths) {
            if !share.reads(partition.id) {
                continue;
            }
            let read = match from.of(partition.id) {
                None => 0,
                Some(Start::At(offset)) => offset.0,
                Some(Start::Ended) => continue,
            };
            let mark = from.mark(partition.id);
            files.push(self.files.open(partition, path, (read, mark))?);
        }
        Ok(Box::new(FileReader {
            files,
            ended: BTreeMap::new(),
            turn: 0,
            source: Arc::clone(&self.files),
        }))
    }

    fn may_change(&self) -> bool {
        self.files.config.silent_after.is_some() || self.look_every().is_some()
    }

    fn look_every(&self) -> Option<Duration> {
        self.files.is_open_ended().then_some(LOOK_EVERY)
    }

    fn look(&self) -> Result<Vec<Partition>, SourceError> {
        let config = &self.files.config;
        let found = self.files.listing.look(&config.path, &config.not_below)?;
        self.topics.add(&found);
        Ok(found)
    }

    fn topics(&self) -> Arc<Topics> {
        Arc::clone(&self.topics)
    }
}

impl Files {
    /// Whether files may come.
    fn is_open_ended(&self) -> bool {
        self.config.follow && listing::is_pattern(&self.config.path)
    }

    /// Opens the file of a partition at the byte that it was read to, where it had this mark.
    fn open(
        &self,
        partition: &Partition,
        path: &Path,
        read: (u64, Option<Mark>),
    ) -> Result<OpenFile, SourceError> {
        let records = self
            .records(path, read)
            .map_err(|error| failed("open", &partition.topic, error))?;
        Ok(OpenFile {
            partition: partition.clone(),
            records,
            pause: Pause::default(),
            silence: None,
        })
    }

    /// A reader of the file at `path` from where it was read to.
    fn records(&self, path: &Path, read: (u64, Option<Mark>)) -> io::Result<Records> {
        let max_bytes = self.config.max_bytes;
        let form = form(path);
        if form == FileForm::Parquet {
            return table(&self.config, path, read).map(Records::Table);
        }
        let (content, tail) = self.content(path, read)?;
        if form == FileForm::Lines {
            let lines = LineReader::new(content, max_bytes, BLOCK_BYTES);
            return Ok(Records::Lines(Box::new(lines.beginning_at(read.0, tail))));
        }
        let mut rows = RowReader::new(content, max_bytes, self.config.cells.clone());
        if read.0 > 0 {
            let header = header(&self.config, path)?.ok_or_else(header_gone)?;
            rows = rows.beginning_at(read.0, tail, header);
        }
        Ok(Records::Rows(Box::new(rows)))
    }

    /// What the file at `path` stands for, from the byte that it was read to, and what stands before that.
    fn content(
        &self,
        path: &Path,
        (read, mark): (u64, Option<Mark>),
    ) -> io::Result<(Box<dyn Read>, Tail)> {
        let mut file = File::open(path)?;
        if is_compressed(path) {
            let mut content = decompressed(path, file)?;
            let tail = again::skip(&mut content, read, mark)?;
            return Ok((content, tail));
        }
        let follow = self.config.follow;
        let tail = again::seek(&mut file, read, mark, follow)?;
        let content: Box<dyn Read> = if follow {
            Box::new(Growing::new(file, path.to_owned(), read, tail.clone()))
        } else {
            Box::new(file)
        };
        Ok((content, tail))
    }
}

/// Looks whether a file is what its name says, as far as that is seen at its beginning.
fn check_form(config: &FileConfig, path: &Path) -> Result<(), SourceError> {
    let checked = match form(path) {
        FileForm::Lines => Ok(()),
        FileForm::Csv => header(config, path).map(drop),
        FileForm::Parquet => table(config, path, (0, None)).map(drop),
    };
    checked.map_err(|error| failed("open", &path.to_string_lossy(), error))
}

/// The header of a file of CSV; none if it is not there yet, of one that is followed.
fn header(config: &FileConfig, path: &Path) -> io::Result<Option<Header>> {
    let content = decompressed(path, File::open(path)?)?;
    let content: Box<dyn Read> = match config.follow {
        true => Box::new(Unended(content)),
        false => content,
    };
    RowReader::new(content, config.max_bytes, config.cells.clone()).header()
}

fn header_gone() -> io::Error {
    io::Error::other(
        "its header is gone, which was there: restore it, or start over with `--fresh`",
    )
}

/// The rows of a table from the one that it was read to.
fn table(
    config: &FileConfig,
    path: &Path,
    (row, mark): (u64, Option<Mark>),
) -> io::Result<TableReader> {
    let OpenTable(open) = config.tables.ok_or_else(|| {
        let message = "this program cannot read tables of Parquet: it needs one that was built with `--features parquet`";
        io::Error::new(io::ErrorKind::Unsupported, message)
    })?;
    let table = open(path, row)?;
    if mark.is_some_and(|mark| mark != table.mark()) {
        return Err(again::other_table(row));
    }
    Ok(TableReader::new(table, row, config.max_bytes))
}

/// A file that may have more later.
struct Unended(Box<dyn Read>);

impl Read for Unended {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

struct OpenFile {
    partition: Partition,
    records: Records,
    /// Until when it need not be looked at; never ahead of a file that is not followed.
    pause: Pause,
    /// Since when nothing new has come, by looks; none if something has at the last one.
    silence: Option<Silence>,
}

/// Looks that have found nothing.
#[derive(Clone, Copy)]
struct Silence {
    /// A reading of the clock.
    since: Duration,
    /// Bytes of a line without its end that were there.
    unfinished: u64,
}

impl OpenFile {
    /// A look at `now` has come to the file's end; whether something was `found` before. How long nothing has come.
    fn look(&mut self, now: Duration, found: bool) -> Duration {
        let unfinished = self.records.unfinished();
        // A writer that is inside a line is not silent.
        let before = self.silence.filter(|it| it.unfinished == unfinished);
        let since = before.filter(|_| !found).map_or(now, |it| it.since);
        self.silence = Some(Silence { since, unfinished });
        now.saturating_sub(since)
    }
}

/// Reads its files in turn, so that none runs far ahead of the others in event time.
struct FileReader {
    /// Files that have not ended.
    files: Vec<OpenFile>,
    /// The lengths of those that have.
    ended: BTreeMap<PartitionId, Offset>,
    /// Whose turn it is.
    turn: usize,
    source: Arc<Files>,
}

impl FileReader {
    /// What to expect when no file can be read now: the first pause of an allowed file to end, if there is one.
    fn silence(&self, demand: Demand<'_>, now: Duration) -> Readiness {
        let files = self.files.iter();
        let allowed = files.filter(|file| demand.allows(file.partition.id));
        let pauses = allowed.map(|file| file.pause.left(now));
        pauses
            .min()
            .map_or(Readiness::Waiting, Readiness::LookAgain)
    }
}

impl SourceReader for FileReader {
    fn poll(
        &mut self,
        demand: Demand<'_>,
        emit: &mut dyn FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<Readiness, SourceError> {
        if self.files.is_empty() {
            // Who opens a file that is found polls afterwards.
            let may_come = self.source.is_open_ended();
            return Ok(if may_come {
                Readiness::Waiting
            } else {
                Readiness::Finished
            });
        }
        let now = self.source.clock.monotonic();
        let will_do = |file: &OpenFile| {
            demand.allows(file.partition.id) && file.pause.left(now) == Duration::ZERO
        };
        let Some(turn) = next_from(self.turn, &self.files, will_do) else {
            return Ok(self.silence(demand, now));
        };
        self.turn = turn;
        let file = &mut self.files[turn];
        let partition = file.partition.id;
        let mut found = false;
        let lines = file
            .records
            .read(demand.limit, &mut |offset, payload| {
                found = true;
                emit(Polled::Record {
                    partition,
                    offset,
                    payload,
                    origin: Origin::default(),
                })
            })
            .map_err(|error| failed("read", &file.partition.topic, error))?;
        match lines {
            Lines::More => {
                file.pause.lift();
                file.silence = None;
            }
            Lines::Dry => {
                file.pause.begin(now, found);
                let quiet = file.look(now, found);
                let after = self.source.config.silent_after;
                if after.is_some_and(|after| quiet >= after) {
                    let _ = emit(Polled::Silent(partition));
                }
            }
            Lines::Ended => {
                // The next file slides into this one's place.
                self.ended.insert(partition, file.records.position());
                self.files.remove(turn);
                let _ = emit(Polled::Finished(partition));
                return Ok(if self.files.is_empty() {
                    Readiness::Finished
                } else {
                    Readiness::More
                });
            }
        }
        self.turn += 1;
        // Whether there is one that can be read now is the next poll's question.
        Ok(Readiness::More)
    }

    fn position(&self, partition: PartitionId) -> Option<Offset> {
        let mut files = self.files.iter();
        let open = files.find(|file| file.partition.id == partition);
        open.map(|file| file.records.position())
            .or_else(|| self.ended.get(&partition).copied())
    }

    fn mark(&self, partition: PartitionId) -> Option<Mark> {
        let mut files = self.files.iter();
        let open = files.find(|file| file.partition.id == partition)?;
        open.records.mark()
    }

    fn begin(&mut self, partition: &Partition) -> Result<(), SourceError> {
        let path = self.source.listing.path(partition.id);
        let path = path.unwrap_or_else(|| PathBuf::from(&*partition.topic));
        self.files
            .push(self.source.open(partition, &path, (0, None))?);
        Ok(())
    }
}

/// The position of the first item from `start` on, round and round, that will do.
fn next_from<T>(start: usize, items: &[T], will_do: impl Fn(&T) -> bool) -> Option<usize> {
    let positions = (start..items.len()).chain(0..start.min(items.len()));
    let mut positions = positions.filter(|&at| items.get(at).is_some_and(&will_do));
    positions.next()
}

#[cfg(test)]
mod tests;
