//! Where partitions begin, and whether the place is still there where one goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use slackwater_dataflow::place::{Mark, Offset, PartitionId};
use slackwater_dataflow::source::Partition;

use crate::client::{Fault, Noticed};
use crate::source::{ANSWER_TIMEOUT, Place, offset, raw};

/// How long a leader may take to be found.
const SETTLING_MAX: Duration = Duration::from_secs(5);

/// From one question for it to the next.
const SETTLING_PAUSE: Duration = Duration::from_millis(50);

/// Where a partition begins of which nothing was read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// At its oldest record.
    Earliest,
    /// Behind its newest.
    Latest,
    /// At its first record from this time on, in milliseconds since 1970.
    Time(i64),
}

/// What to do where the record that is to be read next is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLostOffset {
    /// The job ends and says so.
    Stop,
    /// It goes on at the oldest record there is, and says so.
    Earliest,
}

/// Partitions that are known, by what Kafka calls them. Those of a topic were numbered as they are there.
pub(super) fn of(known: &[Partition]) -> BTreeMap<Place, PartitionId> {
    let mut counts: BTreeMap<Arc<str>, i32> = BTreeMap::new();
    let mut sorted: Vec<_> = known.iter().collect();
    sorted.sort_by_key(|it| it.id);
    let place = |known: &Partition| {
        let topic = Arc::clone(&known.topic);
        let count = counts.entry(Arc::clone(&topic)).or_default();
        let partition = *count;
        *count += 1;
        (Place { topic, partition }, known.id)
    };
    sorted.into_iter().map(place).collect()
}

/// Where these partitions begin, in their order.
pub(super) fn begins(
    asking: &BaseConsumer<Noticed>,
    places: &[Place],
    from: Beginning,
) -> Result<Vec<Offset>, Fault> {
    let begin = |place: &Place| -> Result<Offset, Fault> {
        let (low, high) = watermarks(asking, place)?;
        Ok(offset(match from {
            Beginning::Earliest => low,
            Beginning::Latest => high,
            Beginning::Time(ms) => first_from(asking, place, ms)?.unwrap_or(high),
        }))
    };
    places.iter().map(begin).collect()
}

/// The oldest offset of a partition, and the one behind its newest.
pub(super) fn watermarks(
    asking: &BaseConsumer<Noticed>,
    place: &Place,
) -> Result<(i64, i64), Fault> {
    ask(place, || {
        asking.fetch_watermarks(&place.topic, place.partition, ANSWER_TIMEOUT)
    })
}

/// Asks for offsets, again and again while a leader is being found: brokers that have just started know less than they will.
fn ask<T>(place: &Place, mut question: impl FnMut() -> KafkaResult<T>) -> Result<T, Fault> {
    let begun = Instant::now();
    loop {
        let error = match question() {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let is_settling = matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::NotLeaderForPartition | RDKafkaErrorCode::LeaderNotAvailable)
        );
        if !is_settling || begun.elapsed() > SETTLING_MAX {
            return Err(Fault::told("ask for the offsets of", place.to_string())(
                error,
            ));
        }
        thread::sleep(SETTLING_PAUSE);
    }
}

fn first_from(
    asking: &BaseConsumer<Noticed>,
    place: &Place,
    ms: i64,
) -> Result<Option<i64>, Fault> {
    let found = ask(place, || {
        let mut times = TopicPartitionList::new();
        times.add_partition_offset(&place.topic, place.partition, KafkaOffset::Offset(ms))?;
        asking.offsets_for_times(times, ANSWER_TIMEOUT)
    })?;
    let found = found.find_partition(&place.topic, place.partition);
    Ok(found.and_then(|found| match found.offset() {
        KafkaOffset::Offset(offset) => Some(offset),
        _ => None,
    }))
}

/// From where a partition is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FetchFrom {
    /// The first offset that is asked for.
    pub(super) offset: i64,
    /// What is known of the record there, which was read before: it is looked at and not handed out.
    pub(super) expected: Option<Mark>,
}

