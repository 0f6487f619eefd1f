//! Runs that took turns, and their figures turn by turn.

use serde_json::{Value, json};

use super::statistics::Summary;

/// A run of something.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Of what.
    pub what: &'static str,
    /// In which turn; runs of one turn are compared. The first, number 0, warms up.
    pub turn: usize,
    /// What was found.
    pub raw: Value,
}

/// Runs of several things.
#[derive(Clone, Debug, Default)]
pub struct Samples(pub Vec<Sample>);

impl Samples {
    /// A figure by turn, without the warm-up.
    pub fn figures(&self, what: &str, figure: &str) -> Vec<f64> {
        let of_it = self.0.iter();
        let of_it = of_it.filter(|sample| sample.what == what && sample.turn > 0);
        let mut found: Vec<(usize, f64)> = of_it
            .filter_map(|sample| Some((sample.turn, sample.raw.get(figure)?.as_f64()?)))
            .collect();
        found.sort_by_key(|(turn, _)| *turn);
        found.into_iter().map(|(_, figure)| figure).collect()
    }

    /// The middle of a figure, and its range.
    pub fn summary(&self, what: &str, figure: &str) -> Summary {
        Summary::of(self.figures(what, figure))
    }

    /// A figure less that of others in the same turn.
    pub fn beyond(&self, what: &str, others: &[&str], figure: &str) -> Summary {
        let mut left = self.figures(what, figure);
        for other in others {
            for (left, other) in left.iter_mut().zip(self.figures(other, figure)) {
                *left -= other;
            }
        }
        Summary::of(left)
    }

    /// A figure over that of another in the same turn.
    pub fn ratio(&self, what: &str, other: &str, figure: &str) -> Summary {
        let pairs = self.figures(what, figure).into_iter();
        Summary::of_ratios(pairs.zip(self.figures(other, figure)))
    }

    /// All of them, for programs.
    pub fn json(&self) -> Vec<Value> {
        let one = |sample: &Sample| {
            json!({
                "what": sample.what,
                "turn": sample.turn,
                "warm_up": sample.turn == 0,
                "raw": sample.raw,
            })
        };
        self.0.iter().map(one).collect()
    }
}
