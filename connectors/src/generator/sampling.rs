//! Who appears in an event: users by Zipf's law, drawn in constant time.

use std::cmp::Reverse;

use slackwater_dataflow::place::PartitionId;

use crate::generator::GeneratorConfig;
use crate::generator::templates::user_name;

/// The users of one partition as an alias table (Walker 1974, built by Vose's method of 1991): a slot is
/// drawn evenly and gives its own user or its alias. One slot is one memory access of 12 bytes.
#[derive(Debug)]
pub(super) struct Users {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The slot's own user is taken when the lower half of a draw is below it (of 2^32).
    own_below: u32,
    own: u32,
    alias: u32,
}

impl Users {
    /// A table of `users`, each with its weight.
    fn new(users: &[u32], weight: impl Fn(u32) -> f64) -> Self {
        let total: f64 = users.iter().map(|&user| weight(user)).sum();
        let scale = users.len() as f64 / total;
        // What a slot still holds of its own user, in slots; filled up from the users above one slot.
        let mut held: Vec<f64> = users.iter().map(|&user| weight(user) * scale).collect();
        let mut slots: Vec<Slot> = users
            .iter()
            .map(|&user| Slot {
                own_below: u32::MAX,
                own: user,
                alias: user,
            })
            .collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..held.len()).partition(|&slot| held[slot] < 1.0);
        // All indices below are slots' numbers. What rounding leaves over at the end keeps its own user.
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            slots[poor].own_below = (held[poor] * 2_f64.powi(32)) as u32;
            slots[poor].alias = users[rich];
            held[rich] -= 1.0 - held[poor];
            if held[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Users { slots }
    }

    /// The user that 64 even random bits stand for.
    pub(super) fn draw(&self, bits: u64) -> u32 {
        let slot = ((bits >> 32) * self.slots.len() as u64) >> 32;
        // Below the number of slots by construction; a partition without users has no events.
        match self.slots.get(slot as usize) {
            Some(slot) if (bits as u32) < slot.own_below => slot.own,
            Some(slot) => slot.alias,
            None => 0,
        }
    }
}

/// Users and number of events of each partition.
pub(super) fn plan(config: &GeneratorConfig) -> Vec<(Users, u64)> {
    let weight = |user: u32| (f64::from(user) + 1.0).powf(-config.skew);
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); config.partitions as usize];
    let mut text = Vec::new();
    for user in 0..config.users {
        // A remainder of the number of partitions.
        members[partition_of(user, config.partitions, &mut text).0 as usize].push(user);
    }
    let weights: Vec<f64> = members
        .iter()
        .map(|users| users.iter().map(|&user| weight(user)).sum())
        .collect();
    let events = apportion(config.events, &weights);
    members
        .iter()
        .zip(events)
        .map(|(users, events)| (Users::new(users, weight), events))
        .collect()
}

/// The partition of a user: xxh3 of the id's text, seed 0, modulo the number of partitions.
fn partition_of(user: u32, partitions: u32, text: &mut Vec<u8>) -> PartitionId {
    text.clear();
    user_name(text, user);
    let hash = xxhash_rust::xxh3::xxh3_64(text);
    PartitionId((hash % u64::from(partitions)) as u32)
}

/// Whole numbers that follow `weights` and add up to `total`: rounded down, then one more for the largest
/// remainders (Hamilton's method). A weight of zero gets nothing.
fn apportion(total: u64, weights: &[f64]) -> Vec<u64> {
    let sum: f64 = weights.iter().sum();
    let exact = |weight: f64| total as f64 * (weight / sum);
    let mut counts: Vec<u64> = weights.iter().map(|&w| exact(w).floor() as u64).collect();
    let mut order: Vec<usize> = (0..weights.len()).filter(|&i| weights[i] > 0.0).collect();
    // The sort is stable: among equal remainders the first comes first.
    order.sort_by_key(|&i| Reverse((exact(weights[i]).fract() * 1e15) as u64));
    // Rounding could leave the sum of floors above the total only when one count is the whole of it.
    let mut missing = total.saturating_sub(counts.iter().sum());
    for &index in order.iter().cycle() {
        if missing == 0 {
            break;
        }
        counts[index] += 1;
        missing -= 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq};

    use super::*;

    #[test]
    fn do_draws_follow_the_weights() {
        let weights = [5.0, 1.0, 0.0, 3.0, 0.5, 0.5];
        let users = Users::new(&[10, 11, 12, 13, 14, 15], |user| {
            weights[user as usize - 10]
        });
        // Every slot with evenly spread lower halves: exact up to the grain of the grid.
        let grain = 1_000_u64;
        let mut counts = [0_u64; 6];
        for slot in 0..6_u64 {
            for step in 0..grain {
                let high = (slot << 32).div_ceil(6);
                let user = users.draw((high << 32) | ((step << 32) / grain));
                counts[user as usize - 10] += 1;
            }
        }
        for (count, weight) in counts.iter().zip(weights) {
            let expected = weight / 10.0 * 6.0 * grain as f64;
            assert!((*count as f64 - expected).abs() <= 6.0, "{counts:?}");
        }
    }

    #[test]
    fn do_remainders_go_to_the_largest() {
        let check = |total, weights: &[f64], expected: &[u64]| {
            assert_eq!(apportion(total, weights), expected, "{weights:?}");
        };
        check(10, &[1.0, 1.0, 1.0], &[4, 3, 3]);
        check(10, &[0.66, 0.0, 0.34], &[7, 0, 3]);
        check(1, &[0.2, 0.5, 0.3], &[0, 1, 0]);
        check(0, &[1.0, 2.0], &[0, 0]);
        check(7, &[0.0, 3.0], &[0, 7]);
    }

    proptest::proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn do_shares_add_up_to_the_whole(
            total in 0_u64..1_000_000_000_000,
            weights in vec(0.000_001_f64..1e6, 1..50),
        ) {
            let counts = apportion(total, &weights);
            prop_assert_eq!(counts.iter().sum::<u64>(), total);
            let sum: f64 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(&weights) {
                let exact = total as f64 * (weight / sum);
                prop_assert!((*count as f64 - exact).abs() <= 1.001, "{count} for {exact}");
            }
        }
    }
}
