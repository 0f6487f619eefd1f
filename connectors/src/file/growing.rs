//! A file that is read while others still write to it: its end is only where it ends now.
//!
//! Whatever makes it impossible to go on where reading stopped is an error. To start over without being
//! told, or to wait for ever for a file that nobody writes to any more, would lose events in silence.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::file::again::Tail;

/// How soon to look again after there was something: about as long as a writer takes to write more.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// How long to wait at most while nothing comes: nobody notices it, and looking so rarely costs nothing.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// A file being followed. At its end it says [`io::ErrorKind::WouldBlock`], never that it has ended.
pub(super) struct Growing {
    file: File,
    path: PathBuf,
    /// Bytes read so far, by earlier runs too.
    read: u64,
    /// The last of them.
    tail: Tail,
    /// Whether the last look found nothing more.
    was_at_end: bool,
}

impl Growing {
    /// Follows `file`, which was opened at `path` and stands at byte `read`, behind `tail`.
    pub(super) fn new(file: File, path: PathBuf, read: u64, tail: Tail) -> Self {
        Growing {
            file,
            path,
            read,
            tail,
            was_at_end: false,
        }
    }

    fn refuse(&self, change: &str) -> io::Error {
        io::Error::other(format!(
            "{change}, after it had been read to byte {}; a file that is followed may only grow: put it back \
             and let each new file have a name of its own, or start over (with a checkpoint store, `--fresh`)",
            self.read
        ))
    }

    /// Refuses to wait for what will not come.
    fn check(&self) -> io::Result<()> {
        let own = self.file.metadata()?;
        let named = match fs::metadata(&self.path) {
            Ok(named) => Some(named),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        match change(self.read, &own, named.as_ref()) {
            None => Ok(()),
            Some(change) => Err(self.refuse(&change)),
        }
    }

    /// Refuses what stands behind other bytes than those that were read.
    fn check_tail(&self) -> io::Result<()> {
        if self.tail.stands_before(&self.file, self.read)? {
            return Ok(());
        }
        Err(self.refuse("it was cut and written again"))
    }
}

/// What has become of a file, of which so much was read, if it did not only grow; with what is known of the
/// file and of the one that has its name now.
fn change(read: u64, own: &Metadata, named: Option<&Metadata>) -> Option<String> {
    if own.len() < read {
        return Some(format!("it was cut at byte {}", own.len()));
    }
    match named {
        None => Some("it was deleted or renamed".to_owned()),
        Some(named) if (named.dev(), named.ino()) != (own.dev(), own.ino()) => {
            Some("another file was put in its place".to_owned())
        }
        Some(_) => None,
    }
}

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        if read == 0 {
            self.check()?;
            self.was_at_end = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if std::mem::take(&mut self.was_at_end) {
            self.check_tail()?;
        }
        self.tail.push(buffer.get(..read).unwrap_or(buffer));
        self.read += read as u64;
        Ok(read)
    }
}

/// When a file at whose end its reader stands is to be looked at again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pause {
    length: Duration,
    /// A reading of the clock.
    end: Duration,
}

impl Pause {
    /// There may be more: no pause.
    pub(super) fn lift(&mut self) {
        *self = Pause::default();
    }

    /// Begins a pause at `now`: the shortest after something was `found`, else twice as long as the last.
    pub(super) fn begin(&mut self, now: Duration, found: bool) {
        self.length = if found {
            SHORTEST_PAUSE
        } else {
            (2 * self.length).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
        };
        self.end = now.saturating_add(self.length);
    }

    /// What is left of it at `now`.
    pub(super) fn left(&self, now: Duration) -> Duration {
        self.end.saturating_sub(now)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn is_a_file_that_did_not_only_grow_refused() {
        let check = |act: &dyn Fn(&std::path::Path), expected: Option<&str>| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.jsonl");
            fs::write(&path, "12345").unwrap();
            let mut growing =
                Growing::new(File::open(&path).unwrap(), path.clone(), 0, Tail::default());
            let mut buffer = [0; 9];
            assert_eq!(growing.read(&mut buffer).unwrap(), 5);
            let error = growing.read(&mut buffer).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            act(&path);
            let read = growing.read(&mut buffer);
            match expected {
                None => assert_eq!(read.unwrap(), 2),
                Some(expected) => {
                    let message = read.unwrap_err().to_string();
                    let start = format!("{expected}, after it had been read to byte 5; ");
                    assert!(message.starts_with(&start), "{message}");
                }
            }
        };
        let append = |path: &std::path::Path| {
            let mut file = File::options().append(true).open(path).unwrap();
            file.write_all(b"67").unwrap();
        };
        check(&append, None);
        check(
            &|path| fs::write(path, "123").unwrap(),
            Some("it was cut at byte 3"),
        );
        check(
            &|path| fs::write(path, "abcdefg").unwrap(),
            Some("it was cut and written again"),
        );
        check(
            &|path| fs::remove_file(path).unwrap(),
            Some("it was deleted or renamed"),
        );
        let replace = |path: &std::path::Path| {
            let new = path.with_extension("new");
            fs::write(&new, "1234567").unwrap();
            fs::rename(new, path).unwrap();
        };
        check(&replace, Some("another file was put in its place"));
    }

    #[test]
    fn do_pauses_grow_while_nothing_comes() {
        let mut pause = Pause::default();
        let mut now = Duration::from_secs(7);
        assert_eq!(pause.left(now), Duration::ZERO);
        let mut check = |found: bool, expected_ms: u64| {
            pause.begin(now, found);
            assert_eq!(pause.left(now), Duration::from_millis(expected_ms));
            now += pause.left(now);
            assert_eq!(pause.left(now), Duration::ZERO);
        };
        for expected_ms in [1, 2, 4, 8, 16, 32, 50, 50] {
            check(false, expected_ms);
        }
        check(true, 1);
        check(false, 2);
    }
}
