//! The reference page `docs/pipeline.md`, made from the declared keys so that it cannot fall behind them.
//! The words around the tables are in `reference.md` beside this file. Only the test below uses it: a page
//! that differs from what is made here fails the gate, and one command writes it anew.

use std::fmt::{Display, Write as _};

use crate::pipeline::keys::{
    Choice, Key, Kind, MAX_LIST, MAX_NAME_CHARS, MAX_TABLES, MAX_TEXT_CHARS, Need, all, header,
    of_table,
};
use crate::pipeline::units::{DURATION_UNITS, SIZE_UNITS, show_bytes, show_ms};

/// Where the page is, from the root of the repository.
const PAGE: &str = "docs/pipeline.md";
/// Set to anything: the page is written instead of compared.
const UPDATE: &str = "SLACKWATER_UPDATE_DOCS";

/// Rules: the types of field they are for, and the message when the check has none.
const RULES: &[(&str, &str, &str)] = &[
    ("not_empty", "any", "cannot be empty"),
    ("min", "int, float", "must be at least 5"),
    ("max", "int, float", "must be at most 5"),
    ("one_of", "string, int, float, bool", "must be one of a, b"),
    (
        "max_length",
        "string, list",
        "must have at most 5 characters, or elements",
    ),
    ("matches", "string", "must match ^[a-z]+$"),
];

/// Kinds of features: what they are made of.
const FEATURES: &[(&str, &str)] = &[
    ("value", "a field of type int, float or bool"),
    (
        "one_hot",
        "a field of type string, one number for each value",
    ),
    ("index", "a field of type string"),
    ("hash", "a field of type string"),
    ("hour_sin", "the event time"),
    ("hour_cos", "the event time"),
    ("day_of_week", "the event time"),
    ("count", "a window"),
    ("sum", "a window and a field of type int, float or bool"),
    ("mean", "a window and a field of type int, float or bool"),
    ("min", "a window and a field of type int, float or bool"),
    ("max", "a window and a field of type int, float or bool"),
    ("std", "a window and a field of type int, float or bool"),
    ("last", "a window and a field of type int, float or bool"),
    ("distinct", "a window and a field of any type"),
    ("since_previous", "a window"),
    ("mean_gap", "a window"),
    ("share", "a window"),
    ("lookup", "what others have written"),
    ("expr", "the features above it"),
    ("constant", "nothing"),
];

/// The whole page.
fn page() -> String {
    include_str!("reference.md")
        .replace("{max_text}", &grouped(MAX_TEXT_CHARS))
        .replace("{max_name}", &grouped(MAX_NAME_CHARS))
        .replace("{max_list}", &grouped(MAX_LIST))
        .replace("{max_tables}", &grouped(MAX_TABLES))
        .replace("{durations}", &units(DURATION_UNITS))
        .replace("{sizes}", &units(SIZE_UNITS))
        .replace("{sections}", &sections())
        .replace("{rules}", &rules())
        .replace("{features}", &features())
        .replace("{later}", &later())
}

fn units(units: &[(&str, u64)]) -> String {
    let names: Vec<String> = units.iter().map(|(name, _)| format!("`{name}`")).collect();
    names.join(", ")
}

/// A section for each table with keys that this version supports.
fn sections() -> String {
    let tables = all().filter(|key| key.supported && is_table(key));
    let sections: String = tables.map(section).collect();
    sections.trim_end().to_owned()
}

fn is_table(key: &Key) -> bool {
    matches!(key.kind, Kind::Table | Kind::Tables)
}

fn section(table: &Key) -> String {
    let depth = if table.parent().is_empty() {
        "##"
    } else {
        "###"
    };
    let need = match table.need {
        Need::Always => " Required.",
        Need::Optional | Need::For(_) | Need::Unless(_) | Need::With(_) => "",
    };
    let (header, doc) = (header(table.path), table.doc);
    let mut text = format!(
        "{depth} `{header}`\n{doc}{need}\n\n| key | takes | default | what it is |\n| --- | --- | --- | --- |\n"
    );
    for key in of_table(table.path).filter(|key| key.supported) {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {}{} |",
            key.name(),
            takes(key),
            default(key),
            key.doc.replace('|', "\\|"),
            only(key),
        );
    }
    text.push('\n');
    text
}

