//! State of checkpoints, for people and for others.

use serde_json::{Value, json};

use crate::pipeline::spec::FieldKind;

/// The value of a field that a history keeps; null for none.
pub(crate) fn field_value(kind: FieldKind, bytes: Option<&[u8]>) -> Value {
    let Some(bytes) = bytes else {
        return Value::Null;
    };
    let number = <[u8; 8]>::try_from(bytes);
    match (kind, number) {
        (FieldKind::Int, Ok(number)) => json!(i64::from_le_bytes(number)),
        (FieldKind::Float, Ok(number)) => json!(f64::from_bits(u64::from_le_bytes(number))),
        (FieldKind::Bool, _) => json!(bytes == [1]),
        _ => json!(String::from_utf8_lossy(bytes)),
    }
}
