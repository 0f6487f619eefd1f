//! Records with an address: for sinks whose records are more than a line.
//!
//! A topic's record has a partition, a timestamp, perhaps a key and headers. All of it is decided when the record is
//! encoded, and lies in the chunk as `docs/checkpoint-format.md` says, so that a record that is sent again, by this
//! run or by one after a crash, is the same record in the same place: whatever a topic has become meanwhile.

use crate::fields::Fields;
use crate::headers::{self, Header, Headers, NONE, optional};

/// Bytes of a record before its key: its length, timestamp, partition, lengths of key and value, number of headers.
const HEAD_BYTES: usize = 4 + 8 + 4 + 4 + 4 + 2;

/// Where a record goes, beside its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address<'a> {
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// Partition of the stream's topic.
    pub partition: u32,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
}

/// A record that is being written at the end of a chunk.
#[derive(Debug)]
#[must_use = "a record is none before it has ended"]
pub struct OpenRecord<'c> {
    bytes: &'c mut Vec<u8>,
    start: usize,
    headers: u16,
    /// Where the value begins, once the headers are done.
    value: usize,
}

impl<'c> OpenRecord<'c> {
    /// Begins a record behind what `bytes` holds.
    pub fn begin(bytes: &'c mut Vec<u8>, address: Address<'_>) -> Self {
        let start = bytes.len();
        let key = address.key.map_or(NONE, |key| key.len() as u32);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&address.time_ms.to_le_bytes());
        bytes.extend_from_slice(&address.partition.to_le_bytes());
        bytes.extend_from_slice(&key.to_le_bytes());
        bytes.extend_from_slice(&NONE.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(address.key.unwrap_or_default());
        let value = bytes.len();
        OpenRecord {
            bytes,
            start,
            headers: 0,
            value,
        }
    }

    /// Adds a header; before the value.
    pub fn header(&mut self, header: Header<'_>) {
        self.headers += u16::from(headers::write(self.bytes, header));
        self.value = self.bytes.len();
    }

    /// Where the value is appended.
    pub fn value(&mut self) -> &mut Vec<u8> {
        self.bytes
    }

    /// Bytes of it so far.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether it has no value so far.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == self.value
    }

    /// Ends a record whose value has been appended.
    pub fn end(self) {
        let value = (self.bytes.len() - self.value) as u32;
        self.close(value);
    }

    /// Ends a record that has no value: not an empty one, but none.
    pub fn end_without_value(self) {
        self.bytes.truncate(self.value);
        self.close(NONE);
    }

    /// Takes back all that was written of it.
    pub fn give_up(self) {
        self.bytes.truncate(self.start);
    }

    fn close(self, value: u32) {
        let length = (self.bytes.len() - self.start - 4) as u32;
        let Some(head) = self.bytes.get_mut(self.start..) else {
            return;
        };
        let mut put = |at: usize, number: &[u8]| {
            if let Some(place) = head.get_mut(at..at + number.len()) {
                place.copy_from_slice(number);
            }
        };
        put(0, &length.to_le_bytes());
        put(20, &value.to_le_bytes());
        put(24, &self.headers.to_le_bytes());
    }
}

/// A record as it lies in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressedRecord<'c> {
    /// Where it goes.
    pub address: Address<'c>,
    /// Its value, if it has one.
    pub value: Option<&'c [u8]>,
    /// Its headers, in order.
    pub headers: Headers<'c>,
}

/// Records of a chunk, in order. Ends early where the bytes are none: whoever counts them sees that.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = AddressedRecord<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = length_of_first(rest)?;
        let (record, after) = rest.split_at_checked(length)?;
        rest = after;
        parse(record.get(4..)?)
    })
}

/// How many bytes the first of some records takes, its own length included; none if they do not begin with one.
pub(super) fn length_of_first(bytes: &[u8]) -> Option<usize> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    (length + 4 >= HEAD_BYTES && length <= rest.len()).then_some(length + 4)
}