/// What may be written for the key.
fn takes(key: &Key) -> String {
    match key.kind {
        Kind::Text => "text".into(),
        Kind::Name => "name".into(),
        Kind::Integer(least, most) => format!("whole number{}", range(least, most, i64::MAX)),
        Kind::Float(least, _) if least == f64::MIN => "number".into(),
        Kind::Float(least, most) => format!("number, {least} to {most}"),
        Kind::Bool => "`true`, `false`".into(),
        Kind::Duration(least, most) => {
            format!("duration, {} to {}", show_ms(least), show_ms(most))
        }
        Kind::Size(least, most) => {
            format!("size, {} to {}", show_bytes(least), show_bytes(most))
        }
        Kind::Choice(choices) => {
            let words: Vec<&str> = supported(choices).collect();
            quoted(words.iter())
        }
        Kind::Expression => "[expression](#expressions)".into(),
        Kind::Texts => "list of texts".into(),
        Kind::Literals => "list of texts, numbers or truth values, at least one".into(),
        Kind::Where => "condition".into(),
        Kind::Start => "`\"earliest\"`, `\"latest\"`, `{ timestamp = \"...\" }`".into(),
        Kind::Properties => "table of settings".into(),
        Kind::Table => {
            let word = key.word.map(|word| format!(", `\"{word}\"`"));
            format!("[table](#{}){}", anchor(key), word.unwrap_or_default())
        }
        Kind::Literal => "text, number or truth value, or a list of them".into(),
        Kind::Tables => format!("[list of tables](#{})", anchor(key)),
        Kind::Secret => "`{ env = \"NAME\" }`, `{ file = \"PATH\" }`".into(),
        // No supported key has this kind; a test below would show one in the page.
        Kind::Other => "see its description".into(),
    }
}

/// How a browser finds the section of a table: its title without what is no letter.
fn anchor(key: &Key) -> String {
    let legal = |c: &char| c.is_alphanumeric() || *c == '_';
    header(key.path).chars().filter(legal).collect()
}

fn range(least: i64, most: i64, endless: i64) -> String {
    if most == endless {
        format!(", at least {}", grouped(least))
    } else {
        format!(", {} to {}", grouped(least), grouped(most))
    }
}

/// A whole number with a comma between thousands.
fn grouped(number: impl Display) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn default(key: &Key) -> String {
    match (key.need, key.default) {
        (Need::Always, _) => "**required**".into(),
        (Need::For(words), _) if words == key.only => "**required**".into(),
        (Need::For(words), _) => format!("**required** with {}", quoted(words.iter())),
        (Need::Unless(other), _) => format!("**required** without `{other}`"),
        (Need::With(other), _) => format!("**required** with `{other}`"),
        (Need::Optional, Some(default)) => format!("`{default}`"),
        (Need::Optional, None) => "-".into(),
    }
}

/// With which values of the selecting key of its table a key goes.
fn only(key: &Key) -> String {
    let Some((selector, choices)) = selector(key.parent()) else {
        return String::new();
    };
    let goes = |word: &&str| key.only.contains(word);
    let words: Vec<&str> = supported(choices).filter(goes).collect();
    if words.is_empty() {
        return String::new();
    }
    format!(" Only with `{}` {}.", selector.name(), quoted(words.iter()))
}

/// The key of a table that selects which others go with it, and its words.
fn selector(table: &str) -> Option<(&'static Key, &'static [Choice])> {
    let key = of_table(table).find(|key| key.selects)?;
    match key.kind {
        Kind::Choice(choices) => Some((key, choices)),
        _ => None,
    }
}

fn supported(choices: &'static [Choice]) -> impl Iterator<Item = &'static str> {
    let choices = choices.iter().filter(|choice| choice.supported);
    choices.map(|choice| choice.name)
}

/// Words as the file writes them.
fn quoted<'w>(words: impl Iterator<Item = &'w &'w str>) -> String {
    let words: Vec<String> = words.map(|word| format!("`\"{word}\"`")).collect();
    words.join(", ")
}

