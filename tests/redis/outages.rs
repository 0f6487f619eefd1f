//! Redis stopped, frozen or absent while jobs ask it, one with each policy, side by side. Each user has something in it that is not
//! the default, so the score of an event says whether it was looked up.
//!
//! A campaign does more to it than the gate, and for longer.

use std::time::Duration;

use serde_json::json;
use slackwater_services::redis::Redis;

use crate::content::content;
use crate::faults::{Fault, How, Meanwhile, Outage};
use crate::findings::store;
use crate::job::{Job, Running, Variation};
use crate::outcome::{Failed, Outcome, RESUMES_MS, Records};
use crate::scene::{constant, looking_up, redis, run, scale, variation};

/// Events a second of each job.
const RATE: u64 = 2_000;
/// What Redis has of each user; where it does not answer the default is 1.
const WEIGHT: f64 = 5.0;
/// For how long jobs run beside what happens, so that nobody ends before it is over.
const BESIDE: Duration = Duration::from_secs(6);
/// How often a job is started again that is to end when Redis does not come back.
const ATTEMPTS: u32 = 5;

/// A way to do without Redis.
struct Policy {
    name: &'static str,
    more: &'static str,
    failed: Failed,
}

/// All of them. What is remembered does not last through an outage, so that it cannot be taken for an answer afterwards.
const POLICIES: [Policy; 4] = [
    Policy {
        name: "default",
        more: "cache = { ttl = \"100ms\" }",
        failed: Failed::Default,
    },
    Policy {
        name: "last_known",
        more: "cache = { ttl = \"100ms\", stale_for = \"400ms\" }",
        failed: Failed::Default,
    },
    Policy {
        name: "dead_letter",
        more: "",
        failed: Failed::DeadLetter,
    },
    Policy {
        name: "fail",
        more: "",
        failed: Failed::Nothing,
    },
];

/// A server that has something of each user, also after it was started again.
fn filled() -> Redis {
    let redis = redis(&[]);
    let script = format!(
        "for user = 0, 1999 do redis.call('HSET', 'profile:user_' .. user, 'weight', '{WEIGHT:?}') end return 2000"
    );
    let filled = redis.ask(&[b"EVAL", script.as_bytes(), b"0"]);
    assert_eq!(filled.unwrap(), ":2000");
    assert_eq!(redis.ask(&[b"SAVE"]).unwrap(), "+OK");
    redis
}

/// A job with a policy.
fn job(policy: &Policy, events: Variation, url: &str, fault: Fault) -> Job {
    let Policy { name, more, .. } = policy;
    // The gate's builds are slow, and not alone on the machine.
    let patience = match scale() {
        1 => "timeout = \"200ms\"",
        _ => "",
    };
    let more = format!("on_error = \"{name}\"\n{more}\n{patience}");
    let mut job = looking_up(events, url, &more);
    if fault.how == How::Gone {
        job.rewrite(|text| text.replace("\nattempts = 0\n", &format!("\nattempts = {ATTEMPTS}\n")));
    }
    job
}

/// Lets something happen to Redis, and looks at what the jobs have made of it.
fn go_through(fault: Fault) {
    let seconds = (fault.lasts() + BESIDE).as_secs();
    let events = variation(RATE * seconds, RATE);
    let expected = [WEIGHT, 1.0].map(|weight| {
        let job = constant(Variation { rate: 0, ..events }, weight);
        run(&job);
        job
    });
    let mut redis = filled();
    let jobs = POLICIES.map(|policy| {
        let job = job(&policy, events, &redis.url(), fault);
        (policy, job)
    });
    fault.before(&mut redis);
    let running = jobs.each_ref().map(|(_, job)| job.start());
    let (outages, meanwhile) = fault.happen(&mut redis, &jobs.each_ref().map(|(_, job)| job));
    for ((policy, job), running) in jobs.iter().zip(running) {
        end(policy, job, running, fault, &mut redis);
    }
    let exactly = content(&expected[0].outputs);
    let [with, without] = expected.map(|job| Records::read(&job.outputs));
    for ((policy, job), meanwhile) in jobs.iter().zip(meanwhile) {
        let found = Records::read(&job.outputs);
        println!("{}, {}", fault.name(), policy.name);
        let outcome = Outcome::of(&found, &with, &without, policy.failed);
        if policy.failed == Failed::Nothing {
            assert!(content(&job.outputs) == exactly, "{}", job.said());
        }
        check(policy, job, fault, &outcome, &outages, meanwhile);
    }
}

