//! Is a file what was pushed, and none before it is whole?
#![expect(clippy::unwrap_used, reason = "tests")]

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::reading::Rows;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn is_a_file_what_was_pushed_and_whole_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shard-0.parquet");
    let labels = names(&["i", "f", "t", "b"]);
    let kinds = [
        LabelKind::Int,
        LabelKind::Float,
        LabelKind::Text,
        LabelKind::Bool,
    ];
    let mut file = VectorFile::create(&path, &names(&["x", "y"]), &labels).unwrap();
    let all = GROUP_ROWS + 10;
    for number in 0..all {
        let labels = match number {
            0 => vec![
                Label::Int(-1),
                Label::Float(0.5),
                Label::Text("t".to_owned()),
                Label::Bool(true),
            ],
            _ => vec![Label::None; 4],
        };
        file.push(VectorRow {
            partition: 3,
            offset: number as u64,
            key: "k",
            event_time: -1,
            vector: &[f32::NAN, number as f32],
            labels,
        });
        if file.is_full() {
            file.write(&kinds).unwrap();
        }
    }
    assert!(!path.exists());
    file.close(&kinds).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let mut rows = Rows::open(&path, 0).unwrap();
    let mut first = Vec::new();
    assert!(rows.read(&mut first).unwrap());
    let expected = r#"{"partition":3,"offset":0,"key":"k","event_time":-1,"x":"NaN","y":0.0,"i":-1,"f":0.5,"t":"t","b":true}"#;
    assert_eq!(String::from_utf8(first).unwrap(), expected);
    let file = File::open(&path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let groups = reader.metadata().row_groups().iter();
    let groups: Vec<_> = groups.map(|group| group.num_rows() as usize).collect();
    assert_eq!(groups, [GROUP_ROWS, 10]);
    let time = reader
        .schema()
        .field_with_name("event_time")
        .unwrap()
        .clone();
    let utc = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    assert_eq!(time.data_type(), &utc);
}

#[test]
fn is_a_file_without_rows_a_table_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let file = VectorFile::create(&path, &names(&["x"]), &[]).unwrap();
    file.close(&[]).unwrap();
    assert!(!Rows::open(&path, 0).unwrap().read(&mut Vec::new()).unwrap());
}

#[test]
fn are_two_columns_of_one_name_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let check = |features: &[&str], labels: &[&str], name: &str| {
        let made = VectorFile::create(&path, &names(features), &names(labels)).map(drop);
        let message = made.unwrap_err().to_string();
        assert!(message.contains(&format!("named `{name}`")), "{message}");
    };
    check(&["x", "key"], &[], "key");
    check(&["x"], &["x"], "x");
    check(&["x"], &["event_time"], "event_time");
}
