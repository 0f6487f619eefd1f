//! What a person is told before anything runs.

use crate::cluster::{Cluster, INPUT};
use crate::job::{Job, Variation};

const VARIATION: Variation = Variation {
    seed: 3,
    order: "arrival",
    events: 100,
    rate: 0,
    interval_ms: Some(100),
    workers: 1,
};

fn said(job: &Job, arguments: &[&str], code: i32) -> String {
    let ran = job.command(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(code), "{said}");
    said
}

#[test]
fn is_a_cluster_that_does_not_fit_refused_with_what_to_do() {
    let cluster = Cluster::start();
    let tools = &cluster.tools;
    tools.create_topic(INPUT, 2, &[]).unwrap();
    let mut job = cluster.reading(VARIATION, "");
    let check = |job: &Job, code, expected: &[&str]| {
        for arguments in [["check"], ["run"]] {
            let said = said(job, &arguments, code);
            for expected in expected {
                assert!(said.contains(expected), "{arguments:?}: {expected}\n{said}");
            }
        }
    };
    said(&job, &["check"], 0);
    // With nothing to create it creates nothing.
    said(&job, &["check", "--create-topics"], 0);

    tools.delete_topic("late_events_dlq").unwrap();
    let expected = "cannot publish to topic late_events_dlq: there is no such topic; `slackwater check PIPELINE --create-topics` makes it";
    check(&job, 3, &[expected]);
    tools
        .create_topic("late_events_dlq", 1, &[("max.message.bytes", "9000")])
        .unwrap();
    check(
        &job,
        3,
        &["one of them takes batches of 9000 bytes (`max.message.bytes`)"],
    );
    tools.delete_topic("late_events_dlq").unwrap();
    tools.create_topic("late_events_dlq", 1, &[]).unwrap();

    let markers = "slackwater-markers.user-events";
    tools.delete_topic(markers).unwrap();
    tools.create_topic(markers, 2, &[]).unwrap();
    check(
        &job,
        3,
        &["it would forget what was published: set its `cleanup.policy` to `compact`"],
    );
    tools.delete_topic(markers).unwrap();
    tools
        .create_topic(markers, 3, &[("cleanup.policy", "compact")])
        .unwrap();
    check(&job, 3, &["it has 3 partitions, and the job 2 shards"]);

    job.rewrite(|text| text.replace(&format!("topic = \"{INPUT}\""), "topic = \"other\""));
    check(
        &job,
        3,
        &["cannot read topic other: there is no such topic"],
    );
    let brokers = cluster.broker.bootstrap();
    job.rewrite(|text| text.replace(&brokers, "127.0.0.1:1"));
    check(&job, 3, &["127.0.0.1:1"]);
}