/// Waits for the end of a job, which is a good one but where Redis does not come back and must.
fn end(policy: &Policy, job: &Job, running: Running, fault: Fault, redis: &mut Redis) {
    let ended = running.wait();
    let must_fail = policy.failed == Failed::Nothing;
    if must_fail && fault.how == How::Gone {
        assert_eq!(ended.code(), Some(1), "{}", job.said());
        let last = format!("attempt {}, ", ATTEMPTS + 1);
        let said = job.said();
        assert!(said.contains("is not started again"), "{said}");
        assert!(said.contains(&last), "{last}\n{said}");
        // It has lost nothing.
        redis.restart().unwrap();
        run(job);
        return;
    }
    assert!(ended.success(), "{ended}\n{}", job.said());
    let said = job.said();
    assert_eq!(said.contains("on_error = \"fail\""), must_fail, "{said}");
}

/// What is asked of times and numbers.
fn check(
    policy: &Policy,
    job: &Job,
    fault: Fault,
    outcome: &Outcome,
    outages: &[Outage],
    meanwhile: Meanwhile,
) {
    let is_to_fail = policy.failed == Failed::Nothing;
    let resumed_ms = outcome.resumed_ms(outages);
    let (looked_up, not_looked_up) = outcome.with_redis(outages);
    let failed: u64 = outcome.failed.values().sum();
    let restarts = job.said().matches("on_error = \"fail\"").count();
    let found = json!({
        "fault": fault.name(),
        "policy": policy.name,
        "events": RATE * (fault.lasts() + BESIDE).as_secs(),
        "failed": outcome.failed,
        "resumed_ms": resumed_ms,
        "with_redis": { "looked_up": looked_up, "not_looked_up": not_looked_up },
        "checkpoints": meanwhile.checkpoints,
        "longest_ms": meanwhile.longest.as_millis() as u64,
    });
    println!("{found}, failures said {restarts} times");
    store(&json!({ "redis": found }));
    for ms in resumed_ms {
        assert!(ms < RESUMES_MS, "resumed after {ms} ms");
    }
    // On a busy machine some are too late for their time, and then Redis is not asked for a while.
    assert!(
        not_looked_up <= looked_up / 2,
        "with Redis there {not_looked_up} of {} failed",
        looked_up + not_looked_up
    );
    if is_to_fail {
        return;
    }
    let away = fault.away.as_secs() * u64::from(fault.times);
    assert!(failed > RATE * away / 10, "{failed} failed in {away} s");
    let checkpoints = meanwhile.checkpoints;
    assert!(
        checkpoints >= away / 2,
        "{checkpoints} checkpoints in {away} s"
    );
}

#[test]
fn is_each_event_there_once_when_redis_was_away() {
    let faults = match scale() {
        1 => vec![Fault::once(How::Stopped, 3)],
        scale => vec![
            Fault {
                times: scale,
                ..Fault::once(How::Stopped, 10)
            },
            Fault::once(How::Stopped, 60),
            Fault {
                times: scale,
                ..Fault::once(How::Killed, 10)
            },
            Fault {
                back: Duration::from_secs(1),
                times: 10 * scale,
                ..Fault::once(How::Stopped, 1)
            },
            Fault::once(How::Gone, 10),
        ],
    };
    faults.into_iter().for_each(go_through);
}

#[test]
fn is_each_event_there_once_when_redis_stood_still() {
    let faults = match scale() {
        1 => vec![Fault::once(How::Frozen, 3)],
        scale => vec![
            Fault {
                times: scale,
                ..Fault::once(How::Frozen, 10)
            },
            Fault::once(How::Frozen, 60),
        ],
    };
    faults.into_iter().for_each(go_through);
}

#[test]
fn is_each_event_there_once_when_redis_was_not_there_at_first() {
    let faults = match scale() {
        1 => vec![Fault::once(How::AbsentAtStart, 3)],
        scale => vec![Fault::once(How::AbsentAtStart, 10); scale as usize],
    };
    faults.into_iter().for_each(go_through);
}
