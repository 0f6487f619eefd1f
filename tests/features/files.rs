//! How many files a case has, and what lies in which.

use crate::declared::{Order, Pipeline, Type, Value};
use crate::dice::Dice;

/// Files, each a partition.
#[derive(Clone, Debug)]
pub struct Files {
    pub count: usize,
    /// Fields of which each value is in one of the files only.
    parted: Vec<usize>,
}

impl Files {
    pub fn draw(dice: &mut Dice, pipeline: &Pipeline) -> Self {
        if pipeline.order == Order::EventTime {
            return Files {
                count: 1 + dice.below(3),
                parted: Vec::new(),
            };
        }
        // In which order a key's events are handled is chance unless all are in one partition.
        let features = pipeline.features.iter().filter_map(|it| it.key.as_ref());
        let keys = [&pipeline.key].into_iter().chain(features);
        let parted: Option<Vec<usize>> = keys
            .map(|key| {
                let may = key.iter().copied().filter(|it| *it != pipeline.time);
                let may: Vec<usize> = may.collect();
                (!may.is_empty()).then(|| dice.of(&may))
            })
            .collect();
        match (dice.of(&[1, 1, 2, 3]), parted) {
            (count @ 2.., Some(parted)) => Files { count, parted },
            _ => Files {
                count: 1,
                parted: Vec::new(),
            },
        }
    }

    /// Changes an event's values, some of which come from these pools, so that it may be in a file.
    pub fn fit(
        &self,
        dice: &mut Dice,
        file: usize,
        pipeline: &Pipeline,
        pools: &[Vec<Value>],
        values: &mut [Value],
    ) {
        for &field in &self.parted {
            let default = pipeline.fields[field].default.as_ref();
            let seen = match (&values[field], default) {
                (Value::Null, Some(default)) => default,
                (value, _) => value,
            };
            // A key with a null in it has no window.
            if *seen == Value::Null || self.of(seen) == file {
                continue;
            }
            let fitting = pools[field].iter().filter(|it| self.of(it) == file);
            let fitting: Vec<Value> = fitting.cloned().collect();
            values[field] = match fitting.as_slice() {
                [] => self.next(seen, file),
                some => dice.of(some),
            };
        }
    }

    /// The file that a value of a key is in.
    fn of(&self, value: &Value) -> usize {
        match value {
            Value::Int(number) => number.rem_euclid(self.count as i64) as usize,
            Value::Text(text) => text.bytes().map(usize::from).sum::<usize>() % self.count,
            other => unreachable!("no key is made of {other:?}"),
        }
    }

    /// One like this that is in a file.
    fn next(&self, value: &Value, file: usize) -> Value {
        let steps = 0..self.count as i64;
        let others = steps.flat_map(|step| match value {
            Value::Int(number) => {
                [number.checked_add(step), number.checked_sub(step)].map(|it| it.map(Value::Int))
            }
            Value::Text(text) => [Some(Value::Text(format!("{text}{step}"))), None],
            _ => [None, None],
        });
        let mut others = others.flatten();
        others.find(|it| self.of(it) == file).unwrap()
    }
}

#[test]
fn is_each_value_of_a_key_in_one_file() {
    let mut several = 0;
    for seed in 0..400 {
        let mut dice = Dice::new(seed);
        let drawn = crate::pipelines::draw(&mut dice, Order::Arrival);
        let files = Files::draw(&mut dice, &drawn.pipeline);
        several += usize::from(files.count > 1);
        let size = crate::events::Size::draw(&mut dice);
        let inputs = crate::events::draw(&mut dice, &drawn, &files, size);
        assert_eq!(inputs.len(), files.count);
        let features = drawn
            .pipeline
            .features
            .iter()
            .filter_map(|it| it.key.as_ref());
        for key in [&drawn.pipeline.key].into_iter().chain(features) {
            assert!(
                key.iter()
                    .all(|&it| matches!(drawn.pipeline.fields[it].kind, Type::Text | Type::Int))
            );
            let keys = |file: usize| {
                let events = inputs[file]
                    .records
                    .iter()
                    .filter_map(|it| it.values.as_ref());
                let keys =
                    events.map(|it| key.iter().map(|&at| it[at].clone()).collect::<Vec<_>>());
                keys.filter(|it| !it.contains(&Value::Null))
                    .collect::<Vec<_>>()
            };
            let all: Vec<_> = (0..files.count).map(keys).collect();
            for (nth, one) in all.iter().enumerate() {
                for other in &all[nth + 1..] {
                    assert!(one.iter().all(|it| !other.contains(it)), "{seed}: {key:?}");
                }
            }
        }
    }
    assert!(several > 100, "{several}");
}
