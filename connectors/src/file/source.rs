//! JSONL files as a source: each file is one partition, in the order of their paths. A file has ended where it
//! ends, or is followed: then its reader waits there for more.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::source::{
    Demand, Partition, Polled, Readiness, Share, Source, SourceError, SourceReader, Start, Starts,
    Wake,
};

use crate::file::again;
use crate::file::compressed::{decompressed, is_compressed};
use crate::file::growing::{Growing, Pause};
use crate::file::lines::{BLOCK_BYTES, LineReader, Lines};

/// Files of one source. Every one is open with a block of its own while it is read, which makes 256 MiB,
/// and more only while a record longer than a block is put together; the usual limit of 1,024 open files
/// is near it too. A compressed file also has its decoder: 100 KiB for gzip, for Zstandard the window that its
/// writer chose, 2 MiB by default.
const FILES_MAX: usize = 1_000;

/// Which files are read, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileConfig {
    /// A path, or a pattern like `events/*.jsonl` (`*`, `?`, `[..]`, `**`). A file whose name has these
    /// characters in it is found by its name first.
    pub path: String,
    /// Whether to wait for more at the end of each file, without end. What is behind the last line feed is no
    /// record then before its line feed comes.
    pub follow: bool,
    /// Longest record that is handed out whole, in bytes.
    pub max_bytes: usize,
}

/// Files of JSON lines, decompressed where their names end in `.gz` or `.zst`. The offset of a record is
/// the position of its first byte in its file; of a compressed file, in what it decompresses to. To open one
/// elsewhere than at its beginning takes as long as to decompress all that is before.
pub struct FileSource {
    partitions: Vec<Partition>,
    paths: Vec<PathBuf>,
    follow: bool,
    max_bytes: usize,
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
    /// matched it. Files that come later are not found. The `clock` says when to look at a followed file again.
    ///
    /// # Errors
    /// No file matches, one is a folder or can't be opened, one is compressed and is to be followed, or there
    /// are more than 1,000.
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
        let mut paths = matching(&config.path)?;
        paths.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
        let numbered = number(&config.path, paths, known, starts)?;
        if numbered.is_empty() {
            let nothing = io::Error::new(io::ErrorKind::NotFound, "no file matches the pattern");
            return Err(failed("open", &config.path, nothing));
        }
        let to_read = numbered.keys().filter(|&&id| !starts.has_ended(id)).count();
        if to_read > FILES_MAX {
            let message = format!(
                "{to_read} files match, at most {FILES_MAX} can be read by one job; \
                 join some of them or use a narrower pattern"
            );
            return Err(failed("open", &config.path, invalid(message)));
        }
        let mut partitions = Vec::with_capacity(numbered.len());
        for (&id, path) in &numbered {
            if !starts.has_ended(id) {
                check(path, config.follow)?;
            }
            let topic = Arc::from(path.to_string_lossy());
            partitions.push(Partition { id, topic });
        }
        Ok(FileSource {
            partitions,
            paths: numbered.into_values().collect(),
            follow: config.follow,
            max_bytes: config.max_bytes,
            clock,
        })
    }

    /// The files, by partition.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

/// The number of each file: that of the known partition of its path, else the next one that no partition has.
/// Another number would give the events of a file another place, and others the places that they had.
fn number(
    pattern: &str,
    paths: Vec<PathBuf>,
    known: &[Partition],
    starts: &Starts,
) -> Result<BTreeMap<PartitionId, PathBuf>, SourceError> {
    let of_path: BTreeMap<&str, PartitionId> = known
        .iter()
        .map(|known| (&*known.topic, known.id))
        .collect();
    let last = known.iter().map(|known| known.id.0).max();
    let mut next = last.map_or(0, |last| last.saturating_add(1));
    let mut numbered = BTreeMap::new();
    for path in paths {
        let name = path.to_string_lossy();
        let id = of_path.get(&*name).copied().unwrap_or_else(|| {
            let id = PartitionId(next);
            next = next.saturating_add(1);
            id
        });
        let name = name.into_owned();
        if numbered.insert(id, path).is_some() {
            return Err(failed(
                "open",
                &name,
                invalid(format!("two files have number {id}")),
            ));
        }
    }
    for Partition { id, topic } in known {
        if starts.has_ended(*id) {
            let path = || PathBuf::from(&**topic);
            numbered.entry(*id).or_insert_with(path);
        } else if !numbered.contains_key(id) {
            let message = format!(
                "it was not read to its end, and is not among the files of `{pattern}` any more: put it \
                 back, or start over with `--fresh`"
            );
            let gone = io::Error::new(io::ErrorKind::NotFound, message);
            return Err(failed("open", topic, gone));
        }
    }
    Ok(numbered)
}

