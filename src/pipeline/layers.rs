//! What is said above a pipeline file: by variables of the environment, and above these by `--set`.
//!
//! A setting becomes a value in the parsed tree of the file before that is held against the declared keys, so whatever
//! is said of a file is said of it as well. Its place is behind the end of the file, where [`Findings`] knows which
//! setting it is; its value is never part of that, because it may be a secret.

use std::borrow::Cow;
use std::env;
use std::ffi::OsString;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use crate::pipeline::keys::{Key, Kind, header, of_table};
use crate::pipeline::mistakes::Findings;
use crate::pipeline::value::unknown;

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;

/// What variables of the environment that say something of a pipeline begin with.
const PREFIX: &str = "SLACKWATER_";
/// What stands between the parts of their names: a table, a table in it or the name of an element, a key.
const BETWEEN: &str = "__";
/// Characters of a path that are shown.
const SHOWN_CHARS: usize = 120;

/// Who says something above the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// A variable of the environment.
    Environment,
    /// An argument, which is above the environment.
    Argument,
}

/// A key and its value, above the file.
#[derive(Clone, PartialEq, Eq)]
struct Setting {
    layer: Layer,
    /// The variable's name, or the path of the argument.
    name: String,
    /// The parts of the path.
    path: Vec<String>,
    /// None if it cannot be one.
    value: Result<String, &'static str>,
}

/// All that is said above a pipeline file, the lowest layer first.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Layers {
    settings: Vec<Setting>,
}

impl Layers {
    /// What the environment of this process says, and these arguments of the form `TABLE.KEY=VALUE`.
    pub fn here(arguments: &[String]) -> Self {
        Self::new(env::vars_os(), arguments)
    }

    /// What these variables and arguments say. Variables that name no table are somebody else's.
    pub fn new(
        variables: impl Iterator<Item = (OsString, OsString)>,
        arguments: &[String],
    ) -> Self {
        let mut settings: Vec<_> = variables.filter_map(of_variable).collect();
        // A table stands before what is in it.
        settings.sort_by(|one, other| one.name.cmp(&other.name));
        settings.extend(arguments.iter().map(|argument| of_argument(argument)));
        Layers { settings }
    }

    /// Puts the settings into the tree of a file of `length` bytes. What is wrong with a path is among the findings;
    /// what is wrong with a key or a value is found when the tree is read.
    pub(super) fn apply<'t>(
        &'t self,
        length: usize,
        tree: &mut DeTable<'t>,
        findings: &mut Findings,
    ) -> Places {
        // A mistake at the very end of a file is one of the file.
        let mut at = length + 1;
        let mut places = Places::default();
        for layer in [Layer::Environment, Layer::Argument] {
            places.starts.push((at, layer));
            let of_layer = || self.settings.iter().filter(|it| it.layer == layer);
            // What selects which keys go together comes first, since it takes away those of lower layers that do not.
            let (first, then): (Vec<_>, Vec<_>) = of_layer().partition(|it| it.selects());
            for setting in first.into_iter().chain(then) {
                findings.begin_layer(at, setting.shown());
                let placed = setting.place(at, tree, findings);
                if let Err(message) = placed {
                    findings.add(at, message);
                }
                at += setting.value.as_ref().map_or(0, String::len) + 2;
            }
        }
        places
    }
}

/// Which layer says what stands at a byte.
#[derive(Debug, Default)]
pub(super) struct Places {
    starts: Vec<(usize, Layer)>,
}

impl Places {
    /// The layer of what stands there; none for the file.
    pub(super) fn layer(&self, at: usize) -> Option<Layer> {
        let mut starts = self.starts.iter().rev();
        starts
            .find(|(start, _)| *start <= at)
            .map(|(_, layer)| *layer)
    }
}

