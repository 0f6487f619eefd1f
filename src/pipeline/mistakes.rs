//! Mistakes of a pipeline file: collected while reading, then settled into a sorted list with lines
//! and columns. Settling drops what only follows from a syntax mistake, so that one slip of the
//! keyboard is one mistake.
//!
//! What is said above the file, by the environment or on the command line, has places too: they go on where the
//! file's end.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use serde::{Serialize, Serializer};

/// Most mistakes shown to a person: more than anybody mends in one go, few enough that the first is still
/// on the screen.
const SHOWN: usize = 50;

/// Most mistakes given to a program. A file of 1 MiB can have hundreds of thousands, which is some other
/// file named by accident.
const LISTED: usize = 1_000;

/// One mistake in a pipeline file, or in what is said above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file's name, as it was given.
    pub file: String,
    /// Line, counted from 1; 0 if it stands in a layer.
    pub line: usize,
    /// Column in characters, counted from 1; 0 if it stands in a layer.
    pub column: usize,
    /// What says it above the file, if it does not stand in the file: `--set job.workers`. Never a value, which may be
    /// a secret.
    pub layer: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Serialize for Mistake {
    /// A place in a file, or a layer and no place.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            file: Option<&'a str>,
            line: Option<usize>,
            column: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            layer: Option<&'a str>,
            message: &'a str,
        }
        let in_file = self.layer.is_none();
        let shown = Shown {
            file: in_file.then_some(&self.file),
            line: in_file.then_some(self.line),
            column: in_file.then_some(self.column),
            layer: self.layer.as_deref(),
            message: &self.message,
        };
        shown.serialize(serializer)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            layer,
            message,
        } = self;
        match layer {
            Some(layer) => write!(f, "{layer}: {message}"),
            None => write!(f, "{file}:{line}:{column}: {message}"),
        }
    }
}

/// All mistakes of one pipeline file, in the order of their positions. Displays as one mistake a line,
/// at most 50; serializes as an object with at most 1,000 `mistakes` and the `count` of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes {
    list: Vec<Mistake>,
}

impl Mistakes {
    /// The mistakes, sorted by line and column, those of layers above the file behind them; never empty.
    pub fn list(&self) -> &[Mistake] {
        &self.list
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mistake) in self.list.iter().take(SHOWN).enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{mistake}")?;
        }
        match self.list.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl Serialize for Mistakes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Listed<'a> {
            mistakes: Vec<&'a Mistake>,
            count: usize,
        }
        let listed = Listed {
            mistakes: self.list.iter().take(LISTED).collect(),
            count: self.list.len(),
        };
        listed.serialize(serializer)
    }
}

impl std::error::Error for Mistakes {}

/// How a finding relates to syntax mistakes near it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    /// The TOML itself is wrong.
    Syntax,
    /// Something that is written is wrong.
    Written,
    /// Something is not there, in the section that starts at the finding's place.
    Absent,
    /// A whole table is not there.
    TableAbsent,
}

#[derive(Debug)]
struct Finding {
    at: usize,
    nature: Nature,
    message: String,
}

/// Mistakes while they are collected, by byte offset.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
    broken_header: bool,
    /// The line of the last syntax mistake, with its line feed, in bytes.
    line: Range<usize>,
    /// The first line that a list or inline table swallowed because it is not closed.
    swallowed_from: Option<usize>,
    /// Where each layer above the file starts, behind all of the file, and how it is called.
    layers: Vec<(usize, String)>,
}

impl Findings {
    /// From byte `at` on, which is behind the file and behind all layers so far, something is said by `layer`.
    pub(super) fn begin_layer(&mut self, at: usize, layer: String) {
        self.layers.push((at, layer));
    }

    /// Adds a mistake in something that is written at byte `at`.
    pub(super) fn add(&mut self, at: usize, message: impl Into<String>) {
        self.push(at, Nature::Written, message.into());
    }

    /// Adds that a key is missing in the section that starts at byte `at`.
    pub(super) fn absent(&mut self, at: usize, message: impl Into<String>) {
        self.push(at, Nature::Absent, message.into());
    }

    /// Adds that a whole table is missing.
    pub(super) fn table_absent(&mut self, message: impl Into<String>) {
        self.push(0, Nature::TableAbsent, message.into());
    }

