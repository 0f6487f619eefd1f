//! The tests on a Redis that is away, for longer, more often and with release builds: each policy through each fault.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::campaign::{commit, longer, write_report};

/// How often what takes ten seconds happens, and a tenth of how often what takes one does.
const SCALE: u32 = 5;
/// The report, from the root of the repository.
const REPORT: &str = "docs/reports/redis.md";
/// What something happens in.
const TESTS: &str = "binary(redis) and (test(/^outages::/) or test(/^mirror::are_lists/))";

/// Runs the tests for long and keeps what they have found.
///
/// # Errors
/// An unknown option; a missing tool; an event that was lost, doubled or scored wrongly; a job that did not go on.
pub fn run(options: &[String]) -> Result<()> {
    let scale: u32 = match options {
        [] => SCALE,
        [flag, number] if flag == "--scale" => number
            .parse()
            .ok()
            .filter(|scale| *scale > 1)
            .with_context(|| {
                format!("--scale {number}: expected a number above 1, with which the gate does it")
            })?,
        _ => bail!(
            "campaign redis takes `--scale N`, not `{}`",
            options.join(" ")
        ),
    };
    slackwater_services::redis::install(|said| println!("{said}"))?;
    let lines = longer::run(TESTS, &[("SLACKWATER_SCALE", &scale.to_string())])?;
    write_report(
        REPORT,
        &report(&found(&lines)?, &longer::load(), &commit()?),
    )?;
    println!("campaign redis: 0 violations (report: {REPORT})");
    Ok(())
}

/// What one policy has come to in one fault.
#[derive(Debug, Default)]
struct Case {
    events: u64,
    /// Events that were not looked up, as can be seen, by what became of them.
    failed: BTreeMap<String, u64>,
    /// Events that were decided two seconds after Redis was back, or later: looked up, and not.
    with_redis: (u64, u64),
    checkpoints: u64,
    longest_ms: u64,
    resumed_ms: Vec<f64>,
}

/// All cases by fault and policy, in the order in which they came.
type Cases = Vec<((String, String), Case)>;

/// What the tests have found.
#[derive(Debug, Default)]
struct Found {
    cases: Cases,
    /// What was done to mirrors, in words.
    mirrors: Vec<String>,
}

fn found(lines: &str) -> Result<Found> {
    let mut all = Found::default();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).context("a test wrote no JSON")?;
        if let Some(text) = line.get("mirror").and_then(Value::as_str) {
            all.mirrors.push(text.to_owned());
        }
        if let Some(found) = line.get("redis") {
            add(&mut all.cases, found)
                .with_context(|| format!("a test wrote too little: {found}"))?;
        }
    }
    if all.cases.is_empty() {
        bail!("no test has found anything");
    }
    Ok(all)
}

/// The same fault may happen to several jobs, one after the other.
fn add(cases: &mut Cases, found: &Value) -> Option<()> {
    let text = |name: &str| found.get(name)?.as_str().map(str::to_owned);
    let number = |pointer: &str| found.pointer(pointer)?.as_u64();
    let name = (text("fault")?, text("policy")?);
    let at = match cases.iter().position(|(other, _)| *other == name) {
        Some(at) => at,
        None => {
            cases.push((name, Case::default()));
            cases.len() - 1
        }
    };
    let (_, case) = cases.get_mut(at)?;
    case.events += number("/events")?;
    for (what, count) in found.get("failed")?.as_object()? {
        *case.failed.entry(what.clone()).or_default() += count.as_u64()?;
    }
    case.with_redis.0 += number("/with_redis/looked_up")?;
    case.with_redis.1 += number("/with_redis/not_looked_up")?;
    case.checkpoints += number("/checkpoints")?;
    case.longest_ms = case.longest_ms.max(number("/longest_ms")?);
    let resumed_ms = found.get("resumed_ms")?.as_array()?;
    let resumed_ms = resumed_ms.iter().filter_map(Value::as_f64);
    case.resumed_ms.extend(resumed_ms);
    Some(())
}

/// The least figure that so many percent of all do not exceed.
fn percentile(figures: &[f64], percent: usize) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100);
    let found = sorted.get(rank.saturating_sub(1)).copied();
    found.unwrap_or_default()
}

/// When scoring resumed, in words.
fn resumed(figures: &[f64]) -> String {
    let of = |percent| format!("{:.0}", percentile(figures, percent));
    match figures.len() {
        0 => "| | | |".to_owned(),
        count => format!("| {count} | {} | {} |", of(50), of(100)),
    }
}

/// A row of the table.
fn row(((fault, policy), case): &((String, String), Case)) -> String {
    let failed = case.failed.iter();
    let failed: Vec<String> = failed
        .map(|(what, count)| format!("{what}: {count}"))
        .collect();
    let meanwhile = match policy == "fail" {
        true => "| | ".to_owned(),
        false => format!("| {} | {} ", case.checkpoints, case.longest_ms),
    };
    let resumed = resumed(&case.resumed_ms);
    format!(
        "| {fault} | {policy} | {} | {} {meanwhile}{resumed}\n",
        case.events,
        failed.join(", "),
    )
}

