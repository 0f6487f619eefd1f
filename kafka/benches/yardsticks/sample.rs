//! Some of the records that a job has written, so that a producer alone sends what the job sends: as long, and as easy to
//! compress.

use std::fs;

use rdkafka::Message;
use rdkafka::producer::BaseRecord;

use crate::Failure;

/// Stands for a key that is not there.
const NO_KEY: u32 = u32::MAX;

/// A record without its headers.
pub struct Sampled {
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    time_ms: i64,
}

impl Sampled {
    /// What is kept of a record.
    pub fn of(message: &impl Message) -> Self {
        Sampled {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().unwrap_or_default().to_vec(),
            time_ms: message.timestamp().to_millis().unwrap_or_default(),
        }
    }

    /// The record, for a partition.
    pub fn record<'r>(&'r self, topic: &'r str, partition: i32) -> BaseRecord<'r, [u8], [u8]> {
        let record = BaseRecord::to(topic)
            .partition(partition)
            .timestamp(self.time_ms)
            .payload(self.value.as_slice());
        match &self.key {
            Some(key) => record.key(key.as_slice()),
            None => record,
        }
    }

    /// Bytes of key and value.
    pub fn bytes(&self) -> usize {
        self.value.len() + self.key.as_ref().map_or(0, Vec::len)
    }
}

/// Writes records to a file.
pub fn write(path: &str, records: &[Sampled]) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    for record in records {
        let key = record.key.as_deref();
        let length = key.map_or(NO_KEY, |key| key.len() as u32);
        bytes.extend(length.to_le_bytes());
        bytes.extend((record.value.len() as u32).to_le_bytes());
        bytes.extend(record.time_ms.to_le_bytes());
        bytes.extend_from_slice(key.unwrap_or_default());
        bytes.extend_from_slice(&record.value);
    }
    fs::write(path, bytes).map_err(|error| format!("cannot write {path}: {error}").into())
}

/// Reads them back.
pub fn read(path: &str) -> Result<Vec<Sampled>, Failure> {
    let bytes = fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let mut rest = bytes.as_slice();
    let mut records = Vec::new();
    while !rest.is_empty() {
        let record = first(&mut rest).ok_or_else(|| format!("{path} ends within a record"))?;
        records.push(record);
    }
    if records.is_empty() {
        return Err(format!("{path} holds no record").into());
    }
    Ok(records)
}

fn first(rest: &mut &[u8]) -> Option<Sampled> {
    let mut take = |length: usize| {
        let (taken, after) = rest.split_at_checked(length)?;
        *rest = after;
        Some(taken)
    };
    let key = u32::from_le_bytes(take(4)?.try_into().ok()?);
    let value = u32::from_le_bytes(take(4)?.try_into().ok()?);
    let time_ms = i64::from_le_bytes(take(8)?.try_into().ok()?);
    let key = match key {
        NO_KEY => None,
        length => Some(take(length as usize)?.to_vec()),
    };
    Some(Sampled {
        key,
        value: take(value as usize)?.to_vec(),
        time_ms,
    })
}
