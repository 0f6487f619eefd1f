//! The declared key table: every key a pipeline file can have, with its kind, default, support in
//! this version and one sentence of documentation. The reader, its suggestions and its messages
//! come from this table, and so does the reference page, docs/pipeline.md; nothing else knows which
//! keys exist.
//!
//! Paths are written as `event.max_bytes`; `[]` marks a list of tables, as in `feature[].of`.

pub(super) mod input;
mod output;
mod work;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod reference;

/// Longest string of a pipeline file, in characters: room for any path or message, and a bound on
/// what is repeated in dead letters.
pub const MAX_TEXT_CHARS: usize = 4_096;
/// Longest name, in characters: names become folders, metric labels and JSON keys.
pub const MAX_NAME_CHARS: usize = 64;
/// Most elements of a list: each is compared with values of every event.
pub const MAX_LIST: usize = 1_024;
/// Most tables in a list of tables: every event passes each check and feature.
pub const MAX_TABLES: usize = 1_024;

/// One value of a key that takes one of a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The word.
    pub name: &'static str,
    /// Whether this version supports it.
    pub supported: bool,
}

/// What kind of value a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A string that is not empty, at most [`MAX_TEXT_CHARS`] characters.
    Text,
    /// Letters, digits, `-`, `_` and `.`, not starting with `.`, at most [`MAX_NAME_CHARS`].
    Name,
    /// A whole number within the bounds, both included.
    Integer(i64, i64),
    /// A finite number within the bounds, both included.
    Float(f64, f64),
    /// `true` or `false`.
    Bool,
    /// A duration such as "2s", within the bounds in milliseconds, both included.
    Duration(u64, u64),
    /// A size such as "64KiB" or a number of bytes, within the bounds in bytes, both included.
    Size(u64, u64),
    /// One of a few words.
    Choice(&'static [Choice]),
    /// An expression in CEL, a string that is not empty, at most [`MAX_TEXT_CHARS`] characters.
    Expression,
    /// A list of strings, at most [`MAX_LIST`].
    Texts,
    /// A list of strings, numbers or booleans, at least one, at most [`MAX_LIST`].
    Literals,
    /// A table from field names to a value, or to a list of values of which any matches; or an expression in CEL, as
    /// [`Kind::Expression`].
    Where,
    /// A table whose keys are declared under this path.
    Table,
    /// A list of tables, at most [`MAX_TABLES`], whose keys are declared under this path.
    Tables,
    /// "earliest", "latest" or `{ timestamp = "..." }`.
    Start,
    /// A table from names to a string, a number, a boolean, `{ env = "NAME" }` or `{ file = "..." }`.
    Properties,
    /// `{ env = "NAME" }` or `{ file = "..." }`; never shown.
    Secret,
    /// A string, a number or a boolean, or a list of them, at most [`MAX_LIST`].
    Literal,
    /// A value of another shape, which the documentation describes.
    Other,
}

/// When a key must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Never: there is a default, or it may be left out.
    Optional,
    /// In every such table.
    Always,
    /// When the selecting key of its table has one of these values.
    For(&'static [&'static str]),
    /// When this other key of its table is not there.
    Unless(&'static str),
    /// When this other key of its table is there.
    With(&'static str),
}

/// One key of the pipeline file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Key {
    /// Its path, for example `event.max_bytes` or `feature[].of`.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is when it is left out, as TOML text.
    pub default: Option<&'static str>,
    /// When it must be there.
    pub need: Need,
    /// The values of the selecting key of its table with which it may be used; empty = any.
    pub only: &'static [&'static str],
    /// Another key of its table that must not be there if it is.
    pub instead_of: Option<&'static str>,
    /// Whether its value selects which other keys of its table may be used.
    pub selects: bool,
    /// Whether this version supports it.
    pub supported: bool,
    /// A word that may stand in the place of a table.
    pub word: Option<&'static str>,
    /// Whether it is an address, in which a password may stand.
    pub address: bool,
    /// What it is, in one sentence.
    pub doc: &'static str,
}

impl Key {
    const fn new(path: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            path,
            kind,
            default: None,
            need: Need::Optional,
            only: &[],
            instead_of: None,
            selects: false,
            supported: true,
            word: None,
            address: false,
            doc,
        }
    }

    const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn needed(mut self) -> Self {
        self.need = Need::Always;
        self
    }

    const fn needed_for(mut self, values: &'static [&'static str]) -> Self {
        self.need = Need::For(values);
        self
    }

    const fn needed_with(mut self, other: &'static str) -> Self {
        self.need = Need::With(other);
        self
    }

    const fn needed_unless(mut self, other: &'static str) -> Self {
        self.need = Need::Unless(other);
        self.instead_of(other)
    }

    const fn instead_of(mut self, other: &'static str) -> Self {
        self.instead_of = Some(other);
        self
    }

    const fn only(mut self, values: &'static [&'static str]) -> Self {
        self.only = values;
        self
    }

    const fn selects(mut self) -> Self {
        self.selects = true;
        self
    }

    const fn or_word(mut self, word: &'static str) -> Self {
        self.word = Some(word);
        self
    }

    const fn address(mut self) -> Self {
        self.address = true;
        self
    }

    const fn later(mut self) -> Self {
        self.supported = false;
        self
    }

    /// Whether a table has, under this name, what the key gives way to: the two do not go together.
    pub fn gives_way(&self, has: impl Fn(&str) -> bool) -> bool {
        self.instead_of.is_some_and(has)
    }

    /// Whether a list of tables needs at least one: the table needs it, or another key gives way to it.
    pub fn is_never_empty(&self) -> bool {
        let mut beside = of_table(self.parent());
        self.need == Need::Always || beside.any(|other| other.instead_of == Some(self.name()))
    }

    /// The last part of the path, as it is written in the file: `of` for `feature[].of`.
    pub fn name(&self) -> &'static str {
        let last = self
            .path
            .rfind('.')
            .and_then(|dot| self.path.get(dot + 1..));
        last.unwrap_or(self.path).trim_end_matches("[]")
    }

    /// The path of the table it stands in; empty for top-level tables.
    pub fn parent(&self) -> &'static str {
        self.path
            .rfind('.')
            .and_then(|dot| self.path.get(..dot))
            .unwrap_or("")
    }
}

const fn now(name: &'static str) -> Choice {
    Choice {
        name,
        supported: true,
    }
}

const fn later(name: &'static str) -> Choice {
    Choice {
        name,
        supported: false,
    }
}

/// Every key, in the order of the reference page.
pub fn all() -> impl Iterator<Item = &'static Key> {
    input::KEYS.iter().chain(work::KEYS).chain(output::KEYS)
}

/// The keys of the table at `path`; with an empty path, the top-level tables.
pub fn of_table(path: &str) -> impl Iterator<Item = &'static Key> {
    all().filter(move |key| key.parent() == path)
}

/// How the header of the table at `path` is written: `[job]`, `[[feature]]`.
pub fn header(path: &str) -> String {
    let plain = path.replace("[]", "");
    if path.ends_with("[]") {
        format!("[[{plain}]]")
    } else {
        format!("[{plain}]")
    }
}
