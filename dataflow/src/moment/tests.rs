//! Are both projections of a frontier what progress tracking promises, and is the order lawful?

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof, proptest};
use timely::PartialOrder;
use timely::progress::Antichain;
use timely::progress::timestamp::{PathSummary, Timestamp};

use differential_dataflow::lattice::Lattice;

use crate::moment::{Advance, Epoch, EventTime, Moment, open_epoch, watermark};

/// Small coordinates, so that ties and incomparable pairs are frequent.
fn moments() -> impl Strategy<Value = Moment> {
    let times = prop_oneof![Just(i64::MIN), -3..8_i64, Just(i64::MAX)];
    (0..5_u64, times).prop_map(|(epoch, time)| Moment::new(Epoch(epoch), EventTime(time)))
}

fn grid() -> Vec<Moment> {
    let times = [i64::MIN, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, i64::MAX];
    (0..6)
        .flat_map(|epoch| times.map(|time| Moment::new(Epoch(epoch), EventTime(time))))
        .collect()
}

proptest! {
    /// Brute force: a time can still come if some element of the frontier is less or equal to it.
    #[test]
    fn projections_are_what_can_still_come(capabilities in vec(moments(), 0..6)) {
        let frontier: Antichain<Moment> = capabilities.iter().copied().collect();
        let possible: Vec<Moment> =
            grid().into_iter().filter(|moment| frontier.less_equal(moment)).collect();
        let least_watermark = possible.iter().map(|moment| moment.watermark).min();
        let least_epoch = possible.iter().map(|moment| moment.epoch).min();
        assert_eq!(watermark(frontier.elements()), least_watermark);
        assert_eq!(open_epoch(frontier.elements()), least_epoch);
    }

    #[test]
    fn order_is_a_lattice_that_ord_extends(a in moments(), b in moments(), c in moments()) {
        if a.less_equal(&b) {
            assert!(a <= b);
        }
        assert!(Moment::minimum().less_equal(&a));
        let (join, meet) = (a.join(&b), a.meet(&b));
        assert!(a.less_equal(&join) && b.less_equal(&join));
        assert!(meet.less_equal(&a) && meet.less_equal(&b));
        if a.less_equal(&c) && b.less_equal(&c) {
            assert!(join.less_equal(&c));
        }
        if c.less_equal(&a) && c.less_equal(&b) {
            assert!(c.less_equal(&meet));
        }
    }

    #[test]
    fn composed_advances_do_what_they_do_in_turn(
        moment in moments(), e1 in 0..3_u64, w1 in 0..9_u64, e2 in 0..3_u64, w2 in 0..9_u64,
    ) {
        let first = Advance { epochs: e1, watermark_ms: w1 };
        let second = Advance { epochs: e2, watermark_ms: w2 };
        let composed = first.followed_by(&second).and_then(|both| both.results_in(&moment));
        let in_turn = first.results_in(&moment).and_then(|moved| second.results_in(&moved));
        assert_eq!(composed, in_turn);
        assert_eq!(Advance::default().results_in(&moment), Some(moment));
    }
}

#[test]
fn spans_of_event_time_never_overflow() {
    let check = |time: i64, span: u64, expected: i64| {
        assert_eq!(EventTime(time).minus_ms(span), EventTime(expected));
    };
    check(10, 3, 7);
    check(i64::MIN + 1, 5, i64::MIN);
    check(-1, u64::MAX, i64::MIN);
    assert_eq!(EventTime::MAX.ms_after(EventTime::MIN), u64::MAX);
    assert_eq!(EventTime(5).ms_after(EventTime(9)), 0);
    assert_eq!(EventTime(9).ms_after(EventTime(5)), 4);
}
