//! Does a store in a bucket keep what every store keeps? Here with objects in memory; `tests/s3` asks the same of a
//! service.

#[path = "../../dataflow/src/store/tests/contract.rs"]
mod contract;

use std::io::ErrorKind;
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use slackwater_dataflow::store::probe::check_conditions;
use slackwater_dataflow::store::{Put, Store, StoreError, read_all};

use crate::store::BucketStore;

fn store(prefix: &str) -> (BucketStore, Arc<dyn ObjectStore>) {
    let client: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    (
        BucketStore::of(Arc::clone(&client), prefix).unwrap(),
        client,
    )
}

#[test]
fn does_it_keep_what_every_store_keeps() {
    for prefix in ["", "a", "jobs/user-events"] {
        for (question, check) in contract::CHECKS {
            println!("{question}, below `{prefix}`");
            check(&store(prefix).0);
        }
    }
}

#[test]
fn is_what_is_not_ours_left_alone() {
    let (store, client) = store("a");
    store.put_if_absent("log/1", b"claim").unwrap();
    let others = [
        "a/log/.hidden",
        "a/log/old/1",
        "a/log1/1",
        "log/7",
        "a/log",
        "b/log/2",
    ];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for other in others {
        let key = Path::from(other);
        runtime.block_on(client.put(&key, "x".into())).unwrap();
    }
    assert_eq!(store.list("log/").unwrap(), ["log/1"]);
}

#[test]
fn is_an_object_in_parts_there_only_when_it_is_finished() {
    let (store, client) = store("");
    let part = vec![1; 9 << 20];
    let mut writer = store.create("data/a").unwrap();
    writer.append(&part).unwrap();
    assert!(store.open("data/a").err().unwrap().is_not_found());
    drop(writer);
    assert!(store.open("data/a").err().unwrap().is_not_found());
    // Who has got there first, has it.
    let mut late = store.create("data/b").unwrap();
    late.append(&part).unwrap();
    assert_eq!(
        store.put_if_absent("data/b", b"first").unwrap(),
        Put::Created
    );
    let refused = late.finish().unwrap_err();
    assert_eq!(refused.source.kind(), ErrorKind::AlreadyExists);
    assert!(
        refused.to_string().contains("`s3://bucket/data/b`"),
        "{refused}"
    );
    assert_eq!(contract::read(&store, "data/b"), b"first");
    drop(client);
}

/// What a sent object's lost answer looks like to whoever sends it again.
#[test]
fn is_an_object_of_the_same_bytes_ours() {
    let (store, _client) = store("");
    for bytes in [b"same".as_slice(), b"other"] {
        let mut writer = store.create("data/a").unwrap();
        writer.append(b"same").unwrap();
        store.put_if_absent("data/a", bytes).unwrap();
        let finished = writer.finish().map_err(|error| error.source.kind());
        assert_eq!(
            finished,
            if bytes == b"same" {
                Ok(())
            } else {
                Err(ErrorKind::AlreadyExists)
            }
        );
        store.delete("data/a").unwrap();
    }
}
