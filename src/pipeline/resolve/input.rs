//! What is read: files, files that are followed, or the standard input.

use std::path::Path;

use slackwater_connectors::file::{FileForm, form, is_compressed};
use slackwater_kafka::client::reserved;
use slackwater_kafka::security::{HAS_TLS, lacking};

use crate::pipeline::mistakes::Findings;
use crate::pipeline::read::Section;
use crate::pipeline::spec::{ClusterSpec, KafkaSourceSpec, PropertySpec, SourceSpec};
use crate::pipeline::tables::HAS_PARQUET;
use crate::pipeline::value::quoted;

/// The path that stands for the standard input.
pub(super) const STDIN: &str = "-";

/// The source of a pipeline that reads what it did not make up itself.
pub(super) fn source(section: &Section, findings: &mut Findings) -> Option<SourceSpec> {
    let path = section.text("path");
    let follow = section.boolean("follow");
    if let Some(path) = &path
        && let Some(message) = unreadable(path.value, HAS_PARQUET)
    {
        findings.add(path.at, message.to_owned());
    }
    if let (Some(path), Some(true), Some((at, _))) = (&path, follow, section.get("follow"))
        && let Some(message) = not_followed(path.value)
    {
        findings.add(at, message.to_owned());
    }
    let (path, follow) = (path?.value, follow?);
    Some(if path == STDIN {
        SourceSpec::Stdin
    } else {
        SourceSpec::File {
            path: path.to_owned(),
            follow,
        }
    })
}

/// A source that reads topics.
pub(super) fn kafka(section: &Section, findings: &mut Findings) -> Option<SourceSpec> {
    let topics = topics(section, findings);
    Some(SourceSpec::Kafka(KafkaSourceSpec {
        cluster: cluster(section, findings)?,
        topics: topics?,
        start: section.start("start")?,
        goes_on_when_lost: section.text("on_lost_offset")?.value == "earliest",
        discover_ms: section.millis("discover_partitions")?,
    }))
}

fn topics(section: &Section, findings: &mut Findings) -> Option<Vec<String>> {
    let several = section.texts("topics");
    match (section.string("topic"), several) {
        (Some(_), Some(_)) => {
            let at = section.get("topics")?.0;
            findings.add(
                at,
                "`topics`: leave it out, or leave `topic` out".to_owned(),
            );
            None
        }
        (Some(topic), None) => Some(vec![topic]),
        (None, Some(topics)) => {
            let mut names: Vec<String> = Vec::new();
            for topic in topics {
                if names.contains(&topic.value) {
                    let name = quoted(&topic.value);
                    findings.add(topic.at, format!("topic {name} is listed twice"));
                }
                names.push(topic.value.clone());
            }
            if names.is_empty() {
                findings.add(
                    section.get("topics")?.0,
                    "at least one topic is needed".to_owned(),
                );
            }
            Some(names)
        }
        (None, None) => {
            // What is written and wrong is among the mistakes.
            if !section.is_meant("topic") && !section.is_meant("topics") {
                let message = "[source] needs `topic` with kind = \"kafka\"";
                findings.absent(section.at, message.to_owned());
            }
            None
        }
    }
}

/// The brokers of a source or sink.
pub(super) fn cluster(section: &Section, findings: &mut Findings) -> Option<ClusterSpec> {
    let mut properties = Vec::new();
    for (name, value) in section.properties("properties") {
        let lacking = || match value {
            PropertySpec::Text(text) => lacking(&name.value, text, HAS_TLS),
            // What they hold is looked at before the job begins.
            PropertySpec::Env(_) | PropertySpec::File(_) => None,
        };
        let reserved = reserved(&name.value).map(str::to_owned);
        if let Some(reason) = reserved.or_else(lacking) {
            let name_shown = quoted(&name.value);
            findings.add(name.at, format!("`properties`: {name_shown}: {reason}"));
        }
        properties.push((name.value.clone(), value.clone()));
    }
    let brokers = section.text("brokers");
    if let Some(brokers) = brokers.filter(|brokers| brokers.value.contains(['@', '?', '#'])) {
        // What stands there may be a password, so it is not shown.
        let message = "`brokers`: expected `HOST:PORT`, several with commas between them: who comes is said in `properties`, with \
                       `sasl.username` and `sasl.password`";
        findings.add(brokers.at, message);
    }
    Some(ClusterSpec {
        brokers: section.string("brokers")?,
        properties,
    })
}

/// Whether a silence can mean anything for that source.
pub(super) fn idle_timeout(event: &Section, source: &SourceSpec, findings: &mut Findings) {
    let Some((at, _)) = event.get("idle_timeout") else {
        return;
    };
    let message = match source {
        SourceSpec::Generator(_) => "the generator is never silent: leave `idle_timeout` out",
        SourceSpec::Stdin => {
            "the standard input is one partition, which holds no other: leave `idle_timeout` out"
        }
        SourceSpec::File { follow: false, .. } => {
            "a file that is not followed ends where it ends, and is never silent: set `[source] follow = true`, \
             or leave `idle_timeout` out"
        }
        SourceSpec::File { path, .. } if !path.contains(['*', '?', '[']) => {
            "one file is one partition, which holds no other: follow a pattern, or leave `idle_timeout` out"
        }
        SourceSpec::File { .. } | SourceSpec::Kafka(_) => return,
    };
    findings.add(at, format!("`idle_timeout`: {message}"));
}

/// Whether records of that source have a time of their own.
pub(super) fn record_time(event: &Section, source: &SourceSpec, findings: &mut Findings) {
    let Some(word) = event.text("time") else {
        return;
    };
    let what = match source {
        SourceSpec::Kafka(_) => return,
        SourceSpec::Generator(_) => "what the generator makes",
        SourceSpec::File { .. } | SourceSpec::Stdin => "a line of a file",
    };
    let shown = quoted(word.value);
    let message = format!(
        "`time`: {shown} is the timestamp that Kafka has of a record, {what} has none: name the field that says \
         the time, {{ field = \"...\", unit = \"ms\" }}"
    );
    findings.add(word.at, message);
}

/// Why a source file of that name cannot be read.
fn unreadable(path: &str, has_parquet: bool) -> Option<&'static str> {
    (form(Path::new(path)) == FileForm::Parquet && !has_parquet).then_some(
        "`path`: tables of Parquet are read by a program that was built with `cargo build --release --features parquet`",
    )
}

/// Why an input of that name cannot be followed.
fn not_followed(path: &str) -> Option<&'static str> {
    if path == STDIN {
        return Some(
            "`follow`: the standard input is read until it ends, whenever that is: leave `follow` out",
        );
    }
    if form(Path::new(path)) == FileForm::Parquet {
        return Some(
            "`follow`: a table of Parquet is whole or none, nothing is added to it: leave `follow` out",
        );
    }
    is_compressed(Path::new(path)).then_some(
        "`follow`: where the records of a compressed file end is known when it has ended: \
         follow a plain file, or leave `follow` out",
    )
}

#[cfg(test)]
mod tests {
    use crate::pipeline::resolve::input::{not_followed, unreadable};

    #[test]
    fn is_a_table_read_where_it_can_be_and_never_followed() {
        let check = |path: &str, expected: [bool; 3]| {
            let found = [
                unreadable(path, true).is_none(),
                unreadable(path, false).is_none(),
                not_followed(path).is_none(),
            ];
            assert_eq!(found, expected, "{path}");
        };
        check("in/*.parquet", [true, false, false]);
        check("a.csv", [true, true, true]);
        check("a.csv.gz", [true, true, false]);
        check("a.jsonl", [true, true, true]);
    }
}
