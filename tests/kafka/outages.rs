//! Brokers that are killed, stopped or frozen while a job runs: it waits, bounded, and goes on by itself.

use std::thread;
use std::time::Duration;

use crate::cluster::{Cluster, check, durable, end, expected, status, steady, wait_until};

#[test]
fn is_every_record_there_once_after_brokers_were_killed_and_stopped() {
    let mut cluster = Cluster::start();
    let variation = steady("arrival", 15);
    let job = cluster.publishing(variation, Vec::new());
    let running = job.start();
    for round in 0..3 {
        thread::sleep(Duration::from_secs(2));
        match round {
            1 => cluster.broker.stop().unwrap(),
            _ => cluster.broker.kill().unwrap(),
        }
        thread::sleep(Duration::from_millis(500));
        cluster.broker.restart().unwrap();
    }
    end(&job, running);
    check(&cluster, &job, &expected(variation));
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
    thread::sleep(Duration::from_secs(4));
    cluster.broker.restart().unwrap();
    end(&job, running);
    check(&cluster, &job, &expected(variation));
    let said = job.said();
    assert!(
        said.contains("attempt 2") && !said.contains("attempt 3"),
        "{said}"
    );
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