    /// Adds a mistake of the TOML itself at byte `at` of `text`.
    pub(super) fn syntax(&mut self, text: &str, at: usize, message: &str) {
        // A line can have a million of them, so its bounds are looked for once.
        if !(self.line.start <= at && at < self.line.end) {
            self.line = line_around(text, at);
        }
        let line_start = self.line.start;
        let line = text.get(self.line.clone()).unwrap_or("");
        // A list or inline table that is not closed swallows the lines after it, and each of them
        // would be a mistake of its own.
        let inside = ["missing comma", "missing key for inline table"]
            .iter()
            .any(|start| message.starts_with(start))
            || message.contains("`=` in array");
        let opens_anew = || {
            let mark = line.find(['#', '=']).and_then(|mark| line.get(mark..));
            is_header(line) || mark.is_some_and(|rest| rest.starts_with('='))
        };
        let indented = text
            .get(line_start..at)
            .is_none_or(|before| before.trim().is_empty());
        if inside && (indented || message.contains('=')) && opens_anew() {
            self.broken_header = true;
            if self.swallowed_from.is_none_or(|from| line_start < from) {
                self.swallowed_from = Some(line_start);
                let message = "the list or inline table above is not closed, or lacks a comma";
                self.push(line_start, Nature::Syntax, message.to_owned());
            }
            return;
        }
        self.broken_header |= is_header(line);
        let nothing = text.get(at..).is_none_or(|rest| {
            let mut visible = rest.chars().skip_while(|&c| c != '\n' && c.is_whitespace());
            visible.next().is_none_or(|c| c == '\n')
        });
        let message = match message {
            "duplicate key" => "this key or table is already set above, it can stand only once",
            "string values must be quoted, expected literal string" if nothing => {
                "the value is missing"
            }
            "string values must be quoted, expected literal string" => {
                "expected a value; a string must stand in quotes"
            }
            other => other,
        };
        self.push(at, Nature::Syntax, message.to_owned());
    }

    /// Whether the header of a table is broken: what follows it landed in another table or
    /// nowhere, so a name that cannot be found proves nothing.
    pub(super) fn broken_header(&self) -> bool {
        self.broken_header
    }

    /// Whether there is no mistake so far.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn push(&mut self, at: usize, nature: Nature, message: String) {
        self.list.push(Finding {
            at,
            nature,
            message,
        });
    }

    /// Gives the mistakes sorted and with positions. Of several syntax mistakes on one line the
    /// first stays; other mistakes on such a line, keys missing in its section and missing tables
    /// are dropped: they may only be its echo.
    pub(super) fn settle(mut self, file_name: &str, text: &str) -> Mistakes {
        let layered = self.layered(file_name);
        let places = Places::new(text);
        // Cached: finding a line is a search of its own, and there may be a million findings.
        self.list.sort_by_cached_key(|finding| {
            let is_syntax = finding.nature == Nature::Syntax;
            (places.line(finding.at), !is_syntax, finding.at)
        });
        let broken: Vec<usize> = self
            .list
            .iter()
            .filter(|finding| finding.nature == Nature::Syntax)
            .map(|finding| finding.at)
            .collect();
        let broken_lines: BTreeSet<usize> = broken.iter().map(|&at| places.line(at)).collect();
        let mut syntax_told = BTreeSet::new();
        let mut columns = Columns::default();
        let mut list = Vec::new();
        for Finding {
            at,
            nature,
            message,
        } in self.list
        {
            let line = places.line(at);
            let kept = match nature {
                // Whatever follows was read as part of the list.
                _ if self.swallowed_from.is_some_and(|from| at > from) => false,
                Nature::Syntax => syntax_told.insert(line),
                Nature::Written => !broken_lines.contains(&line),
                Nature::Absent => {
                    let section = at..=places.section_end(at);
                    !broken_lines.contains(&line) && !broken.iter().any(|at| section.contains(at))
                }
                Nature::TableAbsent => broken.is_empty(),
            };
            if kept {
                let column = columns.of(&places, at);
                list.push(Mistake {
                    file: file_name.to_owned(),
                    line,
                    column,
                    layer: None,
                    message,
                });
            }
        }
        if list.is_empty() && layered.is_empty() {
            // Dropping needs a syntax mistake, and the first of those stays; so this is a pipeline
            // that was not built although nothing was found, which no known file causes.
            let message = "this file cannot be read, and no mistake was found: please report it";
            list.push(Mistake {
                file: file_name.to_owned(),
                line: 1,
                column: 1,
                layer: None,
                message: message.into(),
            });
        }
        // Stable: of two mistakes at one place, the one that was found first stays first.
        list.sort_by_key(|mistake| (mistake.line, mistake.column));
        list.extend(layered);
        Mistakes { list }
    }

    /// Takes out what stands above the file. What is missing there may be in a part of the file that could not be read.
    fn layered(&mut self, file_name: &str) -> Vec<Mistake> {
        let Some(first) = self.layers.first().map(|(at, _)| *at) else {
            return Vec::new();
        };
        let is_broken = self.list.iter().any(|it| it.nature == Nature::Syntax);
        let (mut above, in_file) = std::mem::take(&mut self.list)
            .into_iter()
            .partition::<Vec<_>, _>(|finding| finding.at >= first);
        self.list = in_file;
        above.retain(|finding| !is_broken || finding.nature == Nature::Written);
        above.sort_by_key(|finding| finding.at);
        let mistake = |finding: Finding| Mistake {
            file: file_name.to_owned(),
            line: 0,
            column: 0,
            layer: self.layer(finding.at).map(str::to_owned),
            message: finding.message,
        };
        above.into_iter().map(mistake).collect()
    }

    /// What says, above the file, what stands at byte `at`; none if it stands in the file.
    fn layer(&self, at: usize) -> Option<&str> {
        let next = self.layers.partition_point(|(start, _)| *start <= at);
        let (_, shown) = self.layers.get(next.checked_sub(1)?)?;
        Some(shown)
    }
}

