//! One value of the file held against the kind its key declares: a typed value, or the sentence that
//! says what was expected and what was found.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use crate::pipeline::keys::{Choice, Key, Kind, MAX_LIST, MAX_NAME_CHARS, MAX_TEXT_CHARS};
use crate::pipeline::spec::{Literal, PropertySpec, StartSpec};
use crate::pipeline::units::{duration_ms, show_bytes, show_ms, size_bytes};

/// What is shown instead of a secret.
pub(super) const HIDDEN: &str = "***";

/// A value and the byte where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Located<T> {
    pub(super) at: usize,
    pub(super) value: T,
}

/// The alternatives of one condition: any of them matches.
pub(super) type AnyOf = Vec<Located<Literal>>;

/// A value of the kind its key declares. Tables are read by `read`, not here.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Expression(Written),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Millis(u64),
    Bytes(u64),
    Texts(Vec<Located<String>>),
    Literal(Located<Literal>),
    Literals(AnyOf),
    Where(Vec<(Located<String>, AnyOf)>),
    Start(StartSpec),
    Properties(Vec<(Located<String>, PropertySpec)>),
    Secret(PropertySpec),
}

/// An expression as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) text: String,
    /// Whether the file has the same text behind the quote, without escapes or lines that are joined.
    is_plain: bool,
}

impl Written {
    /// The byte of the file where a byte of the expression stands, whose value begins at `at`; of one that is not written as
    /// it is, where it begins.
    pub(super) fn place(&self, at: usize, byte: usize) -> usize {
        if self.is_plain { at + 1 + byte } else { at }
    }
}

/// Reads an expression.
pub(super) fn expression(spanned: &Spanned<DeValue<'_>>) -> Result<Written, String> {
    let found = spanned.get_ref();
    let text = text(found).ok_or_else(|| expected("an expression as a string", found))??;
    Ok(Written {
        // Whatever is not plain is longer in the file.
        is_plain: spanned.span().len() == text.len() + 2,
        text,
    })
}

/// A mistake in a value, and where.
pub(super) type Wrong = Located<String>;

/// Reads a value as its key declares it.
pub(super) fn read(key: &Key, spanned: &Spanned<DeValue<'_>>) -> Result<Value, Wrong> {
    let at = spanned.span().start;
    let found = spanned.get_ref();
    let here = |message: String| Located { at, value: message };
    let result = match key.kind {
        Kind::Text | Kind::Name | Kind::Bool => word(key.kind, found).map_err(here),
        Kind::Expression => expression(spanned).map(Value::Expression).map_err(here),
        Kind::Integer(..) | Kind::Float(..) | Kind::Duration(..) | Kind::Size(..) => {
            number(key.kind, found).map_err(here)
        }
        Kind::Choice(choices) => {
            let word = found
                .as_str()
                .ok_or_else(|| expected(&listed(choices), found));
            let chosen = word.and_then(|word| choose(choices, word));
            chosen.map_err(here)
        }
        Kind::Texts => match found {
            DeValue::Array(list) => texts(list).map(Value::Texts),
            _ => Err(here(expected("a list of strings", found))),
        },
        Kind::Literals => match found {
            DeValue::Array(list) => literals(list, at).map(Value::Literals),
            _ => Err(here(expected("a list of values", found))),
        },
        Kind::Literal => match found {
            DeValue::Array(list) => any_literals(list).map(Value::Literals),
            DeValue::String(text) if text.chars().count() > MAX_TEXT_CHARS => Err(here(format!(
                "must have at most {MAX_TEXT_CHARS} characters"
            ))),
            _ => literal(spanned).map(Value::Literal),
        },
        Kind::Where => match found {
            DeValue::Table(table) => conditions(table, at).map(Value::Where),
            DeValue::String(_) => expression(spanned).map(Value::Expression).map_err(here),
            _ => Err(here(expected("{ field = value } or an expression", found))),
        },
        Kind::Start => start(found).map(Value::Start).map_err(here),
        Kind::Properties => match found {
            DeValue::Table(table) => properties(table).map(Value::Properties),
            _ => Err(here(expected("a table of settings", found))),
        },
        Kind::Secret => secret(found).map(Value::Secret).map_err(here),
        Kind::Table | Kind::Tables => Err(here(expected("a table", found))),
        // No key of this version has this kind; the reader stops at the key before.
        Kind::Other => Err(here("not supported in this version".to_owned())),
    };
    result.map_err(|wrong| Located {
        at: wrong.at,
        value: format!("`{}`: {}", key.name(), wrong.value),
    })
}

fn expected(what: &str, found: &DeValue<'_>) -> String {
    format!("expected {what}, got {}", show(found))
}