fn of_variable((name, value): (OsString, OsString)) -> Option<Setting> {
    let name = name.into_string().ok()?;
    let path = name.strip_prefix(PREFIX)?;
    let path: Vec<_> = path.split(BETWEEN).map(str::to_ascii_lowercase).collect();
    let is_key = path.len() > 1;
    is_key.then(|| Setting {
        layer: Layer::Environment,
        value: match value.into_string() {
            _ if path.iter().any(String::is_empty) => {
                Err("expected the name of a table, two underscores and the name of a key, as in `SLACKWATER_JOB__WORKERS`")
            }
            Ok(value) => Ok(value),
            Err(_) => Err("its value is not UTF-8"),
        },
        name,
        path,
    })
}

fn of_argument(argument: &str) -> Setting {
    let (path, value) = match argument.split_once('=') {
        // What stands there may be anything, so it is not shown.
        None => ("", Err(())),
        Some((path, value)) => (path.trim(), Ok(value.to_owned())),
    };
    let parts: Vec<_> = path.split('.').map(|part| part.trim().to_owned()).collect();
    let is_path = !parts.iter().any(String::is_empty);
    Setting {
        layer: Layer::Argument,
        name: path.to_owned(),
        path: parts,
        value: value
            .ok()
            .filter(|_| is_path)
            .ok_or("expected TABLE.KEY=VALUE, as in `--set job.workers=4`"),
    }
}

/// A table of the file, and what is declared of it.
struct Within<'r, 't> {
    path: &'static str,
    table: &'r mut DeTable<'t>,
}

impl Setting {
    /// How it is called, without its value.
    fn shown(&self) -> String {
        let name: String = self.name.chars().take(SHOWN_CHARS).collect();
        let name = name.escape_debug();
        match self.layer {
            Layer::Environment => format!("environment {name}"),
            Layer::Argument => format!("--set {name}").trim_end().to_owned(),
        }
    }

    /// Whether its key says which others go with it.
    fn selects(&self) -> bool {
        let last = self.path.last().map(String::as_str);
        // The name of an element is in the way of its path, so any key of that name counts.
        keys_that_select().any(|name| Some(name) == last)
    }

    fn place<'t>(
        &'t self,
        at: usize,
        tree: &mut DeTable<'t>,
        findings: &Findings,
    ) -> Result<(), String> {
        let value = self.value.as_ref().map_err(|&message| message.to_owned())?;
        let new = New {
            at,
            value,
            setting: self,
            is_readable: !findings.broken_header(),
        };
        let root = Within {
            path: "",
            table: tree,
        };
        new.put(root, &self.path)
    }
}

fn keys_that_select() -> impl Iterator<Item = &'static str> {
    crate::pipeline::keys::all()
        .filter(|key| key.selects)
        .map(Key::name)
}

/// A value on its way to its place.
struct New<'t> {
    at: usize,
    value: &'t str,
    setting: &'t Setting,
    /// Whether all of the file could be read; else what is not found there may well be there.
    is_readable: bool,
}

impl<'t> New<'t> {
    /// Puts the value at `path` below a table. Where the file has something that is no table, it is the file's mistake.
    fn put(&self, within: Within<'_, 't>, path: &'t [String]) -> Result<(), String> {
        let Within { path: of, table } = within;
        let Some((name, rest)) = path.split_first() else {
            return Ok(());
        };
        let key = of_table(of).find(|key| key.name() == name);
        if let Some(key) = key {
            leave_what_excludes(key, of, table);
        }
        match (key, rest) {
            (Some(key), []) => {
                let value = self.value(key)?;
                if key.selects {
                    leave_what_goes(of, table, value.as_str());
                }
                self.insert(table, key.name().into(), value);
            }
            // When the tree is read it is a mistake with a suggestion; what it holds does not matter.
            (None, []) => self.insert(table, name.as_str().into(), self.plain()),
            (None, _) => self.insert(table, name.as_str().into(), DeValue::Table(DeTable::new())),
            (Some(key), rest) => return self.put_into(key, table, rest),
        }
        Ok(())
    }

