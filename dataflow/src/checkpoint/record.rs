//! Records of the log as bytes.
//!
//! A record is refused whole if any part of it cannot be, when it is written as well as when it is read: a job must
//! not leave what it could not go on from.

use crate::checkpoint::fault::{Fault, FormatError};
use crate::checkpoint::frame::reading::FrameReader;
use crate::checkpoint::frame::{BlockType, Encoding, HEADER_BYTES, Header, ObjectKind, Tally};
use crate::checkpoint::manifest::Record;
use crate::checkpoint::names::RecordNumber;
use crate::checkpoint::soundness::check;

const JSON: BlockType = BlockType(1);

/// The bytes of a record, to be put under its name.
///
/// # Errors
/// The record could not be read back: it says what cannot be, or is too long.
pub fn encode(record: &Record) -> Result<Vec<u8>, FormatError> {
    let number = record.number();
    let refused = |reason: String| FormatError::refused_record(number, reason);
    check(record).map_err(|wrong| refused(format!("it {wrong}")))?;
    let json = serde_json::to_vec(record).map_err(|error| refused(error.to_string()))?;
    let header = Header {
        kind: ObjectKind::Record,
        generation: record.generation(),
        epoch: number.0,
    };
    let (mut tally, mut bytes) = (Tally::default(), Vec::new());
    tally.put_header(&mut bytes, &header);
    tally
        .put_block(&mut bytes, JSON, &json, Encoding::Plain)
        .map_err(|fault| refused(fault.to_string()))?;
    tally.put_end(&mut bytes);
    Ok(bytes)
}

/// Reads the bytes that lie under the name of the record of this number.
///
/// # Errors
/// They are damaged, another record, or one that this program does not understand in every part.
pub fn decode(bytes: &[u8], number: RecordNumber) -> Result<Record, FormatError> {
    let mut frame = FrameReader::of_record(number, bytes)?;
    let (mut json, mut rest) = (Vec::new(), Vec::new());
    if frame.next_block(&mut json)?.is_none() {
        return Err(frame.unusable(HEADER_BYTES, Fault::Content("no record")));
    }
    if let Some(block) = frame.next_block(&mut rest)? {
        let fault = Fault::Content("a second record");
        return Err(frame.unusable(block.position, fault));
    }
    let wrong = |what: String| frame.unusable(HEADER_BYTES, Fault::Record(what));
    let record: Record = serde_json::from_slice(&json)
        .map_err(|error| wrong(format!("is not one that this program understands: {error}")))?;
    if record.number() != number {
        return Err(wrong(format!(
            "says that its number is {}",
            record.number()
        )));
    }
    if record.generation() != frame.header().generation {
        return Err(wrong(format!(
            "says that generation {} wrote it",
            record.generation()
        )));
    }
    check(&record).map_err(wrong)?;
    Ok(record)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests;
