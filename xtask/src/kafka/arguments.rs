//! What the words behind `cargo xtask kafka` ask for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use slackwater_services::kafka::Reading;
use slackwater_services::kafka::resident::PORT;

/// What it takes, one line a command.
pub const USAGE: &str = "usage: cargo xtask kafka COMMAND

  start [--port N]                     starts a broker, at port 9092 unless told otherwise, and leaves it running
  stop                                 ends it and keeps its data
  status                               says whether it runs
  topics [list]                        the topics
  topics create NAME PARTITIONS [SETTING=VALUE..]
  topics delete NAME
  produce TOPIC [FILE] [--key-separator TEXT]
                                       one record for each line of a file or of the standard input
  consume TOPIC [--from-beginning] [--read-committed] [--max N] [--timeout-ms N]
                                       one line for each record; to the end of patience, or to Ctrl-C

  --folder DIR                         with any of these: the broker whose data is there, instead of in the cache";

/// What `--timeout-ms` does not count: Java's own start, until the first record.
const JAVA_MS: u64 = 5000;

/// What the arguments ask for, and of which broker.
#[derive(Debug)]
pub struct Choice {
    /// The folder of its data, if not the one in the cache.
    pub folder: Option<PathBuf>,
    /// What is to be done.
    pub action: Action,
}

/// Each command with what it was given.
#[derive(Debug)]
pub enum Action {
    Usage,
    Start {
        port: u16,
    },
    Stop,
    Status,
    Topics,
    Create {
        name: String,
        partitions: u32,
        settings: Vec<(String, String)>,
    },
    Delete {
        name: String,
    },
    Produce {
        topic: String,
        file: Option<PathBuf>,
        key_separator: Option<String>,
    },
    Consume(Reading),
}

/// Every option, and whether a value follows it.
const OPTIONS: [(&str, bool); 7] = [
    ("--folder", true),
    ("--port", true),
    ("--key-separator", true),
    ("--from-beginning", false),
    ("--read-committed", false),
    ("--max", true),
    ("--timeout-ms", true),
];

/// Reads the arguments of `cargo xtask kafka`.
///
/// # Errors
/// Says what is mistyped and what would be right.
pub fn parse(arguments: &[String]) -> Result<Choice> {
    let (words, mut options) = split(arguments)?;
    let folder = options.remove("--folder").map(PathBuf::from);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let action = match words[..] {
        [] | ["help"] => Action::Usage,
        ["start"] => Action::Start {
            port: number(&mut options, "--port")?.unwrap_or(PORT),
        },
        ["stop"] => Action::Stop,
        ["status"] => Action::Status,
        ["topics"] | ["topics", "list"] => Action::Topics,
        ["topics", "create", name, partitions, ref settings @ ..] => Action::Create {
            name: name.to_owned(),
            partitions: partitions
                .parse()
                .with_context(|| format!("`{partitions}` is no number of partitions"))?,
            settings: settings
                .iter()
                .map(|setting| pair(setting))
                .collect::<Result<_>>()?,
        },
        ["topics", "delete", name] => Action::Delete {
            name: name.to_owned(),
        },
        ["produce", topic, ref file @ ..] if file.len() < 2 => Action::Produce {
            topic: topic.to_owned(),
            file: file.first().map(PathBuf::from),
            key_separator: options.remove("--key-separator"),
        },
        ["consume", topic] => Action::Consume(reading(topic, &mut options)?),
        _ => bail!(
            "cargo xtask kafka does not take `{}`\n\n{USAGE}",
            arguments.join(" ")
        ),
    };
    if let Some(option) = options.keys().next() {
        bail!("`{option}` means nothing here\n\n{USAGE}");
    }
    Ok(Choice { folder, action })
}

/// What `consume` is to read.
fn reading(topic: &str, options: &mut BTreeMap<&'static str, String>) -> Result<Reading> {
    let patience_ms: Option<u64> = number(options, "--timeout-ms")?;
    Ok(Reading {
        topic: topic.to_owned(),
        committed: options.remove("--read-committed").is_some(),
        from_beginning: options.remove("--from-beginning").is_some(),
        most: number(options, "--max")?,
        first: patience_ms.map(|ms| Duration::from_millis(ms.saturating_add(JAVA_MS))),
        idle: patience_ms.map(Duration::from_millis),
    })
}

