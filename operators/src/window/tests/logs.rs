//! Is what is measured over blocks what measuring each event gives, and is it the same bits whatever was dropped?

use crate::window::log::{Log, Shape};
use crate::window::measure::{Mark, Measure};

fn shape() -> Shape {
    let mut shape = Shape {
        columns: 2,
        ..Shape::default()
    };
    let measures = [
        Measure::Count(Mark(0)),
        Measure::Sum(1, None),
        Measure::Moments(1, Some(Mark(0))),
        Measure::Least(1, None),
        Measure::Greatest(1, Some(Mark(0))),
    ];
    for measure in measures {
        shape.measures.push((shape.words, measure));
        shape.words += measure.words();
    }
    shape
}

/// Numbers that add up without rounding, so that any order gives the same sum.
fn number(at: u64) -> f64 {
    ((at * 7919) % 1_000) as f64 - 400.0
}

#[test]
fn is_a_stretch_of_any_length_what_its_events_say() {
    let shape = shape();
    let mut log = Log::default();
    log.begin_anew(&shape);
    let first = log.begin();
    let mut pieces = Vec::new();
    for at in 0..1_300_u64 {
        let mut words = [u64::from(at % 3 == 0), number(at).to_bits()];
        log.insert(&shape, log.end(), at as i64, &mut words);
        if at % 5 == 0 {
            // What is dropped is never asked for again.
            log.drop_below(&shape, (first + at).saturating_sub(900));
        }
        if at % 7 != 0 {
            continue;
        }
        for from in [
            log.begin(),
            log.begin() + 1,
            log.end() - 1,
            log.end(),
            first + at / 2 + 1,
        ] {
            let from = from.clamp(log.begin(), log.end());
            log.stretch(from, &mut pieces);
            let of_stretch: Vec<f64> = (from - first..=at).map(number).collect();
            let sum = log.measure(&shape, 1, &pieces);
            assert_eq!(sum[0], of_stretch.len() as u64, "from {from} at {at}");
            let wanted: f64 = of_stretch.iter().sum();
            assert!((f64::from_bits(sum[1]) - wanted).abs() < 1e-9);
            let marked = (from - first..=at).filter(|at| at % 3 == 0);
            assert_eq!(log.measure(&shape, 0, &pieces)[0], marked.count() as u64);
            let least = of_stretch.iter().copied().reduce(f64::min);
            let found = f64::from_bits(log.measure(&shape, 3, &pieces)[0]);
            assert_eq!(Some(found).filter(|it| !it.is_nan()), least);
        }
    }
    assert!(log.len() <= 905);
}

/// Looking at a window takes as many steps as its number of events has digits, not as there are events.
#[test]
fn does_a_long_window_take_few_steps() {
    let shape = shape();
    let mut log = Log::default();
    log.begin_anew(&shape);
    for at in 0..100_000_u64 {
        let mut words = [1, number(at).to_bits()];
        log.insert(&shape, log.end(), at as i64, &mut words);
    }
    let mut pieces = Vec::new();
    for from in (0..100_000).step_by(997) {
        log.stretch(log.begin() + from, &mut pieces);
        let steps: u64 = pieces.iter().map(|piece| piece.to - piece.from).sum();
        assert!(steps <= 7 * 2 * 6, "{steps} steps from {from}");
    }
}
