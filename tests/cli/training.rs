//! What `features` writes for training: is it what serving computes, and what training is to predict beside it?

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::scene::{START, Scene, conserved, model, number};

/// Events of few users in two files, out of order between them and within each.
fn input(file: i64) -> String {
    let line = |number: i64| {
        let user = (number * 7 + file) % 5;
        let kind = ["view", "click", "add_to_cart", "purchase"][((number * 3 + file) % 4) as usize];
        let time = START + 1_000 * number + file * 300 - 700 * (number % 3);
        let delay = number as f64 / 4.0;
        format!(
            "{{\"user_id\":\"u{user}\",\"product_id\":\"p{}\",\"category\":\"c{}\",\"event_type\":\"{kind}\",\
             \"timestamp_ms\":{time},\"delay\":{delay:?}}}\n",
            number % 9,
            number % 4,
        )
    };
    (0..150).map(line).collect()
}

const EVENTS: usize = 300;

/// A pipeline in event-time order on two workers, whose model says feature `at`.
fn scene(at: usize) -> Scene {
    scene_of(&format!("output = {{ index = {at} }}"))
}

/// The same whose model says what `outputs` says.
fn scene_of(outputs: &str) -> Scene {
    let path = format!("path = {:?}", model("identity.onnx"));
    let changes = [
        ("path = \"in.jsonl\"", "path = \"in/*.jsonl\""),
        ("path = \"builtin:user-events\"", path.as_str()),
        ("output = { name = \"prediction\" }", outputs),
        ("workers = 0 ", "workers = 2 "),
        ("order = \"arrival\"", "order = \"event_time\""),
        ("provenance = false", "provenance = true"),
    ];
    let scene = Scene::with(&changes, b"");
    for file in 0..2 {
        scene.write(&format!("in/{file}.jsonl"), input(file).as_bytes());
    }
    scene
}

/// Where an event comes from.
type Place = (u64, u64);

fn place(value: &Value) -> Place {
    let number = |key: &str| value[key].as_u64().unwrap();
    (number("partition"), number("offset"))
}

/// Runs `features` with these arguments.
fn features(scene: &Scene, arguments: &[&str]) {
    let command = [
        "features",
        "job.toml",
        "--out",
        "rows",
        "--json",
        "--overwrite",
    ];
    let ran = scene.run(&[&command[..], arguments].concat()).ended(0);
    assert_eq!(number(&ran.object(), "features"), EVENTS as u64);
}

/// The bits of each feature of each event, as lines have them.
fn of_lines(scene: &Scene) -> BTreeMap<Place, Vec<u32>> {
    let rows = scene.records_below("rows").into_iter().map(|record| {
        let value: Value = serde_json::from_str(&record.line).unwrap();
        let vector = value["features"].as_object().unwrap().values();
        let bits = vector.map(|it| it.to_string().parse::<f32>().unwrap().to_bits());
        (place(&value), bits.collect())
    });
    rows.collect()
}

/// The bits of the score of each event.
fn scores(scene: &Scene) -> BTreeMap<Place, u32> {
    assert_eq!(conserved(&scene.summary()), EVENTS as u64);
    let records = scene.records_by_place().into_values().map(|record| {
        let value: Value = serde_json::from_str(&record.line).unwrap();
        let score = value["prediction"].to_string().parse::<f32>().unwrap();
        (place(&value), score.to_bits())
    });
    records.collect()
}

/// Features in the order of the file, not of their names.
fn names(scene: &Scene) -> Vec<String> {
    let text = std::fs::read_to_string(scene.path("job.toml")).unwrap();
    let features = text.split("[[feature]]").skip(1);
    let name = |feature: &str| {
        let (_, name) = feature.split_once("name = \"").unwrap();
        name.split_once('"').unwrap().0.to_owned()
    };
    features.map(name).collect()
}

#[test]
fn does_training_read_to_the_bit_what_the_model_is_given() {
    let scene_0 = scene(0);
    features(&scene_0, &[]);
    let by_name = of_lines(&scene_0);
    assert_eq!(by_name.len(), EVENTS);
    let names = names(&scene_0);
    let mut sorted = names.clone();
    sorted.sort();
    let mut different = 0;
    // Those of the history among them.
    for (at, name) in names.iter().enumerate() {
        let column = sorted.iter().position(|it| it == name).unwrap();
        let written: BTreeMap<_, _> = by_name
            .iter()
            .map(|(place, it)| (*place, it[column]))
            .collect();
        different += usize::from(
            written
                .values()
                .any(|it| Some(it) != written.values().next()),
        );
        assert_eq!(scores(&scene(at)), written, "{name}");
    }
    assert!(
        different >= 12,
        "{different} of {} features vary",
        names.len()
    );
}

