//! Who wrote a checkpoint, and which one it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A run of a job, named by the number of its claim in the manifest log: of two runs, the later one has the
/// greater generation.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one checkpoint of one run for ever: drawn at random when its epoch begins. Written as 16
/// hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CheckpointId(pub u64);

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A text is not the id of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the id of a checkpoint: 16 hexadecimal digits in lower case")]
pub struct NoCheckpointId(String);

impl FromStr for CheckpointId {
    type Err = NoCheckpointId;

    fn from_str(text: &str) -> Result<Self, NoCheckpointId> {
        let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let no_id = || NoCheckpointId(text.to_owned());
        if text.len() != 16 || !text.bytes().all(digits) {
            return Err(no_id());
        }
        let id = u64::from_str_radix(text, 16).map_err(|_| no_id())?;
        Ok(CheckpointId(id))
    }
}

impl TryFrom<String> for CheckpointId {
    type Error = NoCheckpointId;

    fn try_from(text: String) -> Result<Self, NoCheckpointId> {
        text.parse()
    }
}

impl From<CheckpointId> for String {
    fn from(id: CheckpointId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::identity::CheckpointId;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = CheckpointId(0x0123_4567_89ab_cdef);
        assert_eq!(id.to_string(), "0123456789abcdef");
        assert_eq!(id.to_string().parse::<CheckpointId>().unwrap(), id);
        for wrong in [
            "",
            "0123456789abcde",
            "0123456789ABCDEF",
            "+123456789abcdef",
        ] {
            wrong.parse::<CheckpointId>().unwrap_err();
        }
    }
}
