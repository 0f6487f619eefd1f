//! One record: borrowed from its bytes when all is as it should be, taken apart slowly when not.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess,
};
use serde_json::Value;
use slackwater_dataflow::sink::OutputStream;

/// Deepest nesting of a record.
const DEPTH_MAX: u32 = 64;
/// Longest record in bytes.
const BYTES_MAX: usize = 1024 * 1024;
/// The fields in schema order.
const FIELDS: [&str; 5] = [
    "user_id",
    "product_id",
    "category",
    "event_type",
    "timestamp_ms",
];

/// A good event.
#[derive(Debug)]
pub struct Event<'a> {
    pub user: Cow<'a, str>,
    pub product: Cow<'a, str>,
    pub category: Cow<'a, str>,
    /// 0 to 3 in the order of the pipeline, 4 for any other.
    pub kind: u8,
    pub time: i64,
}

/// Why an event goes no further, and to which stream.
#[derive(Clone, Debug)]
pub struct Refused {
    pub stream: OutputStream,
    pub code: &'static str,
    pub stage: &'static str,
    pub message: String,
    /// Event time and the watermark that it missed, where they are known.
    pub time: Option<i64>,
    pub watermark: Option<i64>,
}

impl Refused {
    pub fn validation(code: &'static str, stage: &'static str, message: impl Into<String>) -> Self {
        Refused {
            stream: OutputStream::ValidationErrors,
            code,
            stage,
            message: message.into(),
            time: None,
            watermark: None,
        }
    }
}

/// Reads a record and checks its fields.
pub fn parse(record: &[u8]) -> Result<Event<'_>, Refused> {
    if record.len() > BYTES_MAX {
        let message = format!(
            "record has {} bytes, max_bytes is {BYTES_MAX}",
            record.len()
        );
        return Err(Refused::validation("too_large", "decode", message));
    }
    match serde_json::from_slice::<Event<'_>>(record) {
        Ok(event) if !event.user.is_empty() => Ok(event),
        Ok(_) => Err(Refused::validation(
            "empty",
            "validate",
            "user_id cannot be empty",
        )),
        Err(error) => Err(why(record, &error)),
    }
}

/// What is wrong with a record that is no event.
#[cold]
fn why(record: &[u8], error: &serde_json::Error) -> Refused {
    let refused = |code, message: String| Refused::validation(code, "validate", message);
    if error.to_string().starts_with(TOO_DEEP) {
        let message = format!("record is nested deeper than max_depth {DEPTH_MAX}");
        return Refused::validation("too_deep", "decode", message);
    }
    let fields = match serde_json::from_slice::<Value>(record) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => {
            let message = "record is not a JSON object";
            return Refused::validation("not_object", "decode", message);
        }
        Err(error) => {
            let message = format!("record is not JSON: {error}");
            return Refused::validation("not_json", "decode", message);
        }
    };
    for name in FIELDS {
        match (name, fields.get(name).filter(|value| !value.is_null())) {
            ("user_id", None) => return refused("empty", "user_id cannot be empty".to_owned()),
            (_, None) => return refused("missing", format!("{name} is missing")),
            ("timestamp_ms", Some(value)) if !value.is_i64() => {
                return refused(
                    "wrong_type",
                    format!("{name} must be an integer, got {value}"),
                );
            }
            ("timestamp_ms", Some(_)) | (_, Some(Value::String(_))) => {}
            (_, Some(value)) => {
                return refused(
                    "wrong_type",
                    format!("{name} must be a string, got {value}"),
                );
            }
        }
    }
    refused("not_json", error.to_string())
}

const TOO_DEEP: &str = "too deep";

impl<'de> Deserialize<'de> for Event<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> de::Visitor<'de> for EventVisitor {
    type Value = Event<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Event<'de>, M::Error> {
        let (mut user, mut product, mut category) = (None, None, None);
        let (mut kind, mut time) = (None, None);
        while let Some(name) = map.next_key::<Name>()? {
            match name {
                Name::User => user = Some(map.next_value::<Text<'_>>()?.0),
                Name::Product => product = Some(map.next_value::<Text<'_>>()?.0),
                Name::Category => category = Some(map.next_value::<Text<'_>>()?.0),
                Name::Kind => kind = Some(kind_of(&map.next_value::<Text<'_>>()?.0)),
                Name::Time => time = Some(map.next_value::<i64>()?),
                Name::Other => map.next_value_seed(Skipped(1))?,
            }
        }
        let missing = |name| de::Error::missing_field(name);
        Ok(Event {
            user: user.ok_or_else(|| missing("user_id"))?,
            product: product.ok_or_else(|| missing("product_id"))?,
            category: category.ok_or_else(|| missing("category"))?,
            kind: kind.ok_or_else(|| missing("event_type"))?,
            time: time.ok_or_else(|| missing("timestamp_ms"))?,
        })
    }
}

fn kind_of(name: &str) -> u8 {
    match name {
        "view" => 0,
        "click" => 1,
        "add_to_cart" => 2,
        "purchase" => 3,
        _ => 4,
    }
}

/// The key of a member.
#[derive(Clone, Copy)]
enum Name {
    User,
    Product,
    Category,
    Kind,
    Time,
    Other,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(NameVisitor)
    }
}

struct NameVisitor;

impl de::Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(match name {
            "user_id" => Name::User,
            "product_id" => Name::Product,
            "category" => Name::Category,
            "event_type" => Name::Kind,
            "timestamp_ms" => Name::Time,
            _ => Name::Other,
        })
    }
}

/// A text, borrowed unless it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> de::Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// Any value at this depth, of which only the depth matters.
struct Skipped(u32);

impl<'de> DeserializeSeed<'de> for Skipped {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Skipped {
    fn inner<E: de::Error>(&self) -> Result<Skipped, E> {
        if self.0 < DEPTH_MAX {
            Ok(Skipped(self.0 + 1))
        } else {
            Err(E::custom(TOO_DEEP))
        }
    }
}

impl<'de> de::Visitor<'de> for Skipped {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<(), S::Error> {
        while seq.next_element_seed(self.inner()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(self.inner()?)?;
        }
        Ok(())
    }
}
