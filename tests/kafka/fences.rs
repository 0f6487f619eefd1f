//! Sinks of two runs of one job: does what the older one has published count, and does it publish nothing afterwards?

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use slackwater_dataflow::checkpoint::log::Fence;
use slackwater_dataflow::identity::{CheckpointId, Generation};
use slackwater_dataflow::moment::Epoch;
use slackwater_dataflow::place::ShardId;
use slackwater_dataflow::sink::addressed::{Address, OpenRecord};
use slackwater_dataflow::sink::destinations::{Destination, Destinations, Timestamps};
use slackwater_dataflow::sink::{
    EpochChunk, EpochSink, Framing, Marker, OutputChunk, OutputStream, ShardEpoch, ShardOutputs,
    SinkError,
};
use slackwater_dataflow::store::memory::MemoryStore;
use slackwater_kafka::client;
use slackwater_kafka::sink::{KafkaSink, SinkConfig};

use crate::cluster::Cluster;
use crate::content::STREAMS;
use crate::hooked::{HookedStore, When};

/// A broker with the topics of a job of one shard.
pub fn prepared() -> Cluster {
    let cluster = Cluster::start();
    for stream in STREAMS {
        cluster.tools.create_topic(stream, 1, &[]).unwrap();
    }
    let compacted = [("cleanup.policy", "compact")];
    let markers = cluster
        .tools
        .create_topic("slackwater-markers.job", 1, &compacted);
    markers.unwrap();
    cluster
}

/// The sink of a run that asks before each time that its fence looks into the store, with the number of that time.
fn sink(
    cluster: &Cluster,
    ask: impl Fn(u64) -> io::Result<()> + Send + Sync + 'static,
) -> KafkaSink {
    let ask = move |when, time| match when {
        When::Before => ask(time),
        When::After => Ok(()),
    };
    sink_of(cluster, false, ask)
}

/// The sink of a run with new producers or without, that asks before and after each such time.
pub fn sink_of(
    cluster: &Cluster,
    new_producer_each_epoch: bool,
    ask: impl Fn(When, u64) -> io::Result<()> + Send + Sync + 'static,
) -> KafkaSink {
    let asked = AtomicU64::new(0);
    let store = HookedStore::new(
        MemoryStore::default(),
        Arc::new(move |when, action, _: &str| match (when, action) {
            (When::Before, "list") => ask(when, asked.fetch_add(1, Ordering::SeqCst) + 1),
            (When::After, "list") => ask(when, asked.load(Ordering::SeqCst)),
            _ => Ok(()),
        }),
    );
    let topic = || Destination::new(1, Timestamps::ANY);
    let config = SinkConfig {
        cluster: client::Cluster {
            brokers: cluster.broker.bootstrap(),
            properties: BTreeMap::new(),
            client_id: "job".to_owned(),
        },
        job: "job".to_owned(),
        shards: 1,
        topics: STREAMS.map(str::to_owned),
        destinations: Destinations::new([topic(), topic(), topic(), topic()], 1 << 20),
        new_producer_each_epoch,
        headers: false,
    };
    KafkaSink::new(config, Fence::new(Arc::new(store), Generation(1))).unwrap()
}

/// Publishes an epoch of one record, whose value is its number.
pub fn publish(sink: &mut KafkaSink, epoch: u64) -> Result<(), SinkError> {
    let mut bytes = Vec::new();
    let mut record = OpenRecord::begin(
        &mut bytes,
        Address {
            time_ms: 1,
            ..Address::default()
        },
    );
    record.value().extend(epoch.to_string().bytes());
    record.end();
    let outputs = vec![OutputChunk {
        stream: OutputStream::Predictions,
        shard: ShardId(0),
        records: 1,
        framing: Framing::Addressed,
        bytes,
    }];
    let chunk = EpochChunk {
        chunk: 0,
        chunks: 1,
        records_before: 0,
        outputs,
    };
    sink.publish(ShardEpoch {
        generation: Generation(1),
        epoch: Epoch(epoch),
        checkpoint: CheckpointId(epoch),
        shard: ShardId(0),
        before: [0; 4],
        after: [0; 4],
        chunk_count: 1,
        outputs: ShardOutputs::Chunks(&mut [Ok(chunk)].into_iter()),
    })
}

/// The epochs whose marker a sink finds when it takes over, and whose records a reader sees.
pub fn check(cluster: &Cluster, found: &[Option<Marker>], published: &[u64]) {
    let last = published.last().map(|epoch| Epoch(*epoch));
    let marked: Vec<_> = found.iter().map(|it| it.map(|it| it.epoch)).collect();
    assert_eq!(marked, [last], "the marker");
    let read = cluster.committed("ml_predictions").into_iter();
    let read = read.inspect(|it| assert!(it.record.headers.is_empty(), "nobody has asked for any"));
    let read = read.map(|it| String::from_utf8(it.record.value.unwrap()).unwrap());
    let read: Vec<u64> = read.map(|it| it.parse().unwrap()).collect();
    assert_eq!(read, published, "the records");
}

/// The older one publishes right before the newer one takes its transactional id, and tries to right after.
#[test]
fn is_a_marker_read_when_the_older_run_can_write_no_more() {
    let cluster = prepared();
    let mut older = sink(&cluster, |_| Ok(()));
    assert_eq!(older.take_over(Generation(1)).unwrap(), [None]);
    publish(&mut older, 1).unwrap();
    let (older, refused) = (Mutex::new(older), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&refused);
    let mut newer = sink(&cluster, move |time| {
        let published = publish(&mut older.lock().unwrap(), 1 + time);
        count.fetch_add(u64::from(published.is_err()), Ordering::SeqCst);
        Ok(())
    });
    let found = newer.take_over(Generation(2)).unwrap();
    assert_eq!(refused.load(Ordering::SeqCst), 1, "publishings refused");
    check(&cluster, &found, &[1, 2]);
}

/// All is sent, the marker as well, when it turns out that it must not count.
#[test]
fn does_a_marker_count_with_what_it_stands_for_only() {
    let cluster = prepared();
    let mut older = sink(&cluster, |time| match time {
        // Twice in the beginning, and once for the first epoch.
        4 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    });
    older.take_over(Generation(1)).unwrap();
    publish(&mut older, 1).unwrap();
    publish(&mut older, 2).unwrap_err();
    let found = sink(&cluster, |_| Ok(())).take_over(Generation(2)).unwrap();
    check(&cluster, &found, &[1]);
}
