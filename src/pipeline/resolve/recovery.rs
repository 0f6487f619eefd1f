//! What a crash costs: checkpoints, restarts, and what may come out twice.

use std::path::PathBuf;
use std::time::Duration;

use slackwater_dataflow::checkpoint::coordinator::CheckpointSettings;

use crate::pipeline::mistakes::Findings;
use crate::pipeline::read::Section;
use crate::pipeline::resolve::input::STDIN;
use crate::pipeline::spec::{CheckpointSpec, Delivery, SinkKind, StorePlace};
use crate::pipeline::units::show_ms;
use crate::pipeline::value::{Value, quoted};
use crate::supervisor::restart::RestartStrategy;

/// How a store in a folder is written.
const FOLDER: &str = "file:";

/// How a store in a bucket is written.
const BUCKET: &str = "s3://";

/// Whether this program was built with stores in S3.
const HAS_S3: bool = cfg!(feature = "s3");

/// Longest bucket and prefix: an object's key has at most 1,024 bytes, and ours need less than 300 behind that.
const PLACE_BYTES_MAX: usize = 700;

/// What a pipeline says about its recovery.
pub(super) struct Recovery {
    pub(super) checkpoint: Option<CheckpointSpec>,
    pub(super) restart: RestartStrategy,
}

/// Resolves `[checkpoint]` and `[restart]`.
pub(super) fn recovery(root: &Section, findings: &mut Findings) -> Option<Recovery> {
    let checkpoint = root.table("checkpoint");
    let restart = root.table("restart");
    let resolved_restart = restart.map(|section| strategy(section, findings));
    let Some(section) = checkpoint else {
        // Behind a broken header or a wrong word it may well be there.
        if let Some(restart) = restart
            && !root.is_meant("checkpoint")
            && !findings.broken_header()
        {
            let message = "[restart] needs [checkpoint]: without one the job would begin again and write \
                           its outputs a second time";
            findings.add(restart.at, message);
        }
        return Some(Recovery {
            checkpoint: None,
            restart: RestartStrategy::None,
        });
    };
    let path = root
        .table("source")
        .and_then(|source| source.text("path"))
        .filter(|path| path.value == STDIN);
    if let Some(path) = path {
        let message = "`path`: the standard input cannot be read again after a crash, which [checkpoint] is \
                       there for: write it to a file first, or leave [checkpoint] out";
        findings.add(path.at, message);
    }
    let job = root.table("job").and_then(|job| job.text("name"));
    let job = job.map(|name| name.value);
    let checkpoint = settings(section, job, findings)?;
    Some(Recovery {
        checkpoint: Some(checkpoint),
        restart: resolved_restart.unwrap_or(Some(RestartStrategy::default()))?,
    })
}

fn settings(
    section: &Section,
    job: Option<&str>,
    findings: &mut Findings,
) -> Option<CheckpointSpec> {
    let store = match section.text("store") {
        Some(store) => match place(store.value, HAS_S3) {
            Ok(place) => Some(place),
            Err(message) => {
                findings.add(store.at, message);
                None
            }
        },
        // A value that is wrong is among the mistakes, and so is a job without a name.
        None => job.map(|job| StorePlace::Folder(PathBuf::from(format!("state/{job}")))),
    };
    let duration = |name| section.millis(name).map(Duration::from_millis);
    Some(CheckpointSpec {
        store: store?,
        settings: CheckpointSettings {
            interval: duration("interval")?,
            min_pause: duration("min_pause")?,
            timeout: duration("timeout")?,
            max_concurrent: section.integer("max_concurrent")?,
            tolerable_failures: section.integer("tolerable_failures")?,
            ..CheckpointSettings::default()
        },
        retain: section.integer("retain")?,
    })
}

/// Where a store is, or what is wrong with what is said about that.
fn place(store: &str, has_s3: bool) -> Result<StorePlace, String> {
    if let Some(rest) = store.strip_prefix(BUCKET) {
        let place = bucket(rest).ok_or_else(|| {
            format!(
                "`store`: expected \"s3://BUCKET/PREFIX\", with letters, digits and `-`, `_`, `.`, `=` in each part, got {}",
                quoted(store)
            )
        })?;
        return if has_s3 {
            Ok(place)
        } else {
            Err(format!(
                "`store`: {} needs a program with S3, and this one was built without: build it with \
                 `cargo build --release --features s3`",
                quoted(store)
            ))
        };
    }
    match store.strip_prefix(FOLDER) {
        // `file://state` would be a folder at the root to some and a host to others.
        Some(folder) if !folder.is_empty() && !folder.starts_with("//") => {
            Ok(StorePlace::Folder(PathBuf::from(folder)))
        }
        _ => Err(format!(
            "`store`: expected \"file:FOLDER\", for example \"file:state\", or \"s3://BUCKET/PREFIX\", got {}",
            quoted(store)
        )),
    }
}

/// A bucket, and what names in it begin with. Names that would have to be written otherwise in a request, or in a path,
/// are none.
fn bucket(place: &str) -> Option<StorePlace> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=".contains(&byte);
    let is_plain =
        |part: &&str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain);
    let place = place.strip_suffix('/').unwrap_or(place);
    if place.len() > PLACE_BYTES_MAX || !place.split('/').all(|part| is_plain(&part)) {
        return None;
    }
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    Some(StorePlace::Bucket {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
    })
}

