//! What is said of a pipeline, and whether odd names stay names in every form.

use std::collections::BTreeSet;

use crate::pipeline::Pipeline;
use crate::pipeline::outline::{Edge, Fact, Outline, Stage};

const REFERENCE: &str = include_str!("../../../pipelines/user-events.toml");

/// The reference pipeline after changes, each of a text that is there once, on two workers.
fn outline(changes: &[(&str, &str)]) -> Outline {
    let mut text = REFERENCE.to_owned();
    for (old, new) in changes {
        assert_eq!(text.matches(old).count(), 1, "{old:?}");
        text = text.replace(old, new);
    }
    Outline::new(&Pipeline::parse("a.toml", &text).unwrap(), 2)
}

#[test]
fn what_is_said_of_the_reference_pipeline() {
    let outline = outline(&[]);
    let check = |written: String, expected: &str| assert_eq!(written, expected);
    check(outline.to_text(), include_str!("tests/user-events.txt"));
    check(outline.to_dot(), include_str!("tests/user-events.dot"));
    check(outline.to_mermaid(), include_str!("tests/user-events.mmd"));
}

#[test]
fn do_edges_lead_from_stage_to_stage() {
    for order in ["arrival", "event_time"] {
        let order = format!("order = \"{order}\"");
        do_edges_lead(&outline(&[("order = \"arrival\"", &order)]));
    }
}

fn do_edges_lead(outline: &Outline) {
    let place = |name: &str| outline.stages.iter().position(|stage| stage.name == name);
    for Edge { from, to, .. } in &outline.edges {
        assert!(place(from).unwrap() < place(to).unwrap(), "{from} -> {to}");
    }
    let names: BTreeSet<_> = outline.stages.iter().map(|stage| stage.name).collect();
    assert_eq!(names.len(), outline.stages.len(), "names differ");
    let entered: BTreeSet<_> = outline.edges.iter().map(|edge| edge.to).collect();
    let alone: Vec<_> = names.difference(&entered).collect();
    assert_eq!(alone, [&"source"]);
}

#[test]
fn which_facts_follow_the_pipeline() {
    let check = |changes: &[(&str, &str)], stage: &str, about: &str, expected: &[&str]| {
        let outline = outline(changes);
        let stage = outline.stages.iter().find(|it| it.name == stage).unwrap();
        let facts = stage.facts.iter().filter(|fact| fact.about == about);
        let said: Vec<_> = facts.map(|fact| fact.says.as_str()).collect();
        assert_eq!(said, expected, "{changes:?}");
    };
    let source = REFERENCE.split("[source]\n").nth(1).unwrap();
    let source = source.split("[event]\n").next().unwrap();
    let files = (source, "kind = \"file\"\npath = \"in/*.jsonl\"\n\n");
    check(&[files], "source", "path", &["in/*.jsonl"]);
    check(&[files], "source", "partitions", &["one for each file"]);
    let followed = (source, "kind = \"file\"\npath = \"a\"\nfollow = true\n\n");
    check(
        &[followed],
        "source",
        "end",
        &["none, each file is followed"],
    );
    let disorder = "max_out_of_orderness = \"2s\"";
    let idle = &*format!("idle_timeout = \"90s\"\n{disorder}");
    let silent = (source, "kind = \"file\"\npath = \"a/*\"\nfollow = true\n\n");
    check(
        &[silent, (disorder, idle)],
        "source",
        "idle",
        &["after 90s of silence a file holds no other"],
    );
    let stdin = (source, "kind = \"file\"\npath = \"-\"\n\n");
    check(&[stdin], "source", "path", &["-, the standard input"]);
    check(&[stdin], "source", "partitions", &["1"]);
    let rate = ("rate = 0 ", "rate = 1500 ");
    check(&[rate], "source", "events", &["1,000,000, 1,500 a second"]);
    let any = ("max_ahead = \"1h\"", "");
    check(&[any], "ingest", "too far ahead", &[]);
    // As the job runs: a history that no feature of the model reads is not kept.
    let model = (
        "batch = 64\n",
        "batch = 64\nfeatures = [\"one\", \"hour_sin\"]\n",
    );
    check(&[model], "features", "history", &["none"]);
    check(&[model], "features", "feature", &["one", "hour_sin"]);
    check(
        &[model],
        "infer",
        "rows",
        &["2 features, 64 rows at a time"],
    );
    let lookup = "[[lookup]]\nname = \"profile\"\nstore = \"redis\"\nurl = \"redis://h\"\nkey = \"p:{user_id}\"\n\
        read = \"hash\"\nfields = [{ name = \"weight\" }, { name = \"age\" }]\ncache = {}\n\n# What is remembered";
    let looked_up = (
        "of = \"constant\"\nvalue = 1.0",
        "of = \"lookup\"\nfrom = \"profile.age\"",
    );
    check(
        &[("# What is remembered", lookup), looked_up],
        "lookup",
        "lookup",
        &["profile: weight, age, 50ms for each try, remembered for 5s"],
    );
    let who = ("provenance = false", "provenance = true");
    let fields = "partition, offset, epoch, model";
    check(&[who], "encode predictions", "provenance", &[fields]);
    let order = ("order = \"arrival\"", "order = \"event_time\"");
    let drift = "no partition more than 1m ahead of the slowest one";
    check(&[order], "order", "drift", &[drift]);
    let late = ("late = \"dead_letter\"", "late = \"drop\"");
    let dropped = "more than 2s behind the newest of its partition: dropped, only counted";
    check(&[late], "ingest", "late", &[dropped]);
    let one = ("shards = 2", "shards = 1");
    check(
        &[one],
        "late_events",
        "to",
        &["out/late_events_dlq, 1 file"],
    );
    // Checks run field by field, and within a field in the order of the file.
    let more = "[[check]]\nfield = \"timestamp_ms\"\nrule = \"min\"\nvalue = 5\nmessage = \"old\"\n\n\
        [[check]]\nfield = \"product_id\"\nrule = \"one_of\"\nvalues = [\"a\", \"b\"]\nmessage = \"no\"\n\n\
        # What is remembered";
    let checks = [
        "user_id is not empty, else: user_id cannot be empty",
        "product_id is one of a, b, else: no",
        "timestamp_ms is at least 5, else: old",
    ];
    check(
        &[("# What is remembered", more)],
        "ingest",
        "check",
        &checks,
    );
    let nowhere = "kind = \"file\"\npath = \"out\"\nshards = 2\n";
    let nowhere = [(nowhere, "kind = \"discard\"\n")];
    check(&nowhere, "predictions", "to", &["nowhere, only counted"]);
}