/// Numbers over windows of every sort, as many as the model takes and gives back.
const WINDOWS: &str = include_str!("shops.toml");

/// The columns of these, in their order.
const COLUMNS: [&str; 16] = [
    "amount",
    "visits",
    "spent",
    "usual",
    "spread",
    "least",
    "most",
    "last",
    "shops",
    "buys",
    "since",
    "gap",
    "kind=view",
    "kind=buy",
    "kind=back",
    "ratio",
];

/// A job whose model gives back all that it is given, one output for each column.
fn shops() -> Scene {
    let scene = Scene::new();
    let output = |at: usize| format!("{{ name = \"n{at}\", index = {at} }}");
    let outputs: Vec<_> = (0..COLUMNS.len()).map(output).collect();
    let pipeline = WINDOWS
        .replace("MODEL", &format!("{:?}", model("identity.onnx")))
        .replace("OUTPUTS", &format!("outputs = [{}]", outputs.join(", ")));
    scene.write("job.toml", pipeline.as_bytes());
    for file in 0..2 {
        let line = |number: i64| {
            let (who, shop) = ((number * 7 + file) % 5, (number * 3 + file) % 4);
            let kind = ["view", "buy", "back"][((number * 5 + file) % 3) as usize];
            let amount = match number % 4 {
                0 => "null".to_owned(),
                _ => format!("{:?}", (number * 37 % 101) as f64 / 8.0),
            };
            let at = START + 700 * number + file * 300 - 900 * (number % 3);
            format!(
                "{{\"who\":\"w{who}\",\"shop\":\"s{shop}\",\"kind\":\"{kind}\",\"amount\":{amount},\"at\":{at}}}\n"
            )
        };
        let lines: String = (0..150).map(line).collect();
        scene.write(&format!("in/{file}.jsonl"), lines.as_bytes());
    }
    scene
}

#[test]
fn does_training_read_to_the_bit_what_is_made_of_windows() {
    let scene = shops();
    features(&scene, &[]);
    let bits = |value: &Value| value.to_string().parse::<f32>().unwrap().to_bits();
    let rows = scene.records_below("rows").into_iter().map(|record| {
        let value: Value = serde_json::from_str(&record.line).unwrap();
        let column = |name: &&str| bits(&value["features"][*name]);
        let columns: Vec<u32> = COLUMNS.iter().map(column).collect();
        (place(&value), columns)
    });
    let rows: BTreeMap<Place, Vec<u32>> = rows.collect();
    assert_eq!(rows.len(), EVENTS);
    assert_eq!(conserved(&scene.summary()), EVENTS as u64);
    let scored = scene.records_by_place().into_values().map(|record| {
        let value: Value = serde_json::from_str(&record.line).unwrap();
        let column = |at: usize| bits(&value[format!("n{at}")]);
        let columns: Vec<u32> = (0..COLUMNS.len()).map(column).collect();
        (place(&value), columns)
    });
    assert_eq!(scored.collect::<BTreeMap<_, _>>(), rows);
    for (at, name) in COLUMNS.iter().enumerate() {
        let mut values: Vec<u32> = rows.values().map(|columns| columns[at]).collect();
        values.sort_unstable();
        values.dedup();
        assert!(values.len() > 1, "{name} is always the same");
    }
}

#[test]
fn do_several_outputs_stand_side_by_side() {
    let alone = [scene(3), scene(0)].map(|scene| scores(&scene));
    let scene = scene_of(
        "outputs = [{ name = \"prediction\", index = 3 }, { name = \"first\", index = 0 }, { name = \"again\", index = 3 }]",
    );
    assert_eq!(scores(&scene), alone[0]);
    for record in scene.records() {
        let value: Value = serde_json::from_str(&record.line).unwrap();
        let bits = |name: &str| value[name].to_string().parse::<f32>().unwrap().to_bits();
        assert_eq!(Some(&bits("first")), alone[1].get(&place(&value)));
        assert_eq!(bits("again"), bits("prediction"));
        let names = ["\"user_id\"", "\"prediction\"", "\"first\"", "\"again\""];
        let places = names.map(|name| record.line.find(name).unwrap());
        assert!(places.is_sorted(), "{}", record.line);
    }
    // By hand, in the model's order too.
    let row: Vec<String> = (0..16).map(|at| format!("{at}.5")).collect();
    scene.write("rows.jsonl", format!("[{}]\n", row.join(",")).as_bytes());
    let ran = scene.run(&["model", "score", "job.toml", "--in", "rows.jsonl"]);
    let scores = "{\"scores\":{\"prediction\":3.5,\"first\":0.5,\"again\":3.5}}";
    assert_eq!(ran.ended(0).stdout.trim(), scores);
    let shown = scene.run(&["model", "show", "job.toml"]).ended(0);
    let line = "\noutput    first: output, value 0 of each row\n";
    assert!(shown.stdout.contains(line), "{}", shown.stdout);
}

