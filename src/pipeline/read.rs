//! Holds the parsed tree against the declared key table. What comes out has declared keys only, with
//! declared kinds and with the defaults filled in; all else has become a mistake.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::pipeline::keys::{Key, Kind, MAX_LIST, MAX_TABLES, Need, all, header, of_table};
use crate::pipeline::mistakes::Findings;
use crate::pipeline::spec::{PropertySpec, StartSpec};
use crate::pipeline::value::{self, Located, Value, Written, Wrong, nearest, quoted, show};

/// One table of the file: the values that are there and right, and defaults for those that are not
/// there. A value that is wrong is absent, and its mistake is among the findings.
#[derive(Debug)]
pub(super) struct Section {
    /// Where the table starts.
    pub(super) at: usize,
    /// Keys that are written, well or badly.
    written: BTreeSet<&'static str>,
    values: BTreeMap<&'static str, Located<Value>>,
    tables: BTreeMap<&'static str, Vec<Section>>,
}

impl Section {
    /// Whether a key is written, be it misspelt or with a value that is wrong: whoever did that meant it.
    pub(super) fn is_meant(&self, name: &str) -> bool {
        self.written.contains(name)
    }

    /// The value of a key and where it stands.
    pub(super) fn get(&self, name: &str) -> Option<(usize, &Value)> {
        self.values
            .get(name)
            .map(|located| (located.at, &located.value))
    }

    /// A string and where it stands.
    pub(super) fn text(&self, name: &str) -> Option<Located<&str>> {
        match self.get(name)? {
            (at, Value::Text(text)) => Some(Located { at, value: text }),
            _ => None,
        }
    }

    /// An expression and where its value stands.
    pub(super) fn expression(&self, name: &str) -> Option<Located<&Written>> {
        match self.get(name)? {
            (at, Value::Expression(value)) => Some(Located { at, value }),
            _ => None,
        }
    }

    /// A string of its own.
    pub(super) fn string(&self, name: &str) -> Option<String> {
        self.text(name).map(|text| text.value.to_owned())
    }

    /// A whole number, when it fits the type that the caller wants.
    pub(super) fn integer<T: TryFrom<i64>>(&self, name: &str) -> Option<T> {
        match self.get(name)? {
            (_, Value::Integer(number)) => T::try_from(*number).ok(),
            _ => None,
        }
    }

    /// A number.
    pub(super) fn float(&self, name: &str) -> Option<f64> {
        match self.get(name)? {
            (_, Value::Float(number)) => Some(*number),
            _ => None,
        }
    }

    /// A boolean.
    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            (_, Value::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    /// A duration in milliseconds.
    pub(super) fn millis(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            (_, Value::Millis(ms)) => Some(*ms),
            _ => None,
        }
    }

