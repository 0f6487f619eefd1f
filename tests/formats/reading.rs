//! What every object of a store says, as JSON: one line each, in the order of their names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use slackwater_dataflow::checkpoint::frame::ObjectRef;
use slackwater_dataflow::checkpoint::frame::reading::verify_whole;
use slackwater_dataflow::checkpoint::groups::GroupSet;
use slackwater_dataflow::checkpoint::manifest::{Manifest, Record, UnconfirmedShard};
use slackwater_dataflow::checkpoint::names::{DataKind, RecordNumber};
use slackwater_dataflow::checkpoint::outbox::reading::OutboxReader;
use slackwater_dataflow::checkpoint::record::decode;
use slackwater_dataflow::checkpoint::state_file::reading::StateReader;
use slackwater_dataflow::store::local::LocalStore;

use crate::frames::frame;

/// All that is in a store.
#[derive(Default)]
pub struct Objects {
    pub lines: Vec<Value>,
    pub claims: usize,
    /// Oldest first.
    pub manifests: Vec<Manifest>,
    pub stages: BTreeSet<String>,
    pub removals: usize,
    pub bounds: usize,
    pub chunks: usize,
    pub packed_blocks: usize,
}

/// What is listed of the objects that manifests list, by name.
#[derive(Default)]
struct Listed {
    objects: BTreeMap<String, ObjectRef>,
    shards: BTreeMap<String, Vec<UnconfirmedShard>>,
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Objects {
    pub fn read(store: &Path) -> Self {
        let mut objects = Objects::default();
        let mut listed = Listed::default();
        for name in names(&store.join("log")) {
            let name = format!("log/{name}");
            let bytes = fs::read(store.join(&name)).unwrap();
            let record = decode(&bytes, RecordNumber::of_name(&name).unwrap()).unwrap();
            objects.add(&name, &bytes, serde_json::to_value(&record).unwrap());
            match record {
                Record::Claim(_) => objects.claims += 1,
                Record::Manifest(manifest) => {
                    listed.add(&manifest);
                    objects.manifests.push(*manifest);
                }
            }
        }
        let opened = LocalStore::open_to_read(store).unwrap();
        for name in names(&store.join("data")) {
            let name = format!("data/{name}");
            let bytes = fs::read(store.join(&name)).unwrap();
            let content = match listed.objects.get(&name) {
                // A crash has left it: nobody reads it.
                None => Value::Null,
                Some(object) if object.name.kind == DataKind::State => {
                    verify_whole(&opened, object).unwrap();
                    objects.state(&opened, object)
                }
                Some(object) => {
                    verify_whole(&opened, object).unwrap();
                    objects.outbox(&opened, object, &listed.shards[&name])
                }
            };
            objects.add(&name, &bytes, content);
        }
        objects
    }

    fn add(&mut self, name: &str, bytes: &[u8], content: Value) {
        let (frame, packed) = frame(bytes);
        self.packed_blocks += packed;
        self.lines
            .push(json!({ "name": name, "frame": frame, "content": content }));
    }

    fn state(&mut self, store: &LocalStore, object: &ObjectRef) -> Value {
        let mut reader = StateReader::open(store, object).unwrap();
        let stages: Vec<String> = reader.stages().map(str::to_owned).collect();
        let groups = GroupSet::all();
        let sections = stages.into_iter().map(|stage| {
            let bound = reader.bound(&stage).map(hex);
            self.bounds += usize::from(bound.is_some());
            let (mut rows, mut entries) = (Vec::new(), reader.entries(&stage, &groups));
            while entries.advance().unwrap() {
                let entry = entries.front();
                self.removals += usize::from(entry.value.is_none());
                rows.push(json!([entry.group.0, hex(entry.key), entry.value.map(hex)]));
            }
            self.stages.insert(stage.clone());
            json!({ "stage": stage, "bound": bound, "entries": rows })
        });
        Value::from(sections.collect::<Vec<_>>())
    }

    fn outbox(
        &mut self,
        store: &LocalStore,
        object: &ObjectRef,
        shards: &[UnconfirmedShard],
    ) -> Value {
        let mut reader = OutboxReader::open(store, object).unwrap();
        let mut chunks = Vec::new();
        for shard in shards {
            let segments = shard.segments.iter().filter(|it| it.object() == *object);
            for chunk in segments.flat_map(|segment| &segment.chunks) {
                let outputs = reader.chunk(shard.shard, chunk).unwrap().into_iter();
                let lines = outputs.map(|outputs| {
                    let text = String::from_utf8(outputs.bytes).unwrap();
                    json!({ "stream": outputs.stream.name(), "records": text.lines().collect::<Vec<_>>() })
                });
                chunks.push(json!({ "shard": shard.shard, "lines": lines.collect::<Vec<_>>() }));
            }
        }
        self.chunks += chunks.len();
        Value::from(chunks)
    }
}

impl Listed {
    fn add(&mut self, manifest: &Manifest) {
        let objects = manifest.objects().into_iter();
        self.objects
            .extend(objects.map(|(name, object)| (name.to_string(), object)));
        for shard in manifest.unconfirmed.iter().flat_map(|epoch| &epoch.shards) {
            for segment in &shard.segments {
                let shards = self.shards.entry(segment.name.to_string()).or_default();
                if !shards.contains(shard) {
                    shards.push(shard.clone());
                }
            }
        }
    }
}