    /// Puts the value below a key.
    fn put_into(
        &self,
        key: &'static Key,
        table: &mut DeTable<'t>,
        rest: &'t [String],
    ) -> Result<(), String> {
        let name = key.name();
        match key.kind {
            Kind::Tables => {
                let list = table.get_mut(name).map(Spanned::get_mut);
                match list {
                    Some(DeValue::Array(list)) => self.put_into_element(key, list, rest),
                    Some(_) => Ok(()),
                    None => self.put_into_element(key, &mut DeArray::new(), rest),
                }
            }
            Kind::Table => match self.below_or_word(key, table) {
                Some(table) => self.put(
                    Within {
                        path: key.path,
                        table,
                    },
                    rest,
                ),
                None => Ok(()),
            },
            // Names of these may have dots.
            Kind::Properties | Kind::Where => {
                let value = match key.kind {
                    Kind::Where => self.parsed().unwrap_or_else(|_| self.plain()),
                    _ => self.setting_of_client(),
                };
                if let Some(below) = self.below_or_word(key, table) {
                    self.insert(below, rest.join(".").into(), value);
                }
                Ok(())
            }
            Kind::Secret | Kind::Start | Kind::Other => {
                // One of several ways to say where it is replaces the others.
                table.remove(name);
                if let (Some(below), [last]) = (self.below(table, name), rest) {
                    self.insert(below, last.as_str().into(), self.plain());
                }
                Ok(())
            }
            _ => Err(format!("`{name}` in {} is no table", header(key.parent()))),
        }
    }

    /// Puts the value into the element of a list of tables that has the name with which `rest` begins.
    fn put_into_element(
        &self,
        key: &'static Key,
        list: &mut DeArray<'t>,
        rest: &'t [String],
    ) -> Result<(), String> {
        let (list_header, plain) = (header(key.path), key.path.replace("[]", ""));
        if !of_table(key.path).any(|key| key.name() == "name") {
            return Err(format!(
                "one {list_header} cannot be told from another, since they have no name: change the file, or set all of \
                 `{plain}` to a list of tables"
            ));
        }
        // A name may have dots, and the longest that fits is meant.
        for length in (1..rest.len()).rev() {
            let (wanted, rest) = rest.split_at(length);
            let wanted = wanted.join(".");
            let mut elements = list.iter_mut().filter_map(|it| as_table(it.get_mut()));
            if let Some(table) = elements.find(|table| self.is_called(table, &wanted)) {
                let path = key.path;
                return self.put(Within { path, table }, rest);
            }
        }
        if !self.is_readable {
            return Ok(());
        }
        let Some((last, wanted)) = rest.split_last().filter(|(_, wanted)| !wanted.is_empty())
        else {
            return Err(format!(
                "expected `{plain}.NAME.KEY`, with the name of one {list_header}"
            ));
        };
        let names = list
            .iter()
            .filter_map(|it| name_of(it.get_ref().as_table()?));
        let names: Vec<_> = names.collect();
        let message = format!(": no {list_header} has that name, to set its `{last}`");
        let (wanted, names) = (wanted.join("."), names.into_iter());
        Err(unknown("name", &wanted, names, &message))
    }

    fn is_called(&self, table: &DeTable<'_>, wanted: &str) -> bool {
        name_of(table).is_some_and(|name| match self.setting.layer {
            // Names of variables are in upper case.
            Layer::Environment => name.eq_ignore_ascii_case(wanted),
            Layer::Argument => name == wanted,
        })
    }

