//! What a file may say of an event's fields, key and time, and exactly what is said of mistakes.

use slackwater_operators::check::Pattern;
use slackwater_operators::event::{DefaultValue, TimeUnit};

use crate::pipeline::spec::{FieldKind, FieldSpec, Pipeline, Rule, TimeSpec};
use crate::pipeline::tests::bad::{Bad, bad};
use crate::pipeline::tests::{SMALL, have_mistakes};

/// What stands for the field `price` of the small pipeline.
const PRICE: &str = "type = \"float\"\nrequired = false";

const KEY: &str = "key = [\"user\"]";
const TIME: &str = "time = { field = \"at\", unit = \"ms\" }";
const FROM_FILE: &str = "kind = \"file\"\npath = \"in.jsonl\"";

#[rustfmt::skip] // One case a paragraph reads as a table.
const BAD: &[Bad] = &[
    // Where a field lies.
    bad(PRICE, "type = \"float\"\npath = \"a..b\"", &[
        "23:8: `path`: expected keys with dots between them, as in \"a.b.c\", got \"a..b\"",
    ]),
    bad(PRICE, "type = \"float\"\npath = \".a\"", &[
        "23:8: `path`: expected keys with dots between them, as in \"a.b.c\", got \".a\"",
    ]),
    bad(PRICE, "type = \"float\"\npath = [\"a\"]", &[
        "23:8: `path`: expected a string, got a list",
    ]),
    bad(PRICE, "type = \"float\"\npath = \"at\"", &[
        "23:8: field \"at\" lies at \"at\" already",
    ]),
    bad(PRICE, "type = \"float\"\npath = \"user.price\"", &[
        "23:8: field \"user\" lies at \"user\": of two fields neither can be an object that holds the other",
    ]),
    bad(PRICE, "type = \"float\"\npath = \"a.b\"\n[[event.field]]\nname = \"a\"\ntype = \"int\"", &[
        "25:8: field \"price\" lies at \"a.b\": of two fields neither can be an object that holds the other",
    ]),
    bad(PRICE, "type = \"float\"\npath = \"a.b\"\n[[event.field]]\nname = \"c\"\ntype = \"int\"\npath = \"a.b\"", &[
        "27:8: field \"price\" lies at \"a.b\" already",
    ]),
    bad("required = false", "path = \"a.b.c\"\n[event.more]", &[
        "24:8: unknown key `more` in [event], known are `format`, `key`, `time`, `max_out_of_orderness`, `max_drift`, \
         `idle_timeout`, `max_ahead`, `late`, `max_bytes`, `max_depth`, `field`",
    ]),
    // What it is when it is not there.
    bad(PRICE, "type = \"float\"\nrequired = true\ndefault = 1.5", &[
        "23:12: `required`: a field with a `default` is never missing: leave one of them out",
    ]),
    bad(PRICE, "type = \"int\"\ndefault = 1.5", &[
        "23:11: `default`: the field is of type int, got 1.5",
    ]),
    bad(PRICE, "type = \"string\"\ndefault = [\"a\"]", &[
        "23:11: `default`: the field is of type string, got a list",
    ]),
    bad(PRICE, "type = \"list<string>\"\ndefault = [\"a\", 2]", &[
        "23:17: `default`: the field is of type list<string>, got 2",
    ]),
    bad(PRICE, "type = \"list<float>\"\ndefault = 2", &[
        "23:11: `default`: the field is of type list<float>, got 2",
    ]),
    bad(PRICE, "type = \"float\"\ndefault = 2026-01-01", &[
        "23:11: `default`: expected a string, a number or a boolean, got a date",
    ]),
    bad(PRICE, "type = \"float\"\ndefault = nan", &[
        "23:11: `default`: expected a string, a number or a boolean, got nan",
    ]),
    // The key.
    bad("key = [\"user\"]", "key = [\"user\", \"price\"]", &[
        "9:16: key field \"price\" must be a string or an int, it is a float",
    ]),
    // The time.
    bad(TIME, "time = { field = \"at\", unit = \"rfc3339\" }", &[
        "10:18: time field \"at\" must be a string with unit = \"rfc3339\"",
    ]),
    bad(TIME, "time = { field = \"price\", unit = \"ns\" }", &[
        "10:18: time field \"price\" must be an int",
    ]),
    bad(TIME, "time = { field = \"at\", unit = \"m\" }", &[
        "10:31: `unit`: unknown value \"m\", did you mean \"ms\"?",
    ]),
    bad(TIME, "time = \"recrod\"", &[
        "10:8: `time`: expected a table or \"record\", got \"recrod\"",
    ]),
    bad("name = \"at\"\ntype = \"int\"", "name = \"at\"\ntype = \"int\"\ndefault = 0", &[
        "10:18: time field \"at\" must be required",
    ]),
    bad("kind = \"file\"\npath = \"in.jsonl\"\n\n[event]\nkey = [\"user\"]\ntime = { field = \"at\", unit = \"ms\" }",
        "kind = \"generator\"\n[event]\nkey = [\"user\"]\ntime = \"record\"", &[
        "8:8: `time`: \"record\" is the timestamp that Kafka has of a record, what the generator makes has none: name the field \
         that says the time, { field = \"...\", unit = \"ms\" }",
    ]),
    // What is not made of lists.
    bad(PRICE, "type = \"list<float>\"\n[[check]]\nfield = \"price\"\nrule = \"min\"\nvalue = 1", &[
        "25:8: rule \"min\" is for ints and floats, the field is a list<float>",
    ]),
    bad(PRICE, "type = \"list<string>\"\n[[check]]\nfield = \"price\"\nrule = \"one_of\"\nvalues = [\"a\"]", &[
        "25:8: rule \"one_of\" is for single values, price is of type list<string>",
    ]),
    bad(PRICE, "type = \"list<string>\"\n[[check]]\nfield = \"price\"\nrule = \"matches\"\npattern = \"a\"", &[
        "25:8: rule \"matches\" is for strings, price is of type list<string>",
    ]),
    bad("type = \"float\"\nrequired = false\n\n[history]\nevents = 5\nttl = \"1h\"\nfields = [\"user\"]",
        "type = \"list<float>\"\n[history]\nevents = 5\nttl = \"1h\"\nfields = [\"user\", \"price\"]", &[
        "26:19: field \"price\" is a list<float>, and a history keeps single values only",
    ]),
    bad("type = \"float\"\nrequired = false\n\n[history]\nevents = 5\nttl = \"1h\"\nfields = [\"user\"]\n\n[[feature]]\nname = \"seen\"\nof = \"count\"",
        "type = \"list<string>\"\n[history]\nevents = 5\nttl = \"1h\"\n[[feature]]\nname = \"a\"\nof = \"count\"\nwhere = { price = \"x\" }\n\
         [[feature]]\nname = \"b\"\nof = \"hash\"\nfield = \"price\"\nbuckets = 2\n[[feature]]\nname = \"c\"\nof = \"distinct\"\nfield = \"price\"", &[
        "29:19: the field is of type list<string>, got \"x\"",
        "33:9: of = \"hash\" needs a field of type string, \"price\" is of type list<string>",
        "38:9: field \"price\" is a list<string>, and a window has single values only",
    ]),
    bad("type = \"float\"", "type = \"list<float>\"\n[[lookup]]\nname = \"p\"\nstore = \"redis\"\nurl = \"redis://r\"\nkey = \"p:{price}\"\nread = \"string\"\n\
         fields = [{ name = \"n\", type = \"float\" }]\n[x]", &[
        "27:7: `key`: field \"price\" is of type list<float>, which has more than one way to be written",
        "30:2: unknown table [x], known are [job], [source], [event], [[check]], [[filter]], [history], [[feature]], [[lookup]], [model], \
         [sink], [dead_letter], [mirror], [checkpoint], [restart]",
    ]),
    // Patterns.
    bad("", "[[check]]\nfield = \"user\"\nrule = \"matches\"\n[[check]]\nfield = \"at\"\nrule = \"matches\"\npattern = \"a\"\n", &[
        "39:1: [[check]] needs `pattern` with rule = \"matches\"",
        "44:8: rule \"matches\" is for strings, at is of type int",
    ]),
    bad("", "[[check]]\nfield = \"user\"\nrule = \"matches\"\npattern = \"(a\"\n[[check]]\nfield = \"user\"\nrule = \"matches\"\npattern = '\\pL{1000}'\n", &[
        "42:11: `pattern`: \"(a\" is no regular expression: unclosed group",
        "46:11: `pattern`: \"\\\\pL{1000}\" takes more than 1024 KiB when it is compiled: repeat less, or leave classes of Unicode such as `\\w` out",
    ]),
    bad("", "[[check]]\nfield = \"user\"\nrule = \"not_empty\"\npattern = \"a\"\n", &[
        "42:1: `pattern` does not go with rule = \"not_empty\", only with \"matches\"",
    ]),
];

