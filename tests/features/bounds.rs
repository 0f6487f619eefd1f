//! A number and how far another order of additions may be from it.

use crate::declared::Transform;

/// Where a number is that was computed in 64 bits, in whatever order.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    least: f64,
    most: f64,
    /// It may be no number as well.
    doubtful: bool,
}

impl Bounds {
    pub fn exactly(number: f64) -> Self {
        Bounds::about(number, 0.0)
    }

    pub fn about(number: f64, error: f64) -> Self {
        Bounds {
            least: number - error,
            most: number + error,
            doubtful: false,
        }
    }

    /// All transforms rise or fall all the way, so the ends become the ends.
    pub fn transformed(self, transform: Transform) -> Self {
        match transform {
            // Below -1 there is none.
            Transform::Log1p if self.least < -1.0 && self.most >= -1.0 => Bounds {
                least: f64::NEG_INFINITY,
                most: self.most.ln_1p(),
                doubtful: true,
            },
            Transform::Log1p => self.mapped(f64::ln_1p),
            Transform::Clip(least, most) => self.mapped(|number| {
                if number < least {
                    least
                } else if number > most {
                    most
                } else {
                    number
                }
            }),
            Transform::Scale(mean, deviation) => self.mapped(|number| (number - mean) / deviation),
        }
    }

    /// What an expression sees of it.
    pub fn rounded(self) -> Self {
        self.mapped(|number| f64::from(number as f32))
    }

    /// It, or `fill` where it is no finite number.
    pub fn or(self, fill: f64) -> Self {
        let ends = [self.least.is_finite(), self.most.is_finite()];
        match ends {
            [true, true] if !self.doubtful => self,
            // The same on both sides, so there is no doubt.
            [false, false] if self.is_one() && !self.doubtful => Bounds::exactly(fill),
            _ => Bounds {
                least: f64::NEG_INFINITY,
                most: f64::INFINITY,
                doubtful: true,
            },
        }
    }

    fn is_one(self) -> bool {
        self.least == self.most || self.least.is_nan() && self.most.is_nan()
    }

    pub fn with(self, other: Bounds, form: impl Fn(f64, f64) -> f64) -> Self {
        let ends = [
            form(self.least, other.least),
            form(self.least, other.most),
            form(self.most, other.least),
            form(self.most, other.most),
        ];
        Bounds {
            least: ends.into_iter().fold(f64::NAN, f64::min),
            most: ends.into_iter().fold(f64::NAN, f64::max),
            doubtful: self.doubtful
                || other.doubtful
                || !self.is_one() && ends.iter().any(|it| it.is_nan())
                || !other.is_one() && ends.iter().any(|it| it.is_nan()),
        }
    }

    /// How closely it holds what is found.
    pub fn hold(self) -> Hold {
        let (least, most) = (self.least as f32, self.most as f32);
        let one = self.is_one() || least == most;
        match [least.is_finite(), most.is_finite()] {
            _ if self.doubtful => Hold::Doubtful,
            [true, true] if one => Hold::One,
            [true, true] if f64::from(most) - f64::from(least) <= slack(most) => Hold::Narrow,
            [true, true] => Hold::Wide,
            [false, false] if one => Hold::Nothing,
            _ => Hold::Doubtful,
        }
    }

    fn mapped(self, form: impl Fn(f64) -> f64) -> Self {
        let (one, other) = (form(self.least), form(self.most));
        Bounds {
            least: one.min(other),
            most: one.max(other),
            doubtful: self.doubtful,
        }
    }

    /// Whether this is what is written of it: rounded to 32 bits; nothing where that is no finite number.
    pub fn admit(self, found: Option<f64>) -> bool {
        let (least, most) = (self.least as f32, self.most as f32);
        let Some(found) = found else {
            return self.doubtful || !least.is_finite() || !most.is_finite();
        };
        let above = least == f32::NEG_INFINITY || found >= f64::from(least) - slack(least);
        let below = most == f32::INFINITY || found <= f64::from(most) + slack(most);
        above && below
    }
}

/// How far what is written may be from an end.
fn slack(end: f32) -> f64 {
    1e-6 * f64::from(end.abs().max(1.0))
}

/// How closely bounds hold what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// It is this number.
    One,
    /// It is within bounds that are no further apart than what may be written of either.
    Narrow,
    /// It is within bounds that are further apart.
    Wide,
    /// There is none.
    Nothing,
    /// It is within bounds that may be endless, or there is none.
    Doubtful,
}

impl Hold {
    /// As the report has it.
    pub fn name(self) -> &'static str {
        match self {
            Hold::One => "one number",
            Hold::Narrow => "between two, a millionth apart or less",
            Hold::Wide => "between two that are further apart",
            Hold::Nothing => "null",
            Hold::Doubtful => "null or any within the bounds, if there are any",
        }
    }
}

#[test]
fn how_closely_are_numbers_held() {
    let check = |bounds: Bounds, expected: Hold| assert_eq!(bounds.hold(), expected, "{bounds:?}");
    check(Bounds::exactly(2.0), Hold::One);
    check(Bounds::about(2.0, 1e-12), Hold::One);
    check(Bounds::about(2.0, 5e-7), Hold::Narrow);
    check(Bounds::about(2.0, 1e-3), Hold::Wide);
    check(Bounds::about(1e30, 1e20), Hold::One);
    check(Bounds::exactly(1e300), Hold::Nothing);
    check(Bounds::exactly(f64::NAN), Hold::Nothing);
    check(Bounds::about(0.0, 1e300), Hold::Doubtful);
    check(Bounds::about(0.0, 1e300).or(1.0), Hold::Doubtful);
    let log1p = Bounds::about(-1.0, 0.1).transformed(Transform::Log1p);
    check(log1p, Hold::Doubtful);
}

#[test]
fn which_numbers_are_admitted() {
    let check = |bounds: Bounds, found: Option<f64>, expected: bool| {
        assert_eq!(bounds.admit(found), expected, "{bounds:?} {found:?}");
    };
    check(Bounds::exactly(2.0), Some(2.0), true);
    check(Bounds::exactly(2.0), Some(2.000_001), true);
    check(Bounds::exactly(2.0), Some(2.000_003), false);
    check(Bounds::exactly(2.0), None, false);
    check(Bounds::exactly(f64::NAN), None, true);
    check(Bounds::exactly(f64::NAN), Some(0.0), false);
    check(Bounds::exactly(1e300), None, true);
    check(Bounds::exactly(1e300), Some(3e38), false);
    check(Bounds::about(1.0, 0.5), Some(1.4), true);
    check(Bounds::about(1.0, 0.5), Some(1.6), false);
    let log1p = |number, error| Bounds::about(number, error).transformed(Transform::Log1p);
    check(log1p(-1.0, 0.1), None, true);
    check(log1p(-1.0, 0.1), Some(-40.0), true);
    check(log1p(-1.0, 0.1), Some(0.0), false);
    check(log1p(-2.0, 0.0), Some(0.0), false);
    let falling = Bounds::about(1.0, 0.5).transformed(Transform::Scale(0.0, -1.0));
    check(falling, Some(-1.4), true);
    check(falling, Some(-0.4), false);
    // What is no number stays none.
    check(
        log1p(-2.0, 0.0).transformed(Transform::Clip(0.0, 1.0)),
        None,
        true,
    );
    check(
        log1p(-2.0, 0.0).transformed(Transform::Clip(0.0, 1.0)),
        Some(0.0),
        false,
    );
}
