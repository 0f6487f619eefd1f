//! Conditions on events and expressions over features: how they are written, and what they mean.

use std::fmt;

use crate::declared::{Value, quoted};

/// What of an event must hold.
#[derive(Clone, Debug)]
pub enum Condition {
    /// Each field is one of some values, as a table.
    Equal(Vec<(usize, Vec<Value>)>),
    /// The others in CEL. This field is this value.
    Is(usize, Value),
    /// The field is at least this number, which is of its type. A null is an error.
    AtLeast(usize, Value),
    IsNull(usize),
    Not(Box<Condition>),
    Both(Box<Condition>, Box<Condition>),
    Either(Box<Condition>, Box<Condition>),
}

impl Condition {
    pub fn is_table(&self) -> bool {
        matches!(self, Condition::Equal(_))
    }

    /// As the file has it: a table in one line, or the text of an expression.
    pub fn text(&self, names: &[&str]) -> String {
        match self {
            Condition::Equal(fields) => {
                let fields = fields.iter().map(|(field, any_of)| {
                    let name = quoted(names[*field]);
                    match any_of.as_slice() {
                        [one] => format!("{name} = {}", Literal(one)),
                        some => {
                            let some: Vec<String> =
                                some.iter().map(|it| Literal(it).to_string()).collect();
                            format!("{name} = [{}]", some.join(", "))
                        }
                    }
                });
                format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
            }
            Condition::Is(field, value) => format!("{} == {}", names[*field], InCel(value)),
            Condition::AtLeast(field, value) => format!("{} >= {}", names[*field], InCel(value)),
            Condition::IsNull(field) => format!("{} == null", names[*field]),
            Condition::Not(one) => format!("!({})", one.text(names)),
            Condition::Both(one, other) => {
                format!("({}) && ({})", one.text(names), other.text(names))
            }
            Condition::Either(one, other) => {
                format!("({}) || ({})", one.text(names), other.text(names))
            }
        }
    }

    /// Whether it holds; nothing if that is an error. As CEL has it, `&&` and `||` take what one side decides alone.
    pub fn holds(&self, event: &[Value]) -> Option<bool> {
        match self {
            Condition::Equal(fields) => Some(
                fields
                    .iter()
                    .all(|(field, any_of)| any_of.contains(&event[*field])),
            ),
            Condition::Is(field, value) => Some(event[*field] == *value),
            Condition::AtLeast(field, least) => match (&event[*field], least) {
                (Value::Int(number), Value::Int(least)) => Some(number >= least),
                (Value::Float(number), Value::Float(least)) => Some(number >= least),
                _ => None,
            },
            Condition::IsNull(field) => Some(event[*field] == Value::Null),
            Condition::Not(one) => one.holds(event).map(|it| !it),
            Condition::Both(one, other) => match (one.holds(event), other.holds(event)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Condition::Either(one, other) => match (one.holds(event), other.holds(event)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
        }
    }
}

/// Of two features that stand before it.
#[derive(Clone, Debug)]
pub struct Expression {
    pub form: Form,
    pub left: String,
    pub right: String,
}

#[derive(Clone, Copy, Debug)]
pub enum Form {
    Sum,
    TwiceLess,
    Greater,
}

impl Expression {
    /// Whether it looks at this feature.
    pub fn sees(&self, feature: &str) -> bool {
        self.left == feature || self.right == feature
    }

    pub fn text(&self) -> String {
        let Expression { form, left, right } = self;
        match form {
            Form::Sum => format!("{left} + {right}"),
            Form::TwiceLess => format!("{left} * 2.0 - {right}"),
            Form::Greater => format!("{left} > {right} ? {left} : {right}"),
        }
    }
}

/// A value in TOML. There is no null in it.
pub struct Literal<'v>(pub &'v Value);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => Err(fmt::Error),
            Value::Text(text) => out.write_str(&quoted(text)),
            Value::Int(number) => write!(out, "{number}"),
            Value::Float(number) => write!(out, "{number:?}"),
            Value::Bool(truth) => write!(out, "{truth}"),
        }
    }
}

/// A value in CEL.
struct InCel<'v>(&'v Value);

impl fmt::Display for InCel<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => out.write_str("null"),
            // JSON's escapes are CEL's as well.
            Value::Text(text) => write!(out, "{}", serde_json::Value::from(text.as_str())),
            other => Literal(other).fmt(out),
        }
    }
}
