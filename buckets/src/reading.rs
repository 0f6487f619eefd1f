//! Reads an object in few requests: what was asked for, and what probably comes next.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult};
use slackwater_dataflow::store::{ObjectReader, StoreError};

use crate::fault::is_out_of_range;
use crate::link::Link;

/// Bytes of the first request for an object: a record of the log, and most outboxes, come whole with it.
const WINDOW_FIRST: u64 = 256 * 1024;

/// Most bytes of a request that nobody has asked for yet.
const WINDOW_MOST: u64 = 4 * 1024 * 1024;

pub(crate) struct BucketReader {
    link: Link,
    name: String,
    key: Path,
    length: u64,
    /// The bytes from `start` on.
    window: Bytes,
    start: u64,
    /// Bytes of the last request.
    requested: u64,
}

/// How many bytes are requested for `wanted` from `position` on. Who reads on where the last request has ended gets
/// more with each; who looks here and there, little.
fn request(position: u64, wanted: u64, last: Range<u64>, length: u64) -> u64 {
    let ahead = if position == last.end {
        (last.end - last.start).saturating_mul(2).min(WINDOW_MOST)
    } else {
        WINDOW_FIRST
    };
    wanted.max(ahead).min(length.saturating_sub(position))
}

async fn get(link: &Link, key: &Path, range: Range<u64>) -> object_store::Result<GetResult> {
    let options = GetOptions {
        range: Some(GetRange::Bounded(range)),
        ..GetOptions::default()
    };
    link.client().get_opts(key, options).await
}

impl BucketReader {
    pub(crate) fn open(link: &Link, name: &str) -> Result<Self, StoreError> {
        let key = link.key(name);
        let first = async {
            match get(link, &key, 0..WINDOW_FIRST).await {
                Ok(first) => {
                    let length = first.meta.size;
                    Ok((length, first.bytes().await?))
                }
                // An empty object has no first byte.
                Err(error) if is_out_of_range(&error) => {
                    let options = GetOptions {
                        head: true,
                        ..GetOptions::default()
                    };
                    let head = link.client().get_opts(&key, options).await?;
                    Ok((head.meta.size, Bytes::new()))
                }
                Err(error) => Err(error),
            }
        };
        let (length, window) = link
            .wait(first)
            .map_err(|error| link.failed("read", name, &error))?;
        Ok(BucketReader {
            link: link.clone(),
            name: name.to_owned(),
            key,
            length,
            requested: window.len() as u64,
            window,
            start: 0,
        })
    }

    /// What is there of the bytes from `position` on.
    fn held(&self, position: u64) -> &[u8] {
        let from = position.checked_sub(self.start);
        let from = from.and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| self.window.get(from..))
            .unwrap_or_default()
    }

    fn fetch(&mut self, position: u64, wanted: u64) -> Result<(), StoreError> {
        let last = self.start..self.start + self.requested;
        let size = request(position, wanted, last, self.length);
        let range = position..position + size;
        let got = async { get(&self.link, &self.key, range).await?.bytes().await };
        let got = self.link.wait(got);
        self.window = got.map_err(|error| self.link.failed("read", &self.name, &error))?;
        self.start = position;
        self.requested = size;
        Ok(())
    }

    fn ends_early(&self) -> StoreError {
        StoreError {
            action: "read",
            name: self.link.named(&self.name),
            source: io::ErrorKind::UnexpectedEof.into(),
        }
    }
}

impl ObjectReader for BucketReader {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&mut self, position: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let end = position.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(self.ends_early());
        }
        let (mut position, mut rest) = (position, buffer);
        while !rest.is_empty() {
            if self.held(position).is_empty() {
                self.fetch(position, rest.len() as u64)?;
            }
            let held = self.held(position);
            let size = held.len().min(rest.len());
            let (Some(from), Some((to, behind))) =
                (held.get(..size), rest.split_at_mut_checked(size))
            else {
                return Err(self.ends_early());
            };
            if size == 0 {
                return Err(self.ends_early());
            }
            to.copy_from_slice(from);
            position += size as u64;
            rest = behind;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{WINDOW_FIRST, WINDOW_MOST, request};

    #[test]
    fn how_much_is_requested_at_once() {
        let length = 100 << 20;
        let check = |position, wanted, last, expected| {
            assert_eq!(request(position, wanted, last, length), expected);
        };
        // On and on: more each time, up to a bound.
        check(WINDOW_FIRST, 16, 0..WINDOW_FIRST, 2 * WINDOW_FIRST);
        check(
            50 << 20,
            16,
            (50 << 20) - WINDOW_MOST..50 << 20,
            WINDOW_MOST,
        );
        // Here and there.
        check(50 << 20, 16, 0..WINDOW_FIRST, WINDOW_FIRST);
        // Never less than is wanted, nor beyond the end.
        check(50 << 20, 20 << 20, 0..WINDOW_FIRST, 20 << 20);
        check(length - 20, 20, 0..WINDOW_FIRST, 20);
    }
}
