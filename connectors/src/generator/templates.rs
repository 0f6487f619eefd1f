//! The texts of generated events: the only place in Rust that knows the names of fields.
//!
//! Well-formed events in the usual form, nearly all of them, are appended piece by piece from constant
//! texts. The rest is put together member by member, slower, by [`object`].

/// Different products.
pub(super) const PRODUCTS: u32 = 10_000;

/// What products are; product `n` is of category `n mod 12`.
const CATEGORIES: [&str; 12] = [
    "electronics",
    "books",
    "clothing",
    "home",
    "garden",
    "sports",
    "toys",
    "beauty",
    "grocery",
    "automotive",
    "music",
    "office",
];

/// What users do, with the number of events of a hundred that are so.
const EVENT_TYPES: [(&str, u32); 4] = [
    ("view", 70),
    ("click", 18),
    ("add_to_cart", 8),
    ("purchase", 4),
];

const USER_ID: &str = "user_id";
const PRODUCT_ID: &str = "product_id";
const CATEGORY: &str = "category";
const EVENT_TYPE: &str = "event_type";
const TIMESTAMP_MS: &str = "timestamp_ms";

/// The fields of a good event, in the order in which they are written.
pub fn field_names() -> [&'static str; 5] {
    [USER_ID, PRODUCT_ID, CATEGORY, EVENT_TYPE, TIMESTAMP_MS]
}

/// Nesting of an event that is too deep: beyond the 64 levels that a pipeline allows unless it says
/// otherwise.
const DEEP_LEVELS: usize = 100;

/// Length of the text that makes an event too large: with anything around it, more than the 1 MiB that a
/// pipeline allows unless it says otherwise.
const LARGE_TEXT_BYTES: usize = 1024 * 1024;

/// What an event says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) user: u32,
    /// Below [`PRODUCTS`].
    pub(super) product: u32,
    /// 0 to 99, in the order of [`EVENT_TYPES`].
    pub(super) event_type_percent: u32,
    pub(super) time_ms: i64,
}

/// Ways in which a good event may look unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variety {
    ExtraFields,
    EscapedText,
    OtherOrder,
    WhiteSpace,
}

impl Variety {
    pub(super) const ALL: [Variety; 4] = [
        Variety::ExtraFields,
        Variety::EscapedText,
        Variety::OtherOrder,
        Variety::WhiteSpace,
    ];
}

/// The rows of the table of bad events that an event can cause by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadRow {
    User,
    Time,
    Record,
    Category,
    /// Bad by the time it is given; its text is that of a good one.
    Ahead,
}

impl BadRow {
    pub(super) const ALL: [BadRow; 5] = [
        BadRow::User,
        BadRow::Time,
        BadRow::Record,
        BadRow::Category,
        BadRow::Ahead,
    ];
}

/// One in so many uses of [`BadRow::Record`] is a record over 1 MiB: at the default shares one event in
/// half a million. Rare on purpose: even so it is 2 bytes for every event, and more would turn any
/// measurement into one of large records.
pub(super) const LARGE_EVERY: u64 = 1_024;

/// Which of them it is: early enough that each partition of the default job has one.
const LARGE_AT: u64 = 128;

fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// The id of the user of this rank, counted from 0: what the key of its events is.
pub(super) fn user_name(out: &mut Vec<u8>, user: u32) {
    out.extend_from_slice(b"user_");
    number(out, user);
}

fn category(product: u32) -> &'static str {
    // The remainder is below the number of categories.
    CATEGORIES[product as usize % CATEGORIES.len()]
}

fn event_type(percent: u32) -> &'static str {
    let mut below = 0;
    for (name, share) in EVENT_TYPES {
        below += share;
        if percent < below {
            return name;
        }
    }
    EVENT_TYPES[0].0
}

/// Appends an event in the usual form: compact, fields in the schema's order.
pub(super) fn plain(out: &mut Vec<u8>, event: &Event) {
    out.extend_from_slice(b"{\"user_id\":\"user_");
    number(out, event.user);
    out.extend_from_slice(b"\",\"product_id\":\"product_");
    number(out, event.product);
    out.extend_from_slice(b"\",\"category\":\"");
    out.extend_from_slice(category(event.product).as_bytes());
    out.extend_from_slice(b"\",\"event_type\":\"");
    out.extend_from_slice(event_type(event.event_type_percent).as_bytes());
    out.extend_from_slice(b"\",\"timestamp_ms\":");
    number(out, event.time_ms);
    out.push(b'}');
}