/// The paths that `pattern` stands for; perhaps one of a file that does not exist.
fn matching(pattern: &str) -> Result<Vec<PathBuf>, SourceError> {
    if !pattern.contains(['*', '?', '[']) || Path::new(pattern).exists() {
        return Ok(vec![PathBuf::from(pattern)]);
    }
    let matches = glob::glob(pattern)
        .map_err(|error| failed("read the pattern", pattern, invalid(error.to_string())))?;
    let mut paths = Vec::new();
    for found in matches {
        paths.push(found.map_err(|error| {
            let path = error.path().to_string_lossy().into_owned();
            failed("list", &path, error.into())
        })?);
    }
    Ok(paths)
}

fn check(path: &Path, follow: bool) -> Result<(), SourceError> {
    let subject = path.to_string_lossy();
    let metadata = fs::metadata(path).map_err(|error| failed("open", &subject, error))?;
    if metadata.is_dir() {
        let message = "it is a folder, expected a file; a pattern like `folder/*.jsonl` reads the \
                       files in a folder";
        let folder = io::Error::new(io::ErrorKind::IsADirectory, message);
        return Err(failed("open", &subject, folder));
    }
    if !metadata.is_file() {
        // Reading one can block for ever, and its worker with it.
        let message =
            "it is a pipe or a device, expected a file; the path \"-\" reads the standard input";
        return Err(failed("open", &subject, invalid(message.to_owned())));
    }
    File::open(path).map_err(|error| failed("open", &subject, error))?;
    if follow && is_compressed(path) {
        let message = "it is compressed: where its records end is known when it has ended, so it \
                       cannot be followed";
        return Err(failed("follow", &subject, invalid(message.to_owned())));
    }
    Ok(())
}

fn failed(action: &'static str, subject: &str, source: io::Error) -> SourceError {
    SourceError {
        action,
        subject: subject.to_owned(),
        source,
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
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
            let content = self
                .content(path, read)
                .map_err(|error| failed("open", &partition.topic, error))?;
            let lines = LineReader::new(content, self.max_bytes, BLOCK_BYTES);
            files.push(OpenFile {
                partition: partition.clone(),
                lines: lines.beginning_at(read),
                pause: Pause::default(),
            });
        }
        Ok(Box::new(FileReader {
            files,
            ended: BTreeMap::new(),
            turn: 0,
            clock: Arc::clone(&self.clock),
        }))
    }
}

impl FileSource {
    /// What the file at `path` stands for, from the byte that it was read to.
    fn content(&self, path: &Path, read: u64) -> io::Result<Box<dyn Read>> {
        let mut file = File::open(path)?;
        if is_compressed(path) {
            let mut content = decompressed(path, file)?;
            again::skip(&mut content, read)?;
            return Ok(content);
        }
        again::seek(&mut file, read, self.follow)?;
        Ok(if self.follow {
            Box::new(Growing::new(file, path.to_owned(), read))
        } else {
            Box::new(file)
        })
    }
}

struct OpenFile {
    partition: Partition,
    lines: LineReader<Box<dyn Read>>,
    /// Until when it need not be looked at; never ahead of a file that is not followed.
    pause: Pause,
}

/// Reads its files in turn, so that none runs far ahead of the others in event time.
struct FileReader {
    /// Files that have not ended.
    files: Vec<OpenFile>,
    /// The lengths of those that have.
    ended: BTreeMap<PartitionId, Offset>,
    /// Whose turn it is.
    turn: usize,
    clock: Arc<dyn Clock>,
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
            return Ok(Readiness::Finished);
        }
        let now = self.clock.monotonic();
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
            .lines
            .read(demand.limit, &mut |offset, payload| {
                found = true;
                emit(Polled::Record {
                    partition,
                    offset,
                    payload,
                })
            })
            .map_err(|error| failed("read", &file.partition.topic, error))?;
        match lines {
            Lines::More => file.pause.lift(),
            Lines::Dry => file.pause.begin(now, found),
            Lines::Ended => {
                // The next file slides into this one's place.
                self.ended.insert(partition, file.lines.position());
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
        open.map(|file| file.lines.position())
            .or_else(|| self.ended.get(&partition).copied())
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