/// Where something is declared, as messages begin with it: `job.toml:12:1: `; empty if that is not known. What is declared is
/// the same wherever that is.
#[derive(Clone, Debug, Default)]
pub struct Place(pub String);

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Place {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where byte `at` of a file stands, as messages begin with it; nothing of what stands above the file.
pub(super) fn place(file_name: &str, text: &str, at: usize) -> Place {
    if at >= text.len() {
        return Place::default();
    }
    let places = Places::new(text);
    let (line, column) = (places.line(at), Columns::default().of(&places, at));
    Place(format!("{file_name}:{line}:{column}: "))
}

/// The line of byte `at`, with its line feed.
fn line_around(text: &str, at: usize) -> Range<usize> {
    let feed = text.get(..at).and_then(|before| before.rfind('\n'));
    let next = text.get(at..).and_then(|rest| rest.find('\n'));
    feed.map_or(0, |feed| feed + 1)..next.map_or(text.len(), |next| at + next + 1)
}

/// Whether a line opens a table.
fn is_header(line: &str) -> bool {
    line.trim_start_matches([' ', '\t']).starts_with('[')
}

/// Where the lines of a text start.
struct Places<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Places<'t> {
    fn new(text: &'t str) -> Self {
        let breaks = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let starts = std::iter::once(0)
            .chain(breaks.map(|(at, _)| at + 1))
            .collect();
        Self { text, starts }
    }

    /// The line of byte `at`, counted from 1.
    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|&start| start <= at)
    }

    /// Where the section that starts at byte `at` ends: the next line that opens a table.
    fn section_end(&self, at: usize) -> usize {
        let next = self.line(at);
        let later = self.starts.iter().skip(next).copied();
        later
            .into_iter()
            .find(|&start| self.text.get(start..).is_some_and(is_header))
            .unwrap_or(self.text.len() + 1)
    }
}

/// Counts columns. Goes on from the last place on the same line: a line can have a million characters and
/// a mistake in every tenth.
#[derive(Default)]
struct Columns {
    /// Where a character starts, and its column from 0, on the line that starts at the first.
    last: (usize, usize, usize),
}

impl Columns {
    /// The column of byte `at` in characters, counted from 1. A character that starts before `at`
    /// and ends after it counts as the place.
    fn of(&mut self, places: &Places<'_>, at: usize) -> usize {
        let start = places.starts.get(places.line(at) - 1).copied().unwrap_or(0);
        let (mut from, mut column) = match self.last {
            (line, from, column) if line == start && from <= at => (from, column),
            _ => (start, 0),
        };
        for c in places.text.get(from..).unwrap_or("").chars() {
            if from + c.len_utf8() > at {
                break;
            }
            from += c.len_utf8();
            column += 1;
        }
        self.last = (start, from, column);
        column + 1
    }
}
