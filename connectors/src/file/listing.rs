//! Which files there are, and which partition each is: at the start, and again and again while they are followed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use slackwater_dataflow::place::{Mark, PartitionId};
use slackwater_dataflow::source::{Partition, SourceError, Start, Starts};

use crate::file::again;
use crate::file::compressed::is_compressed;
use crate::file::form::{FileForm, form};

/// Files of one source. Every one is open with a block of its own while it is read, which makes 256 MiB,
/// and more only while a record longer than a block is put together; the usual limit of 1,024 open files
/// is near it too. A compressed file also has its decoder: 100 KiB for gzip, for Zstandard the window that its
/// writer chose, 2 MiB by default.
const FILES_MAX: usize = 1_000;

/// Files and their numbers. It only grows.
#[derive(Debug, Default)]
pub(super) struct Listing(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    paths: BTreeMap<PartitionId, PathBuf>,
    seen: BTreeSet<PathBuf>,
}

impl Listing {
    pub(super) fn of(paths: BTreeMap<PartitionId, PathBuf>) -> Self {
        let seen = paths.values().cloned().collect();
        Listing(Mutex::new(Known { paths, seen }))
    }

    /// Where a partition's file is.
    pub(super) fn path(&self, partition: PartitionId) -> Option<PathBuf> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.paths.get(&partition).cloned()
    }

    /// Files that `pattern` matches and that were not there before, in the order of their paths. They get the next
    /// numbers.
    ///
    /// # Errors
    /// One cannot be followed, or lies below one of the folders that are `not` to be read, or there are too many.
    pub(super) fn look(
        &self,
        pattern: &str,
        not: &[PathBuf],
    ) -> Result<Vec<Partition>, SourceError> {
        let mut paths = matching(pattern)?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        paths.retain(|path| !known.seen.contains(path));
        sort(&mut paths);
        let mut found = Vec::new();
        for path in paths {
            match check(&path, true).and_then(|()| check_outside(&path, not)) {
                // It was there, and is gone again.
                Err(error) if error.source.kind() == io::ErrorKind::NotFound => continue,
                checked => checked?,
            }
            check_number(known.paths.len() + 1, pattern)?;
            let last = known.paths.last_key_value().map(|(id, _)| id.0);
            let id = PartitionId(last.map_or(0, |last| last.saturating_add(1)));
            found.push(partition(id, &path));
            known.seen.insert(path.clone());
            known.paths.insert(id, path);
        }
        Ok(found)
    }
}

/// The files of a source at its start, by their numbers; see [`super::FileSource::resumed`].
pub(super) fn list(
    pattern: &str,
    follow: bool,
    known: &[Partition],
    starts: &Starts,
) -> Result<BTreeMap<PartitionId, PathBuf>, SourceError> {
    let mut paths = matching(pattern)?;
    sort(&mut paths);
    let numbered = number(pattern, paths, known, starts)?;
    // A folder that is followed may be empty yet.
    if numbered.is_empty() && !(follow && is_pattern(pattern)) {
        let nothing = io::Error::new(io::ErrorKind::NotFound, "no file matches the pattern");
        return Err(failed("open", pattern, nothing));
    }
    let to_read = numbered.keys().filter(|&&id| !starts.has_ended(id)).count();
    check_number(to_read, pattern)?;
    for (&id, path) in &numbered {
        if starts.has_ended(id) {
            continue;
        }
        check(path, follow)?;
        if let Some(Start::At(offset)) = starts.of(id) {
            check_again(path, offset.0, starts.mark(id), follow)
                .map_err(|error| failed("open", &path.to_string_lossy(), error))?;
        }
    }
    Ok(numbered)
}

fn check_number(files: usize, pattern: &str) -> Result<(), SourceError> {
    if files <= FILES_MAX {
        return Ok(());
    }
    let message = format!(
        "{files} files match, at most {FILES_MAX} can be read by one job; \
         join some of them or use a narrower pattern"
    );
    Err(failed("open", pattern, invalid(message)))
}

/// A file that the job writes would be read for ever.
fn check_outside(path: &Path, not: &[PathBuf]) -> Result<(), SourceError> {
    let canonical = path.canonicalize();
    let canonical = canonical.map_err(|error| failed("open", &path.to_string_lossy(), error))?;
    let is_below = |folder: &&PathBuf| {
        let folder = folder.canonicalize();
        folder.is_ok_and(|folder| canonical.starts_with(folder))
    };
    let Some(folder) = not.iter().find(is_below) else {
        return Ok(());
    };
    let message = format!(
        "it lies in `{}`, where the job writes its outputs, which it would read as well: use a narrower pattern",
        folder.display()
    );
    Err(failed("follow", &path.to_string_lossy(), invalid(message)))
}

/// Whether a file still is the one that was read so far. Of one that is compressed, or a table, it is seen when it is opened.
fn check_again(path: &Path, read: u64, mark: Option<Mark>, follow: bool) -> io::Result<()> {
    if is_compressed(path) || form(path) == FileForm::Parquet {
        return Ok(());
    }
    again::seek(&mut File::open(path)?, read, mark, follow).map(drop)
}

fn sort(paths: &mut [PathBuf]) {
    paths.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
}

/// The partition of a file.
pub(super) fn partition(id: PartitionId, path: &Path) -> Partition {
    Partition::new(id, path.to_string_lossy().as_ref())
}

/// Whether more than one file can match.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '[']) && !Path::new(path).exists()
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
    for Partition { id, topic, .. } in known {
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
    if !is_pattern(pattern) {
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
    if follow && form(path) == FileForm::Parquet {
        let message = "it is a table of Parquet: it is whole or none, so it cannot be followed";
        return Err(failed("follow", &subject, invalid(message.to_owned())));
    }
    Ok(())
}

pub(super) fn failed(action: &'static str, subject: &str, source: io::Error) -> SourceError {
    SourceError {
        action,
        subject: subject.to_owned(),
        source,
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
