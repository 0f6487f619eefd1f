//! The bytes of predictions and dead letters, as the reference job defines them.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::Failure;
use crate::fused::event::Refused;

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A text; a plain one stood in its record without escapes.
pub fn text(out: &mut Vec<u8>, text: &[u8], plain: bool) -> Result<(), Failure> {
    if plain {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
    } else {
        serde_json::to_writer(out, std::str::from_utf8(text)?)?;
    }
    Ok(())
}

/// Where a record was read.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub partition: u32,
    pub offset: u64,
    pub record: &'a [u8],
}

/// A dead letter in its envelope.
pub fn dead_letter(out: &mut Vec<u8>, origin: &Origin<'_>, why: &Refused) -> Result<(), Failure> {
    out.extend_from_slice(b"{\"original_event\":");
    original(out, origin.record)?;
    let kind = match why.stage {
        "late" => "LATE_EVENT",
        "feature" => "PROCESSING_ERROR",
        _ => "VALIDATION_ERROR",
    };
    write!(out, ",\"error_type\":\"{kind}\",\"message\":")?;
    serde_json::to_writer(&mut *out, &why.message)?;
    let now = now_ms();
    let (seconds, millis) = (now / 1_000, now % 1_000);
    let (code, stage) = (why.code, why.stage);
    write!(
        out,
        ",\"timestamp\":{seconds}.{millis:03},\"code\":\"{code}\",\"stage\":\"{stage}\""
    )?;
    let (partition, offset) = (origin.partition, origin.offset);
    let topic = "memory";
    write!(
        out,
        ",\"source\":{{\"topic\":\"{topic}\",\"partition\":{partition},\"offset\":{offset}}}"
    )?;
    if stage == "feature" {
        out.extend_from_slice(b",\"stack_trace\":");
        serde_json::to_writer(&mut *out, &format!("feature/check: {}", why.message))?;
    }
    if let Some(time) = why.time {
        write!(out, ",\"event_time\":{time}")?;
        if let Some(watermark) = why.watermark {
            let behind = watermark - time;
            write!(out, ",\"watermark\":{watermark},\"lateness_ms\":{behind}")?;
        }
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

/// The fields of an object in schema order, or the record as text.
fn original(out: &mut Vec<u8>, record: &[u8]) -> Result<(), Failure> {
    const KEPT: usize = 64 * 1024;
    if record.len() <= KEPT
        && let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(record)
    {
        let names = [
            "user_id",
            "product_id",
            "category",
            "event_type",
            "timestamp_ms",
        ];
        for (at, name) in names.into_iter().enumerate() {
            out.push(if at == 0 { b'[' } else { b',' });
            serde_json::to_writer(&mut *out, fields.get(name).unwrap_or(&Value::Null))?;
        }
        out.push(b']');
        return Ok(());
    }
    let head = record.get(..KEPT.min(record.len())).unwrap_or_default();
    serde_json::to_writer(&mut *out, &String::from_utf8_lossy(head))?;
    Ok(())
}

/// A number with a comma between thousands.
pub fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
