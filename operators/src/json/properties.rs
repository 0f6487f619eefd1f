//! Does the scanner agree with the reference on random records, on damaged ones, and on anything?

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::sample::{Index, select};
use proptest::{prop_oneof, proptest};

use crate::json::race::race;

/// White space between two tokens: mostly none.
fn space() -> impl Strategy<Value = &'static str> {
    select(vec!["", "", "", "", " ", " ", "\n", "\r\n\t", "          "])
}

/// One character of a string, or an escape, as JSON writes it.
fn character() -> impl Strategy<Value = String> {
    let plain = any::<char>().prop_filter("needs an escape", |plain| {
        !plain.is_ascii_control() && *plain != '"' && *plain != '\\'
    });
    let short = select(vec![
        r#"\""#, r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t",
    ]);
    let escaped = any::<char>().prop_map(|escaped| {
        escaped
            .encode_utf16(&mut [0; 2])
            .iter()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect()
    });
    prop_oneof![
        8 => "[a-z0-9 {}\\[\\]:,]".prop_map(String::from),
        2 => plain.prop_map(String::from),
        1 => short.prop_map(String::from),
        1 => escaped,
    ]
}

fn text() -> impl Strategy<Value = String> {
    let length = prop_oneof![6 => 0..12_usize, 1 => 12..80_usize];
    length
        .prop_flat_map(|length| vec(character(), length))
        .prop_map(|characters| format!("\"{}\"", characters.concat()))
}

/// Names that repeat, some of them in another spelling.
fn key() -> impl Strategy<Value = String> {
    let known = select(vec![
        r#""user_id""#,
        r#""user\u005fid""#,
        r#""a""#,
        r#""\u0061""#,
        r#""""#,
        r#""a\"b""#,
        r#""a\nb""#,
        r#""a\\nb""#,
        r#""a_name_of_more_than_thirty_two_bytes""#,
    ]);
    prop_oneof![3 => known.prop_map(String::from), 1 => text()]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => text(),
        1 => select(vec!["null", "true", "false"]).prop_map(String::from),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => any::<i16>().prop_map(|number| number.to_string()),
        1 => any::<u128>().prop_map(|number| number.to_string()),
        2 => "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?".prop_map(String::from),
        1 => (290..330_usize, "[1-9]").prop_map(|(length, digit)| digit.repeat(length)),
    ]
}

/// Values one after the other with commas and white space, in brackets.
fn enclose(open: char, parts: &[(String, &str, &str)], close: char, inside: &str) -> String {
    let parts: Vec<String> = parts
        .iter()
        .map(|(part, before, after)| format!("{before}{part}{after}"))
        .collect();
    format!("{open}{inside}{}{close}", parts.join(","))
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let field = (key(), space(), space(), value)
        .prop_map(|(key, before, after, value)| format!("{key}{before}:{after}{value}"));
    (vec((field, space(), space()), 0..8), space())
        .prop_map(|(fields, inside)| enclose('{', &fields, '}', inside))
}

fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(6, 40, 6, |inner| {
        let array = (vec((inner.clone(), space(), space()), 0..6), space())
            .prop_map(|(values, inside)| enclose('[', &values, ']', inside));
        prop_oneof![array, object(inner)]
    })
}

/// An object, sometimes one that is about as deep as the race allows, sometimes another value.
fn record() -> impl Strategy<Value = String> {
    let bracket = select(vec![
        ("[", "]"),
        ("{\"a\":", "}"),
        ("[0,", ",0]"),
        ("{\"a\":", ",\"b\":0}"),
    ]);
    let deep = (vec(bracket, 60..105), value()).prop_map(|(brackets, value)| {
        let open: String = brackets.iter().map(|(open, _)| *open).collect();
        let close: String = brackets.iter().rev().map(|(_, close)| *close).collect();
        format!("{{\"a\":{open}{value}{close}}}")
    });
    let core = prop_oneof![16 => object(value()), 2 => value(), 1 => deep];
    (space(), core, space()).prop_map(|(before, core, after)| format!("{before}{core}{after}"))
}

/// One change to a record's bytes.
#[derive(Clone, Debug)]
enum Damage {
    Set(u8),
    Insert(u8),
    Remove,
    Flip(u32),
    CutAt,
    Double,
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = || {
        prop_oneof![
            select(b"{}[]\",:\\/0123456789eE+-.untf \n\x1f".to_vec()),
            any::<u8>()
        ]
    };
    prop_oneof![
        byte().prop_map(Damage::Set),
        byte().prop_map(Damage::Insert),
        Just(Damage::Remove),
        (0..8_u32).prop_map(Damage::Flip),
        Just(Damage::CutAt),
        Just(Damage::Double),
    ]
}

fn inflict(record: &mut Vec<u8>, damage: &Damage, place: Index) {
    if record.is_empty() {
        return;
    }
    let at = place.index(record.len());
    match damage {
        Damage::Set(byte) => record[at] = *byte,
        Damage::Insert(byte) => record.insert(at, *byte),
        Damage::Remove => {
            record.remove(at);
        }
        Damage::Flip(bit) => record[at] ^= 1 << bit,
        Damage::CutAt => record.truncate(at),
        Damage::Double => record.extend_from_within(at..),
    }
}

proptest! {
    #[test]
    fn does_it_agree_on_random_records(record in record()) {
        race(record.as_bytes());
    }

    #[test]
    fn does_it_agree_on_damaged_records(
        record in record(),
        damages in vec((damage(), any::<Index>()), 1..4),
    ) {
        let mut record = record.into_bytes();
        for (damage, place) in damages {
            inflict(&mut record, &damage, place);
            race(&record);
        }
    }

    #[test]
    fn does_it_agree_on_anything(record in vec(any::<u8>(), 0..100)) {
        race(&record);
    }

    #[test]
    fn does_it_agree_on_heaps_of_tokens(
        tokens in vec(select(vec![
            "{", "}", "[", "]", ":", ",", "\"", "\"a\"", "\"a\":", "{\"a\":1", "\\", "\\u", "d83d",
            "\\ude00", "\\udc00", "\\udfff", "\\ud800", "\\udbff", "\u{c}", "01", "00000000",
            "1234567:", "1", "0", "-", ".", "e", "400", "null", "true", " ", "\n", "é", "\u{1}",
        ]), 0..40),
    ) {
        race(tokens.concat().as_bytes());
    }
}
