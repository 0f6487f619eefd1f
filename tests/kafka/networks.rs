//! Networks that lose answers, repeat requests late, and stall: at each step of the protocol.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use slackwater_services::kafka::{Listener, Settings};

use crate::cluster::{Cluster, check, durable, end, expected, found, scale, steady, wait_until};
use crate::job::{Job, Running};
use crate::proxy::{
    ADD_PARTITIONS, Act, END_TRANSACTION, FETCH, FIND_COORDINATOR, INIT_PRODUCER_ID, LIST_OFFSETS,
    PRODUCE, Proxy,
};

/// Name of the listener that clients reach through the proxy.
const LISTENER: &str = "PROXIED";

/// A broker that the job reaches through a proxy only.
pub fn behind_a_proxy() -> (Cluster, Proxy, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let cluster = Cluster::with(&Settings {
        listeners: vec![Listener {
            name: LISTENER.to_owned(),
            protocol: "PLAINTEXT".to_owned(),
            advertised: Some(port),
        }],
        ..Settings::default()
    });
    let proxy = Proxy::start(listener, cluster.broker.address(LISTENER).unwrap());
    (cluster, proxy, format!("127.0.0.1:{port}"))
}

/// Has something done, and waits until it was, or the job has ended.
pub fn act(proxy: &Proxy, act: Act, running: &mut Running) -> bool {
    let before = proxy.done().0.len();
    proxy.act(act);
    let started = Instant::now();
    while proxy.done().0.len() == before {
        if running.ended().is_some() || started.elapsed() > Duration::from_secs(20) {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

pub fn run(job: &Job) -> Running {
    let running = job.start();
    wait_until(job, "a checkpoint", |it| durable(it) > 3);
    running
}

/// The answer to a commit is lost, the client asks again by itself, and a late copy of the first request meets the next
/// transaction in its middle.
#[test]
fn is_every_record_there_once_when_commits_are_answered_to_nobody() {
    let (cluster, proxy, brokers) = behind_a_proxy();
    let rounds = 8 * scale().div_ceil(4);
    let variation = steady("arrival", 5 * rounds / 2);
    let job = cluster.publishing_to(&brokers, variation, Vec::new());
    let mut running = run(&job);
    let mut acts = 0;
    for round in 0..rounds {
        let lost = match round % 2 {
            0 => Act::DropAnswer(END_TRANSACTION),
            _ => Act::RepeatLate(END_TRANSACTION),
        };
        acts += usize::from(act(&proxy, lost, &mut running));
        thread::sleep(Duration::from_millis(400));
    }
    end(&job, running);
    let (_, repeated) = proxy.done();
    assert!(
        acts as u64 >= rounds * 3 / 4 && repeated.len() as u64 >= rounds * 3 / 8,
        "{acts} lost, {repeated:?}"
    );
    // Each met a producer that is newer than the one it was of.
    assert!(!repeated.contains(&true), "{repeated:?}");
    check(&cluster, &job, &expected(variation));
    found(&format!(
        "Answers to a commit that were lost: {acts}; of {} the request was repeated in the middle of the next \
         transaction, and refused. {} events.",
        repeated.len(),
        variation.events
    ));
}

/// Each kind of request is held back once for longer than a commit is believed, and its answer lost once.
#[test]
fn is_every_record_there_once_when_each_step_stalls() {
    let (cluster, proxy, brokers) = behind_a_proxy();
    let passes = scale().div_ceil(5);
    let variation = steady("arrival", 45 * passes);
    let job = cluster.publishing_to(&brokers, variation, Vec::new());
    let mut running = run(&job);
    let mut acts = 0;
    let steps = [
        PRODUCE,
        ADD_PARTITIONS,
        END_TRANSACTION,
        // A new producer, and what it asks before it goes on, come after a commit that is not believed.
        INIT_PRODUCER_ID,
        FIND_COORDINATOR,
        LIST_OFFSETS,
        FETCH,
    ];
    for step in steps.repeat(passes as usize) {
        for what in [
            Act::Stall(step, Duration::from_millis(2_500)),
            Act::DropAnswer(step),
        ] {
            if !matches!(step, PRODUCE | ADD_PARTITIONS | END_TRANSACTION) {
                // These are made when a producer is replaced.
                act(&proxy, Act::DropAnswer(END_TRANSACTION), &mut running);
            }
            acts += usize::from(act(&proxy, what, &mut running));
        }
    }
    end(&job, running);
    assert_eq!(acts, 2 * steps.len() * passes as usize);
    check(&cluster, &job, &expected(variation));
    found(&format!(
        "Requests of {} kinds, held back for 2.5 s and their answers lost: {acts}. {} events.",
        steps.len(),
        variation.events
    ));
}