/// A value of a member, as JSON.
#[derive(Clone, Copy)]
enum Value {
    /// Written as it is.
    Raw(&'static str),
    User(u32),
    Product(u32),
    Category(u32),
    EventType(u32),
    Time(i64),
    /// So many arrays inside each other.
    Nested(usize),
    /// A string of this length.
    Long(usize),
}

impl Value {
    fn append(self, out: &mut Vec<u8>) {
        let quoted = |out: &mut Vec<u8>, text: &dyn Fn(&mut Vec<u8>)| {
            out.push(b'"');
            text(out);
            out.push(b'"');
        };
        match self {
            Value::Raw(text) => out.extend_from_slice(text.as_bytes()),
            Value::User(user) => quoted(out, &|out| user_name(out, user)),
            Value::Product(product) => quoted(out, &|out| {
                out.extend_from_slice(b"product_");
                number(out, product);
            }),
            Value::Category(product) => {
                quoted(out, &|out| {
                    out.extend_from_slice(category(product).as_bytes())
                });
            }
            Value::EventType(percent) => quoted(out, &|out| {
                out.extend_from_slice(event_type(percent).as_bytes());
            }),
            Value::Time(time_ms) => number(out, time_ms),
            Value::Nested(levels) => {
                out.resize(out.len() + levels, b'[');
                out.resize(out.len() + levels, b']');
            }
            Value::Long(length) => quoted(out, &|out| out.resize(out.len() + length, b'x')),
        }
    }
}

type Member = (&'static str, Value);

fn members(event: &Event) -> [Member; 5] {
    [
        (USER_ID, Value::User(event.user)),
        (PRODUCT_ID, Value::Product(event.product)),
        (CATEGORY, Value::Category(event.product)),
        (EVENT_TYPE, Value::EventType(event.event_type_percent)),
        (TIMESTAMP_MS, Value::Time(event.time_ms)),
    ]
}

/// Appends an object; `space` stands wherever JSON allows white space.
fn object(out: &mut Vec<u8>, members: impl IntoIterator<Item = Member>, space: &str) {
    let space = space.as_bytes();
    out.push(b'{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(space);
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.push(b'"');
        out.extend_from_slice(space);
        out.push(b':');
        out.extend_from_slice(space);
        value.append(out);
        out.extend_from_slice(space);
    }
    out.push(b'}');
}

/// Appends a good event that looks unusual.
pub(super) fn varied(out: &mut Vec<u8>, event: &Event, variety: Variety) {
    match variety {
        Variety::ExtraFields => {
            let extra = [
                (
                    "session",
                    Value::Raw(r#"{"pages":[1,2.5e1,null],"new":true}"#),
                ),
                ("note", Value::Raw(r#""not in the schema""#)),
            ];
            object(out, members(event).into_iter().chain(extra), "");
        }
        Variety::EscapedText => {
            let text = Value::Raw(r#""caf\u00e9 \"größe\" \ud83d\ude00\/日本\t""#);
            object(out, replaced(event, PRODUCT_ID, text), "");
        }
        Variety::OtherOrder => object(out, members(event).into_iter().rev(), ""),
        Variety::WhiteSpace => object(out, members(event), " \t"),
    }
}

/// Appends an event that is bad in the way of `row`; `uses` counts the earlier uses of the row and picks
/// among its forms.
pub(super) fn bad(out: &mut Vec<u8>, event: &Event, row: BadRow, uses: u64) {
    let pick = |forms: usize| (uses % forms as u64) as usize;
    match row {
        BadRow::User => match pick(3) {
            0 => object(out, replaced(event, USER_ID, Value::Raw(r#""""#)), ""),
            1 => object(out, replaced(event, USER_ID, Value::Raw("null")), ""),
            _ => object(out, members(event).into_iter().skip(1), ""),
        },
        BadRow::Time => {
            let forms = [r#""abc""#, "1.5", "1e3", "true", "null"];
            let value = Value::Raw(forms[pick(forms.len())]);
            object(out, replaced(event, TIMESTAMP_MS, value), "");
        }
        BadRow::Record if uses % LARGE_EVERY == LARGE_AT => {
            let extra = ("note", Value::Long(LARGE_TEXT_BYTES));
            object(out, members(event).into_iter().chain([extra]), "");
        }
        BadRow::Record => not_an_event(out, event, pick(5)),
        BadRow::Category => object(out, replaced(event, CATEGORY, Value::Raw(r#""""#)), ""),
        BadRow::Ahead => plain(out, event),
    }
}

fn replaced(event: &Event, name: &str, value: Value) -> [Member; 5] {
    members(event).map(|member| {
        if member.0 == name {
            (member.0, value)
        } else {
            member
        }
    })
}

/// Appends a record that is no JSON, no object, or too deep.
fn not_an_event(out: &mut Vec<u8>, event: &Event, form: usize) {
    match form {
        // Cut off.
        0 => {
            let start = out.len();
            plain(out, event);
            out.truncate(start + (out.len() - start) / 2);
        }
        1 => {
            for (index, (_, value)) in members(event).into_iter().enumerate() {
                out.push(if index == 0 { b'[' } else { b',' });
                value.append(out);
            }
            out.push(b']');
        }
        2 => {
            let extra = ("path", Value::Nested(DEEP_LEVELS));
            object(out, members(event).into_iter().chain([extra]), "");
        }
        3 => {
            user_name(out, event.user);
            out.extend_from_slice(b" was here");
        }
        _ => number(out, event.time_ms),
    }
}

#[cfg(test)]
mod tests;
