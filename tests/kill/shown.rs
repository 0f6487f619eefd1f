//! What a reader of the outputs was shown while processes died: it must stay, byte by byte.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::content::STREAMS;

/// Bytes of a part that became visible between two looks.
struct Grown {
    from: u64,
    to: u64,
    digest: u64,
}

/// A reader that looks now and then how long the committed part of each file is.
#[derive(Default)]
pub struct Shown {
    parts: BTreeMap<PathBuf, Vec<Grown>>,
}

fn digest(part: &Path, from: u64, to: u64) -> u64 {
    let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
    let file = fs::File::open(part).unwrap();
    let read = file.read_exact_at(&mut bytes, from);
    assert!(read.is_ok(), "{part:?} has no {to} bytes, as it says");
    BuildHasherDefault::<DefaultHasher>::default().hash_one(bytes)
}

impl Shown {
    pub fn look(&mut self, outputs: &Path) {
        for stream in STREAMS {
            for shard in 0..2 {
                let part = outputs.join(stream).join(format!("shard-{shard}.jsonl"));
                let says = part.with_extension("jsonl.committed");
                // Before the first run has taken its outputs over there is nothing to read.
                let Ok(says) = fs::read_to_string(says) else {
                    continue;
                };
                let to: u64 = says.trim().parse().unwrap();
                let grown = self.parts.entry(part.clone()).or_default();
                let from = grown.last().map_or(0, |last| last.to);
                assert!(from <= to, "{part:?} goes back from {from} to {to}");
                if from < to {
                    let digest = digest(&part, from, to);
                    grown.push(Grown { from, to, digest });
                }
            }
        }
    }

    /// Compares what was shown with what is there now; how often something new was.
    pub fn check(&self) -> usize {
        for (part, grown) in &self.parts {
            for &Grown { from, to, digest } in grown {
                let now = self::digest(part, from, to);
                assert_eq!(now, digest, "{part:?} was changed between {from} and {to}");
            }
        }
        self.parts.values().map(Vec::len).sum()
    }
}

/// A folder of outputs of which one part has this content, and so much of it is committed.
fn outputs(content: &str, committed: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), content, committed);
    folder
}

fn write(outputs: &Path, content: &str, committed: usize) {
    let part = outputs.join(STREAMS[0]).join("shard-0.jsonl");
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    fs::write(&part, content).unwrap();
    fs::write(
        part.with_extension("jsonl.committed"),
        format!("{committed}\n"),
    )
    .unwrap();
}

#[test]
fn may_what_is_not_visible_yet_change() {
    let outputs = outputs("abc", 2);
    let mut shown = Shown::default();
    shown.look(outputs.path());
    shown.look(outputs.path());
    write(outputs.path(), "abdef", 5);
    shown.look(outputs.path());
    assert_eq!(shown.check(), 2);
}

#[test]
#[should_panic(expected = "was changed between 0 and 2")]
fn is_a_change_of_what_was_visible_seen() {
    let outputs = outputs("abc", 2);
    let mut shown = Shown::default();
    shown.look(outputs.path());
    write(outputs.path(), "aXc", 3);
    shown.look(outputs.path());
    shown.check();
}

#[test]
#[should_panic(expected = "goes back from 2 to 1")]
fn is_it_seen_that_less_is_visible() {
    let outputs = outputs("abc", 2);
    let mut shown = Shown::default();
    shown.look(outputs.path());
    write(outputs.path(), "abc", 1);
    shown.look(outputs.path());
}

#[test]
#[should_panic(expected = "has no 4 bytes")]
fn is_it_seen_that_more_is_visible_than_there_is() {
    let outputs = outputs("abc", 4);
    Shown::default().look(outputs.path());
}
