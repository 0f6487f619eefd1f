//! Brokers that are killed, stopped or frozen while a job runs: it waits, bounded, and goes on by itself.

use std::thread;
use std::time::Duration;

use crate::cluster::{Cluster, check, end, expected, steady, wait_until};

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
    wait_until(&job, "a checkpoint", |it| crate::cluster::durable(it) > 3);
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
    wait_until(&job, "a checkpoint", |it| crate::cluster::durable(it) > 3);
    for _ in 0..2 {
        cluster.broker.pause().unwrap();
        thread::sleep(Duration::from_secs(5));
        let trouble = crate::cluster::status(&job).unwrap();
        cluster.broker.resume().unwrap();
        println!("{}", trouble["last"]["trouble"]);
        thread::sleep(Duration::from_secs(1));
    }
    end(&job, running);
    check(&cluster, &job, &expected(variation));
}