fn parse(record: &[u8]) -> Option<AddressedRecord<'_>> {
    let mut fields = Fields(record);
    let time_ms = fields.i64()?;
    let partition = fields.u32()?;
    let (key, value) = (fields.u32()?, fields.u32()?);
    let header_count = fields.u16()?;
    let key = optional(&mut fields, key)?;
    let before = fields.0;
    for _ in 0..header_count {
        headers::read(&mut fields)?;
    }
    let headers = Headers::of(before.get(..before.len() - fields.0.len())?);
    let value = optional(&mut fields, value)?;
    let address = Address {
        time_ms,
        partition,
        key,
    };
    fields.is_empty().then_some(AddressedRecord {
        address,
        value,
        headers,
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::any;

    use crate::sink::addressed::{Address, OpenRecord, records};

    type Written = (
        (i64, u32, Option<Vec<u8>>),
        Vec<(String, Option<Vec<u8>>)>,
        Option<Vec<u8>>,
    );

    fn write(bytes: &mut Vec<u8>, (address, headers, value): &Written) {
        let (time_ms, partition, key) = address;
        let address = Address {
            time_ms: *time_ms,
            partition: *partition,
            key: key.as_deref(),
        };
        let mut record = OpenRecord::begin(bytes, address);
        for (name, value) in headers {
            record.header((name, value.as_deref()));
        }
        match value {
            Some(value) => {
                record.value().extend_from_slice(value);
                record.end();
            }
            None => record.end_without_value(),
        }
    }

    fn read(bytes: &[u8]) -> Vec<Written> {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let read = records(bytes).map(|record| {
            let Address {
                time_ms,
                partition,
                key,
            } = record.address;
            let headers = record.headers.iter();
            let headers = headers.map(|(name, value)| (name.to_owned(), owned(value)));
            (
                (time_ms, partition, owned(key)),
                headers.collect(),
                owned(record.value),
            )
        });
        read.collect()
    }

    fn bytes() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        vec(any::<u8>(), 0..9)
    }

    proptest::proptest! {
        #[test]
        fn is_what_is_read_what_was_written(
            written in vec((
                (any::<i64>(), any::<u32>(), option::of(bytes())),
                vec((".{0,4}", option::of(bytes())), 0..3),
                option::of(bytes()),
            ), 0..6),
            cut in 0_usize..40,
        ) {
            let mut bytes = Vec::new();
            written.iter().for_each(|record| write(&mut bytes, record));
            assert_eq!(read(&bytes), written);
            bytes.truncate(bytes.len().saturating_sub(cut));
            let less = read(&bytes);
            assert_eq!(&less[..], &written[..less.len()]);
            assert_eq!(less.len() == written.len(), cut == 0 || written.is_empty());
        }

        #[test]
        fn does_garbage_end_the_records(bytes in vec(any::<u8>(), 0..80)) {
            read(&bytes);
        }
    }

    #[test]
    fn records_are_written_as_documented() {
        let mut bytes = Vec::new();
        let key = Some(b"anna".as_slice());
        let address = Address {
            time_ms: 5,
            partition: 7,
            key,
        };
        let mut record = OpenRecord::begin(&mut bytes, address);
        record.header(("h", Some(b"v")));
        record.value().extend_from_slice(b"{}");
        record.end();
        let expected: &[&[u8]] = &[
            &36_u32.to_le_bytes(),
            &5_i64.to_le_bytes(),
            &7_u32.to_le_bytes(),
            &4_u32.to_le_bytes(),
            &2_u32.to_le_bytes(),
            &1_u16.to_le_bytes(),
            b"anna",
            b"\x01\0h\x01\0\0\0v",
            b"{}",
        ];
        assert_eq!(bytes, expected.concat());
        let record = OpenRecord::begin(&mut bytes, Address::default());
        record.give_up();
        assert_eq!(bytes, expected.concat());
    }
}
