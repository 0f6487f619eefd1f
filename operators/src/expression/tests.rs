//! What do expressions mean, what is refused, and where is it said to be?

mod race;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cel::{ExecutionError, Value};

use crate::event::FieldType;
use crate::expression::reading::{Fault, Mistake};
use crate::expression::values::{Given, Values};
use crate::expression::{DEPTH_MAX, Expression, TEXT_BYTES_MAX, Wanted, failure, functions};

/// The fields of all tests.
const FIELDS: [(&str, FieldType); 8] = [
    ("kind", FieldType::Text),
    ("amount", FieldType::Float),
    ("count", FieldType::Int),
    ("paid", FieldType::Bool),
    ("gone", FieldType::Float),
    ("a.b", FieldType::Int),
    ("tags", FieldType::Texts),
    ("a.list", FieldType::Floats),
];

/// What they are in all tests.
const EVENT: [Given<'static>; 8] = [
    Given::Text("vieẅ"),
    Given::Float(12.5),
    Given::Int(3),
    Given::Bool(true),
    Given::Null,
    Given::Int(7),
    Given::List(b"[\"x\",\"y\"]"),
    Given::List(b"[1,2.5]"),
];

struct Event([Given<'static>; 8]);

impl Values for Event {
    fn value(&self, place: usize) -> Given<'_> {
        self.0[place]
    }
}

fn compiled(text: &str, wanted: Wanted) -> Result<Expression, Mistake> {
    Expression::compile(text, &FIELDS, wanted)
}

fn holds(text: &str) -> Result<bool, String> {
    let expression = compiled(text, Wanted::Truth).unwrap();
    let held = expression.holds(&Event(EVENT));
    held.map_err(|failure| failure.to_string())
}

#[test]
fn what_holds_of_an_event() {
    let check = |text: &str, expected: bool| assert_eq!(holds(text), Ok(expected), "{text}");
    check("amount > 10.0 && kind != \"x\"", true);
    // Whole numbers and others are compared.
    check("amount > 10", true);
    check("amount == 12.5 && count < 3.5 && count == 3.0", true);
    check("kind in ['x', 'vieẅ']", true);
    check("count in [1, 2, 3.0]", true);
    check(
        "kind.startsWith('vi') && size(kind) == 4 && kind.size() == 4",
        true,
    );
    check("kind.matches('^v.*ẅ$') && !matches(kind, '^[0-9]+$')", true);
    check("paid ? amount > 100.0 : amount > 1.0", false);
    check("gone == null && amount != null && null == gone", true);
    check("gone == 1.0 || gone != 1.0", true);
    // What is not needed cannot fail.
    check("gone == null || gone > 1.0", true);
    check("gone != null && gone > 1.0", false);
    check("gone > 1.0 || paid", true);
    check("paid || gone > 1.0", true);
    check(
        "[1, 2, 3].exists(x, x == count) && [1, 2].all(x, x < count)",
        true,
    );
    check(
        "[1, 2, 3].filter(x, x > 1).size() == 2 && size([1].map(x, x + 1)) == 1",
        true,
    );
    check("[1, 2, 2].exists_one(x, x == 1)", true);
    check(
        "{'vieẅ': 1, 'buy': 5}[kind] == 1 && kind in {'vieẅ': 1}",
        true,
    );
    check("has({'x': 1}.x) && !has({'x': 1}.y)", true);
    check("a.b == 7 && type(a.b) == int && type(kind) == string", true);
    check(
        "double(count) / 2.0 == 1.5 && int(amount) == 12 && string(count) == '3'",
        true,
    );
    check("count % 2 == 1 && -count == -3 && count / 2 == 1", true);
    check(
        "dyn(kind) == 'vieẅ' && bool('true') && uint(3) == 3u && bytes('a') == b'a'",
        true,
    );
    check(
        "tags.exists(t, t == 'x') && 'y' in tags && a.list.all(x, x < 3.0)",
        true,
    );
    check(
        "(tags + ['z']).all(t, t != kind) && size(a.list.filter(x, x > 2.0)) == 1",
        true,
    );
    // The variable of a macro hides a field, also a list.
    check("[1].all(tags, tags == 1) && size(tags) == 2", true);
    check("[1].all(count, count == 1) && count == 3", true);
}

#[test]
fn what_an_event_makes_impossible_is_said() {
    let check =
        |text: &str, expected: &str| assert_eq!(holds(text), Err(expected.into()), "{text}");
    check("gone > 1.0", "`>` does not take null and a float");
    check("gone + 1.0 > 1.0", "`+` does not take null and a float");
    check("amount * gone > 1.0", "`*` does not take a float and null");
    check("-gone > 1.0", "`-` does not take null");
    check("!dyn(gone)", "`!` does not take null");
    check("gone > 1.0 && paid", "`>` does not take null and a float");
    check("count / (count - 3) == 1", "division by zero");
    check("count % (count - 3) == 1", "division by zero");
    check(
        "count + 9223372036854775807 > 1",
        "`+` gives no 64-bit whole number",
    );
    check("{'x': 1}[kind] == 1", "there is no such key");
    check("[1][count] == 1", "there is no element at that place");
    check(
        "dyn(kind).x == 1",
        "`.` does not take a string and a string",
    );
    check("{dyn(tags): 1}[1] == 1", "a list cannot be a key of a map");
    check(
        "{kind: 1, dyn(kind): 2}[kind] == 1",
        "a map has a key twice",
    );
    check(
        "dyn(tags)[kind] == 1",
        "`[]` does not take a list and a string",
    );
    check(
        "dyn(kind)[0] == 1",
        "`[]` does not take a string and an int",
    );
    check(
        "dyn(count).startsWith('x')",
        "`startsWith` does not take an int and a string",
    );
    check(
        "dyn(amount).matches('x')",
        "a function was given another kind of value than it takes",
    );
    check("size(dyn(count)) == 1", "`size` does not take an int");
    check(
        "dyn(kind) < dyn(tags)",
        "`<` does not take a string and a list",
    );
    check("dyn(count)", "it must give true or false, it gives an int");
    check(
        "dyn(count) ? true : false",
        "found an int where a bool is needed",
    );
    check(
        "int(kind) == 1",
        "Error executing function 'int': string parse error: invalid digit found in string",
    );
}

#[test]
fn what_number_an_expression_gives() {
    let check = |text: &str, expected: Result<Option<f64>, &str>| {
        let found = compiled(text, Wanted::Number)
            .unwrap()
            .number(&Event(EVENT));
        let found = found.map_err(|failure| failure.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    };
    check("amount * 2.0", Ok(Some(25.0)));
    check("count + 1", Ok(Some(4.0)));
    check("size(kind)", Ok(Some(4.0)));
    check("uint(3) + 1u", Ok(Some(4.0)));
    check("paid", Ok(Some(1.0)));
    check("gone", Ok(None));
    check("paid ? null : 1.0", Ok(None));
    check("(amount - amount) / 0.0", Ok(None));
    check("amount / 0.0", Ok(None));
    check("gone * 2.0", Err("`*` does not take null and a float"));
    check("dyn(kind)", Err("it must give a number, it gives a string"));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one case after the other")]
fn what_is_wrong_with_a_text_and_where() {
    let check = |text: &str, at: usize, expected: &str| {
        let mistake = compiled(text, Wanted::Truth).unwrap_err();
        assert_eq!(mistake, Mistake::other(at, expected), "{text}");
    };
    check("amount >", 8, "the expression ends too early");
    check("", 0, "the expression ends too early");
    check("kind == 'ẅ' + ) 3", 16, "unexpected `)`");
    check("paid paid", 5, "unexpected `paid`");
    check("paid && #", 8, "unexpected `#`");
    check("ẅ == 1", 0, "unexpected `ẅ`");
    check("kind == 'abc", 8, "a string is not closed");
    check("size(kind == 1", 14, "`)` is missing");
    check("paid ? true", 11, "the expression ends too early");
    check("count == 99999999999999999999", 9, "invalid int literal");
    check("paid\n && )", 9, "unexpected `)`");
    check("paid && \0", 8, "unexpected '\\0'");
    check(
        "has(kind)",
        4,
        "has() is for keys of a map; of a field write `x != null`",
    );
    check("kind > 1", 5, "`>` does not compare a string with an int");
    check("kind == 1", 5, "a string never equals an int");
    check("paid && kind", 5, "`&&` takes true or false, not a string");
    check("!count", 0, "`!` takes true or false, not an int");
    check(
        "count ? true : false",
        6,
        "`? :` takes true or false, not an int",
    );
    check(
        "amount * 2 > 1.0",
        7,
        "`*` takes two numbers of one kind, here a float and an int: write 2.0 instead of 2, or double(x)",
    );
    check(
        "kind - kind == ''",
        5,
        "`-` does not take a string and a string",
    );
    check(
        "amount % 2.0 == 0.0",
        7,
        "`%` does not take a float and a float",
    );
    check("-kind == ''", 0, "`-` does not take a string");
    check(
        "kind in 'abc'",
        5,
        "`in` looks into a list or a map, not into a string",
    );
    check(
        "kind[0] == 'v'",
        4,
        "`[]` takes something from a list or a map, not from a string",
    );
    check("kind.size == 1", 4, "there is no `size` in a string");
    check(
        "count.startsWith('a')",
        6,
        "`startsWith` does not take an int",
    );
    check(
        "startsWith(kind, 'a')",
        0,
        "`startsWith` is not called like this, write x.startsWith(y)",
    );
    check(
        "size(kind, kind) == 1",
        0,
        "`size` is not called like this, write x.size()",
    );
    check(
        "int(kind, 1) == 1",
        0,
        "`int` is not called like this, write int(x)",
    );
    check(
        "kind.matches(kind)",
        13,
        "the pattern of `matches` must be written out, so that it is compiled once",
    );
    check(
        "kind.matches('(')",
        13,
        "not a regular expression: unclosed group",
    );
    check(
        "kind.all(x, x == 1)",
        8,
        "a macro goes over a list, not over a string",
    );
    check(
        "[1].all(x, [x].all(y, y == 1))",
        18,
        "a macro over a list cannot stand within another: its time would be the product of both lengths",
    );
    check(
        "[1].map(x, x).all(y, y == 1)",
        7,
        "a macro over a list cannot stand within another: its time would be the product of both lengths",
    );
    check(
        "{'x': 1, 'y': 0}.map(k, k)[0] == 'x'",
        20,
        "a macro goes over a list, not over a map",
    );
    let of_unknown = "a macro goes over a list, not over any value";
    check("dyn(tags).all(t, t == 'x')", 13, of_unknown);
    check("{'x': [1]}['x'].all(x, x == 1)", 19, of_unknown);
    let of_each = |name: &str| {
        format!(
            "the list `{name}` cannot be used for each element of a list: its time would be the product of both lengths"
        )
    };
    check("tags.all(t, t in tags)", 17, &of_each("tags"));
    check("tags.exists(t, t == tags[0])", 20, &of_each("tags"));
    check("a.list.map(x, size(a.list)) == [2]", 20, &of_each("a.list"));
    check("[1].all(x, 'a' in tags) || paid", 18, &of_each("tags"));
    check(
        "pkg.Thing{a: 1} == null",
        9,
        "there is no type `pkg.Thing` to make a value of",
    );
    check(
        "count",
        0,
        "the expression must give true or false, it gives an int",
    );
    check(
        "{'a': 1}",
        0,
        "the expression must give true or false, it gives a map",
    );
    let mistake = compiled("kind", Wanted::Number).unwrap_err();
    let expected = "the expression must give a number, it gives a string";
    assert_eq!(mistake, Mistake::other(0, expected));
}

#[test]
fn which_names_and_functions_are_unknown() {
    let check = |text: &str, at: usize, expected: Fault| {
        let mistake = compiled(text, Wanted::Truth).unwrap_err();
        assert_eq!(
            mistake,
            Mistake {
                at,
                fault: expected
            },
            "{text}"
        );
    };
    let name = |name: &str| Fault::UnknownName(name.to_owned());
    let function = |name: &str| Fault::UnknownFunction(name.to_owned());
    check("paid && amont > 1.0", 8, name("amont"));
    check("paid && .amount > 1.0", 9, name(".amount"));
    check("[1].all(x, x > 0) && x", 21, name("x"));
    check("paid && lenght (kind) > 1", 8, function("lenght"));
    check("kind.len() > 1", 5, function("len"));
    check("timestamp(kind) == null", 0, function("timestamp"));
}

#[test]
fn does_every_function_exist() {
    let examples = [
        ("size", "size(kind) == 4"),
        ("contains", "kind.contains('v')"),
        ("startsWith", "kind.startsWith('v')"),
        ("endsWith", "kind.endsWith('ẅ')"),
        ("matches", "kind.matches('v')"),
        ("int", "int(3.0) == int('3')"),
        ("uint", "uint(3) == uint('3')"),
        ("double", "double(3) == double('3')"),
        ("string", "string(true) == 'true'"),
        ("bool", "bool('true')"),
        ("bytes", "bytes('a') == b'a'"),
        ("dyn", "dyn(true)"),
        ("type", "type(1) == int"),
        ("has", "has({'a': 1}.a)"),
        ("all", "[true].all(x, x)"),
        ("exists", "[true].exists(x, x)"),
        ("exists_one", "[true].exists_one(x, x)"),
        ("map", "[1].map(x, x) == [1]"),
        ("filter", "[true].filter(x, x) == [true]"),
    ];
    let described: Vec<&str> = examples.iter().map(|(name, _)| *name).collect();
    assert_eq!(functions().collect::<Vec<_>>(), described);
    for (_, text) in examples {
        assert_eq!(holds(text), Ok(true), "{text}");
    }
}

#[test]
fn which_fields_does_an_expression_use() {
    let expression = compiled("paid && kind == 'x' && paid && a.b > 1", Wanted::Truth).unwrap();
    assert_eq!(expression.uses().collect::<Vec<_>>(), [3, 0, 5]);
}

/// Whatever is long or deep is refused, or evaluated in a thread with as little stack as a test has.
#[test]
fn how_long_and_how_deep_may_an_expression_be() {
    let start = Instant::now();
    let check = |text: String, is_fine: bool| {
        let shown: String = text.chars().take(30).collect();
        match compiled(&text, Wanted::Truth) {
            Ok(expression) => {
                assert!(is_fine, "{shown}");
                assert_eq!(expression.holds(&Event(EVENT)), Ok(true), "{shown}");
            }
            Err(mistake) => assert!(!is_fine, "{shown}: {mistake}"),
        }
    };
    for (depth, is_fine) in [
        (DEPTH_MAX / 2, true),
        (DEPTH_MAX * 2, false),
        (700, false),
        (2_000, false),
    ] {
        check(
            format!("{}1 == 1{}", "(".repeat(depth), ")".repeat(depth)),
            is_fine,
        );
        check(
            format!("{}1{} != [2]", "[".repeat(depth), "]".repeat(depth)),
            is_fine,
        );
        check(
            format!("count{} > 2", " + 1".repeat(depth.min(1_000))),
            is_fine,
        );
        check(
            format!("{}true", "false ? false : ".repeat(depth.min(200))),
            is_fine,
        );
    }
    // These are balanced, whatever their number.
    check(format!("paid{}", " && paid".repeat(500)), true);
    check(format!("{}paid", "!!".repeat(2_000)), true);
    check(
        format!("kind == 'vieẅ'{}", " ".repeat(TEXT_BYTES_MAX)),
        false,
    );
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "{:?}",
        start.elapsed()
    );
}

/// A dead letter has the event anyway, and whoever reads logs need not.
#[test]
fn does_a_failure_repeat_no_value() {
    let value = || Value::String(Arc::new("canary".to_owned()));
    let name = || "canary".to_owned();
    let failures = [
        ExecutionError::UnsupportedTargetType { target: value() },
        ExecutionError::NotSupportedAsMethod {
            method: "size".to_owned(),
            target: value(),
        },
        ExecutionError::UnsupportedKeyType(value()),
        ExecutionError::UnexpectedType {
            got: name(),
            want: "string".to_owned(),
        },
        ExecutionError::NoSuchKey(Arc::new(name())),
        ExecutionError::ValuesNotComparable(value(), value()),
        ExecutionError::UnsupportedBinaryOperator("add", value(), value()),
        ExecutionError::UnsupportedIndex(value(), value()),
        ExecutionError::DivisionByZero(value()),
        ExecutionError::RemainderByZero(value()),
        ExecutionError::Overflow("add", value(), value()),
        ExecutionError::IndexOutOfBounds(value()),
        ExecutionError::DuplicateKey(value()),
        ExecutionError::InternalError(name()),
    ];
    for error in failures {
        let said = failure(&error).to_string();
        assert!(!said.contains("canary"), "{said}");
    }
}