    /// A size in bytes.
    pub(super) fn bytes(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            (_, Value::Bytes(bytes)) => Some(*bytes),
            _ => None,
        }
    }

    /// A list of strings.
    pub(super) fn texts(&self, name: &str) -> Option<&[Located<String>]> {
        match self.get(name)? {
            (_, Value::Texts(list)) => Some(list),
            _ => None,
        }
    }

    /// Where a source starts.
    pub(super) fn start(&self, name: &str) -> Option<StartSpec> {
        match self.get(name)? {
            (_, Value::Start(start)) => Some(*start),
            _ => None,
        }
    }

    /// Settings by name; none where the key is left out.
    pub(super) fn properties(&self, name: &str) -> &[(Located<String>, PropertySpec)] {
        match self.get(name) {
            Some((_, Value::Properties(properties))) => properties,
            _ => &[],
        }
    }

    /// Where a secret is; none where the key is left out.
    pub(super) fn secret(&self, name: &str) -> Option<PropertySpec> {
        match self.get(name)? {
            (_, Value::Secret(secret)) => Some(secret.clone()),
            _ => None,
        }
    }

    /// A table below this one.
    pub(super) fn table(&self, name: &str) -> Option<&Section> {
        self.tables.get(name)?.first()
    }

    /// The tables of a list of tables; empty when there are none.
    pub(super) fn tables(&self, name: &str) -> &[Section] {
        self.tables.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Reads a whole file.
pub(super) fn file(tree: &DeTable<'_>, findings: &mut Findings) -> Section {
    section("", 0, tree, findings)
}

fn section(path: &str, at: usize, table: &DeTable<'_>, findings: &mut Findings) -> Section {
    let mut section = Section {
        at,
        written: BTreeSet::new(),
        values: BTreeMap::new(),
        tables: BTreeMap::new(),
    };
    let selected = selected(path, table);
    // Keys that stand in this table but are not supported make it one that this version cannot
    // complete: asking for further keys would be wrong advice.
    let mut completable = !matches!(selected, Selected::NotSupported(..));
    // Keys that were misspelt are not missing.
    let mut meant = Vec::new();
    for (name, value) in table {
        let known = of_table(path).find(|key| key.name() == name.get_ref().as_ref());
        let Some(key) = known else {
            let near = resembling(path, name.get_ref());
            findings.add(
                name.span().start,
                unknown(path, name.get_ref(), value.get_ref(), near),
            );
            meant.extend(near);
            section.written.extend(near.map(Key::name));
            continue;
        };
        section.written.insert(key.name());
        if let Selected::NotSupported(selecting) = selected
            && selecting != key
        {
            continue;
        }
        if !key.supported {
            completable = false;
            findings.add(
                place(key, name.span().start, value),
                not_supported(path, key),
            );
        } else if let Some(other) = key.instead_of.filter(|other| table.contains_key(*other)) {
            let message = format!("`{}` does not go with `{other}`: leave one out", key.name());
            findings.add(name.span().start, message);
        } else if let Some(message) = selected.excludes(key) {
            findings.add(name.span().start, message);
        } else {
            entry(key, value, &mut section, findings);
        }
    }
    for key in of_table(path).filter(|key| key.supported && !table.contains_key(key.name())) {
        // What it gives way to stands for its default; what is needed is said to be missing all the same.
        let gives_way = key.default.is_some() && key.gives_way(|other| table.contains_key(other));
        if selected.excludes(key).is_some() || gives_way {
            continue;
        }
        if let Some(default) = key.default.and_then(|text| DeValue::parse(text).ok()) {
            let default = Spanned::new(at..at, default.into_inner());
            entry(key, &default, &mut section, findings);
        } else if completable
            && !meant.contains(&key)
            && let Some(message) = selected.misses(path, key, &section.written)
        {
            if path.is_empty() {
                findings.table_absent(message);
            } else {
                findings.absent(at, message);
            }
        }
    }
    section
}

/// Reads one supported key of a table.
fn entry(key: &Key, found: &Spanned<DeValue<'_>>, section: &mut Section, findings: &mut Findings) {
    let at = found.span().start;
    match (key.kind, found.get_ref()) {
        (Kind::Table, DeValue::String(word)) if key.word == Some(word.as_ref()) => {
            let value = Value::Text(word.clone().into_owned());
            section.values.insert(key.name(), Located { at, value });
        }
        (Kind::Table, DeValue::Table(table)) => {
            let below = self::section(key.path, at, table, findings);
            section.tables.insert(key.name(), vec![below]);
        }
        (Kind::Tables, DeValue::Array(list)) => {
            if let Some(first_beyond) = list.get(MAX_TABLES) {
                let message = format!("at most {MAX_TABLES} {} are allowed", header(key.path));
                findings.add(first_beyond.span().start, message);
                return;
            }
            if list.is_empty() && key.is_never_empty() {
                findings.add(at, format!("at least one {} is needed", header(key.path)));
            }
            let mut below = Vec::new();
            for element in list.iter() {
                let at = element.span().start;
                match element.get_ref().as_table() {
                    Some(table) => below.push(self::section(key.path, at, table, findings)),
                    None => findings.add(at, expected_table(key, element.get_ref())),
                }
            }
            section.tables.insert(key.name(), below);
        }
        (Kind::Table | Kind::Tables, other) => findings.add(at, expected_table(key, other)),
        _ => match value::read(key, found) {
            Ok(value) => {
                section.values.insert(key.name(), Located { at, value });
            }
            Err(wrong) => {
                let all = wrong_parts(key, found).into_iter();
                let mut all = all.peekable();
                if all.peek().is_none() {
                    findings.add(wrong.at, wrong.value);
                }
                all.for_each(|wrong| findings.add(wrong.at, wrong.value));
            }
        },
    }
}

/// What is wrong with each part of a list, or of a table of settings, of several: reading it ends at the first.
fn wrong_parts(key: &Key, found: &Spanned<DeValue<'_>>) -> Vec<Wrong> {
    let alone = |part: DeValue<'_>| value::read(key, &Spanned::new(found.span(), part)).err();
    match found.get_ref() {
        DeValue::Array(list) if (2..=MAX_LIST).contains(&list.len()) => {
            let parts = list.iter().cloned();
            let parts = parts.map(|part| DeValue::Array(std::iter::once(part).collect()));
            parts.filter_map(alone).collect()
        }
        DeValue::Table(table) if matches!(key.kind, Kind::Properties | Kind::Where) => {
            let parts = table.iter();
            let parts = parts.map(|(name, value)| {
                let part = (name.clone(), value.clone());
                DeValue::Table(std::iter::once(part).collect())
            });
            let mut wrong: Vec<_> = parts.filter_map(alone).collect();
            wrong.sort_by_key(|wrong| wrong.at);
            wrong
        }
        _ => Vec::new(),
    }
}

/// What the selecting key of a table says, such as `kind` of `[source]`.
#[derive(Clone, Copy, Debug)]
enum Selected<'t> {
    /// A supported value.
    Value(&'static Key, &'t str),
    /// A value that is known but not supported: nothing else of the table is read.
    NotSupported(&'static Key),
    /// No such key, or it is missing or wrong: nothing can be said about keys that depend on it.
    Unknown,
}

fn selected<'t>(path: &str, table: &'t DeTable<'_>) -> Selected<'t> {
    let Some(key) = of_table(path).find(|key| key.selects) else {
        return Selected::Unknown;
    };
    let Kind::Choice(choices) = key.kind else {
        return Selected::Unknown;
    };
    let Some(word) = table
        .get(key.name())
        .and_then(|value| value.get_ref().as_str())
    else {
        return Selected::Unknown;
    };
    match choices.iter().find(|choice| choice.name == word) {
        Some(choice) if choice.supported => Selected::Value(key, word),
        Some(_) => Selected::NotSupported(key),
        None => Selected::Unknown,
    }
}

impl Selected<'_> {
    /// Why a key cannot be used with what is selected.
    fn excludes(&self, key: &Key) -> Option<String> {
        if key.only.is_empty() {
            return None;
        }
        match self {
            Self::Value(_, word) if key.only.contains(word) => None,
            Self::Value(selecting, word) => {
                let only: Vec<String> = key.only.iter().map(|only| format!("\"{only}\"")).collect();
                let (name, selecting) = (key.name(), selecting.name());
                Some(format!(
                    "`{name}` does not go with {selecting} = \"{word}\", only with {}",
                    only.join(", ")
                ))
            }
            // Defaults of keys that depend on it are of no use either.
            Self::NotSupported(_) | Self::Unknown => None,
        }
    }

    /// What to say when a key without default is missing.
    fn misses(&self, path: &str, key: &Key, written: &BTreeSet<&'static str>) -> Option<String> {
        let name = key.name();
        match (key.need, self) {
            (Need::Always, _) if path.is_empty() => {
                Some(format!("the file needs {}", header(key.path)))
            }
            (Need::Always, _) if matches!(key.kind, Kind::Tables) => {
                Some(format!("{} needs {}", header(path), header(key.path)))
            }
            (Need::Always, _) => Some(format!("{} needs `{name}`", header(path))),
            (Need::Unless(other), _) if !written.contains(other) => {
                Some(format!("{} needs `{name}`, or `{other}`", header(path)))
            }
            (Need::With(other), _) if written.contains(other) => {
                Some(format!("{} needs `{name}` with `{other}`", header(path)))
            }
            (Need::For(values), Self::Value(selecting, word)) if values.contains(word) => {
                let selecting = selecting.name();
                Some(format!(
                    "{} needs `{name}` with {selecting} = \"{word}\"",
                    header(path)
                ))
            }
            _ => None,
        }
    }
}

