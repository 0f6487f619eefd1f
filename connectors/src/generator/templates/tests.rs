//! Do the texts of events look as listed, good ones and bad ones?
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

const EVENT: Event = Event {
    user: 7,
    product: 1_234,
    event_type_percent: 95,
    time_ms: 1_767_225_600_123,
};
const REST: &str = r#""category":"music","event_type":"add_to_cart","timestamp_ms":"#;

fn text(append: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    append(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn is_the_fast_form_the_one_put_together_by_member() {
    for (index, (_, share)) in EVENT_TYPES.iter().enumerate() {
        let event = Event {
            event_type_percent: share - 1,
            product: index as u32,
            ..EVENT
        };
        assert_eq!(
            text(|out| plain(out, &event)),
            text(|out| object(out, members(&event), ""))
        );
    }
}

#[test]
fn are_the_names_those_that_are_written() {
    let plain = text(|out| plain(out, &EVENT));
    let names = field_names().map(|name| format!("\"{name}\":"));
    let places: Vec<_> = names.iter().map(|name| plain.find(name).unwrap()).collect();
    assert!(places.is_sorted(), "{plain}");
    assert_eq!(plain.matches("\":").count(), names.len());
    let members = members(&EVENT).map(|(name, _)| name);
    assert_eq!(field_names(), members);
}

#[test]
fn do_event_types_have_their_shares() {
    for (name, share) in EVENT_TYPES {
        let found = (0..100).filter(|&n| event_type(n) == name).count();
        assert_eq!(found as u32, share, "{name}");
    }
}

#[test]
fn do_good_events_look_as_listed() {
    let check = |variety, expected: &str| {
        assert_eq!(text(|out| varied(out, &EVENT, variety)), expected);
    };
    let ids = r#""user_id":"user_7","product_id":"product_1234""#;
    let time = EVENT.time_ms;
    check(
        Variety::ExtraFields,
        &format!(
            r#"{{{ids},{REST}{time},"session":{{"pages":[1,2.5e1,null],"new":true}},"note":"not in the schema"}}"#
        ),
    );
    check(
        Variety::EscapedText,
        &format!(
            r#"{{"user_id":"user_7","product_id":"caf\u00e9 \"größe\" \ud83d\ude00\/日本\t",{REST}{time}}}"#
        ),
    );
    check(
        Variety::OtherOrder,
        &format!(
            r#"{{"timestamp_ms":{time},"event_type":"add_to_cart","category":"music","product_id":"product_1234","user_id":"user_7"}}"#
        ),
    );
    let spaced = text(|out| varied(out, &EVENT, Variety::WhiteSpace));
    assert!(spaced.starts_with("{ \t\"user_id\" \t: \t\"user_7\" \t,"));
    let compact = spaced.replace([' ', '\t'], "");
    assert_eq!(compact, text(|out| plain(out, &EVENT)));
}

#[test]
fn are_bad_events_bad_in_their_way() {
    let check = |row, uses, expected: &str| {
        assert_eq!(text(|out| bad(out, &EVENT, row, uses)), expected);
    };
    let product = r#""product_id":"product_1234""#;
    let time = EVENT.time_ms;
    for (uses, user) in [(0, r#""user_id":"","#), (1, r#""user_id":null,"#), (2, "")] {
        check(
            BadRow::User,
            uses,
            &format!("{{{user}{product},{REST}{time}}}"),
        );
    }
    for (uses, time) in [(0, r#""abc""#), (3, "true"), (7, "1e3")] {
        check(
            BadRow::Time,
            uses,
            &format!(r#"{{"user_id":"user_7",{product},{REST}{time}}}"#),
        );
    }
    let empty = REST.replace("music", "");
    check(
        BadRow::Category,
        5,
        &format!(r#"{{"user_id":"user_7",{product},{empty}{time}}}"#),
    );
    check(
        BadRow::Record,
        1,
        &format!(r#"["user_7","product_1234","music","add_to_cart",{time}]"#),
    );
    check(BadRow::Record, 3, "user_7 was here");
    check(BadRow::Record, 4, &time.to_string());
    let cut = text(|out| bad(out, &EVENT, BadRow::Record, 0));
    assert!(text(|out| plain(out, &EVENT)).starts_with(&cut) && !cut.ends_with('}'));
    let deep = text(|out| bad(out, &EVENT, BadRow::Record, 2));
    assert!(deep.ends_with(&format!("{}{}}}", "[".repeat(100), "]".repeat(100))));
    let large = text(|out| bad(out, &EVENT, BadRow::Record, LARGE_AT + LARGE_EVERY));
    assert!(large.len() > 1024 * 1024 && large.len() < 1024 * 1024 + 300);
}