fn word(kind: Kind, found: &DeValue<'_>) -> Result<Value, String> {
    match kind {
        Kind::Text => text(found)
            .ok_or_else(|| expected("a string", found))?
            .map(Value::Text),
        Kind::Bool => {
            let value = found.as_bool().map(Value::Bool);
            value.ok_or_else(|| expected("true or false", found))
        }
        _ => name(found).map(Value::Text).ok_or_else(|| {
            let what = format!("letters, digits, `-`, `_` or `.`, at most {MAX_NAME_CHARS}");
            expected(&what, found)
        }),
    }
}

fn number(kind: Kind, found: &DeValue<'_>) -> Result<Value, String> {
    let shown = show(found);
    match kind {
        Kind::Integer(least, most) => {
            let number = integer(found).ok_or_else(|| expected("a whole number", found))?;
            let fits = number
                .filter(|n| (least..=most).contains(n))
                .map(Value::Integer);
            fits.ok_or_else(|| out_of(least, most, i64::MAX, &shown))
        }
        Kind::Duration(least, most) => {
            let ms = found.as_str().and_then(duration_ms);
            let ms = ms.ok_or_else(|| expected("a duration such as \"2s\"", found))?;
            let fits = (least..=most).contains(&ms).then_some(Value::Millis(ms));
            fits.ok_or_else(|| out_of(show_ms(least), show_ms(most), String::new(), &shown))
        }
        Kind::Size(least, most) => {
            let bytes = size(found);
            let bytes = bytes.ok_or_else(|| expected("a size such as \"64KiB\"", found))?;
            let fits = (least..=most)
                .contains(&bytes)
                .then_some(Value::Bytes(bytes));
            fits.ok_or_else(|| out_of(show_bytes(least), show_bytes(most), String::new(), &shown))
        }
        kind => {
            let number = float(found).ok_or_else(|| expected("a finite number", found))?;
            let (least, most) = match kind {
                Kind::Float(least, most) => (least, most),
                _ => (f64::MIN, f64::MAX),
            };
            let fits = (least..=most)
                .contains(&number)
                .then_some(Value::Float(number));
            fits.ok_or_else(|| out_of(least, most, f64::MAX, &shown))
        }
    }
}

fn out_of<T: PartialEq + std::fmt::Display>(least: T, most: T, endless: T, found: &str) -> String {
    if most == endless {
        format!("must be at least {least}, got {found}")
    } else {
        format!("must be from {least} to {most}, got {found}")
    }
}

fn text(found: &DeValue<'_>) -> Option<Result<String, String>> {
    let text = found.as_str()?;
    Some(if text.is_empty() {
        Err("must not be empty".to_owned())
    } else if text.chars().count() > MAX_TEXT_CHARS {
        Err(format!("must have at most {MAX_TEXT_CHARS} characters"))
    } else {
        Ok(text.to_owned())
    })
}

fn name(found: &DeValue<'_>) -> Option<String> {
    let name = found.as_str()?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits = !name.is_empty() && name.len() <= MAX_NAME_CHARS && !name.starts_with('.');
    (fits && name.chars().all(legal)).then(|| name.to_owned())
}

/// `None` when it is no integer, `Some(None)` when it is one that does not fit.
fn integer(found: &DeValue<'_>) -> Option<Option<i64>> {
    found.as_integer().map(whole)
}

fn whole(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn float(found: &DeValue<'_>) -> Option<f64> {
    let number = match found {
        DeValue::Integer(number) => {
            let whole = whole(number)?;
            // Whole numbers beyond 2^53 would be rounded without a word.
            let exact = whole.unsigned_abs() <= 1 << 53;
            #[expect(
                clippy::cast_precision_loss,
                reason = "exact up to 2^53, checked above"
            )]
            exact.then_some(whole as f64)?
        }
        DeValue::Float(number) => number.as_str().parse::<f64>().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

fn size(found: &DeValue<'_>) -> Option<u64> {
    match found {
        DeValue::Integer(number) => u64::try_from(whole(number)?).ok(),
        DeValue::String(text) => size_bytes(text),
        _ => None,
    }
}

fn choose(choices: &[Choice], word: &str) -> Result<Value, String> {
    let shown = quoted(word);
    match choices.iter().find(|choice| choice.name == word) {
        Some(choice) if choice.supported => Ok(Value::Text(word.to_owned())),
        Some(_) => Err(format!("{shown} is not supported in this version")),
        None => Err(
            match nearest(word, choices.iter().map(|choice| choice.name)) {
                Some(near) => format!("unknown value {shown}, did you mean \"{near}\"?"),
                None => format!("expected {}, got {shown}", listed(choices)),
            },
        ),
    }
}

/// The supported words of a key, as a sentence says them.
fn listed(choices: &[Choice]) -> String {
    let words: Vec<String> = choices
        .iter()
        .filter(|choice| choice.supported)
        .map(|choice| format!("\"{}\"", choice.name))
        .collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "a word".to_owned(),
    }
}

