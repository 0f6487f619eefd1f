//! Kinds of features that are measured one by one. Of each there are eight that differ in window, condition or field, so that none
//! shares with another more than the log of the key.

/// What differs among eight features of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Variation {
    /// A window of time.
    pub window: &'static str,
    /// A window of a number of events.
    pub last: &'static str,
    /// A condition on the field of texts.
    pub only: &'static str,
    /// A number that a field may be above.
    pub above: f64,
    /// A number field.
    pub number: &'static str,
}

const fn variation(
    window: &'static str,
    last: &'static str,
    only: &'static str,
    above: f64,
    number: &'static str,
) -> Variation {
    Variation {
        window,
        last,
        only,
        above,
        number,
    }
}

/// All eight.
pub const VARIATIONS: [Variation; 8] = [
    variation("1m", "last 5", "\"view\"", 10.5, "amount"),
    variation("2m", "last 8", "\"click\"", 20.5, "score"),
    variation("5m", "last 10", "\"cart\"", 30.5, "pages"),
    variation("10m", "last 12", "\"order\"", 40.5, "amount"),
    variation("15m", "last 15", "\"return\"", 50.5, "score"),
    variation("20m", "last 20", "[\"view\", \"click\"]", 60.5, "pages"),
    variation("30m", "last 30", "[\"cart\", \"order\"]", 70.5, "amount"),
    variation("1h", "last 50", "[\"order\", \"return\"]", 80.5, "score"),
];

/// A kind: what people call it, and the keys of a `[[feature]]` of it but its name.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// As the table calls it.
    pub name: &'static str,
    /// One of its features.
    pub feature: fn(&Variation) -> String,
}

/// Of a field in a window of time.
fn of_amount(of: &str, variation: &Variation) -> String {
    let window = variation.window;
    format!("of = \"{of}\"\nfield = \"amount\"\nwindow = \"{window}\"")
}

fn of_window(of: &str, variation: &Variation) -> String {
    format!("of = \"{of}\"\nwindow = \"{}\"", variation.window)
}

const fn kind(name: &'static str, feature: fn(&Variation) -> String) -> Kind {
    Kind { name, feature }
}

/// All of them.
pub const KINDS: [Kind; 31] = [
    kind("value", |v| {
        format!("of = \"value\"\nfield = \"{}\"", v.number)
    }),
    kind("one_hot of 5", |_| {
        let values = super::events::KINDS;
        format!("of = \"one_hot\"\nfield = \"kind\"\nvalues = {values:?}")
    }),
    kind("index of 5", |_| {
        let values = super::events::KINDS;
        format!("of = \"index\"\nfield = \"kind\"\nvalues = {values:?}")
    }),
    kind("hash", |v| {
        format!(
            "of = \"hash\"\nfield = \"what\"\nbuckets = {}",
            v.above as u64 * 10
        )
    }),
    kind("hour_sin", |_| "of = \"hour_sin\"".to_owned()),
    kind("hour_cos", |_| "of = \"hour_cos\"".to_owned()),
    kind("day_of_week", |_| "of = \"day_of_week\"".to_owned()),
    kind("constant", |v| {
        format!("of = \"constant\"\nvalue = {:?}", v.above)
    }),
    kind("expr", |v| {
        format!("of = \"expr\"\nexpr = \"amount * {:?} + score\"", v.above)
    }),
    kind("count", |v| of_window("count", v)),
    kind("count, where", |v| {
        of_window("count", v) + &format!("\nwhere = {{ kind = {} }}", v.only)
    }),
    kind("count, where is an expression", |v| {
        of_window("count", v) + &format!("\nwhere = \"amount > {:?}\"", v.above)
    }),
    kind("share", |v| {
        of_window("share", v) + &format!("\nwhere = {{ kind = {} }}", v.only)
    }),
    kind("sum", |v| of_amount("sum", v)),
    kind("sum, where", |v| {
        of_amount("sum", v) + &format!("\nwhere = {{ kind = {} }}", v.only)
    }),
    kind("mean", |v| of_amount("mean", v)),
    kind("std", |v| of_amount("std", v)),
    kind("min", |v| of_amount("min", v)),
    kind("max", |v| of_amount("max", v)),
    kind("last", |v| of_amount("last", v)),
    kind("distinct", |v| {
        of_window("distinct", v) + "\nfield = \"what\""
    }),
    kind("since_previous", |v| of_window("since_previous", v)),
    kind("mean_gap", |v| of_window("mean_gap", v)),
    kind("count, another key", |v| {
        of_window("count", v) + "\nkey = [\"what\"]"
    }),
    kind("count, last N", |v| {
        format!("of = \"count\"\nwindow = \"{}\"", v.last)
            + &format!("\nwhere = {{ kind = {} }}", v.only)
    }),
    kind("sum, last N", |v| {
        format!("of = \"sum\"\nfield = \"amount\"\nwindow = \"{}\"", v.last)
    }),
    kind("distinct, last N", |v| {
        format!(
            "of = \"distinct\"\nfield = \"what\"\nwindow = \"{}\"",
            v.last
        )
    }),
    kind("count, where, history", |v| of_history("count", v)),
    kind("share, history", |v| of_history("share", v)),
    kind("distinct, where, history", |v| {
        of_history("distinct", v) + "\nfield = \"what\""
    }),
    kind("mean_gap, history", |_| {
        "of = \"mean_gap\"\nwindow = \"history\"".to_owned()
    }),
];

fn of_history(of: &str, variation: &Variation) -> String {
    let only = variation.only;
    format!("of = \"{of}\"\nwindow = \"history\"\nwhere = {{ kind = {only} }}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{KINDS, VARIATIONS};

    #[test]
    fn does_no_feature_stand_twice() {
        // These are of nothing that could differ, or of as many fields as there are numbers.
        const MAY: [&str; 7] = [
            "value",
            "one_hot of 5",
            "index of 5",
            "hour_sin",
            "hour_cos",
            "day_of_week",
            "mean_gap, history",
        ];
        for kind in KINDS {
            let features: BTreeSet<String> = VARIATIONS.iter().map(|v| (kind.feature)(v)).collect();
            let may = MAY.contains(&kind.name);
            assert_eq!(features.len() == VARIATIONS.len(), !may, "{}", kind.name);
        }
    }
}