#[test]
fn are_labels_passed_through_that_serving_does_not_read() {
    let scene = scene(0);
    features(
        &scene,
        &[
            "--label",
            "delay",
            "--label",
            "event_type",
            "--label",
            "none",
            "--label",
            "delay",
        ],
    );
    for record in scene.records_below("rows") {
        let value: Value = serde_json::from_str(&record.line).unwrap();
        let (file, offset) = place(&value);
        let line = &input(file as i64)[offset as usize..];
        let event: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
        let expected =
            json!({ "delay": event["delay"], "event_type": event["event_type"], "none": null });
        assert_eq!(value["labels"], expected);
    }
}

#[test]
fn is_an_undeclared_label_of_csv_a_number_where_it_is_one() {
    let scene = Scene::with(&[("path = \"in.jsonl\"", "path = \"in.csv\"")], b"");
    let rows = [
        ("12.5", json!(12.5)),
        ("late", json!("late")),
        ("", Value::Null),
        ("TRUE", json!(true)),
    ];
    let mut text = "user_id,product_id,category,event_type,timestamp_ms,delay\n".to_owned();
    for (cell, _) in &rows {
        text += &format!("u,p,c,view,{START},{cell}\n");
    }
    scene.write("in.csv", text.as_bytes());
    let command = ["features", "job.toml", "--out", "rows", "--label", "delay"];
    scene.run(&command).ended(0);
    let records = scene.records_below("rows").into_iter();
    let labels: Vec<Value> = records
        .map(|record| {
            serde_json::from_str::<Value>(&record.line).unwrap()["labels"]["delay"].clone()
        })
        .collect();
    assert_eq!(labels, rows.map(|(_, expected)| expected));
}

#[cfg(feature = "parquet")]
mod columns {
    use std::fs;
    use std::path::Path;

    use slackwater_columns::reading::Rows;

    use super::*;

    fn rows(path: &Path) -> Vec<Value> {
        let mut rows = Rows::open(path, 0).unwrap();
        let (mut all, mut record) = (Vec::new(), Vec::new());
        while rows.read(&mut record).unwrap() {
            all.push(serde_json::from_slice(&record).unwrap());
            record.clear();
        }
        all
    }

    /// The rows of all shards.
    fn all_rows(scene: &Scene) -> Vec<Value> {
        (0..2)
            .flat_map(|shard| rows(&scene.path(format!("rows/features/shard-{shard}.parquet"))))
            .collect()
    }

    #[test]
    fn are_tables_to_the_bit_what_lines_are() {
        let scene = scene(0);
        features(&scene, &["--label", "delay"]);
        let lines = of_lines(&scene);
        features(
            &scene,
            &[
                "--format",
                "parquet",
                "--label",
                "delay",
                "--label",
                "timestamp_ms",
            ],
        );
        // The lines of the run before are gone, and nothing is left unfinished.
        let names = fs::read_dir(scene.path("rows/features")).unwrap();
        let mut names: Vec<_> = names.map(|it| it.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["shard-0.parquet", "shard-1.parquet"]);
        let mut sorted = super::names(&scene);
        sorted.sort();
        let mut found = BTreeMap::new();
        for row in all_rows(&scene) {
            let bits = sorted
                .iter()
                .map(|name| (row[name].as_f64().unwrap() as f32).to_bits());
            found.insert(place(&row), bits.collect::<Vec<_>>());
            let number = row["delay"].as_f64().unwrap();
            assert!((0.0..40.0).contains(&number));
            assert_eq!(row["timestamp_ms"], row["event_time"]);
            assert!(row["key"].as_str().unwrap().starts_with('u'));
        }
        assert_eq!(found, lines);
    }

