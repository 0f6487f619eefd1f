//! What of a message of Kafka becomes a record.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers as _, Message as _, Timestamp};
use slackwater_dataflow::headers::{self, Headers};
use slackwater_dataflow::source::{Origin, Payload, RecordTime};

/// Bytes of the headers that a job keeps of a record. Who writes to a topic decides how many there are, and a dead letter
/// has to take them beside the record.
pub(crate) const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Says how many headers of the record are not there.
const LEFT_OUT: &str = "slackwater.headers_left_out";

/// Makes records of messages.
pub(crate) struct Records {
    max_bytes: usize,
    header_bytes_max: usize,
    /// Those of the record that is being handed out, if they are wanted.
    headers: Option<Vec<u8>>,
}

impl Records {
    /// Those up to so many bytes are kept whole; headers, if they are wanted, up to so many bytes.
    pub(crate) fn new(max_bytes: usize, header_bytes_max: Option<usize>) -> Self {
        Records {
            max_bytes,
            header_bytes_max: header_bytes_max.unwrap_or_default(),
            headers: header_bytes_max.map(|_| Vec::new()),
        }
    }

    /// The record that a message is.
    pub(crate) fn of<'m>(
        &'m mut self,
        message: &'m BorrowedMessage<'_>,
    ) -> (Payload<'m>, Origin<'m>) {
        let headers = self.headers.as_mut().map(|kept| {
            keep(kept, message.headers(), self.header_bytes_max);
            Headers::of(kept)
        });
        let payload = message.payload().unwrap_or_default();
        let origin = Origin {
            key: message.key(),
            time: record_time(message.timestamp()),
            headers: headers.unwrap_or_default(),
        };
        (Payload::of(payload, self.max_bytes), origin)
    }
}

/// Keeps headers up to a bound, and says how many more there were.
fn keep(kept: &mut Vec<u8>, all: Option<&BorrowedHeaders>, bytes_max: usize) {
    kept.clear();
    let Some(all) = all else {
        return;
    };
    let mut left_out = 0;
    for at in 0..all.count() {
        // The client panics where a name is not UTF-8, and whoever writes to a topic may write such a one.
        let header = catch_unwind(AssertUnwindSafe(|| all.try_get(at)));
        let is_kept = header.ok().flatten().is_some_and(|header| {
            let bytes = header.key.len() + header.value.map_or(0, <[u8]>::len);
            kept.len().saturating_add(bytes) <= bytes_max
                && headers::write(kept, (header.key, header.value))
        });
        left_out += usize::from(!is_kept);
    }
    if left_out > 0 {
        let left_out = left_out.to_string();
        headers::write(kept, (LEFT_OUT, Some(left_out.as_bytes())));
    }
}

fn record_time(timestamp: Timestamp) -> Option<RecordTime> {
    match timestamp {
        Timestamp::NotAvailable => None,
        Timestamp::CreateTime(ms) => Some(RecordTime::Created(ms)),
        Timestamp::LogAppendTime(ms) => Some(RecordTime::Appended(ms)),
    }
}
