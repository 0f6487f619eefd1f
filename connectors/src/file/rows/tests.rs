//! Are rows those that a reader of the whole table finds, and their objects what the header says?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::Read;
use std::ops::ControlFlow;

use csv_core::{ReadRecordResult, Reader};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, prop_assert_eq, prop_oneof};
use proptest::strategy::{Just, Strategy};
use serde_json::{Value, json};
use slackwater_dataflow::source::Payload;

use super::*;

/// What became of a row: its object, or why there is none.
type Found = (u64, Result<String, String>);

fn kinds() -> CellKinds {
    [
        ("n", CellKind::Number),
        ("b", CellKind::Bool),
        ("e", CellKind::Either),
    ]
    .map(|(name, kind)| (name.to_owned(), kind))
    .into()
}

fn owned(offset: Offset, payload: Payload<'_>) -> Found {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let found = match payload {
        Payload::Whole(bytes) => Ok(text(bytes)),
        Payload::Malformed { reason, .. } => Err(reason.to_owned()),
        Payload::Oversize { length, .. } => Err(format!("{length} bytes")),
    };
    (offset.0, found)
}

fn read_all(input: impl Read, max_bytes: usize, block: usize) -> io::Result<Vec<Found>> {
    let mut reader = RowReader::in_blocks(input, max_bytes, kinds(), block);
    let mut all = Vec::new();
    while reader.read(3, &mut |offset, payload| {
        all.push(owned(offset, payload));
        ControlFlow::Continue(())
    })? != Lines::Ended
    {}
    Ok(all)
}

/// The rows behind a header `n,b,e,t`, each as its object or its error.
fn rows(text: &str) -> Vec<Result<String, String>> {
    let all = read_all(format!("n,b,e,t\n{text}").as_bytes(), 100, 16).unwrap();
    all.into_iter().map(|(_, found)| found).collect()
}

#[test]
fn are_cells_what_their_columns_say() {
    let check = |row: &str, expected: Value| {
        let found = rows(row).remove(0).unwrap();
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found, expected, "{row}");
    };
    let object = |n: Value, b: Value, e: Value, t: Value| json!({ "n": n, "b": b, "e": e, "t": t });
    check(
        "1,true,2.5,3\n",
        object(json!(1), json!(true), json!(2.5), json!("3")),
    );
    check(
        "-1e3,FALSE,True,\r\n",
        object(json!(-1e3), json!(false), json!(true), Value::Null),
    );
    check(
        "\"7\",\"true\",x,\"a \"\"b\"\",\nc\"",
        object(json!(7), json!(true), json!("x"), json!("a \"b\",\nc")),
    );
    // Null is what is empty; in quotes it is a text, where that can be meant.
    check(
        "\"\",\"\",\"\",\"\"\n",
        object(Value::Null, Value::Null, Value::Null, json!("")),
    );
    check(
        "x,1,1,true\n",
        object(json!("x"), json!("1"), json!(1), json!("true")),
    );
    // No numbers of JSON.
    check(
        "+1,t,.5,\u{feff}\n",
        object(json!("+1"), json!("t"), json!(".5"), json!("\u{feff}")),
    );
    check(
        "1e999,yes,0x1,\u{1}\n",
        object(json!("1e999"), json!("yes"), json!("0x1"), json!("\u{1}")),
    );
}