fn strategy(section: &Section, findings: &mut Findings) -> Option<RestartStrategy> {
    let duration = |name| section.millis(name).map(Duration::from_millis);
    Some(match section.text("strategy")?.value {
        "none" => RestartStrategy::None,
        "fixed_delay" => RestartStrategy::FixedDelay {
            attempts: section.integer("attempts")?,
            delay: duration("initial")?,
        },
        _ => {
            let (initial, max) = (section.millis("initial")?, section.millis("max")?);
            if initial > max {
                // At the one that somebody wrote.
                let (shortest, longest) = (show_ms(initial), show_ms(max));
                let (name, message) = if section.is_meant("initial") {
                    let than = format!("must be at most `max`, {longest}, got {shortest}");
                    ("initial", format!("`initial`: {than}"))
                } else {
                    let than = format!("must be at least `initial`, {shortest}, got {longest}");
                    ("max", format!("`max`: {than}"))
                };
                findings.add(section.get(name)?.0, message);
            }
            RestartStrategy::ExponentialDelay {
                attempts: section.integer("attempts")?,
                initial: duration("initial")?,
                max: duration("max")?,
                multiplier: section.float("multiplier")?,
                jitter: section.float("jitter")?,
                reset_after: duration("reset_after")?,
                first_at_once: section.boolean("first_at_once")?,
            }
        }
    })
}

/// What a crash may do to the results of a sink.
pub(super) fn delivery(
    section: &Section,
    kind: &SinkKind,
    has_checkpoints: bool,
    findings: &mut Findings,
) -> Option<Delivery> {
    let is_stdout = *kind == SinkKind::Stdout;
    let is_kafka = matches!(kind, SinkKind::Kafka(_));
    if is_kafka && !has_checkpoints && !findings.broken_header() {
        let message = "kind = \"kafka\" needs [checkpoint]: outputs are published when the checkpoint behind them is \
                       durable";
        findings.add(section.at, message);
        return None;
    }
    let Some(asked) = section.text("delivery") else {
        // A value that is wrong is among the mistakes.
        return Some(if has_checkpoints && !is_stdout {
            Delivery::ExactlyOnce
        } else {
            Delivery::AtLeastOnce
        });
    };
    let is_exact = asked.value == "exactly_once";
    let may_double = is_stdout || is_kafka;
    let refused = match (is_exact, is_stdout, has_checkpoints) {
        (true, true, _) => Some(
            "`delivery`: what was written to the standard output cannot be taken back after a crash, so with \
             kind = \"stdout\" it is \"at_least_once\"",
        ),
        (true, false, false) if !is_kafka && !findings.broken_header() => {
            Some("`delivery`: \"exactly_once\" needs [checkpoint]")
        }
        (false, _, true) if !may_double => Some(
            "`delivery`: with [checkpoint] each output of this kind comes out once, at no cost: leave \
             \"at_least_once\" out",
        ),
        _ => None,
    };
    if let Some(message) = refused {
        findings.add(asked.at, message);
        return None;
    }
    Some(if is_exact {
        Delivery::ExactlyOnce
    } else {
        Delivery::AtLeastOnce
    })
}

/// Whether each transaction of a sink has a producer of its own; none has where there are no transactions.
pub(super) fn renews_producers(
    section: &Section,
    delivery: Option<Delivery>,
    findings: &mut Findings,
) -> bool {
    let Some((at, Value::Bool(true))) = section.get("new_producer_each_epoch") else {
        return false;
    };
    if delivery == Some(Delivery::AtLeastOnce) {
        let message = "`new_producer_each_epoch`: with delivery = \"at_least_once\" outputs are sent as they come, without \
                       transactions that a new producer could guard: leave it out, or choose \"exactly_once\"";
        findings.add(at, message);
    }
    true
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::place;
    use crate::pipeline::spec::StorePlace;

    #[test]
    fn where_is_a_store_in_a_bucket() {
        let check = |store: &str, bucket: &str, prefix: &str| {
            let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
            let expected = StorePlace::Bucket { bucket, prefix };
            assert_eq!(expected.to_string(), store.trim_end_matches('/'));
            assert_eq!(place(store, true).unwrap(), expected);
            let refused = place(store, false).unwrap_err();
            let what_to_do =
                "this one was built without: build it with `cargo build --release --features s3`";
            assert!(refused.contains(what_to_do), "{refused}");
        };
        check("s3://b", "b", "");
        check("s3://my-bucket.eu/", "my-bucket.eu", "");
        check("s3://b/user-events", "b", "user-events");
        check("s3://b/team=a/jobs/x/", "b", "team=a/jobs/x");
    }

    #[test]
    fn are_other_places_refused() {
        let long = format!("s3://b/{}", "x".repeat(700));
        for wrong in [
            "s3://",
            "s3:///x",
            "s3://b//x",
            "s3://b/../x",
            "s3://b/.x",
            "s3://b/a b",
            "s3://b/x?y",
            "s3://b/x//",
            "s3://b/é",
            &long,
        ] {
            let refused = place(wrong, true).unwrap_err();
            let expected = "expected \"s3://BUCKET/PREFIX\"";
            assert!(refused.contains(expected), "{wrong}: {refused}");
        }
    }
}