fn texts(list: &DeArray<'_>) -> Result<Vec<Located<String>>, Wrong> {
    let one = |element: &Spanned<DeValue<'_>>| {
        let at = element.span().start;
        let found = element.get_ref();
        match text(found) {
            Some(Ok(value)) => Ok(Located { at, value }),
            Some(Err(value)) => Err(Located { at, value }),
            None => Err(Located {
                at,
                value: format!("expected a string, got {}", show(found)),
            }),
        }
    };
    let at = list.get(MAX_LIST).map(|element| element.span().start);
    match at {
        Some(at) => Err(Located {
            at,
            value: format!("at most {MAX_LIST} elements are allowed"),
        }),
        None => list.iter().map(one).collect(),
    }
}

fn literals(list: &DeArray<'_>, at: usize) -> Result<AnyOf, Wrong> {
    if list.is_empty() {
        return Err(Located {
            at,
            value: "needs at least one value".to_owned(),
        });
    }
    any_literals(list)
}

fn any_literals(list: &DeArray<'_>) -> Result<AnyOf, Wrong> {
    if let Some(element) = list.get(MAX_LIST) {
        let at = element.span().start;
        return Err(Located {
            at,
            value: format!("at most {MAX_LIST} elements are allowed"),
        });
    }
    list.iter().map(literal).collect()
}

fn literal(element: &Spanned<DeValue<'_>>) -> Result<Located<Literal>, Wrong> {
    let at = element.span().start;
    let found = element.get_ref();
    let value = match found {
        DeValue::String(text) => Some(Literal::Text(text.as_ref().to_owned())),
        DeValue::Integer(number) => whole(number).map(Literal::Int),
        DeValue::Float(_) => float(found).map(Literal::Float),
        DeValue::Boolean(value) => Some(Literal::Bool(*value)),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    };
    let got = || {
        format!(
            "expected a string, a number or a boolean, got {}",
            show(found)
        )
    };
    value
        .map(|value| Located { at, value })
        .ok_or_else(|| Located { at, value: got() })
}

fn conditions(table: &DeTable<'_>, at: usize) -> Result<Vec<(Located<String>, AnyOf)>, Wrong> {
    if table.is_empty() {
        return Err(Located {
            at,
            value: "needs at least one { field = value }".to_owned(),
        });
    }
    let mut conditions = Vec::new();
    for (field, value) in table {
        let any_of = match value.get_ref() {
            DeValue::Array(list) => literals(list, value.span().start)?,
            _ => vec![literal(value)?],
        };
        let name = field.get_ref().as_ref().to_owned();
        conditions.push((
            Located {
                at: field.span().start,
                value: name,
            },
            any_of,
        ));
    }
    conditions.sort_by_key(|(field, _)| field.at);
    Ok(conditions)
}

fn start(found: &DeValue<'_>) -> Result<StartSpec, String> {
    let time = found.as_table().filter(|table| table.len() == 1);
    let time = time.and_then(|table| table.get("timestamp")?.get_ref().as_str());
    match (found.as_str(), time) {
        (Some("earliest"), _) => Ok(StartSpec::Earliest),
        (Some("latest"), _) => Ok(StartSpec::Latest),
        (_, Some(time)) => {
            let parsed = time.parse::<jiff::Timestamp>();
            let ms = parsed.map(|time| StartSpec::Time(time.as_millisecond()));
            ms.map_err(|_| {
                let found = quoted(time);
                format!("expected a time such as \"2026-01-01T00:00:00Z\", got {found}")
            })
        }
        _ => {
            let what = "\"earliest\", \"latest\" or { timestamp = \"2026-01-01T00:00:00Z\" }";
            Err(expected(what, found))
        }
    }
}

fn properties(table: &DeTable<'_>) -> Result<Vec<(Located<String>, PropertySpec)>, Wrong> {
    let mut properties = Vec::new();
    for (name, value) in table {
        let at = value.span().start;
        let name = Located {
            at: name.span().start,
            value: name.get_ref().as_ref().to_owned(),
        };
        let property = property(value.get_ref());
        let property = property.map_err(|message| Located {
            at,
            value: format!("{}: {message}", quoted(&name.value)),
        })?;
        properties.push((name, property));
    }
    properties.sort_by_key(|(name, _)| name.at);
    Ok(properties)
}