/// Where to point for a whole key: at the header of a table, else at the name.
fn place(key: &Key, name_at: usize, value: &Spanned<DeValue<'_>>) -> usize {
    match key.kind {
        Kind::Table | Kind::Tables => value.span().start.min(name_at),
        _ => name_at,
    }
}

fn not_supported(path: &str, key: &Key) -> String {
    if path.is_empty() {
        format!("{} is not supported in this version", header(key.path))
    } else {
        format!(
            "`{}` in {} is not supported in this version",
            key.name(),
            header(path)
        )
    }
}

fn expected_table(key: &Key, found: &DeValue<'_>) -> String {
    match (key.kind, found) {
        (Kind::Tables, DeValue::Table(_)) => {
            let list = header(key.path);
            format!(
                "expected a list of tables, write {list} instead of [{}]",
                list.trim_matches(['[', ']'])
            )
        }
        (Kind::Table, DeValue::Array(_)) => {
            let one = header(key.path);
            format!("expected one table {one}, got a list")
        }
        _ if let Some(word) = key.word => {
            let (name, shown) = (key.name(), show(found));
            format!("`{name}`: expected a table or \"{word}\", got {shown}")
        }
        _ => format!("`{}`: expected a table, got {}", key.name(), show(found)),
    }
}

/// The key that an unknown one was most likely meant to be.
fn resembling(path: &str, name: &str) -> Option<&'static Key> {
    let near = nearest(name, of_table(path).map(Key::name))?;
    of_table(path).find(|key| key.name() == near)
}