#[test]
fn which_mistakes_can_be_made_about_events() {
    have_mistakes(BAD);
}

#[test]
fn is_a_key_of_truth_values_or_lists_refused() {
    for kind in ["bool", "list<float>", "list<string>"] {
        let text = SMALL.replace(KEY, "key = [\"user\", \"price\"]");
        let text = text.replace(PRICE, &format!("type = \"{kind}\""));
        let expected =
            format!("9:16: key field \"price\" must be a string or an int, it is a {kind}");
        assert_eq!(super::mistakes(&text), [expected]);
    }
}

#[test]
fn is_a_path_deeper_than_records_may_be_a_mistake() {
    let text = SMALL.replace(KEY, "key = [\"user\"]\nmax_depth = 2");
    let at = |path: &str| text.replace(PRICE, &format!("type = \"float\"\npath = \"{path}\""));
    assert!(Pipeline::parse("x.toml", &at("a.b")).is_ok());
    let expected = "24:8: `path`: lies deeper than max_depth, which is 2";
    assert_eq!(super::mistakes(&at("a.b.c")), [expected]);
}

/// The small pipeline with this in the place of its third field's type.
fn price(lines: &str) -> FieldSpec {
    let p = Pipeline::parse("x.toml", &SMALL.replace(PRICE, lines)).unwrap();
    p.event.fields[2].clone()
}

