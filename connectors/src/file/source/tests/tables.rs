//! Files of CSV and tables: are they read as what their names say, from any row on?

use slackwater_dataflow::clock::ManualClock;

use super::*;
use crate::file::form::Table;
use crate::file::rows::CellKind;

fn of_numbers(path: &Path) -> FileConfig {
    FileConfig {
        cells: [("n".to_owned(), CellKind::Number)].into(),
        ..config(path)
    }
}

/// What is read from a start on, and where that ended.
fn read(source: &FileSource, starts: &Starts) -> Result<(String, Offset), SourceError> {
    let mut reader = source.open(ALONE, starts, Wake::nobody())?;
    let (seen, told) = poll(reader.as_mut(), Demand::of_all(99));
    assert_eq!(told?, Readiness::Finished);
    Ok((seen, reader.position(PartitionId(0)).unwrap()))
}

#[test]
fn are_rows_read_from_where_reading_them_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let text = "n,t\r\n1,a\r\n2,\"x\r\ny\"\r\n3,\r\n";
    let plain = folder.path().join("a.csv");
    fs::write(&plain, text).unwrap();
    let compressed = folder.path().join("a.csv.zst");
    fs::write(&compressed, zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
    for path in [plain, compressed] {
        let source = open(of_numbers(&path)).unwrap();
        let rows = [
            r#"0:5={"n":1,"t":"a"}"#,
            r#"0:10={"n":2,"t":"x\r\ny"}"#,
            r#"0:20={"n":3,"t":null}"#,
        ];
        for taken in 0..=3 {
            let mut reader = source.open(ALONE, &Starts::beginning(), Wake::nobody());
            let reader = reader.as_mut().unwrap();
            let (seen, _) = poll(reader.as_mut(), Demand::of_all(taken));
            assert_eq!(seen, rows[..taken].join(" "));
            let position = reader.position(PartitionId(0)).unwrap();
            let mark = reader
                .mark(PartitionId(0))
                .map(|mark| (PartitionId(0), mark));
            let starts = [(PartitionId(0), Start::At(position))];
            let starts = starts.into_iter().collect::<Starts>().with_marks(mark);
            let again = FileSource::resumed(
                of_numbers(&path),
                source.partitions(),
                &starts,
                Arc::new(ManualClock::default()),
            );
            let (seen, end) = read(&again.unwrap(), &starts).unwrap();
            assert_eq!(seen, [&rows[taken..], &["0."]].concat().join(" "));
            assert_eq!(end, Offset(text.len() as u64));
        }
    }
}

#[test]
fn is_a_wrong_header_told_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let check = |text: &str, follow: bool, expected: Result<(), &str>| {
        fs::write(&path, text).unwrap();
        let config = FileConfig {
            follow,
            ..config(&path)
        };
        let opened = open(config).map(drop).map_err(|error| error.to_string());
        match (opened, expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
            other => panic!("{text:?}: {other:?}"),
        }
    };
    check(
        "",
        false,
        Err("a.csv: it is empty; the first row of a CSV file"),
    );
    check("a,a\n", false, Err("two columns are named `a`"));
    check("a,a\n", true, Err("two columns are named `a`"));
    check("a,b", false, Ok(()));
    // It may come yet, or go on.
    check("", true, Ok(()));
    check("a,a", true, Ok(()));
}

#[test]
fn is_the_header_of_a_followed_file_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, "n").unwrap();
    let clock = Arc::new(ManualClock::default());
    let follow = FileConfig {
        follow: true,
        ..of_numbers(&path)
    };
    let source = FileSource::new(follow, Arc::<ManualClock>::clone(&clock)).unwrap();
    let reader = source.open(ALONE, &Starts::beginning(), Wake::nobody());
    let mut reader = reader.unwrap();
    let mut now = 0;
    let mut check = |more: &str, expected: &str| {
        append(&path, more);
        now += 100;
        clock.set(now);
        assert_eq!(all_now(reader.as_mut()), expected);
    };
    check("", "");
    check(",t\n1", "");
    check(",\"a\n", "");
    check("b\"\n", r#"0:4={"n":1,"t":"a\nb"}"#);
}

/// A table with three rows.
struct Three(u64);

impl Table for Three {
    fn read(&mut self, record: &mut Vec<u8>) -> io::Result<bool> {
        if self.0 == 3 {
            return Ok(false);
        }
        record.extend_from_slice(format!("{{\"row\":{}}}", self.0).as_bytes());
        self.0 += 1;
        Ok(true)
    }

    fn mark(&self) -> Mark {
        Mark(7)
    }
}

#[test]
fn is_a_table_read_by_what_opens_it_from_a_row_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    fs::write(&path, "").unwrap();
    let error = open(config(&path)).unwrap_err().to_string();
    assert!(error.contains("`--features parquet`"), "{error}");
    let with_tables = |follow| FileConfig {
        tables: Some(OpenTable(|_, row| Ok(Box::new(Three(row))))),
        follow,
        ..config(&path)
    };
    let error = open(with_tables(true)).unwrap_err().to_string();
    assert!(error.contains("it cannot be followed"), "{error}");
    let source = open(with_tables(false)).unwrap();
    let starts = |row, mark| {
        let starts = [(PartitionId(0), Start::At(Offset(row)))];
        let starts = starts.into_iter().collect::<Starts>();
        starts.with_marks([(PartitionId(0), Mark(mark))])
    };
    let (seen, end) = read(&source, &Starts::beginning()).unwrap();
    assert_eq!(seen, r#"0:0={"row":0} 0:1={"row":1} 0:2={"row":2} 0."#);
    assert_eq!(end, Offset(3));
    let (seen, _) = read(&source, &starts(2, 7)).unwrap();
    assert_eq!(seen, r#"0:2={"row":2} 0."#);
    let error = read(&source, &starts(2, 8)).unwrap_err().to_string();
    assert!(
        error.contains("not the table that was read to row 2"),
        "{error}"
    );
}
