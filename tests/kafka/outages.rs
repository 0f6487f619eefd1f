//! Brokers that are killed, stopped or frozen while a job runs: it waits, bounded, and goes on by itself.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::cluster::{
    Cluster, check, durable, end, expected, found, scale, status, steady, wait_until,
};
use crate::job::Variation;

#[test]
fn is_every_record_there_once_after_brokers_were_killed_and_stopped() {
    let mut cluster = Cluster::start();
    let rounds = 4 * scale();
    // A round takes six seconds, and more on a busy machine.
    let variation = steady("arrival", 10 * rounds);
    let job = cluster.publishing(variation, Vec::new());
    let mut running = job.start();
    // A first start that meets nobody says so and ends.
    wait_until(&job, "a checkpoint", |it| durable(it) > 0);
    let (mut killed, mut stopped) = (0, 0);
    for round in 0..rounds {
        thread::sleep(Duration::from_secs(2));
        if running.ended().is_some() {
            break;
        }
        if round % 2 == 0 {
            cluster.broker.kill().unwrap();
            killed += 1;
        } else {
            cluster.broker.stop().unwrap();
            stopped += 1;
        }
        thread::sleep(Duration::from_millis(500));
        cluster.broker.restart().unwrap();
    }
    end(&job, running);
    check(&cluster, &job, &expected(variation));
    found(&format!(
        "Brokers killed {killed} times, and stopped and started again {stopped} times, while a job runs that is never \
         started again. {} events.",
        variation.events
    ));
    assert!(
        !job.said().contains("attempt 2"),
        "it had to be started again\n{}",
        job.said()
    );
}

/// A job that is killed while nobody answers waits for the brokers, and is no less well for it.
#[test]
fn is_every_record_there_once_after_a_kill_while_the_broker_was_away() {
    let mut cluster = Cluster::start();
    let variation = steady("arrival", 12);
    let job = cluster.publishing(variation, Vec::new());
    let running = job.start();
    wait_until(&job, "a checkpoint", |it| durable(it) > 3);
    cluster.broker.kill().unwrap();
    thread::sleep(Duration::from_millis(500));
    assert!(running.kill_worker());
    // In a campaign for longer than a transaction may be open.
    let away = (4 * scale()).min(35);
    thread::sleep(Duration::from_secs(away));
    cluster.broker.restart().unwrap();
    end(&job, running);
    check(&cluster, &job, &expected(variation));
    found(&format!(
        "A job killed while the broker was away for {away} s."
    ));
    let said = job.said();
    assert!(
        said.contains("attempt 2") && !said.contains("attempt 3"),
        "{said}"
    );
}

/// A job whose broker is away goes on until what it keeps for it is at its bound, waits there, and needs nobody when the
/// broker is back.
#[test]
fn is_every_record_there_once_after_a_long_outage() {
    let mut cluster = Cluster::start();
    let away = if scale() > 1 { 60 } else { 5 };
    let variation = Variation {
        rate: 10_000,
        events: 10_000 * (away + 6),
        ..steady("arrival", 0)
    };
    let job = cluster.publishing(variation, Vec::new());
    let running = job.start();
    wait_until(&job, "a checkpoint", |it| durable(it) > 3);
    cluster.broker.kill().unwrap();
    let before = status(&job).unwrap();
    thread::sleep(Duration::from_secs(away));
    let during = status(&job).unwrap();
    let kept = durable(&during) - durable(&before);
    let worker = running.worker().unwrap();
    let memory = fs::read_to_string(format!("/proc/{}/status", worker.as_raw_nonzero())).unwrap();
    let peak = memory.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: u64 = peak
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    cluster.broker.restart().unwrap();
    end(&job, running);
    check(&cluster, &job, &expected(variation));
    let said = job.said();
    assert!(!said.contains("attempt 2"), "{said}");
    found(&format!(
        "The broker away for {away} s under {} events a second: {kept} checkpoints meanwhile, at most {} MB of memory, \
         all published in order afterwards by itself. {} events.",
        variation.rate,
        peak / 1_024,
        variation.events
    ));
    assert!(kept > 0, "no checkpoint was taken meanwhile");
    assert!(peak < 400 * 1_024, "{peak} kB");
}

/// It answers nothing for longer than a commit may take, and then goes on where it was: late answers meet a job that has
/// given them up.
#[test]
fn is_every_record_there_once_after_a_broker_was_frozen() {
    let cluster = Cluster::start();
    let variation = steady("arrival", 15);
    let job = cluster.publishing(variation, Vec::new());
    let running = job.start();
    wait_until(&job, "a checkpoint", |it| durable(it) > 3);
    for _ in 0..2 {
        cluster.broker.pause().unwrap();
        thread::sleep(Duration::from_secs(5));
        let trouble = status(&job).unwrap();
        cluster.broker.resume().unwrap();
        println!("{}", trouble["last"]["trouble"]);
        thread::sleep(Duration::from_secs(1));
    }
    end(&job, running);
    check(&cluster, &job, &expected(variation));
    found("A broker frozen twice for 5 s, longer than a commit is believed.");
}

/// A transaction that nobody ends hides the markers: a job that is started says so, and how to end it.
#[test]
fn does_a_job_say_that_a_transaction_hides_its_markers() {
    const MARKERS: &str = "slackwater-markers.user-events";
    let cluster = Cluster::start();
    let variation = steady("arrival", 2);
    let job = cluster.publishing(variation, Vec::new());
    let clean_up = |how| cluster.tools.set(MARKERS, "cleanup.policy", how).unwrap();
    clean_up("delete");
    cluster.tools.open_transaction("nobody's", MARKERS).unwrap();
    clean_up("compact");
    assert_eq!(job.start().wait().code(), Some(3), "{}", job.said());
    let said = job.said();
    assert!(said.contains("find-hanging"), "{said}");
    let (place, _) = said.split_once(" for the end of a transaction").unwrap();
    let mut numbers = place.rsplit(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.find(|it| !it.is_empty()).unwrap();
    let (partition, start) = (number().parse().unwrap(), number().parse().unwrap());
    let aborted = cluster.tools.abort_transaction(MARKERS, partition, start);
    aborted.unwrap();
    end(&job, job.start());
    // The broker still waits for the end of that one.
    assert!(cluster.content() == expected(variation), "{}", job.said());
}