#[test]
fn what_is_a_field_when_it_is_not_there() {
    let check = |lines: &str, required: bool, default: Option<DefaultValue>| {
        let field = price(lines);
        assert_eq!(
            (field.required, field.default),
            (required, default),
            "{lines}"
        );
    };
    check("type = 'float'", true, None);
    check("type = 'float'\nrequired = false", false, None);
    check(
        "type = 'float'\ndefault = 2",
        false,
        Some(DefaultValue::Float(2.0)),
    );
    let empty = DefaultValue::Text(String::new());
    check(
        "type = 'string'\nrequired = false\ndefault = ''",
        false,
        Some(empty),
    );
    check(
        "type = 'int'\ndefault = -7",
        false,
        Some(DefaultValue::Int(-7)),
    );
    check(
        "type = 'bool'\ndefault = true",
        false,
        Some(DefaultValue::Bool(true)),
    );
    let list = |text: &str| Some(DefaultValue::List(text.to_owned()));
    check(
        "type = 'list<float>'\ndefault = [1, 2.5]",
        false,
        list("[1.0,2.5]"),
    );
    check("type = 'list<string>'\ndefault = []", false, list("[]"));
    check(
        "type = 'list<string>'\ndefault = ['a\"b', '']",
        false,
        list(r#"["a\"b",""]"#),
    );
}

#[test]
fn where_does_a_field_lie() {
    let check = |lines: &str, path: &[&str]| {
        assert_eq!(
            price(&format!("type = 'float'\n{lines}")).path,
            path,
            "{lines}"
        );
    };
    check("", &["price"]);
    check("path = 'cost'", &["cost"]);
    check("path = 'offer.price.net'", &["offer", "price", "net"]);
    // A name is one key, whatever stands in it.
    let text = SMALL.replace("name = \"price\"", "name = \"price.net\"");
    let p = Pipeline::parse("x.toml", &text).unwrap();
    assert_eq!(p.event.fields[2].path, ["price.net"]);
}

#[test]
fn can_a_key_field_have_a_default() {
    let text = SMALL.replace(KEY, "key = [\"user\", \"price\"]");
    let text = text.replace(PRICE, "type = \"int\"\ndefault = 0");
    let p = Pipeline::parse("x.toml", &text).unwrap();
    assert_eq!(p.event.key, [0, 2]);
    let text = text.replace("default = 0", "required = false");
    let expected = "9:16: key field \"price\" must be required, or have a default";
    assert_eq!(super::mistakes(&text), [expected]);
}

#[test]
fn where_does_the_event_time_come_from() {
    let check = |time: &str, kind: &str, expected: TimeSpec| {
        let text = SMALL.replace(TIME, time);
        let text = text.replace("type = \"int\"", &format!("type = \"{kind}\""));
        let kafka = "kind = \"kafka\"\nbrokers = \"b:9092\"\ntopic = \"t\"";
        let p = Pipeline::parse("x.toml", &text.replace(FROM_FILE, kafka)).unwrap();
        assert_eq!(p.event.time, expected, "{time}");
    };
    let field = |unit| TimeSpec::Field { field: 1, unit };
    check(
        "time = { field = 'at', unit = 's' }",
        "int",
        field(TimeUnit::Seconds),
    );
    check(
        "time = { field = 'at', unit = 'ms' }",
        "int",
        field(TimeUnit::Milliseconds),
    );
    check(
        "time = { field = 'at', unit = 'us' }",
        "int",
        field(TimeUnit::Microseconds),
    );
    check(
        "time = { field = 'at', unit = 'ns' }",
        "int",
        field(TimeUnit::Nanoseconds),
    );
    check(
        "time = { field = 'at', unit = 'rfc3339' }",
        "string",
        field(TimeUnit::Rfc3339),
    );
    check("time = 'record'", "int", TimeSpec::Record);
}

#[test]
fn which_rules_are_there_for_lists_and_patterns() {
    let check = |kind: &str, lines: &str, rule: Rule, message: &str| {
        let text = SMALL.replace(PRICE, &format!("type = \"{kind}\""));
        let text = format!("{text}[[check]]\nfield = 'price'\n{lines}\n");
        let p = Pipeline::parse("x.toml", &text).unwrap();
        let found = (&p.checks[0].rule, p.checks[0].message.as_str());
        assert_eq!(found, (&rule, message), "{lines}");
    };
    let (floats, string) = ("list<float>", "string");
    check(
        floats,
        "rule = 'not_empty'",
        Rule::NotEmpty,
        "price cannot be empty",
    );
    let most = "rule = 'max_length'\nvalue = 3";
    check(
        floats,
        most,
        Rule::MaxLength(3),
        "price must have at most 3 elements",
    );
    let digits = Rule::Matches(Pattern::new("^[0-9]+$").unwrap());
    let pattern = "rule = 'matches'\npattern = '^[0-9]+$'";
    check(string, pattern, digits, "price must match ^[0-9]+$");
    assert_eq!(FieldKind::Floats, price("type = 'list<float>'").kind);
    assert_eq!(FieldKind::Strings, price("type = 'list<string>'").kind);
}