/// What has become of the place where a partition goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    There(FetchFrom),
    /// The topic has deleted what was not read yet.
    Deleted,
    /// There is less than was read.
    MadeAnew,
}

/// Compares the place where a partition goes on with what there is.
fn standing(next: i64, mark: Option<Mark>, (low, high): (i64, i64)) -> Standing {
    if next < low {
        Standing::Deleted
    } else if next > high {
        Standing::MadeAnew
    } else if mark.is_some() && next > low {
        let (offset, expected) = (next - 1, mark);
        Standing::There(FetchFrom { offset, expected })
    } else {
        let (offset, expected) = (next, None);
        Standing::There(FetchFrom { offset, expected })
    }
}

/// From where a partition is fetched that goes on at an offset, before which the marked record stood.
pub(super) fn check(
    asking: &BaseConsumer<Noticed>,
    place: &Place,
    next: Offset,
    mark: Option<Mark>,
    lost: OnLostOffset,
) -> Result<FetchFrom, Fault> {
    let (low, high) = watermarks(asking, place)?;
    let reason = match standing(raw(next), mark, (low, high)) {
        Standing::There(from) => return Ok(from),
        Standing::Deleted => format!(
            "the records from offset {next} to {low} were deleted before they were read (the topic's retention), \
             {} of them",
            low - raw(next)
        ),
        Standing::MadeAnew => format!(
            "it ends at offset {high}, and was read to {next}: the topic was made anew, or lost what it had"
        ),
    };
    match lost {
        OnLostOffset::Stop => Err(lost_fault(place, &reason)),
        OnLostOffset::Earliest => {
            tracing::warn!("{place} goes on at its oldest record, offset {low}: {reason}");
            let (offset, expected) = (low, None);
            Ok(FetchFrom { offset, expected })
        }
    }
}

/// A place is lost, and nobody has said that the job may go on elsewhere.
pub(super) fn lost_fault(place: &Place, reason: &str) -> Fault {
    let reason = format!(
        "{reason}. With `[source] on_lost_offset = \"earliest\"` the job goes on at the oldest record there is"
    );
    Fault::new("go on in", place.to_string(), reason)
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "partition {} of topic {}", self.partition, self.topic)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use slackwater_dataflow::place::{Mark, PartitionId};
    use slackwater_dataflow::source::Partition;

    use crate::source::Place;
    use crate::source::places::{FetchFrom, Standing, of, standing};

    #[test]
    fn is_the_place_still_there_where_a_partition_goes_on() {
        let mark = Some(Mark(7));
        let there = |offset, expected| Standing::There(FetchFrom { offset, expected });
        let check = |next, mark, expected| {
            assert_eq!(standing(next, mark, (10, 20)), expected, "{next}");
        };
        check(9, mark, Standing::Deleted);
        check(10, mark, there(10, None));
        check(11, mark, there(10, mark));
        check(11, None, there(11, None));
        check(20, mark, there(19, mark));
        check(21, mark, Standing::MadeAnew);
        assert_eq!(standing(0, None, (0, 0)), there(0, None));
    }

    #[test]
    fn which_partition_of_its_topic_is_which() {
        let known = [(3, "a"), (0, "a"), (1, "b"), (2, "a"), (4, "b")];
        let known = known.map(|(id, topic)| Partition::new(PartitionId(id), topic));
        let place = |topic: &str, partition| Place {
            topic: Arc::from(topic),
            partition,
        };
        let expected = BTreeMap::from([
            (place("a", 0), PartitionId(0)),
            (place("a", 1), PartitionId(2)),
            (place("a", 2), PartitionId(3)),
            (place("b", 0), PartitionId(1)),
            (place("b", 1), PartitionId(4)),
        ]);
        assert_eq!(of(&known), expected);
    }
}
