//! Expressions race a plain evaluator that was written down from the rules alone: what null and mixed kinds do.

use std::cmp::Ordering;

use proptest::prelude::*;

use crate::event::FieldType;
use crate::expression::values::{Given, Values};
use crate::expression::{Expression, Wanted};

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

#[derive(Clone, Debug)]
enum Part {
    Field(usize),
    Literal(Value),
    Not(Box<Part>),
    Two(&'static str, Box<(Part, Part)>),
    Choice(Box<(Part, Part, Part)>),
    In(Box<Part>, Vec<Part>),
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

impl Part {
    /// Within `dyn`, nothing is known of a kind before there is an event.
    fn text(&self) -> String {
        let text = match self {
            Part::Field(at) => NAMES[*at].to_owned(),
            Part::Literal(Value::Null) => "null".to_owned(),
            Part::Literal(Value::Bool(truth)) => truth.to_string(),
            Part::Literal(Value::Int(number)) => number.to_string(),
            Part::Literal(Value::Float(number)) => format!("{number:?}"),
            Part::Literal(Value::Text(text)) => format!("'{text}'"),
            Part::Not(part) => format!("!{}", part.text()),
            Part::Two(operator, parts) => {
                format!("{} {operator} {}", parts.0.text(), parts.1.text())
            }
            Part::Choice(parts) => {
                format!(
                    "{} ? {} : {}",
                    parts.0.text(),
                    parts.1.text(),
                    parts.2.text()
                )
            }
            Part::In(part, list) => {
                let list: Vec<String> = list.iter().map(Part::text).collect();
                format!("{} in [{}]", part.text(), list.join(", "))
            }
        };
        format!("dyn({text})")
    }

    /// `None` is an error.
    fn value(&self, event: &[Value]) -> Option<Value> {
        match self {
            Part::Field(at) => Some(event[*at].clone()),
            Part::Literal(value) => Some(value.clone()),
            Part::Not(part) => match part.value(event)? {
                Value::Bool(truth) => Some(Value::Bool(!truth)),
                _ => None,
            },
            Part::Choice(parts) => match parts.0.value(event)? {
                Value::Bool(true) => parts.1.value(event),
                Value::Bool(false) => parts.2.value(event),
                _ => None,
            },
            Part::In(part, list) => {
                let wanted = part.value(event)?;
                let list: Option<Vec<Value>> = list.iter().map(|it| it.value(event)).collect();
                Some(Value::Bool(list?.iter().any(|it| equal(it, &wanted))))
            }
            Part::Two("&&", parts) => logical(&parts.0.value(event), &parts.1.value(event), false),
            Part::Two("||", parts) => logical(&parts.0.value(event), &parts.1.value(event), true),
            Part::Two(operator, parts) => {
                let (one, other) = (parts.0.value(event)?, parts.1.value(event)?);
                match *operator {
                    "==" => Some(Value::Bool(equal(&one, &other))),
                    "!=" => Some(Value::Bool(!equal(&one, &other))),
                    "<" => Some(Value::Bool(order(&one, &other)? == Ordering::Less)),
                    ">=" => Some(Value::Bool(order(&one, &other)? != Ordering::Less)),
                    operator => arithmetic(operator, &one, &other),
                }
            }
        }
    }
}

/// One side that decides is enough, whichever it is; else both must be truths.
fn logical(one: &Option<Value>, other: &Option<Value>, decides: bool) -> Option<Value> {
    let truth = |side: &Option<Value>| match side {
        Some(Value::Bool(truth)) => Some(*truth),
        _ => None,
    };
    match (truth(one), truth(other)) {
        (Some(truth), _) | (_, Some(truth)) if truth == decides => Some(Value::Bool(decides)),
        (_, Some(truth)) if truth == decides => Some(Value::Bool(decides)),
        (Some(_), Some(_)) => Some(Value::Bool(!decides)),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => one == other,
        _ => match (number(one), number(other)) {
            (Some(one), Some(other)) => one == other,
            _ => one == other,
        },
    }
}

fn order(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => Some(one.cmp(other)),
        (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        _ => number(one)?.partial_cmp(&number(other)?),
    }
}

fn arithmetic(operator: &str, one: &Value, other: &Value) -> Option<Value> {
    match (operator, one, other) {
        ("+", Value::Int(one), Value::Int(other)) => one.checked_add(*other).map(Value::Int),
        ("-", Value::Int(one), Value::Int(other)) => one.checked_sub(*other).map(Value::Int),
        ("*", Value::Int(one), Value::Int(other)) => one.checked_mul(*other).map(Value::Int),
        ("/", Value::Int(one), Value::Int(other)) => one.checked_div(*other).map(Value::Int),
        ("%", Value::Int(one), Value::Int(other)) => one.checked_rem(*other).map(Value::Int),
        ("+", Value::Float(one), Value::Float(other)) => Some(Value::Float(one + other)),
        ("-", Value::Float(one), Value::Float(other)) => Some(Value::Float(one - other)),
        ("*", Value::Float(one), Value::Float(other)) => Some(Value::Float(one * other)),
        ("/", Value::Float(one), Value::Float(other)) => Some(Value::Float(one / other)),
        ("+", Value::Text(one), Value::Text(other)) => Some(Value::Text(format!("{one}{other}"))),
        _ => None,
    }
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-3..4_i64).prop_map(Value::Int),
        prop::sample::select(vec![i64::MAX, i64::MIN + 1]).prop_map(Value::Int),
        prop::sample::select(vec![-1.5, 0.0, 1.0, 2.0, 3.5]).prop_map(Value::Float),
        "[ab]{0,2}".prop_map(Value::Text),
    ]
}

