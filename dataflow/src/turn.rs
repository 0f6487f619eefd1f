//! Turns of a partition: how its events are in order again where they have come over several workers.
//!
//! What one poll brings of a partition is a *turn*, and goes out in parts, one for each worker that gets any of it. A worker
//! sends its part on to all others, empty where nothing is for one, so that each of them knows when it has all parts of a
//! turn. Then the parts are one again, and turns go on in the order of their numbers.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::place::PartitionId;

/// A part of a turn of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The partition.
    pub partition: PartitionId,
    /// Which of its turns it is, from 0 in each run.
    pub number: u64,
    /// In how many parts it comes to each worker.
    pub parts: usize,
}

/// A batch that may be a part of a turn.
pub trait InTurn {
    /// The turn; none if nobody will ask.
    fn turn(&self) -> Option<Turn>;
}

/// A part that cannot belong where it came: a defect of whoever has sent it, or has lost one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    /// A batch that says no turn.
    #[error("a batch bears no turn of its partition")]
    None,
    /// A part of a turn that has gone on, or one more than there are.
    #[error("one part too many of turn {number} of partition {partition}")]
    TooMany {
        /// The partition.
        partition: PartitionId,
        /// The turn.
        number: u64,
    },
    /// A turn that will never be whole.
    #[error("a part is lost of turn {number} of partition {partition}, or of one before it")]
    Lost {
        /// The partition.
        partition: PartitionId,
        /// The turn.
        number: u64,
    },
    /// Parts of one turn that were sent under several moments.
    #[error("parts of one turn of partition {partition} belong to different moments")]
    Moments {
        /// The partition.
        partition: PartitionId,
    },
}

/// What has come of a turn.
#[derive(Debug)]
struct Parts<T> {
    expected: usize,
    come: Vec<T>,
}

/// Parts that wait until their turn is whole, and is the next one of its partition.
#[derive(Debug)]
pub struct Turns<T> {
    /// The next turn of each partition.
    next: BTreeMap<PartitionId, u64>,
    waiting: BTreeMap<(PartitionId, u64), Parts<T>>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Turns {
            next: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }
}

impl<T> Turns<T> {
    /// Takes a part.
    ///
    /// # Errors
    /// There can be no such part.
    pub fn take(&mut self, turn: Turn, part: T) -> Result<(), TurnError> {
        let Turn {
            partition,
            number,
            parts,
        } = turn;
        let next = self.next.get(&partition).copied().unwrap_or_default();
        let too_many = TurnError::TooMany { partition, number };
        if number < next {
            return Err(too_many);
        }
        match self.waiting.entry((partition, number)) {
            Entry::Vacant(place) => {
                place.insert(Parts {
                    expected: parts,
                    come: vec![part],
                });
            }
            Entry::Occupied(mut place) => {
                let known = place.get_mut();
                if known.come.len() >= known.expected {
                    return Err(too_many);
                }
                known.come.push(part);
            }
        }
        Ok(())
    }

    /// The next turn of a partition, in the order in which its parts have come; none as long as it is not whole.
    pub fn next_of(&mut self, partition: PartitionId) -> Option<Vec<T>> {
        let next = self.next.entry(partition).or_default();
        let Entry::Occupied(place) = self.waiting.entry((partition, *next)) else {
            return None;
        };
        if place.get().come.len() < place.get().expected {
            return None;
        }
        *next += 1;
        Some(place.remove().come)
    }

    /// The first turn that waits, in the order of partitions and numbers, and what has come of it.
    pub fn first(&self) -> Option<(PartitionId, u64, &[T])> {
        let ((partition, number), parts) = self.waiting.first_key_value()?;
        Some((*partition, *number, parts.come.as_slice()))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::place::PartitionId;
    use crate::turn::{Turn, TurnError, Turns};

    const PARTITION: PartitionId = PartitionId(7);

    fn turn(number: u64, parts: usize) -> Turn {
        Turn {
            partition: PARTITION,
            number,
            parts,
        }
    }

    #[test]
    fn does_a_turn_wait_for_its_parts_and_for_those_before_it() {
        let mut turns = Turns::default();
        assert_eq!(turns.next_of(PARTITION), None);
        turns.take(turn(1, 2), "1a").unwrap();
        turns.take(turn(1, 2), "1b").unwrap();
        assert_eq!(turns.next_of(PARTITION), None, "0 is missing");
        turns.take(turn(0, 3), "0a").unwrap();
        turns.take(turn(0, 3), "0b").unwrap();
        assert_eq!(turns.next_of(PARTITION), None, "0 is not whole");
        assert_eq!(turns.first(), Some((PARTITION, 0, ["0a", "0b"].as_slice())));
        let other = PartitionId(1);
        let of_other = Turn {
            partition: other,
            ..turn(0, 1)
        };
        turns.take(of_other, "other").unwrap();
        assert_eq!(turns.next_of(other), Some(vec!["other"]));
        turns.take(turn(0, 3), "0c").unwrap();
        assert_eq!(turns.next_of(PARTITION), Some(vec!["0a", "0b", "0c"]));
        assert_eq!(turns.next_of(PARTITION), Some(vec!["1a", "1b"]));
        assert_eq!(turns.next_of(PARTITION), None);
        assert_eq!(turns.first(), None);
    }

    #[test]
    fn is_a_part_too_many_refused() {
        let too_many = |number| {
            Err(TurnError::TooMany {
                partition: PARTITION,
                number,
            })
        };
        let mut turns = Turns::default();
        turns.take(turn(1, 1), ()).unwrap();
        assert_eq!(turns.take(turn(1, 1), ()), too_many(1));
        turns.take(turn(0, 1), ()).unwrap();
        turns.next_of(PARTITION).unwrap();
        assert_eq!(turns.take(turn(0, 1), ()), too_many(0));
    }
}
