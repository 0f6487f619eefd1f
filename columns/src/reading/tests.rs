//! Is each row the object that its values are, from any row on?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int32Array, ListArray, RecordBatch, StringArray, StructArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow_schema::{DataType, Field, IntervalUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::*;

/// Writes columns, so many rows a row group.
fn written(
    columns: &[(&str, ArrayRef)],
    group: usize,
    how: Compression,
) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .iter()
            .map(|(name, column)| (*name, column.clone(), true)),
    );
    let batch = batch.unwrap();
    let properties = WriterProperties::builder()
        .set_compression(how)
        .set_max_row_group_row_count(Some(group))
        .build();
    let output = file.reopen().unwrap();
    let mut writer = ArrowWriter::try_new(output, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    file
}

fn rows(path: &Path, from: u64) -> io::Result<Vec<String>> {
    let mut rows = Rows::open(path, from)?;
    let mut all = Vec::new();
    let mut record = Vec::new();
    while rows.read(&mut record)? {
        all.push(String::from_utf8(std::mem::take(&mut record)).unwrap());
    }
    Ok(all)
}

/// The first value of a column, or what is said of it.
fn value(column: impl arrow_array::Array + 'static) -> String {
    let file = written(&[("v", Arc::new(column))], 9, Compression::UNCOMPRESSED);
    match rows(file.path(), 0) {
        Ok(rows) => {
            let row = rows[0].strip_prefix("{\"v\":").unwrap();
            row.strip_suffix('}').unwrap().to_owned()
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn is_each_type_written_as_what_it_means() {
    assert_eq!(value(Int32Array::from(vec![-7])), "-7");
    assert_eq!(
        value(UInt64Array::from(vec![u64::MAX])),
        "18446744073709551615"
    );
    assert_eq!(value(Int32Array::from(vec![None, Some(1)])), "null");
    assert_eq!(value(BooleanArray::from(vec![true])), "true");
    assert_eq!(
        value(StringArray::from(vec!["a \"b\"\n"])),
        r#""a \"b\"\n""#
    );
    assert_eq!(value(BinaryArray::from(vec![&b"text"[..]])), "\"text\"");
    assert_eq!(
        value(BinaryArray::from(vec![&b"\xff"[..]])),
        r#"{"base64":"/w=="}"#
    );
    // The same number, not the shortest text that rounds to it.
    assert_eq!(value(Float32Array::from(vec![0.1])), "0.10000000149011612");
    assert_eq!(value(Float64Array::from(vec![3.0])), "3.0");
    // No null: that would be nothing, where something is wrong.
    assert_eq!(value(Float64Array::from(vec![f64::NAN])), "\"NaN\"");
    assert_eq!(
        value(Float32Array::from(vec![f32::INFINITY])),
        "\"Infinity\""
    );
    assert_eq!(
        value(Float64Array::from(vec![f64::NEG_INFINITY])),
        "\"-Infinity\""
    );
    let decimal = |digits, scale| {
        let array = Decimal128Array::from(vec![digits]);
        value(array.with_precision_and_scale(20, scale).unwrap())
    };
    assert_eq!(decimal(-1_230, 2), "-12.30");
    assert_eq!(decimal(5, 3), "0.005");
    assert_eq!(decimal(7, 0), "7");
}

#[test]
fn are_times_milliseconds() {
    assert_eq!(value(TimestampMicrosecondArray::from(vec![1_999])), "1");
    assert_eq!(value(TimestampMicrosecondArray::from(vec![-1])), "-1");
    let zoned = TimestampNanosecondArray::from(vec![1_767_225_600_123_456_789]);
    assert_eq!(value(zoned.with_timezone("UTC")), "1767225600123");
    assert_eq!(value(Date32Array::from(vec![20_454])), "1767225600000");
    assert_eq!(
        value(Time64MicrosecondArray::from(vec![3_600_000_000])),
        "3600000"
    );
}

#[test]
fn are_nested_values_lists_and_objects() {
    let list = [Some(vec![Some(1), None]), None];
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(list);
    assert_eq!(value(list), "[1,null]");
    let mut lists = ListBuilder::new(ListBuilder::new(Int32Builder::new()));
    lists.values().values().append_value(1);
    lists.values().append(true);
    lists.values().append(true);
    lists.append(true);
    assert_eq!(value(lists.finish()), "[[1],[]]");
    let inner: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let field = Arc::new(Field::new("a", DataType::Utf8, true));
    assert_eq!(
        value(StructArray::from(vec![(field, inner)])),
        r#"{"a":"x"}"#
    );
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("k");
    map.values().append_value(2);
    map.append(true).unwrap();
    assert_eq!(value(map.finish()), r#"{"k":2}"#);
    let mut map = MapBuilder::new(None, Int32Builder::new(), Int32Builder::new());
    map.keys().append_value(7);
    map.values().append_null();
    map.append(true).unwrap();
    assert_eq!(value(map.finish()), r#"{"7":null}"#);
}

#[test]
fn is_a_column_that_is_nothing_in_json_named() {
    let interval = Field::new("i", DataType::Interval(IntervalUnit::DayTime), true);
    let inside = Field::new("s", DataType::Struct(vec![interval].into()), true);
    let message = json::check(&inside).unwrap_err();
    assert!(
        message.starts_with("column `i` is of the type Interval"),
        "{message}"
    );
}

#[test]
fn are_rows_read_from_any_of_them_on_however_they_are_compressed() {
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..2_500));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..2_500).map(|it| format!("t{}", it % 7)),
    ));
    for how in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ] {
        let file = written(&[("n", numbers.clone()), ("t", texts.clone())], 1_000, how);
        for from in [0, 1, 999, 1_000, 1_001, 2_499, 2_500] {
            let found = rows(file.path(), from as u64).unwrap();
            let expected = (from..2_500).map(|it| format!("{{\"n\":{it},\"t\":\"t{}\"}}", it % 7));
            assert_eq!(found, expected.collect::<Vec<_>>(), "{how:?} from {from}");
        }
        let error = rows(file.path(), 2_501).unwrap_err().to_string();
        assert_eq!(error, "it has 2500 rows, and was read to row 2501");
    }
}

#[test]
fn is_what_is_no_such_file_told_so() {
    let check = |bytes: &[u8], expected: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let error = rows(file.path(), 0).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(b"", "too short");
    check(b"{\"a\":1}\n{\"a\":2}\n", "no Parquet, or cut short");
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..100));
    let file = written(&[("n", numbers.clone())], 50, Compression::SNAPPY);
    let bytes = std::fs::read(file.path()).unwrap();
    check(&bytes[..bytes.len() - 1], "no Parquet, or cut short");
    let other = written(&[("m", numbers)], 50, Compression::SNAPPY);
    let mark = |path: &Path| Rows::open(path, 0).unwrap().mark();
    assert_eq!(mark(file.path()), mark(file.path()));
    assert_ne!(mark(file.path()), mark(other.path()));
}