    /// The table at a key, which is made if it is not there; none if something else is there.
    fn below<'r>(
        &self,
        table: &'r mut DeTable<'t>,
        name: &'static str,
    ) -> Option<&'r mut DeTable<'t>> {
        if !table.contains_key(name) {
            self.insert(table, name.into(), DeValue::Table(DeTable::new()));
        }
        as_table(table.get_mut(name)?.get_mut())
    }

    /// The same, where a table takes the place of a word, or of an expression, that stands for one.
    fn below_or_word<'r>(
        &self,
        key: &'static Key,
        table: &'r mut DeTable<'t>,
    ) -> Option<&'r mut DeTable<'t>> {
        let found = table.get(key.name()).and_then(|it| it.get_ref().as_str());
        if found.is_some() && (found == key.word || key.kind == Kind::Where) {
            table.remove(key.name());
        }
        self.below(table, key.name())
    }

    fn insert(&self, table: &mut DeTable<'t>, name: Cow<'t, str>, value: DeValue<'t>) {
        // An equal key that is there would stay, with its place in the file.
        table.remove(name.as_ref());
        let name: DeString<'t> = name;
        table.insert(
            Spanned::new(self.at..self.at, name),
            Spanned::new(self.at..self.at, value),
        );
    }

    /// The value as its key wants it: TOML where that gives such a value, else the text as it stands.
    fn value(&self, key: &Key) -> Result<DeValue<'t>, String> {
        let kind = key.kind;
        if key.word == Some(self.value) {
            return Ok(self.plain());
        }
        let parsed = self.parsed();
        let wanted = |value: &DeValue<'t>| match kind {
            Kind::Text | Kind::Name | Kind::Choice(_) | Kind::Duration(..) | Kind::Expression => {
                value.is_str()
            }
            Kind::Start => value.is_str() || value.is_table(),
            Kind::Secret => value.is_table(),
            _ => true,
        };
        match (kind, parsed) {
            (_, Ok(value)) if wanted(&value) => Ok(value),
            // No plain text is one of these, and what is shown of it may be a secret in it.
            (Kind::Texts | Kind::Literals, Err(message)) => Err(format!(
                "expected a list in TOML, as in '[\"a\", \"b\"]': {message}"
            )),
            (Kind::Table | Kind::Properties, Err(message)) => Err(format!(
                "expected a table in TOML, as in '{{ key = \"value\" }}': {message}"
            )),
            (Kind::Tables, Err(message)) => Err(format!(
                "expected a list of tables in TOML, as in '[{{ key = \"value\" }}]': {message}"
            )),
            _ => Ok(self.plain()),
        }
    }

    /// A setting of the Kafka client: its text as it stands, even if that is a number in TOML.
    fn setting_of_client(&self) -> DeValue<'t> {
        let parsed = self.parsed().ok();
        let parsed = parsed.filter(|value| value.is_str() || value.is_table());
        parsed.unwrap_or_else(|| self.plain())
    }

    fn plain(&self) -> DeValue<'t> {
        DeValue::String(Cow::Borrowed(self.value))
    }

    fn parsed(&self) -> Result<DeValue<'t>, String> {
        match DeValue::parse(self.value) {
            Ok(value) => Ok(moved(value.into_inner(), self.at + 1)),
            Err(error) => Err(error.message().to_owned()),
        }
    }
}

/// Takes away what a table has of lower layers that does not go with what is selected now.
fn leave_what_goes(of: &str, table: &mut DeTable<'_>, word: Option<&str>) {
    let Some(word) = word else { return };
    let leaves = |key: &&Key| !key.only.is_empty() && !key.only.contains(&word);
    for key in of_table(of).filter(leaves) {
        table.remove(key.name());
    }
}

/// Takes away what a table has of lower layers that does not stand beside this key.
fn leave_what_excludes(key: &Key, of: &str, table: &mut DeTable<'_>) {
    let excludes =
        |other: &&Key| key.instead_of == Some(other.name()) || other.instead_of == Some(key.name());
    for other in of_table(of).filter(excludes) {
        table.remove(other.name());
    }
}

fn as_table<'r, 't>(value: &'r mut DeValue<'t>) -> Option<&'r mut DeTable<'t>> {
    match value {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

fn name_of<'r>(table: &'r DeTable<'_>) -> Option<&'r str> {
    table.get("name")?.get_ref().as_str()
}

/// The same value, whose places are so many bytes later.
fn moved<'t>(value: DeValue<'t>, by: usize) -> DeValue<'t> {
    let later = |span: Range<usize>| span.start + by..span.end + by;
    let spanned = |value: Spanned<DeValue<'t>>| {
        let span = later(value.span());
        Spanned::new(span, moved(value.into_inner(), by))
    };
    match value {
        DeValue::Array(list) => DeValue::Array(list.into_iter().map(spanned).collect()),
        DeValue::Table(table) => {
            let moved = table.into_iter().map(|(name, value)| {
                let span = later(name.span());
                (Spanned::new(span, name.into_inner()), spanned(value))
            });
            DeValue::Table(moved.collect())
        }
        other => other,
    }
}