fn unknown(path: &str, name: &str, value: &DeValue<'_>, near: Option<&Key>) -> String {
    let shown = quoted(name);
    let shown = shown.trim_matches('"');
    if path.is_empty() {
        let what = match value {
            DeValue::Table(_) => format!("unknown table [{shown}]"),
            DeValue::Array(_) => format!("unknown table [[{shown}]]"),
            _ => format!("unknown key `{shown}` outside of any table"),
        };
        return match (near, owner(name)) {
            (Some(key), _) => format!("{what}, did you mean {}?", header(key.path)),
            (None, Some(owner)) => format!("{what}, it belongs to {owner}"),
            (None, None) => format!("{what}, known are {}", tables()),
        };
    }
    let what = format!("unknown key `{shown}` in {}", header(path));
    match (near, owner(name)) {
        (Some(key), _) => format!("{what}, did you mean `{}`?", key.name()),
        (None, Some(owner)) => format!("{what}, it belongs to {owner}"),
        (None, None) => {
            let known = of_table(path).filter(|key| key.supported);
            let known: Vec<String> = known.map(|key| format!("`{}`", key.name())).collect();
            format!("{what}, known are {}", known.join(", "))
        }
    }
}

/// The one table that has such a key.
fn owner(name: &str) -> Option<String> {
    let mut owners = all().filter(|key| key.supported && key.name() == name);
    let owner = owners.next()?;
    let is_key = !owner.parent().is_empty() && owners.next().is_none();
    is_key.then(|| header(owner.parent()))
}

fn tables() -> String {
    let known = of_table("").filter(|key| key.supported);
    known
        .map(|key| header(key.path))
        .collect::<Vec<_>>()
        .join(", ")
}
