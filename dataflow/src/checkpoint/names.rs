//! What the objects of a checkpoint store are called, as types that only hold what is a name.
//!
//! A name says who wrote an object and when, and its random part makes it one that nothing else ever has. Text
//! that differs in any way from what is written here is no name: so two texts never name one object.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::identity::Generation;
use crate::moment::Epoch;

/// The folder of the log.
pub const LOG: &str = "log/";
/// The folder of states and outboxes.
pub const DATA: &str = "data/";

/// Number of a record of the manifest log, from 1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct RecordNumber(pub u64);

impl RecordNumber {
    /// The record's name, which has all digits, so that names sort as numbers do.
    pub fn name(self) -> String {
        format!("{LOG}{:020}", self.0)
    }

    /// The number of the record of this name.
    pub fn of_name(name: &str) -> Result<Self, NoObjectName> {
        let number = name.strip_prefix(LOG).and_then(|text| text.parse().ok());
        number
            .map(RecordNumber)
            .filter(|number| number.0 > 0 && number.name() == name)
            .ok_or_else(|| NoObjectName(name.to_owned()))
    }
}

impl fmt::Display for RecordNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an object under [`DATA`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataKind {
    /// State of a worker.
    State,
    /// Outputs of a worker.
    Outbox,
}

impl DataKind {
    fn extension(self) -> &'static str {
        match self {
            DataKind::State => "state",
            DataKind::Outbox => "outbox",
        }
    }
}

/// Name of an object under [`DATA`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DataName {
    /// Who wrote it.
    pub generation: Generation,
    /// The last epoch that it holds something of.
    pub epoch: Epoch,
    /// The worker whose state or outputs it holds.
    pub worker: u32,
    /// Drawn when the object was begun.
    pub random: u64,
    /// What it holds.
    pub kind: DataKind,
}

impl fmt::Display for DataName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{DATA}g{}-e{}-w{}-{:016x}.{}",
            self.generation,
            self.epoch,
            self.worker,
            self.random,
            self.kind.extension()
        )
    }
}

impl FromStr for DataName {
    type Err = NoObjectName;

    fn from_str(text: &str) -> Result<Self, NoObjectName> {
        // Numbers have more than one spelling: only the one that would be written is a name.
        split_data_name(text)
            .filter(|name| name.to_string() == text)
            .ok_or_else(|| NoObjectName(text.to_owned()))
    }
}

fn split_data_name(text: &str) -> Option<DataName> {
    let (stem, extension) = text.strip_prefix(DATA)?.rsplit_once('.')?;
    let kinds = [DataKind::State, DataKind::Outbox];
    let kind = kinds
        .into_iter()
        .find(|kind| kind.extension() == extension)?;
    let mut parts = stem.split('-');
    let mut number = |letter: char| parts.next()?.strip_prefix(letter)?.parse::<u64>().ok();
    let (generation, epoch) = (number('g')?, number('e')?);
    let worker = u32::try_from(number('w')?).ok()?;
    let random = u64::from_str_radix(parts.next()?, 16).ok()?;
    Some(DataName {
        generation: Generation(generation),
        epoch: Epoch(epoch),
        worker,
        random,
        kind,
    })
}

impl TryFrom<String> for DataName {
    type Error = NoObjectName;

    fn try_from(text: String) -> Result<Self, NoObjectName> {
        text.parse()
    }
}

impl From<DataName> for String {
    fn from(name: DataName) -> Self {
        name.to_string()
    }
}

/// A text names no object of the kind that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name that this program gives to objects of a checkpoint store")]
pub struct NoObjectName(String);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::checkpoint::names::{DataKind, DataName, RecordNumber};
    use crate::identity::Generation;
    use crate::moment::Epoch;

    #[test]
    fn are_names_read_as_they_are_written() {
        let name = DataName {
            generation: Generation(7),
            epoch: Epoch(120),
            worker: 0,
            random: 0xab,
            kind: DataKind::State,
        };
        let text = "data/g7-e120-w0-00000000000000ab.state";
        assert_eq!(name.to_string(), text);
        assert_eq!(text.parse::<DataName>().unwrap(), name);
        let outbox = "data/g18446744073709551615-e0-w4294967295-ffffffffffffffff.outbox";
        let name: DataName = outbox.parse().unwrap();
        assert_eq!(name.kind, DataKind::Outbox);
        assert_eq!(name.to_string(), outbox);

        let record = "log/00000000000000000042";
        assert_eq!(RecordNumber(42).name(), record);
        assert_eq!(RecordNumber::of_name(record).unwrap(), RecordNumber(42));
    }

    #[test]
    fn is_anything_else_no_name() {
        for wrong in [
            "",
            "data/",
            "g7-e120-w0-00000000000000ab.state",
            "data/g07-e120-w0-00000000000000ab.state",
            "data/g+7-e120-w0-00000000000000ab.state",
            "data/g7-e120-w0-00000000000000AB.state",
            "data/g7-e120-w0-ab.state",
            "data/g7-e120-w0-00000000000000ab.manifest",
            "data/g7-e120-w0-00000000000000ab.state.state",
            "data/g7-e120-w0-00000000000000ab-1.state",
            "data/g7-e120-w4294967296-00000000000000ab.state",
            "data/e120-g7-w0-00000000000000ab.state",
            "data/g7-e120-w0-00000000000000ab",
        ] {
            wrong.parse::<DataName>().unwrap_err();
        }
        for wrong in [
            "log/42",
            "log/00000000000000000000",
            "log/0000000000000000004x",
            "log/+0000000000000000042",
            "log/99999999999999999999",
            "data/00000000000000000042",
        ] {
            RecordNumber::of_name(wrong).unwrap_err();
        }
    }
}