#[test]
fn does_an_odd_name_stay_a_name() {
    let check = |name: &str, text: &str, dot: &str, mermaid: &str| {
        let about = "feature";
        let says = name.to_owned();
        let outline = Outline {
            job: "j".to_owned(),
            workers: 1,
            stages: vec![Stage {
                name: "a b",
                facts: vec![Fact { about, says }],
            }],
            edges: vec![Edge {
                from: "a b",
                to: "a b",
                carries: name.to_owned(),
            }],
        };
        let expected = format!("job j, 1 worker\n\na b\n  feature: {text}\n  -> a b ({text})\n");
        assert_eq!(outline.to_text(), expected);
        let expected = format!(
            "digraph \"j\" {{\n  node [shape=box];\n  \"a b\" [label=\"a b\\nfeature: {dot}\\l\"];\n  \
             \"a b\" -> \"a b\" [label=\"{dot}\"];\n}}\n"
        );
        assert_eq!(outline.to_dot(), expected);
        let expected = format!(
            "flowchart TD\n  stage_a_b[\"a b<br/>feature: {mermaid}\"]\n  \
             stage_a_b -->|\"{mermaid}\"| stage_a_b\n"
        );
        assert_eq!(outline.to_mermaid(), expected);
    };
    check("plain_1", "plain_1", "plain_1", "plain_1");
    check("Größe 東京", "Größe 東京", "Größe 東京", "Größe 東京");
    check("a\"b", "a\"b", "a\\\"b", "a#34;b");
    check("a\\N", "a\\N", "a\\\\N", "a#92;N");
    check("a\\\"", "a\\\"", "a\\\\\\\"", "a#92;#34;");
    check("a\nb", "a\\nb", "a\\\\nb", "a#92;nb");
    check(
        "\u{1b}[31m",
        "\\u{1b}[31m",
        "\\\\u{1b}[31m",
        "#92;u#123;1b#125;#91;31m",
    );
    check("<b>&lt;", "<b>&lt;", "<b>&amp;lt;", "#60;b#62;#38;lt#59;");
    check(
        "#quot; %%{init}%% `x` $$y$$",
        "#quot; %%{init}%% `x` $$y$$",
        "#quot; %%{init}%% `x` $$y$$",
        "#35;quot#59; #37;#37;#123;init#125;#37;#37; #96;x#96; #36;#36;y#36;#36;",
    );
    check("\"]; end", "\"]; end", "\\\"]; end", "#34;#93;#59; end");
}