fn report(Found { cases, mirrors }: &Found, load: &str, commit: &str) -> String {
    let all: Vec<f64> = cases
        .iter()
        .flat_map(|(_, case)| case.resumed_ms.iter().copied())
        .collect();
    let events: u64 = cases.iter().map(|(_, case)| case.events).sum();
    let with_redis = cases.iter().map(|(_, case)| case.with_redis);
    let (looked_up, not_looked_up) =
        with_redis.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    let of = |percent| percentile(&all, percent);
    let mut text = format!(
        "# Redis that is away\n\n\
         The reference job with a lookup in a real Redis, release builds, 2,000 events a second, checkpoints five times a second. Four \
         jobs at a\ntime ask the same server, one with each `on_error`, all else as it is unless the file says otherwise. Each user has \
         a value in\nRedis that changes most scores, so a score says whether its event was looked up. The outputs are compared, \
         event by event, with\nthose of two jobs that look nothing up, one of which has that value as a constant, the other the \
         default: each event is there\nonce, those of a user in their order, and is scored with what Redis has, or, while it was away, \
         with the default (`default`,\n`last_known` with what it knew not yet too old), or is a dead letter that says \
         `lookup_timeout` or `lookup_unavailable`\n(`dead_letter`). With `fail` the job fails and [restart] brings it back: then all of \
         the outputs are those of the job that looks\nnothing up; where Redis never comes back it ends with its attempts, \
         and is whole when it is started again with Redis there.\n\
         Written by `cargo xtask campaign redis`; each run replaces it. The gate does the same for a shorter time.\n\n\
         {events} events: 0 lost, 0 doubled, 0 out of order, 0 with a score that is neither. Redis came back {} times to a job; the first \
         event\nthat was scored with what it has was decided after {:.0} ms in half of the cases, {:.0} ms in nine of ten, {:.0} ms in 99 of \
         100, {:.0} ms at\nmost. Of {} events that were decided later than two seconds after its return, {not_looked_up} were not looked up.\n\n",
        all.len(),
        of(50),
        of(90),
        of(99),
        of(100),
        looked_up + not_looked_up,
    );
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "*Not looked up* counts events whose score shows it. *Checkpoints* are those completed while Redis was away, with the \
         longest\ntime without one in milliseconds; a job that fails has none. *Resumed* is how often Redis came back, and after how \
         many\nmilliseconds an event was scored with what it has: the middle one, and the longest.\n\n\
         | Redis is | on_error | events | not looked up | checkpoints | longest | resumed | p50 ms | longest ms |\n\
         | --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |\n"
    );
    text.extend(cases.iter().map(row));
    text += "\n## Mirror\n";
    text.extend(mirrors.iter().map(|mirror| format!("{mirror}\n")));
    let _ = write!(text, "\nOn {load}. Commit {commit}.\n");
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{found, percentile, report};

    fn line(fault: &str, policy: &str, resumed: &str) -> String {
        format!(
            "{{\"redis\":{{\"fault\":\"{fault}\",\"policy\":\"{policy}\",\"events\":100,\"failed\":{{\"default\":7}},\
             \"resumed_ms\":{resumed},\"with_redis\":{{\"looked_up\":50,\"not_looked_up\":1}},\"checkpoints\":40,\
             \"longest_ms\":300}}}}\n"
        )
    }

    #[test]
    fn does_the_report_say_what_was_found() {
        let lines = [
            line("stopped", "default", "[100.2,900.0]"),
            line("absent", "fail", "[300.0]"),
            line("stopped", "default", "[200.0]"),
            line("gone", "default", "[]"),
            "{\"mirror\":\"Lists.\"}\n".to_owned(),
            "{\"other\":1}\n".to_owned(),
        ]
        .concat();
        let text = report(&found(&lines).unwrap(), "2 cores", "abc");
        let check = |expected: &str| assert!(text.contains(expected), "{expected}\n{text}");
        check("| stopped | default | 200 | default: 14 | 80 | 300 | 3 | 200 | 900 |\n");
        check("| absent | fail | 100 | default: 7 | | | 1 | 300 | 300 |\n");
        check("| gone | default | 100 | default: 7 | 40 | 300 | | | |\n");
        check("400 events: 0 lost");
        check("came back 4 times");
        check("after 200 ms in half of the cases, 900 ms in nine of ten, 900 ms in 99");
        check("Of 204 events that were decided later than two seconds after its return, 4 were");
        check("\n\n## Mirror\nLists.\n\nOn 2 cores. Commit abc.\n");
        assert!(found("").is_err());
        assert!(found("{}\n").is_err());
        assert!(found("{\"redis\":{\"fault\":\"a\"}}\n").is_err());
    }

    #[test]
    fn where_is_a_percentile() {
        let figures: Vec<f64> = (1..=200).map(f64::from).collect();
        let check = |percent, expected| assert_eq!(percentile(&figures, percent), expected);
        check(50, 100.0);
        check(99, 198.0);
        check(100, 200.0);
        assert_eq!(percentile(&[], 50), 0.0);
    }
}
