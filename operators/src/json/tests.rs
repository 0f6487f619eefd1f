//! Does the scanner find exactly the right values, and refuse a bad record for the right reason at
//! the right byte?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use crate::json::race::race;
use crate::json::{Malformed, Scanner, Schema, Value, parse_f64, parse_i64, unescape};

/// Few levels, so that the rows about depth stay readable.
const MAX_DEPTH: u32 = 4;

/// The values of the fields `a` and `user_id` as "KIND at BYTE: SPAN; ...", or the fault.
fn outcome(record: &[u8], max_depth: u32) -> String {
    let mut values = [Value::True; 2];
    let mut scanner = Scanner::new(Schema::new(&["a", "user_id"]));
    match scanner.scan(record, max_depth, &mut values) {
        Ok(()) => values.map(|value| describe(record, value)).join("; "),
        Err(Malformed::NotUtf8 { at }) => format!("not UTF-8 at {at}"),
        Err(Malformed::TooDeep { at }) => format!("too deep at {at}"),
        Err(Malformed::NotJson { reason, at }) => format!("{reason} at {at}"),
        Err(Malformed::NotObject { kind }) => format!("a JSON {kind}"),
    }
}

fn describe(record: &[u8], value: Value) -> String {
    let span = str::from_utf8(value.span(record).unwrap_or_default()).unwrap();
    match value {
        Value::Missing => "-".to_owned(),
        Value::Blocked => "blocked".to_owned(),
        Value::Null => "null".to_owned(),
        Value::True => "true".to_owned(),
        Value::False => "false".to_owned(),
        Value::Number {
            start,
            integer: true,
            ..
        } => format!("integer at {start}: {span}"),
        Value::Number {
            start,
            integer: false,
            ..
        } => format!("number at {start}: {span}"),
        Value::Text {
            start,
            escaped: false,
            ..
        } => format!("text at {start}: {span}"),
        Value::Text {
            start,
            escaped: true,
            ..
        } => format!("escaped at {start}: {span}"),
        Value::Composite { start, .. } => format!("composite at {start}: {span}"),
    }
}

/// The outcome of a record where `MAX_DEPTH` levels are allowed.
fn check(record: impl AsRef<[u8]>, expected: &str) {
    let record = record.as_ref();
    let text = String::from_utf8_lossy(record);
    assert_eq!(outcome(record, MAX_DEPTH), expected, "{text}");
}