/// The supported words of the key that selects others in a table, with the names of the keys that each
/// must have and may have beside those that all take.
fn arguments(table: &'static str) -> Vec<(&'static str, String, String)> {
    let Some((_, choices)) = selector(table) else {
        return Vec::new();
    };
    let row = |word| {
        let goes = |key: &&Key| key.supported && key.only.contains(&word);
        let needed = |key: &Key| matches!(key.need, Need::For(words) if words.contains(&word));
        let names = |must: bool| {
            let keys = of_table(table)
                .filter(goes)
                .filter(|key| needed(key) == must);
            let names: Vec<String> = keys.map(|key| format!("`{}`", key.name())).collect();
            if names.is_empty() {
                "-".to_owned()
            } else {
                names.join(", ")
            }
        };
        (word, names(true), names(false))
    };
    supported(choices).map(row).collect()
}

fn rules() -> String {
    let mut text =
        "| `rule` | needs | type of field | message |\n| --- | --- | --- | --- |\n".to_owned();
    for (rule, needs, _) in arguments("check[]") {
        let known = RULES.iter().find(|(name, ..)| *name == rule);
        let (_, types, message) = known.unwrap_or(&("", "?", "?"));
        let _ = writeln!(text, "| `\"{rule}\"` | {needs} | {types} | {message} |");
    }
    text
}

fn features() -> String {
    let mut text = "| `of` | needs | may have | made of |\n| --- | --- | --- | --- |\n".to_owned();
    for (of, needs, may) in arguments("feature[]") {
        let known = FEATURES.iter().find(|(name, _)| *name == of);
        let (_, made_of) = known.unwrap_or(&("", "?"));
        let _ = writeln!(text, "| `\"{of}\"` | {needs} | {may} | {made_of} |");
    }
    text
}

/// Everything that is declared and not supported: whole tables, keys, and words of supported keys.
fn later() -> String {
    let mut text = String::new();
    for key in all() {
        let known = |path: &str| all().all(|table| table.path != path || table.supported);
        let place = match key.parent() {
            "" => format!("`{}`", header(key.path)),
            table => format!("`{}` `{}`", header(table), key.name()),
        };
        if !key.supported && known(key.parent()) {
            let _ = writeln!(text, "- {place}: {}{}", key.doc, inside(key));
        }
        let Kind::Choice(choices) = key.kind else {
            continue;
        };
        let missing = choices.iter().filter(|choice| !choice.supported);
        let words: Vec<&str> = missing.map(|choice| choice.name).collect();
        if key.supported && !words.is_empty() {
            let _ = writeln!(text, "- {place} = {}", quoted(words.iter()));
        }
    }
    text.trim_end().to_owned()
}

/// The keys of a table that is not supported, and of the tables in it.
fn inside(table: &Key) -> String {
    let within = all().filter(|key| !is_table(key)).filter_map(|key| {
        let rest = key.path.strip_prefix(table.path)?;
        rest.strip_prefix('.').map(|name| format!("`{name}`"))
    });
    let names: Vec<String> = within.collect();
    if names.is_empty() {
        return String::new();
    }
    format!(" Keys: {}.", names.join(", "))
}

#[test]
fn is_the_reference_page_what_the_keys_say() {
    let path = format!("{}/{PAGE}", env!("CARGO_MANIFEST_DIR"));
    let expected = page();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, expected).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = expected
        .lines()
        .zip(found.lines())
        .find(|(new, old)| new != old);
    assert!(
        found == expected,
        "{PAGE} is not what the declared keys say, first here: {differs:#?}\nwrite it anew with\n    \
         {UPDATE}=1 cargo test --package slackwater --lib reference_page"
    );
}

#[test]
fn does_the_page_describe_every_word() {
    let page = page();
    assert!(
        !page.contains("| ? |"),
        "a rule or a feature without its types"
    );
    assert!(
        !page.contains("see its description"),
        "a key of a kind that nobody describes"
    );
    let described = |names: Vec<&str>, table| {
        let words: Vec<&str> = arguments(table).iter().map(|(word, ..)| *word).collect();
        assert_eq!(names, words, "{table}");
    };
    described(RULES.iter().map(|(name, ..)| *name).collect(), "check[]");
    described(
        FEATURES.iter().map(|(name, _)| *name).collect(),
        "feature[]",
    );
}
