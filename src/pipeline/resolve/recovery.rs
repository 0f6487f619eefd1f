//! What a crash costs: checkpoints, restarts, and what may come out twice.

use std::path::PathBuf;
use std::time::Duration;

use slackwater_dataflow::checkpoint::coordinator::CheckpointSettings;

use crate::pipeline::mistakes::Findings;
use crate::pipeline::read::Section;
use crate::pipeline::resolve::input::STDIN;
use crate::pipeline::spec::{CheckpointSpec, Delivery, SinkKind};
use crate::pipeline::units::show_ms;
use crate::pipeline::value::quoted;
use crate::supervisor::restart::RestartStrategy;

/// How a store in a folder is written.
const FOLDER: &str = "file:";

/// How a store in a bucket will be written.
const BUCKET: &str = "s3://";

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
        Some(store) => match folder(store.value) {
            Ok(folder) => Some(folder),
            Err(message) => {
                findings.add(store.at, message);
                None
            }
        },
        // A value that is wrong is among the mistakes, and so is a job without a name.
        None => job.map(|job| PathBuf::from(format!("state/{job}"))),
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

/// The folder of a store, or what is wrong with it.
fn folder(store: &str) -> Result<PathBuf, String> {
    if store.starts_with(BUCKET) {
        let store = quoted(store);
        return Err(format!(
            "`store`: {store} is not supported in this version, only \"file:FOLDER\""
        ));
    }
    match store.strip_prefix(FOLDER) {
        // `file://state` would be a folder at the root to some and a host to others.
        Some(folder) if !folder.is_empty() && !folder.starts_with("//") => {
            Ok(PathBuf::from(folder))
        }
        _ => Err(format!(
            "`store`: expected \"file:FOLDER\", for example \"file:state\", got {}",
            quoted(store)
        )),
    }
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
    let Some(asked) = section.text("delivery") else {
        // A value that is wrong is among the mistakes.
        return Some(if has_checkpoints && !is_stdout {
            Delivery::ExactlyOnce
        } else {
            Delivery::AtLeastOnce
        });
    };
    let is_exact = asked.value == "exactly_once";
    let refused = match (is_exact, is_stdout, has_checkpoints) {
        (true, true, _) => Some(
            "`delivery`: what was written to the standard output cannot be taken back after a crash, so with \
             kind = \"stdout\" it is \"at_least_once\"",
        ),
        (true, false, false) if !findings.broken_header() => {
            Some("`delivery`: \"exactly_once\" needs [checkpoint]")
        }
        (false, false, true) => Some(
            "`delivery`: \"at_least_once\" with [checkpoint] is not supported in this version, only with \
             kind = \"stdout\"",
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