#[test]
fn which_values_does_a_record_hold() {
    check("{}", "-; -");
    check(" \t\r\n{ \t\r\n} \t\r\n", "-; -");
    check(r#"{"a":1}"#, "integer at 5: 1; -");
    check(r#"{"a":null,"user_id":true}"#, "null; true");
    check(r#"{"a":false,"user_id":null}"#, "false; null");
    check(r#"{"a":"","user_id":"u"}"#, "text at 6: ; text at 19: u");
    check(r#"{"user_id":"u","a":"x"}"#, "text at 20: x; text at 12: u");
    check(
        r#"{ "a" : 1 , "user_id" : 2 }"#,
        "integer at 8: 1; integer at 24: 2",
    );
    check(
        r#"{"a": 1, "user_id": 2}"#,
        "integer at 6: 1; integer at 20: 2",
    );
    check("{\n\t\"a\":\r\n1\n}\n", "integer at 9: 1; -");
    check(r#"{"b":1,"a":2}"#, "integer at 11: 2; -");
    check(r#"{"aa":1,"":2,"A":3,"user_i":4,"user_idd":5}"#, "-; -");
    // Only the outermost object's keys count.
    check(r#"{"x":{"a":1},"y":[{"a":2}]}"#, "-; -");
    check(
        r#"{"x":{"a":1},"a":{"a":3}}"#,
        "composite at 17: {\"a\":3}; -",
    );
    // Of equal keys the last wins, whatever it holds.
    check(r#"{"a":1,"a":"2"}"#, "text at 12: 2; -");
    check(r#"{"a":1,"user_id":5,"a":null}"#, "null; integer at 17: 5");
    check(r#"{"a":1,"\u0061":2}"#, "integer at 16: 2; -");
    // Keys with escapes.
    check(r#"{"user\u005fid":7}"#, "-; integer at 16: 7");
    check(r#"{"user\u005Fid":7}"#, "-; integer at 16: 7");
    check(r#"{"\u0075\u0073er_id":7,"a\n":1}"#, "-; integer at 21: 7");
    check(r#"{"a\\":1,"\"a":2}"#, "-; -");
}

#[test]
fn where_do_numbers_texts_and_composites_lie() {
    // Numbers.
    check(
        r#"{"a":0,"user_id":-0}"#,
        "integer at 5: 0; integer at 17: -0",
    );
    check(
        r#"{"a":0.0,"user_id":-0.5e-7}"#,
        "number at 5: 0.0; number at 19: -0.5e-7",
    );
    check(
        r#"{"a":1e3,"user_id":1E+3}"#,
        "number at 5: 1e3; number at 19: 1E+3",
    );
    check(r#"{"a":1767225600123}"#, "integer at 5: 1767225600123; -");
    check(r#"{"a":12345678}"#, "integer at 5: 12345678; -");
    check(
        r#"{"a":99999999999999999999}"#,
        "integer at 5: 99999999999999999999; -",
    );
    check(
        r#"{"a":1e308,"user_id":1e-999}"#,
        "number at 5: 1e308; number at 21: 1e-999",
    );
    check(r#"{"a":0e999999999999}"#, "number at 5: 0e999999999999; -");
    // Texts.
    check(r#"{"a":"\n"}"#, "escaped at 6: \\n; -");
    check(
        r#"{"a":"\"\\\/\b\f\n\r\t\u00e9"}"#,
        "escaped at 6: \\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9; -",
    );
    check(r#"{"a":"\ud83d\ude00"}"#, "escaped at 6: \\ud83d\\ude00; -");
    check(r#"{"a":"\uD83D\uDE00"}"#, "escaped at 6: \\uD83D\\uDE00; -");
    check(
        "{\"a\":\"é😀\u{7f}\u{2028}\"}",
        "text at 6: é😀\u{7f}\u{2028}; -",
    );
    check(r#"{"a":"{[}]:,"}"#, "text at 6: {[}]:,; -");
    check(
        r#"{"a":"\ud800\udc00\udbff\udfff"}"#,
        "escaped at 6: \\ud800\\udc00\\udbff\\udfff; -",
    );
    check(r#"{"a":"\ud7ff\ue000"}"#, "escaped at 6: \\ud7ff\\ue000; -");
    // Composites.
    check(
        r#"{"a":{},"user_id":[]}"#,
        "composite at 5: {}; composite at 18: []",
    );
    check(
        r#"{"a":[ ],"user_id":{ }}"#,
        "composite at 5: [ ]; composite at 19: { }",
    );
    check(r#"{"a":[1,"]",[{}]]}"#, "composite at 5: [1,\"]\",[{}]]; -");
    check(
        r#"{"a":{"b":{"c":[]},"d":"}"}}"#,
        "composite at 5: {\"b\":{\"c\":[]},\"d\":\"}\"}; -",
    );
    check(
        r#"{"a":[1 , 2.5e1 , [ ] , null]}"#,
        "composite at 5: [1 , 2.5e1 , [ ] , null]; -",
    );
}

#[test]
fn why_and_where_is_a_record_not_json() {
    check("", "it is empty at 0");
    check(" \n ", "it is empty at 3");
    check("\u{feff}{}", "expected a value at 0");
    check("{", "unexpected end at 1");
    check("{ ", "unexpected end at 2");
    check(r#"{"a"#, "unterminated string at 1");
    check(r#"{"a""#, "unexpected end at 4");
    check(r#"{"a":"#, "unexpected end at 5");
    check(r#"{"a":1"#, "unexpected end at 6");
    check(r#"{"a":1,"#, "unexpected end at 7");
    check(r#"{"a":1,}"#, "expected a field name at 7");
    check(r#"{,}"#, "expected a field name at 1");
    check(r#"{a:1}"#, "expected a field name at 1");
    check(r#"{'a':1}"#, "expected a field name at 1");
    check(r#"{1:1}"#, "expected a field name at 1");
    check(r#"{"a" 1}"#, "expected `:` at 5");
    check(r#"{"a"=1}"#, "expected `:` at 4");
    check(r#"{"a"::1}"#, "expected a value at 5");
    check(r#"{"a":}"#, "expected a value at 5");
    check(r#"{"a":,}"#, "expected a value at 5");
    check(r#"{"a":1 "user_id":2}"#, "expected `,` or `}` at 7");
    check(r#"{"a":1]"#, "expected `,` or `}` at 6");
    check(r#"{"a":1;"user_id":2}"#, "expected `,` or `}` at 6");
    check("{\"a\":\u{b}1}", "expected a value at 5");
    check("{\"a\":\u{a0}1}", "expected a value at 5");
    check("{\"a\":\u{c}1}", "expected a value at 5");
    check("{\"a\":1\0}", "expected `,` or `}` at 6");
    check("{/*c*/}", "expected a field name at 1");
    check("{}{}", "unexpected bytes after the value at 2");
    check("{} x", "unexpected bytes after the value at 3");
    check("{}\0", "unexpected bytes after the value at 2");
    check("1 2", "unexpected bytes after the value at 2");
    check("}", "expected a value at 0");
    check("hello", "expected a value at 0");
}

#[test]
fn why_and_where_is_a_value_not_json() {
    // Literals.
    check(r#"{"a":nul}"#, "expected a value at 5");
    check(r#"{"a":tru"#, "unexpected end at 8");
    check(r#"{"a":truex}"#, "expected `,` or `}` at 9");
    check(r#"{"a":True}"#, "expected a value at 5");
    check(r#"{"a":NaN}"#, "expected a value at 5");
    check(r#"{"a":Infinity}"#, "expected a value at 5");
    check(r#"{"a":-Infinity}"#, "expected a digit at 6");
    // Numbers.
    check(r#"{"a":01}"#, "leading zero at 5");
    check(r#"{"a":-012345678}"#, "leading zero at 6");
    check(r#"{"a":+1}"#, "expected a value at 5");
    check(r#"{"a":.5}"#, "expected a value at 5");
    check(r#"{"a":-}"#, "expected a digit at 6");
    check(r#"{"a":-"#, "unexpected end at 6");
    check(r#"{"a":1.}"#, "expected a digit at 7");
    check(r#"{"a":1.e5}"#, "expected a digit at 7");
    check(r#"{"a":1e}"#, "expected a digit at 7");
    check(r#"{"a":1e+}"#, "expected a digit at 8");
    check(r#"{"a":1.5"#, "unexpected end at 8");
    check(r#"{"a":0x10}"#, "expected `,` or `}` at 6");
    check(r#"{"a":1_000}"#, "expected `,` or `}` at 6");
    check(r#"{"a":1e400}"#, "number out of range at 5");
    check(r#"{"x":[-1.5E+309]}"#, "number out of range at 6");
    // Strings.
    check(r#"{"a":"x"#, "unterminated string at 5");
    check(r#"{"a":"x\"}"#, "unterminated string at 5");
    check(r#"{"a":"x\"#, "unterminated string at 5");
    check(r#"{"a":"\u00"#, "unterminated string at 5");
    check(r#"{"a":"\u00"}"#, "invalid escape at 6");
    check(r#"{"a":"\u00g0"}"#, "invalid escape at 6");
    check(r#"{"a":"\u+123"}"#, "invalid escape at 6");
    check(r#"{"a":"\x41"}"#, "invalid escape at 6");
    check(r#"{"a":"\'"}"#, "invalid escape at 6");
    check(
        "{\"a\":\"1234567890\n\"}",
        "control character in a string at 16",
    );
    check("{\"a\":\"\0\"}", "control character in a string at 6");
    check("{\"a\tb\":1}", "control character in a string at 3");
    check("{\"a\":\"\\n\t\"}", "control character in a string at 8");
    check(r#"{"a":"\ud800"}"#, "lone surrogate at 6");
    check(r#"{"a":"\udc00"}"#, "lone surrogate at 6");
    check(r#"{"a":"\ud800\ud800"}"#, "lone surrogate at 6");
    check(r#"{"a":"\ud800\n"}"#, "lone surrogate at 6");
    check(r#"{"a":"\ud800\u12"}"#, "invalid escape at 12");
    check(r#"{"a":"\ud800\udbff"}"#, "lone surrogate at 6");
    check(r#"{"a":"\ud800\ue000"}"#, "lone surrogate at 6");
    check(r#"{"a":"\udbff"}"#, "lone surrogate at 6");
    check(r#"{"a":"\udfff"}"#, "lone surrogate at 6");
    check(r#"{"\ud800":1}"#, "lone surrogate at 2");
    // Ignored fields are judged as strictly.
    check(r#"{"x":[1,]}"#, "expected a value at 8");
    check(r#"{"x":[1 2]}"#, "expected `,` or `]` at 8");
    check(r#"{"x":[1}}"#, "expected `,` or `]` at 7");
    check(r#"{"x":[,1]}"#, "expected a value at 6");
    check(r#"{"x":{"y":1,}}"#, "expected a field name at 12");
    check(r#"{"x":{"y"}}"#, "expected `:` at 9");
    check(r#"{"x":{"y":1]}"#, "expected `,` or `}` at 11");
    check(r#"{"x":[["\q"]]}"#, "invalid escape at 8");
    check(r#"{"x":["#, "unexpected end at 6");
    check(r#"[1,"#, "unexpected end at 3");
}

#[test]
fn which_reason_wins() {
    check(b"[]", "a JSON array");
    check(b" [[[[1]]]] ", "a JSON array");
    check(b"\"x\"", "a JSON string");
    check(b"-1.5", "a JSON number");
    check(b"true", "a JSON boolean");
    check(b"false", "a JSON boolean");
    check(b"null\n", "a JSON null");
    check(b"[1", "unexpected end at 2");
    check(b"nulll", "unexpected bytes after the value at 4");
    check(br#"{"x":[[[1]]]}"#, "-; -");
    check(br#"{"x":[[[[1]]]]}"#, "too deep at 8");
    check(br#"{"x":[[[{"y":1}]]]}"#, "too deep at 8");
    check(b"[[[[[", "too deep at 4");
    // Too deep wins over not JSON, wherever the fault is; brackets in strings do not count.
    check(br#"{"a":01,"x":[[[[1]]]]}"#, "too deep at 15");
    check(br#"{"x":[[[[1]]]],"a":01}"#, "too deep at 8");
    check(br#"{]]]]{{{{{"#, "too deep at 9");
    check(br#"{"x":[[[["#, "too deep at 8");
    check(br#"x "[[[[[[" [[[[["#, "too deep at 15");
    check(br#"x "\"[[[[[[""#, "expected a value at 0");
    check(br#"x "[[[[[["#, "expected a value at 0");
    check(br#"x "\\"[[[[["#, "too deep at 10");
    // Not UTF-8 wins over all.
    check(b"\xff", "not UTF-8 at 0");
    check(b"{\"a\":\"\xc3\"}", "not UTF-8 at 6");
    check(b"{\"a\":\"\xc0\x80\"}", "not UTF-8 at 6");
    check(b"{\"a\":\"\xed\xa0\x80\"}", "not UTF-8 at 6");
    check(b"{\"a\":\"\xf5\x80\x80\x80\"}", "not UTF-8 at 6");
    check(b"[[[[[[ x \xc3\xa9 \x80", "not UTF-8 at 12");
    check(b"{} \xe2\x82", "not UTF-8 at 3");
    assert_eq!(outcome(b"{}", 0), "too deep at 0");
    assert_eq!(outcome(b"{}", 1), "-; -");
    assert_eq!(outcome(b"[[]]", 1), "too deep at 1");
    assert_eq!(outcome(b"1", 0), "a JSON number");
}

#[test]
fn does_it_stand_poison() {
    let levels = 10_000;
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(outcome(deep.as_bytes(), 10_001), "-; -");
    assert_eq!(outcome(deep.as_bytes(), u32::MAX), "-; -");
    assert_eq!(outcome(deep.as_bytes(), 10_000), "too deep at 10004");
    assert_eq!(outcome(deep.as_bytes(), 64), "too deep at 68");
    let objects = "{\"a\":".repeat(levels);
    let mixed = format!(
        "{objects}[{}1{}]{}",
        "[".repeat(65),
        "]".repeat(65),
        "}".repeat(levels)
    );
    assert_eq!(outcome(mixed.as_bytes(), 10_066), {
        let inner = &mixed[5..mixed.len() - 1];
        format!("composite at 5: {inner}; -")
    });
    let wrong = format!("{objects}[1}}{}", "}".repeat(levels));
    assert_eq!(
        outcome(wrong.as_bytes(), 20_000),
        "expected `,` or `]` at 50002"
    );
    // 50 MB of brackets, of one string and of one number.
    let size = 50_000_000;
    assert_eq!(outcome(&vec![b'['; size], 64), "too deep at 64");
    assert_eq!(
        outcome(&vec![b'['; size], u32::MAX),
        "unexpected end at 50000000"
    );
    let text = format!("{{\"x\":\"{}\"}}", "x".repeat(size));
    assert_eq!(outcome(text.as_bytes(), 64), "-; -");
    let digits = format!("{{\"x\":{}}}", "1".repeat(size));
    assert_eq!(outcome(digits.as_bytes(), 64), "number out of range at 5");
    let small = format!("{{\"x\":0.{}1}}", "0".repeat(1_000));
    assert_eq!(outcome(small.as_bytes(), 64), "-; -");
    let largest = "9".repeat(308);
    assert_eq!(
        outcome(format!("{{\"x\":{largest}}}").as_bytes(), 64),
        "-; -"
    );
    assert_eq!(
        outcome(format!("{{\"x\":{largest}9}}").as_bytes(), 64),
        "number out of range at 5"
    );
}

#[test]
fn does_the_end_of_a_string_or_number_lie_where_it_should_at_every_length() {
    for length in 0..200 {
        let text = "x".repeat(length);
        let digits = format!("1{}", "0".repeat(length));
        for tail in [
            "",
            " ",
            "            ",
            ",\"b\":\"0123456789012345678901234567890123456789\"",
        ] {
            let record = format!("{{\"a\":\"{text}\"{tail}}}");
            assert_eq!(
                outcome(record.as_bytes(), 4),
                format!("text at 6: {text}; -")
            );
            let record = format!("{{\"a\":\"{text}\\n\"{tail}}}");
            assert_eq!(
                outcome(record.as_bytes(), 4),
                format!("escaped at 6: {text}\\n; -")
            );
            let record = format!("{{\"a\":\"{text}\u{1f}\"{tail}}}");
            let fault = format!("control character in a string at {}", 6 + length);
            assert_eq!(outcome(record.as_bytes(), 4), fault);
            let record = format!("{{\"a\":{digits}{tail}}}");
            assert_eq!(
                outcome(record.as_bytes(), 4),
                format!("integer at 5: {digits}; -")
            );
        }
    }
}

#[test]
fn are_fields_of_every_kind_of_name_found_in_every_order() {
    let long = "n".repeat(100);
    let mut names: Vec<String> = (0..40).map(|length| "k".repeat(length)).collect();
    names.extend(
        [
            "é",
            "a b",
            "quote\"",
            "back\\slash",
            "\\\"",
            "line\\n",
            "line\n",
            "b",
            "\u{1}",
        ]
        .map(String::from),
    );
    names.push(long);
    let mut scanner = Scanner::new(Schema::new(&names));
    assert_eq!(scanner.schema().names().collect::<Vec<_>>(), names);
    for step in [1, 2, 3, names.len() - 1, names.len() - 2] {
        for spaced in [false, true] {
            let order = (0..names.len()).map(|place| place * step % names.len());
            let fields: Vec<String> = order
                .map(|field| {
                    let key = serde_json::to_string(&names[field]).unwrap();
                    if spaced {
                        format!("{key} : {field}")
                    } else {
                        format!("{key}:{field}")
                    }
                })
                .collect();
            let record = format!("{{{}}}", fields.join(if spaced { " , " } else { "," }));
            let present =
                |field: usize| (0..names.len()).any(|place| place * step % names.len() == field);
            let mut values = vec![Value::Missing; names.len()];
            scanner.scan(record.as_bytes(), 1, &mut values).unwrap();
            for (field, value) in values.iter().enumerate() {
                let found = value.span(record.as_bytes()).and_then(parse_i64);
                assert_eq!(
                    found,
                    present(field).then_some(field as i64),
                    "{field} of {record}"
                );
            }
        }
    }
}

#[test]
fn what_is_an_integer_worth() {
    let check = |digits: &str, expected: Option<i64>| {
        assert_eq!(parse_i64(digits.as_bytes()), expected, "{digits}");
    };
    check("0", Some(0));
    check("-0", Some(0));
    check("7", Some(7));
    check("-1234567", Some(-1_234_567));
    check("12345678", Some(12_345_678));
    check("123456789", Some(123_456_789));
    check("1767225600123", Some(1_767_225_600_123));
    check("9007199254740993", Some(9_007_199_254_740_993));
    check("9223372036854775807", Some(i64::MAX));
    check("9223372036854775808", None);
    check("-9223372036854775808", Some(i64::MIN));
    check("-9223372036854775809", None);
    check("18446744073709551615", None);
    check("18446744073709551616", None);
    check("99999999999999999999999999", None);
    check("", None);
    check("-", None);
    check("--1", None);
    check("+1", None);
    check("1.0", None);
    check("1e3", None);
    check("12345678x", None);
    check("x2345678", None);
    check("1234567:", None);
    check("1234567/", None);
    check("123456é", None);
}

#[test]
fn what_is_a_number_worth() {
    let check = |digits: &str, expected: Option<f64>| {
        let found = parse_f64(digits.as_bytes());
        assert_eq!(
            found.map(f64::to_bits),
            expected.map(f64::to_bits),
            "{digits}"
        );
    };
    check("0", Some(0.0));
    check("-0", Some(-0.0));
    check("-1.5e3", Some(-1500.0));
    check("0.1", Some(0.1));
    check("1.7976931348623157e308", Some(f64::MAX));
    check("1.7976931348623159e308", None);
    check("5e-324", Some(5e-324));
    check("1e-400", Some(0.0));
    check("1e400", None);
    check("x", None);
    check("NaN", None);
    check("inf", None);
}

#[test]
fn what_does_an_escaped_text_mean() {
    let check = |text: &str, expected: &str| {
        let mut meaning = b"before ".to_vec();
        unescape(text, &mut meaning);
        assert_eq!(
            String::from_utf8(meaning).unwrap(),
            format!("before {expected}"),
            "{text}"
        );
    };
    check("", "");
    check("plain é", "plain é");
    check(r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t");
    check(r"a\u0041\u00e9\u20ACz", "aAé€z");
    check(
        r"\ud83d\ude00 \uD800\uDC00 \udbff\udfff",
        "😀 \u{10000} \u{10ffff}",
    );
    check(r"\\u0041", "\\u0041");
    check(r"\u0000", "\0");
    // No valid escapes: kept.
    check(
        r"\x\u12\ud800\udc00x\ud800\u0041\",
        "\\x\\u12\u{10000}x\\ud800A\\",
    );
}

#[test]
fn does_the_stored_corpus_of_the_fuzz_target_still_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/decode");
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        race(&fs::read(entry.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(
        files >= 50,
        "only {files} files are left in {}",
        folder.display()
    );
}