    #[test]
    fn are_tables_events_like_lines() {
        let scene = scene(3);
        let expected: BTreeMap<_, _> = predictions(&scene);
        let fields = [
            "user_id",
            "product_id",
            "category",
            "event_type",
            "timestamp_ms",
        ];
        let labels: Vec<&str> = fields.iter().flat_map(|field| ["--label", field]).collect();
        features(&scene, &[&["--format", "parquet"][..], &labels].concat());
        let text = fs::read_to_string(scene.path("job.toml")).unwrap();
        // Two workers write each table, and one may be ahead.
        let text = crate::scene::changed(
            &text,
            &[
                ("in/*.jsonl", "rows/features/*.parquet"),
                (
                    "max_out_of_orderness = \"2s\"",
                    "max_out_of_orderness = \"1h\"",
                ),
            ],
        );
        scene.write("job.toml", text.as_bytes());
        assert_eq!(predictions(&scene), expected);
        // With a store it is read once.
        let stored = format!("{text}\n[checkpoint]\nstore = \"file:state\"\n");
        scene.write("job.toml", stored.as_bytes());
        scene.run(&["run", "job.toml", "--fresh"]).ended(0);
        let again = scene.run(&["run", "job.toml"]).ended(0);
        assert!(
            again.stderr.contains("already complete"),
            "{}",
            again.stderr
        );
    }

    /// Score by key and event time, of which there is one each.
    fn predictions(scene: &Scene) -> BTreeMap<(String, i64), String> {
        assert_eq!(conserved(&scene.summary()), EVENTS as u64);
        let records = scene.records().into_iter().map(|record| {
            let value: Value = serde_json::from_str(&record.line).unwrap();
            let key = value["user_id"].as_str().unwrap().to_owned();
            (
                (key, value["event_time"].as_i64().unwrap()),
                value["prediction"].to_string(),
            )
        });
        let records: BTreeMap<_, _> = records.collect();
        assert_eq!(records.len(), EVENTS);
        records
    }

    #[test]
    fn is_a_label_of_two_kinds_told_where_it_is() {
        let scene = Scene::new();
        let lines = [("1", 0), ("\"x\"", 1)].map(|(delay, at)| {
            crate::scene::event("u", at).replace('{', &format!("{{\"delay\":{delay},"))
        });
        scene.write("in.jsonl", lines.concat().as_bytes());
        scene.write("job.toml", crate::scene::pipeline(&[]).as_bytes());
        let command = [
            "features", "job.toml", "--out", "rows", "--format", "parquet", "--label", "delay",
        ];
        let ran = scene.run(&command).ended(1);
        let offset = lines[0].len();
        let expected = format!(
            "of the event at partition 0, offset {offset}, label `delay` is \"x\", where others are numbers"
        );
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
        // Nothing that looks whole.
        let names = fs::read_dir(scene.path("rows/features")).unwrap();
        for name in names {
            let name = name.unwrap().file_name();
            assert!(name.to_str().unwrap().ends_with(".parquet.tmp"), "{name:?}");
        }
        let clash = [
            "features", "job.toml", "--out", "rows", "--format", "parquet", "--label", "views",
        ];
        let ran = scene.run(&clash).ended(3);
        assert!(
            ran.stderr.contains("two would be named `views`"),
            "{}",
            ran.stderr
        );
    }

    #[test]
    fn is_a_label_whose_first_value_comes_late_what_it_is() {
        // More than are encoded together, all in one shard.
        const LINES: i64 = 9_000;
        let line = |number: i64| {
            let note = if number + 1 == LINES {
                "\"good\""
            } else {
                "null"
            };
            let time = START + number;
            format!(
                "{{\"user_id\":\"u\",\"product_id\":\"p\",\"category\":\"c\",\"event_type\":\"view\",\
                 \"timestamp_ms\":{time},\"note\":{note}}}\n"
            )
        };
        let lines: String = (0..LINES).map(line).collect();
        let scene = Scene::with(&[("workers = 0 ", "workers = 1 ")], lines.as_bytes());
        let command = ["features", "job.toml", "--out", "rows", "--label", "note"];
        scene
            .run(&[&command[..], &["--format", "parquet"]].concat())
            .ended(0);
        let notes = all_rows(&scene).into_iter().map(|row| row["note"].clone());
        let notes: Vec<_> = notes.collect();
        assert_eq!(notes.len(), LINES as usize);
        let (last, others) = notes.split_last().unwrap();
        assert_eq!(last, "good");
        assert!(others.iter().all(Value::is_null));
    }
}

#[cfg(not(feature = "parquet"))]
#[test]
fn is_a_table_refused_by_a_program_that_cannot_write_it() {
    let scene = Scene::with(&[], b"");
    let command = [
        "features", "job.toml", "--out", "rows", "--format", "parquet",
    ];
    let ran = scene.run(&command).ended(3);
    assert!(
        ran.stderr
            .contains("`cargo build --release --features parquet`"),
        "{}",
        ran.stderr
    );
    assert!(!scene.path("rows").exists());
}
