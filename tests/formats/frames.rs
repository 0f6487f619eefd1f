//! The frame of an object as `docs/checkpoint-format.md` describes it, read without the engine.

use serde_json::{Value, json};

const HEADER_BYTES: usize = 32;
const BLOCK_HEAD_BYTES: usize = 16;

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let digits = bytes[at..at + length].iter().rev();
    digits.fold(0, |number, &digit| number << 8 | u64::from(digit))
}

/// What an object has around its content, and how many of its blocks are packed. Of an object that a crash left without
/// its end, what is there. A block is where it begins, its type and encoding, and its lengths as stored and unpacked.
pub fn frame(bytes: &[u8]) -> (Value, usize) {
    assert_eq!(&bytes[..8], b"SLACKWTR");
    let (mut at, mut blocks, mut packed) = (HEADER_BYTES, Vec::new(), 0);
    while at + BLOCK_HEAD_BYTES <= bytes.len() {
        let (stored, length) = (number(bytes, at, 4), number(bytes, at + 4, 4));
        let (block_type, encoding) = (number(bytes, at + 8, 2), bytes[at + 10]);
        packed += usize::from(encoding == 1);
        blocks.push(json!([at, block_type, encoding, stored, length]));
        at += BLOCK_HEAD_BYTES + stored as usize;
    }
    let ends = blocks.last().is_some_and(|last| last[1] == 0) && at == bytes.len();
    let frame = json!({
        "version": number(bytes, 8, 2),
        "kind": number(bytes, 10, 2),
        "generation": number(bytes, 12, 8),
        "epoch": number(bytes, 20, 8),
        "blocks": blocks,
        "ends": ends,
    });
    (frame, packed)
}
