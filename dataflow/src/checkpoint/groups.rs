//! Sets of key groups: what a worker reads of the state that others may have written.

use std::ops::RangeInclusive;

use crate::place::KeyGroup;

/// A set of key groups. Those of one worker are neighbours, so that a set is few ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSet {
    /// Ascending, apart from each other.
    ranges: Vec<RangeInclusive<u16>>,
}

impl GroupSet {
    /// Every group there can be.
    pub fn all() -> Self {
        GroupSet {
            ranges: vec![0..=u16::MAX],
        }
    }

    /// Whether the group is in it.
    pub fn contains(&self, group: KeyGroup) -> bool {
        self.meets(group, group)
    }

    /// Whether any of the groups from `least` to `greatest` is in it.
    pub fn meets(&self, least: KeyGroup, greatest: KeyGroup) -> bool {
        let after = self.ranges.partition_point(|range| *range.end() < least.0);
        let range = self.ranges.get(after);
        range.is_some_and(|range| *range.start() <= greatest.0)
    }
}

impl FromIterator<KeyGroup> for GroupSet {
    fn from_iter<I: IntoIterator<Item = KeyGroup>>(groups: I) -> Self {
        let mut groups: Vec<u16> = groups.into_iter().map(|group| group.0).collect();
        groups.sort_unstable();
        let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
        for group in groups {
            match ranges.last_mut() {
                Some(range) if group <= range.end().saturating_add(1) => {
                    *range = *range.start()..=group;
                }
                _ => ranges.push(group..=group),
            }
        }
        GroupSet { ranges }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::proptest;

    use crate::checkpoint::groups::GroupSet;
    use crate::place::KeyGroup;

    proptest! {
        /// Raced against the set itself.
        #[test]
        fn holds_what_a_plain_set_holds(groups in btree_set(0..40_u16, 0..20), from in 0..40_u16, more in 0..9_u16) {
            let set: GroupSet = groups.iter().copied().map(KeyGroup).collect();
            for group in 0..41 {
                assert_eq!(set.contains(KeyGroup(group)), groups.contains(&group));
            }
            let meets = groups.range(from..=from + more).next().is_some();
            assert_eq!(set.meets(KeyGroup(from), KeyGroup(from + more)), meets);
        }
    }

    #[test]
    fn do_all_groups_hold_the_first_and_the_last() {
        let ends = [KeyGroup(0), KeyGroup(u16::MAX)];
        assert!(ends.iter().all(|group| GroupSet::all().contains(*group)));
        let set: GroupSet = ends.into_iter().collect();
        assert!(ends.iter().all(|group| set.contains(*group)));
        assert!(!set.meets(KeyGroup(1), KeyGroup(u16::MAX - 1)));
    }
}
