//! Values of columns as JSON.

use std::io;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// Whether values of a column can be written; if not, which column of it is in the way.
pub(crate) fn check(field: &Field) -> Result<(), String> {
    let refuse = || {
        let (name, kind) = (field.name(), field.data_type());
        Err(format!(
            "column `{name}` is of the type {kind}, which no value of JSON stands for; leave it out of the file"
        ))
    };
    match field.data_type() {
        DataType::List(item) | DataType::Map(item, _) => check(item),
        DataType::Struct(fields) => fields.iter().try_for_each(|field| check(field)),
        DataType::Null
        | DataType::Boolean
        | DataType::Utf8
        | DataType::Binary
        | DataType::FixedSizeBinary(_)
        | DataType::Timestamp(..)
        | DataType::Date32
        | DataType::Time32(_)
        | DataType::Time64(_) => Ok(()),
        kind if kind.is_numeric() => Ok(()),
        _ => refuse(),
    }
}

/// A text.
pub(crate) fn text(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    Ok(serde_json::to_writer(out, text)?)
}

/// A number; what is none as a text, which no field of numbers takes: null would be taken for nothing.
fn float(out: &mut Vec<u8>, value: f64) {
    let word = match value {
        value if value.is_finite() => {
            let mut buffer = zmij::Buffer::new();
            out.extend_from_slice(buffer.format_finite(value).as_bytes());
            return;
        }
        value if value.is_nan() => "\"NaN\"",
        value if value > 0.0 => "\"Infinity\"",
        _ => "\"-Infinity\"",
    };
    out.extend_from_slice(word.as_bytes());
}

/// A text, or bytes that are none.
fn bytes(out: &mut Vec<u8>, value: &[u8]) -> io::Result<()> {
    match str::from_utf8(value) {
        Ok(value) => text(out, value),
        Err(_) => {
            out.extend_from_slice(b"{\"base64\":");
            text(out, &STANDARD.encode(value))?;
            out.push(b'}');
            Ok(())
        }
    }
}

fn number<T: ArrowPrimitiveType>(array: &ArrayRef, row: usize) -> T::Native {
    array.as_primitive::<T>().value(row)
}

fn display(out: &mut Vec<u8>, value: impl ToString) {
    out.extend_from_slice(value.to_string().as_bytes());
}

/// The value of a row. The array is of a type that [`check`] lets pass, and has the row.
pub(crate) fn value(out: &mut Vec<u8>, array: &ArrayRef, row: usize) -> io::Result<()> {
    if array.is_null(row) || array.data_type() == &DataType::Null {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Boolean => display(out, array.as_boolean().value(row)),
        DataType::Utf8 => text(out, array.as_string::<i32>().value(row))?,
        DataType::Binary => bytes(out, array.as_binary::<i32>().value(row))?,
        DataType::FixedSizeBinary(_) => bytes(out, array.as_fixed_size_binary().value(row))?,
        DataType::List(_) => items(out, &array.as_list::<i32>().value(row))?,
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let names = fields.iter().map(|field| field.name().as_str());
            object(out, names.zip(columns), row)?;
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            map(out, entries.column(0), entries.column(1))?;
        }
        kind if kind.is_numeric() => numeric(out, array, row),
        _ => display(out, milliseconds(array, row)),
    }
    Ok(())
}

fn numeric(out: &mut Vec<u8>, array: &ArrayRef, row: usize) {
    match array.data_type() {
        DataType::Int8 => display(out, number::<Int8Type>(array, row)),
        DataType::Int16 => display(out, number::<Int16Type>(array, row)),
        DataType::Int32 => display(out, number::<Int32Type>(array, row)),
        DataType::Int64 => display(out, number::<Int64Type>(array, row)),
        DataType::UInt8 => display(out, number::<UInt8Type>(array, row)),
        DataType::UInt16 => display(out, number::<UInt16Type>(array, row)),
        DataType::UInt32 => display(out, number::<UInt32Type>(array, row)),
        DataType::UInt64 => display(out, number::<UInt64Type>(array, row)),
        DataType::Float16 => float(out, number::<Float16Type>(array, row).to_f64()),
        DataType::Float32 => float(out, number::<Float32Type>(array, row).into()),
        DataType::Float64 => float(out, number::<Float64Type>(array, row)),
        DataType::Decimal32(..) => {
            display(
                out,
                array.as_primitive::<Decimal32Type>().value_as_string(row),
            );
        }
        DataType::Decimal64(..) => {
            display(
                out,
                array.as_primitive::<Decimal64Type>().value_as_string(row),
            );
        }
        DataType::Decimal128(..) => {
            display(
                out,
                array.as_primitive::<Decimal128Type>().value_as_string(row),
            );
        }
        _ => display(
            out,
            array.as_primitive::<Decimal256Type>().value_as_string(row),
        ),
    }
}

/// Times and dates, since 1970 or since midnight. What is finer is cut off, backwards in time.
fn milliseconds(array: &ArrayRef, row: usize) -> i64 {
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            number::<TimestampSecondType>(array, row).saturating_mul(1_000)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            number::<TimestampMillisecondType>(array, row)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            number::<TimestampMicrosecondType>(array, row).div_euclid(1_000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            number::<TimestampNanosecondType>(array, row).div_euclid(1_000_000)
        }
        DataType::Date32 => i64::from(number::<Date32Type>(array, row)) * DAY_MS,
        DataType::Time32(TimeUnit::Second) => {
            i64::from(number::<Time32SecondType>(array, row)) * 1_000
        }
        DataType::Time32(_) => number::<Time32MillisecondType>(array, row).into(),
        DataType::Time64(TimeUnit::Microsecond) => {
            number::<Time64MicrosecondType>(array, row).div_euclid(1_000)
        }
        _ => number::<Time64NanosecondType>(array, row).div_euclid(1_000_000),
    }
}

fn items(out: &mut Vec<u8>, items: &ArrayRef) -> io::Result<()> {
    out.push(b'[');
    for row in 0..items.len() {
        if row > 0 {
            out.push(b',');
        }
        value(out, items, row)?;
    }
    out.push(b']');
    Ok(())
}

/// An object of one row of some columns.
pub(crate) fn object<'c>(
    out: &mut Vec<u8>,
    columns: impl Iterator<Item = (&'c str, &'c ArrayRef)>,
    row: usize,
) -> io::Result<()> {
    out.push(b'{');
    for (at, (name, column)) in columns.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        text(out, name)?;
        out.push(b':');
        value(out, column, row)?;
    }
    out.push(b'}');
    Ok(())
}

/// An object whose keys are data. Those that are no texts become texts.
fn map(out: &mut Vec<u8>, keys: &ArrayRef, values: &ArrayRef) -> io::Result<()> {
    out.push(b'{');
    let mut key = Vec::new();
    for row in 0..keys.len() {
        if row > 0 {
            out.push(b',');
        }
        key.clear();
        value(&mut key, keys, row)?;
        if key.first() == Some(&b'"') {
            out.extend_from_slice(&key);
        } else {
            text(out, &String::from_utf8_lossy(&key))?;
        }
        out.push(b':');
        value(out, values, row)?;
    }
    out.push(b'}');
    Ok(())
}