fn parts() -> impl Strategy<Value = Part> {
    let leaf = prop_oneof![
        (0..NAMES.len()).prop_map(Part::Field),
        values().prop_map(Part::Literal),
    ];
    leaf.prop_recursive(4, 24, 3, |part| {
        const OPERATORS: [&str; 11] = ["&&", "||", "==", "!=", "<", ">=", "+", "-", "*", "/", "%"];
        let two = (part.clone(), part.clone());
        let three = (part.clone(), part.clone(), part.clone());
        prop_oneof![
            part.clone().prop_map(|it| Part::Not(Box::new(it))),
            (prop::sample::select(OPERATORS.to_vec()), two)
                .prop_map(|(operator, two)| Part::Two(operator, Box::new(two))),
            three.prop_map(|three| Part::Choice(Box::new(three))),
            (part.clone(), prop::collection::vec(part, 0..3))
                .prop_map(|(it, list)| Part::In(Box::new(it), list)),
        ]
    })
}

struct Event<'e>(&'e [Value]);

impl Values for Event<'_> {
    fn value(&self, place: usize) -> Given<'_> {
        match &self.0[place] {
            Value::Null => Given::Null,
            Value::Bool(truth) => Given::Bool(*truth),
            Value::Int(number) => Given::Int(*number),
            Value::Float(number) => Given::Float(*number),
            Value::Text(text) => Given::Text(text),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn does_every_expression_mean_what_the_rules_say(
        part in parts(),
        event in prop::collection::vec(values(), NAMES.len()),
    ) {
        let text = part.text();
        let fields = NAMES.map(|name| (name, FieldType::Text));
        let expected = part.value(&event);
        let event = Event(&event);
        let truth = Expression::compile(&text, &fields, Wanted::Truth).unwrap();
        let held = match &expected {
            Some(Value::Bool(truth)) => Some(*truth),
            _ => None,
        };
        prop_assert_eq!(truth.holds(&event).ok(), held, "{}", text);
        let number = Expression::compile(&text, &fields, Wanted::Number).unwrap();
        let given = match &expected {
            Some(Value::Null) => Some(None),
            Some(Value::Bool(truth)) => Some(Some(f64::from(u8::from(*truth)))),
            Some(Value::Int(number)) => Some(Some(*number as f64)),
            Some(Value::Float(number)) => Some(Some(*number).filter(|it| it.is_finite())),
            Some(Value::Text(_)) | None => None,
        };
        prop_assert_eq!(number.number(&event).ok(), given, "{}", text);
    }
}