/// Tells options from other words.
fn split(arguments: &[String]) -> Result<(Vec<String>, BTreeMap<&'static str, String>)> {
    let (mut words, mut options) = (Vec::new(), BTreeMap::new());
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        if !word.starts_with("--") {
            words.push(word.clone());
            continue;
        }
        let Some((name, valued)) = OPTIONS.iter().find(|(name, _)| name == word) else {
            bail!("cargo xtask kafka has no option `{word}`\n\n{USAGE}");
        };
        let value = if *valued {
            rest.next()
                .with_context(|| format!("`{name}` needs a value"))?
                .clone()
        } else {
            String::new()
        };
        options.insert(*name, value);
    }
    Ok((words, options))
}

/// The value of an option that is a number.
fn number<T: std::str::FromStr>(
    options: &mut BTreeMap<&'static str, String>,
    name: &str,
) -> Result<Option<T>> {
    let value = options.remove(name);
    let parsed = value.map(|value| {
        value
            .parse()
            .map_err(|_| anyhow::anyhow!("{name} takes a number, not `{value}`"))
    });
    parsed.transpose()
}

/// A setting of a topic.
fn pair(setting: &str) -> Result<(String, String)> {
    let (key, value) = setting
        .split_once('=')
        .with_context(|| format!("a topic's setting is `NAME=VALUE`, not `{setting}`"))?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
#[expect(clippy::panic, reason = "tests")]
mod tests {
    use super::parse;

    fn parsed(arguments: &str) -> Result<String, String> {
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        match parse(&arguments) {
            Ok(choice) => Ok(format!("{choice:?}")),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    #[test]
    fn what_do_the_arguments_ask_for() {
        let check = |arguments: &str, expected: &str| {
            let found = parsed(arguments).unwrap_or_else(|error| panic!("{arguments}: {error}"));
            let expected = format!("action: {expected} }}");
            assert!(found.ends_with(&expected), "{arguments}: {found}");
        };
        check("", "Usage");
        check("start", "Start { port: 9092 }");
        check("start --port 9192", "Start { port: 9192 }");
        check("stop", "Stop");
        check("status", "Status");
        check("topics", "Topics");
        check("topics list", "Topics");
        check(
            "topics create a 3 x.y=1=2",
            "Create { name: \"a\", partitions: 3, settings: [(\"x.y\", \"1=2\")] }",
        );
        check("topics delete a", "Delete { name: \"a\" }");
        check(
            "produce a",
            "Produce { topic: \"a\", file: None, key_separator: None }",
        );
        check(
            "produce --key-separator : a b.jsonl",
            "Produce { topic: \"a\", file: Some(\"b.jsonl\"), key_separator: Some(\":\") }",
        );
        check(
            "consume a",
            "Consume(Reading { topic: \"a\", committed: false, from_beginning: false, most: None, first: None, idle: None })",
        );
        check(
            "consume a --from-beginning --read-committed --max 7 --timeout-ms 1500",
            "Consume(Reading { topic: \"a\", committed: true, from_beginning: true, most: Some(7), first: Some(6.5s), \
             idle: Some(1.5s) })",
        );
    }

    #[test]
    fn which_broker_is_meant() {
        let check = |arguments: &str, expected: &str| {
            let found = parsed(arguments);
            assert!(
                found.as_ref().is_ok_and(|found| found.contains(expected)),
                "{found:?}"
            );
        };
        check("status", "folder: None");
        check("status --folder d", "folder: Some(\"d\")");
        check("--folder d topics create a 1", "folder: Some(\"d\")");
    }

    #[test]
    fn does_a_mistyped_argument_fail_and_say_what_would_be_right() {
        let check = |arguments: &str, hint: &str| match parsed(arguments) {
            Ok(choice) => panic!("{arguments} is {choice}"),
            Err(message) => assert!(message.contains(hint), "{message}"),
        };
        check("begin", "usage: cargo xtask kafka");
        check("start 9092", "--port N");
        check("start --port", "needs a value");
        check("start --port 99999", "takes a number, not `99999`");
        check("stop --port 1", "`--port` means nothing here");
        check("start --prot 1", "no option `--prot`");
        check("topics create a", "usage");
        check("topics create a b", "no number of partitions");
        check("topics create a 1 b", "NAME=VALUE");
        check("produce a b c", "usage");
        check("consume", "usage");
        check("consume a --max all", "takes a number");
    }
}
