//! The smallest case that still differs, as far as leaving things out finds it.

use std::time::{Duration, Instant};

use crate::declared::{Feature, Window};
use crate::job::{Case, Fault, check};

/// Most time for it: who hangs is ended without a word.
const PATIENCE: Duration = Duration::from_secs(60);

/// Leaves out what the difference does not need, and gives what is left with what is wrong with it.
pub fn smallest(case: Case, fault: Fault) -> (Case, Fault) {
    let mut shrinking = Shrinking {
        case,
        fault,
        started: Instant::now(),
    };
    while shrinking.round() {}
    (shrinking.case, shrinking.fault)
}

struct Shrinking {
    case: Case,
    fault: Fault,
    started: Instant,
}

impl Shrinking {
    /// Whether anything could be left out.
    fn round(&mut self) -> bool {
        let mut less = self.features();
        less |= self.records();
        less |= self.simpler();
        less
    }

    /// Takes a smaller case if it is wrong in the same way.
    fn take(&mut self, case: Case) -> bool {
        if self.started.elapsed() > PATIENCE {
            return false;
        }
        match (check(&case), &self.fault) {
            (Err(fault @ Fault::Differs(_)), Fault::Differs(_))
            | (Err(fault @ Fault::Unusable(_)), Fault::Unusable(_)) => {
                (self.case, self.fault) = (case, fault);
                true
            }
            _ => false,
        }
    }

    fn features(&mut self) -> bool {
        let mut less = false;
        let mut nth = 0;
        while nth < self.case.pipeline.features.len() && self.case.pipeline.features.len() > 1 {
            let mut case = self.case.clone();
            let gone = case.pipeline.features.remove(nth);
            let looks_at =
                |it: &Feature| it.expression.as_ref().is_some_and(|it| it.sees(&gone.name));
            if !case.pipeline.features.iter().any(looks_at) && self.take(case) {
                less = true;
            } else {
                nth += 1;
            }
        }
        less
    }

    /// Halves first, then quarters, and so on.
    fn records(&mut self) -> bool {
        let mut less = false;
        for file in 0..self.case.inputs.len() {
            let mut length = self.case.inputs[file].records.len();
            while length > 0 {
                let mut start = 0;
                while start < self.case.inputs[file].records.len() {
                    let mut case = self.case.clone();
                    let records = &mut case.inputs[file].records;
                    let end = records.len().min(start + length);
                    records.drain(start..end);
                    if self.take(case) {
                        less = true;
                    } else {
                        start += length;
                    }
                }
                length /= 2;
            }
        }
        less
    }

    fn simpler(&mut self) -> bool {
        let is_plain = |it: &Feature| it.transforms.is_empty() && it.condition.is_none();
        let mut less = false;
        for nth in 0..self.case.pipeline.features.len() {
            let feature = &self.case.pipeline.features[nth];
            if !is_plain(feature) && feature.of != "share" {
                let mut case = self.case.clone();
                case.pipeline.features[nth].transforms.clear();
                case.pipeline.features[nth].condition = None;
                less |= self.take(case);
            }
        }
        let features = &self.case.pipeline.features;
        let of_history = |it: &Feature| it.window == Some(Window::History);
        let unused = self.case.pipeline.history.is_some() && !features.iter().any(of_history);
        if unused {
            let mut case = self.case.clone();
            case.pipeline.history = None;
            less |= self.take(case);
        }
        if self.case.pipeline.filter.is_some() {
            let mut case = self.case.clone();
            case.pipeline.filter = None;
            less |= self.take(case);
        }
        if !self.case.pipeline.checks.is_empty() {
            let mut case = self.case.clone();
            case.pipeline.checks.pop();
            less |= self.take(case);
        }
        less
    }
}