fn property(found: &DeValue<'_>) -> Result<PropertySpec, String> {
    const SHAPES: &str = "a string, a number, a boolean, { env = \"NAME\" } or { file = \"PATH\" }";
    const IN_QUOTES: &str = "; a name with dots stands in quotes, as in \"sasl.mechanism\"";
    match found {
        DeValue::String(text) => Ok(PropertySpec::Text(text.as_ref().to_owned())),
        DeValue::Integer(number) => {
            let number = whole(number).ok_or_else(|| expected("a whole number", found))?;
            Ok(PropertySpec::Text(number.to_string()))
        }
        DeValue::Float(number) => Ok(PropertySpec::Text(number.as_str().to_owned())),
        DeValue::Boolean(value) => Ok(PropertySpec::Text(value.to_string())),
        DeValue::Table(table) => {
            let one = (table.len() == 1).then_some(table);
            let text = |name: &str| one?.get(name)?.get_ref().as_str();
            match (text("env"), text("file")) {
                (Some(name), _) => Ok(PropertySpec::Env(name.to_owned())),
                (_, Some(path)) => Ok(PropertySpec::File(path.to_owned())),
                _ => Err(format!("{}{IN_QUOTES}", expected(SHAPES, found))),
            }
        }
        DeValue::Array(_) | DeValue::Datetime(_) => Err(expected(SHAPES, found)),
    }
}

/// A secret stands elsewhere, never in the file.
fn secret(found: &DeValue<'_>) -> Result<PropertySpec, String> {
    const SHAPES: &str = "{ env = \"NAME\" } or { file = \"PATH\" }";
    let spec = match found {
        DeValue::Table(_) => property(found).ok(),
        _ => None,
    };
    // What was found may be the secret.
    spec.ok_or_else(|| format!("expected {SHAPES}: a secret does not stand in the file"))
}

/// A value as a message shows it.
pub(super) fn show(found: &DeValue<'_>) -> String {
    match found {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// A value of the file as a message about the file shows it.
pub(super) fn show_literal(literal: &Literal) -> String {
    match literal {
        Literal::Text(text) => quoted(text),
        Literal::Int(whole) => whole.to_string(),
        Literal::Float(number) => number.to_string(),
        Literal::Bool(value) => value.to_string(),
    }
}

/// A URL without the password that it may hold, before its server or behind it, an address without that before it, and
/// any other text as it is.
pub(super) fn without_password(text: &str) -> Cow<'_, str> {
    let url = text.split_once("://");
    let Some((scheme, rest)) = url.filter(|(scheme, _)| !scheme.contains('@')) else {
        let secret = text
            .rsplit_once('@')
            .and_then(|(who, server)| Some((who.split_once(':')?.0, server)));
        return secret.map_or(text.into(), |(user, server)| {
            format!("{user}:{HIDDEN}@{server}").into()
        });
    };
    let (who, server) = match rest.rsplit_once('@') {
        // Without a colon, what stands there may be one as well.
        Some((who, server)) => match who.split_once(':') {
            Some((user, _)) => (format!("{user}:{HIDDEN}@"), server),
            None => (format!("{HIDDEN}@"), server),
        },
        None => (String::new(), rest),
    };
    match server.find(['?', '#']).and_then(|at| server.get(..=at)) {
        Some(server) => format!("{scheme}://{who}{server}{HIDDEN}").into(),
        None => format!("{scheme}://{who}{server}").into(),
    }
}

/// A string in quotes, escaped and cut after a few words.
pub(super) fn quoted(text: &str) -> String {
    /// Enough to recognise what was written.
    const SHOWN_CHARS: usize = 40;
    let text = &*without_password(text);
    let shown: String = text.chars().take(SHOWN_CHARS).collect();
    let more = if shown.len() < text.len() { "..." } else { "" };
    format!("\"{}{more}\"", shown.escape_debug())
}

/// What is said of a name that nothing has: what it was most likely meant to be, or else this.
pub(super) fn unknown<'c>(
    kind: &str,
    wanted: &str,
    names: impl Iterator<Item = &'c str>,
    otherwise: &str,
) -> String {
    let shown = quoted(wanted);
    match nearest(wanted, names) {
        Some(near) => format!("unknown {kind} {shown}, did you mean \"{near}\"?"),
        None => format!("unknown {kind} {shown}{otherwise}"),
    }
}

/// The candidate that `word` was most likely meant to be, if any is near enough: at most a third of
/// its letters are wrong, added, missing or swapped.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    let letters = word.chars().count();
    if letters > MAX_NAME_CHARS {
        return None;
    }
    let allowed = (letters / 3).max(1);
    candidates
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= allowed && *distance < candidate.chars().count()
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