#[test]
fn is_a_row_that_is_none_told_why() {
    let wrong = |count: &str| {
        Err(format!(
            "row has {count}, the header names 4 columns: \"n\", \"b\", \"e\", ..."
        ))
    };
    let found = rows("1,true\n\n1,2,3,4,5\n,,,\nt,\"x\n");
    let nulls = Ok(r#"{"n":null,"b":null,"e":null,"t":null}"#.to_owned());
    let unended = "a quote at the beginning of a cell has no other at its end".to_owned();
    let expected = [
        wrong("2 cells"),
        wrong("1 cell"),
        wrong("5 cells"),
        nulls,
        Err(unended),
    ];
    assert_eq!(found, expected);
    let long = rows(&format!("1,,,{}\n2,,,x\n", "y".repeat(200)));
    assert_eq!(long[0], Err("204 bytes".to_owned()));
    assert!(long[1].is_ok());
    // The row is short enough, its object is not.
    let long = rows(&format!("1,,,{}\n", "y".repeat(80)));
    assert_eq!(long, [Err("112 bytes".to_owned())]);
}

#[test]
fn is_what_is_no_text_handed_on_as_it_is() {
    let mut reader = RowReader::new(&b"n,t\n1,\xff\n"[..], 100, kinds());
    let mut seen = Vec::new();
    reader
        .read(9, &mut |_, payload| {
            seen.push(payload == Payload::Whole(b"1,\xff"));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(seen, [true]);
}

#[test]
fn is_a_header_needed_that_tells_columns_apart() {
    let check = |text: &str, expected: &str| {
        let message = read_all(text.as_bytes(), 20, 16).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
        let message = RowReader::new(text.as_bytes(), 20, kinds())
            .header()
            .map(drop);
        assert!(message.unwrap_err().to_string().starts_with(expected));
    };
    check(
        "",
        "it is empty; the first row of a CSV file must name its columns",
    );
    check("\n1\n", "its first row names no columns");
    check("a,b,a\n", "two columns are named `a`");
    check("\"a\n", "its first row names no columns");
    check(
        &"a".repeat(30),
        "its first row has 30 bytes, more than max_bytes",
    );
    let marked = read_all(&b"\xef\xbb\xbfn\n1"[..], 20, 16).unwrap();
    assert_eq!(marked, [(5, Ok("{\"n\":1}".to_owned()))]);
    assert_eq!(read_all(&b"n"[..], 20, 16).unwrap(), []);
}

/// The records of the whole table as the parser finds them, whose cells are all texts. It skips empty rows.
fn reference(table: &[u8]) -> Vec<Vec<String>> {
    let mut parser = Reader::new();
    let (mut rest, mut rows) = (table, Vec::new());
    let (mut output, mut ends) = (vec![0; table.len() + 1], vec![0; table.len() + 2]);
    loop {
        let (mut written, mut cells) = (0, 0);
        loop {
            let (result, read, more, found) =
                parser.read_record(rest, &mut output[written..], &mut ends[cells..]);
            rest = &rest[read..];
            (written, cells) = (written + more, cells + found);
            match result {
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return rows,
                ReadRecordResult::InputEmpty => {}
                other => unreachable!("{other:?}"),
            }
        }
        let mut from = 0;
        let row = ends[..cells].iter().map(|&end| {
            let cell = String::from_utf8(output[from..end].to_vec()).unwrap();
            from = end;
            cell
        });
        rows.push(row.collect());
    }
}

/// The texts of an object's values, and nothing for null.
fn texts(object: &str) -> Vec<String> {
    let values: serde_json::Map<String, Value> = serde_json::from_str(object).unwrap();
    let mut names: Vec<_> = values.keys().collect();
    names.sort_by_key(|name| name[1..].parse::<u32>().unwrap());
    let text = |name: &&String| values[*name].as_str().unwrap_or_default().to_owned();
    names.iter().map(text).collect()
}

/// Cells of anything, written with quotes where they need some, and where not as well.
fn table() -> impl Strategy<Value = Vec<Vec<(String, bool)>>> {
    let piece = prop_oneof![
        Just("a"),
        Just("\""),
        Just(","),
        Just("\n"),
        Just("é"),
        Just(" "),
        Just("\r\nx"),
    ];
    let text = vec(piece, 0..4).prop_map(|pieces| pieces.concat());
    vec(vec((text, proptest::prelude::any::<bool>()), 3), 0..8)
}

fn written(cells: &[(String, bool)], feed: &str) -> String {
    let cell =
        |(text, quoted): &(String, bool)| match *quoted || text.contains(['"', ',', '\n', '\r']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.clone(),
        };
    cells.iter().map(cell).collect::<Vec<_>>().join(",") + feed
}

proptest::proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Tables as programs write them.
    #[test]
    fn is_each_row_the_cells_that_were_written(table in table(), block in 1_usize..40, crlf: bool) {
        let feed = if crlf { "\r\n" } else { "\n" };
        let head = format!("c0,c1,c2{feed}");
        let (mut text, mut starts) = (head, Vec::new());
        for row in &table {
            starts.push(text.len() as u64);
            text += &written(row, feed);
        }
        let found = read_all(text.as_bytes(), 1_000, block).unwrap();
        let offsets: Vec<u64> = found.iter().map(|(offset, _)| *offset).collect();
        prop_assert_eq!(&offsets, &starts);
        for ((_, object), row) in found.iter().zip(&table) {
            let cells: Vec<_> = row.iter().map(|(text, _)| text.clone()).collect();
            prop_assert_eq!(texts(object.as_ref().unwrap()), cells);
        }
        let whole: Vec<_> = found.iter().map(|(_, object)| texts(object.as_ref().unwrap())).collect();
        prop_assert_eq!(&reference(text.as_bytes())[1..], &whole);

        // From any row on it goes on with that row.
        if let Some(&start) = starts.get(starts.len() / 2) {
            let header = RowReader::new(text.as_bytes(), 1_000, kinds()).header().unwrap().unwrap();
            let rest = &text.as_bytes()[start as usize..];
            let reader = RowReader::in_blocks(rest, 1_000, kinds(), block);
            let mut reader = reader.beginning_at(start, Tail::default(), header);
            let mut again = Vec::new();
            while reader.read(2, &mut |offset, payload| {
                again.push(owned(offset, payload));
                ControlFlow::Continue(())
            }).unwrap() != Lines::Ended {}
            prop_assert_eq!(&again, &found[starts.len() / 2..]);
        }
    }

    /// Anything at all: no row vanishes, and what is between rows is where the parser finds it.
    #[test]
    fn is_any_text_cut_into_rows_as_the_parser_cuts_it(pieces in vec(prop_oneof![
        Just("a"), Just("\""), Just(","), Just("\n"), Just("\"\""), Just("b,"),
    ], 0..30), block in 1_usize..20) {
        // The first row is the header, which other tests look at.
        let body = pieces.concat();
        let text = format!("c0,c1\n{body}");
        let found = read_all(text.as_bytes(), 1_000, block).unwrap();
        let expected = &reference(text.as_bytes())[1..];
        let whole = found.iter().filter_map(|(offset, object)| {
            let is_empty = body.as_bytes().get(*offset as usize - 6) == Some(&b'\n');
            (!is_empty).then_some(object)
        });
        let whole: Vec<_> = whole.collect();
        prop_assert_eq!(whole.len(), expected.len());
        for (object, cells) in whole.into_iter().zip(expected) {
            match object {
                Ok(object) => prop_assert_eq!(&texts(object), cells),
                Err(reason) if reason.starts_with("row has") => {
                    let count = if cells.len() == 1 { "1 cell,".to_owned() } else { format!("{} cells,", cells.len()) };
                    prop_assert_eq!(reason.contains(&count), true, "{} {:?}", reason, cells);
                }
                Err(reason) => prop_assert_eq!(reason.contains("quote"), true, "{}", reason),
            }
        }
    }
}
