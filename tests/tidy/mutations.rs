//! Can each rule fail? Every rule is fed mistakes that it must report and near misses that it must
//! let pass.

use crate::scanner::{Source, functions, test_modules};
use crate::seams::{
    keeps_the_workspace_lints, knows_only_whom_it_may, modules_go_one_way, names_no_field_of_a_job,
    shows_only_the_library, touches_only_what_it_may,
};
use crate::writing::{
    has_a_telling_name, has_no_long_function, has_nothing_unfinished, is_not_too_long,
    opens_with_its_reason, says_nothing_of_a_machine,
};
use crate::{File, RULES, Rule};

/// The rule finds, in this file, one thing for each expected word, which its message holds.
fn check(rule: Rule, path: &str, text: &str, expected: &[&str]) {
    let file = File {
        path: path.to_owned(),
        text: text.to_owned(),
        test: path.starts_with("tests/") || path.ends_with("/tests.rs"),
    };
    let findings = rule(&file);
    let right = findings.len() == expected.len()
        && findings
            .iter()
            .zip(expected)
            .all(|(finding, word)| finding.contains(word));
    assert!(
        right,
        "{path}: {text}\nfound {findings:#?}\nexpected {expected:?}"
    );
}

#[test]
fn is_every_rule_run() {
    // Each mutation below is one rule's alone; together they must trip the list that is run.
    let mistakes = [
        ("src/a.rs", "fn f() {}"),
        ("src/a.rs", &*format!("//! a\n{}", "\n".repeat(600))),
        ("src/a.rs", &*long_function(71)),
        ("src/a.rs", "//! a\nfn f() { todo!() }"),
        ("src/util.rs", "//! a"),
        (
            "models/Cargo.toml",
            "[dependencies]\ntimely = \"1\"\n[lints]\nworkspace = true",
        ),
        ("operators/src/a.rs", "//! a\nuse tract_onnx::prelude;"),
        ("examples/a.rs", "//! a"),
        ("src/a.rs", "//! a\nconst A: &str = \"user_id\";"),
        ("models/Cargo.toml", "[dependencies]"),
        ("a.md", &*["/wor", "k/"].concat()),
    ];
    assert_eq!(mistakes.len(), RULES.len());
    for (rule, (path, text)) in RULES.iter().zip(mistakes) {
        let file = File {
            path: path.into(),
            text: text.into(),
            test: false,
        };
        assert_eq!(rule(&file).len(), 1, "{path}: {text}");
    }
}

#[test]
fn is_a_missing_module_doc_found() {
    let rule = opens_with_its_reason;
    check(rule, "src/a.rs", "use a::b;\n", &["`//!`"]);
    check(rule, "src/a.rs", "\n//! Late.\n", &["`//!`"]);
    check(rule, "src/a.rs", "/// Of an item.\nfn f() {}\n", &["`//!`"]);
    check(rule, "src/a.rs", "", &["`//!`"]);
    check(rule, "src/a.rs", "//! Why.\n", &[]);
    check(rule, "README.md", "# Title\n", &[]);
}

#[test]
fn is_a_long_file_found() {
    let rule = is_not_too_long;
    check(rule, "src/a.rs", &"\n".repeat(601), &["601 lines"]);
    check(rule, "src/a.rs", &"\n".repeat(600), &[]);
    check(rule, "src/a/tests.rs", &"\n".repeat(601), &[]);
    check(rule, "Cargo.lock", &"\n".repeat(601), &[]);
}

/// A file with one function of that many lines.
fn long_function(lines: usize) -> String {
    format!(
        "//! a\npub fn long(x: [u8; 4]) -> u8 {{{}}}\nfn short() {{}}\n",
        "\n".repeat(lines - 1)
    )
}

#[test]
fn is_a_long_function_found() {
    let rule = has_no_long_function;
    check(
        rule,
        "src/a.rs",
        &long_function(71),
        &["line 2: `long` has 71 lines"],
    );
    check(rule, "src/a.rs", &long_function(70), &[]);
    check(rule, "src/a/tests.rs", &long_function(71), &[]);
    let inline = format!("#[cfg(test)]\nmod tests {{\n{}\n}}\n", long_function(71));
    check(rule, "src/a.rs", &inline, &[]);
    check(
        rule,
        "src/a.rs",
        &format!("{inline}{}", long_function(71)),
        &["`long`"],
    );
    let brace_in_literal = long_function(71).replacen("{\n", "{ '}'; \"}\"; // }\n", 1);
    check(rule, "src/a.rs", &brace_in_literal, &["71 lines"]);
}

#[test]
fn which_functions_does_a_file_have() {
    let check = |text: &str, expected: &[(&str, usize, usize)]| {
        let code = Source::of(text).code();
        let found: Vec<_> = functions(&code).collect();
        let found: Vec<_> = found
            .iter()
            .map(|(name, line, lines)| (name.as_str(), *line, *lines))
            .collect();
        assert_eq!(found, expected, "{text}");
    };
    check("fn a() {}\n\nfn b() {\n}\n", &[("a", 1, 1), ("b", 3, 2)]);
    check("trait T { fn a(&self); fn b(&self) {} }", &[("b", 1, 1)]);
    check(
        "struct S { f: fn (u8) -> u8 }\nfn a() where u8: Copy {\n}",
        &[("a", 2, 2)],
    );
    check("// fn a() {}\nlet s = \"fn b() {}\"; let defn = 1;", &[]);
}

#[test]
fn is_unfinished_code_found() {
    let rule = has_nothing_unfinished;
    let in_code = |code: &str, expected: &[&str]| {
        check(
            rule,
            "tests/a/main.rs",
            &format!("//! a\nfn f() {{ {code} }}"),
            expected,
        );
    };
    in_code("todo!()", &["todo!"]);
    in_code("std::unimplemented!(\"x\")", &["unimplemented!"]);
    in_code("dbg!(1); dbg!(2)", &["line 2: dbg!", "line 2: dbg!"]);
    in_code("\"todo!()\"; r#\"dbg!()\"#; /* todo!() */", &[]);
    in_code("my_dbg!(1)", &[]);
    check(
        rule,
        "src/a.rs",
        "#[test]\n#[ignore]\nfn a() {}",
        &["line 2: #[ignore"],
    );
    check(
        rule,
        "src/a.rs",
        "#[ignore = \"slow\"]\nfn a() {}",
        &["#[ignore"],
    );
    check(
        rule,
        "src/a.rs",
        "/// ```ignore\n/// f();\n/// ```\nfn f() {}",
        &["line 1: an ignored doctest"],
    );
    check(rule, "src/a.rs", "//! ```rust,ignore\n//! ```", &["line 1"]);
    check(
        rule,
        "src/a.rs",
        "/// ```\n/// f();\n/// ```\nfn f() {}",
        &[],
    );
}

#[test]
fn is_an_empty_name_found() {
    let rule = has_a_telling_name;
    check(rule, "src/util.rs", "", &["`util.rs`"]);
    check(rule, "src/common/mod.rs", "", &["`common`"]);
    check(
        rule,
        "tests/oracle/test_helpers.py",
        "",
        &["`test_helpers.py`"],
    );
    check(rule, "src/State-Manager.rs", "", &["Manager"]);
    check(
        rule,
        "src/a.rs",
        "mod misc;\npub mod utils { }",
        &["misc", "utils"],
    );
    check(
        rule,
        "src/a.rs",
        "// mod misc;\nmod miscount;\nmod uncommon;",
        &[],
    );
    check(rule, "operators/src/history.rs", "", &[]);
}

#[test]
fn is_the_client_of_s3_kept_apart() {
    let rule = knows_only_whom_it_may;
    let depends = |name: &str| format!("[dependencies]\n{name}.workspace = true");
    let connectors = depends("slackwater-connectors");
    check(
        rule,
        "buckets/Cargo.toml",
        &connectors,
        &["slackwater-connectors"],
    );
    let client = depends("object_store");
    check(rule, "dataflow/Cargo.toml", &client, &["object_store"]);
    check(rule, "Cargo.toml", &client, &["object_store"]);
    check(rule, "buckets/Cargo.toml", &client, &[]);
}

#[test]
fn is_what_starts_services_left_to_chores_and_tests() {
    let edge = |section: &str, path: &str, expected: &[&str]| {
        let text = format!("[{section}]\nslackwater-services.workspace = true");
        check(knows_only_whom_it_may, path, &text, expected);
    };
    edge("dependencies", "Cargo.toml", &["only tests may use"]);
    edge("dev-dependencies", "Cargo.toml", &[]);
    edge("dependencies", "xtask/Cargo.toml", &[]);
    edge("dev-dependencies", "connectors/Cargo.toml", &["must not"]);
}

#[test]
fn is_a_forbidden_edge_found() {
    let rule = knows_only_whom_it_may;
    check(
        rule,
        "dataflow/Cargo.toml",
        "[dependencies]\nslackwater-models.workspace = true",
        &["slackwater-models"],
    );
    check(
        rule,
        "connectors/Cargo.toml",
        "[dev-dependencies]\nslackwater-operators.workspace = true",
        &["slackwater-operators"],
    );
    check(
        rule,
        "models/Cargo.toml",
        "[dependencies]\ntimely = \"1\"",
        &["timely"],
    );
    check(
        rule,
        "models/Cargo.toml",
        "[target.'cfg(unix)'.dependencies]\ntimely = \"1\"",
        &["timely"],
    );
    check(
        rule,
        "operators/Cargo.toml",
        "[dependencies]\nrun = { package = \"tract-onnx\", version = \"1\" }",
        &["tract-onnx"],
    );
    check(
        rule,
        "xtask/Cargo.toml",
        "[dependencies]\nslackwater = { path = \"..\" }",
        &["`slackwater`"],
    );
    check(
        rule,
        "extra/Cargo.toml",
        "[dependencies]",
        &["does not know"],
    );
    check(
        rule,
        "models/Cargo.toml",
        "[dependencies",
        &["TOML parse error"],
    );
    check(
        rule,
        "Cargo.toml",
        "[dependencies]\nslackwater-models = \"1\"\n[dev-dependencies]\ntract-onnx = \"1\"",
        &[],
    );
    check(
        rule,
        "operators/Cargo.toml",
        "[dependencies]\nslackwater-dataflow.workspace = true",
        &[],
    );
}

#[test]
fn is_a_hand_through_a_seam_found() {
    let rule = touches_only_what_it_may;
    let both = |code: &str, wrong: &str, right: &str| {
        check(rule, wrong, code, &["only"]);
        check(rule, right, code, &[]);
    };
    both("use tract_onnx::prelude;", "src/a.rs", "models/src/a.rs");
    both(
        "use timely::dataflow::operators::generic::builder_rc;",
        "dataflow/src/a.rs",
        "dataflow/src/adapter/a.rs",
    );
    both(
        "use x::builder_raw;",
        "src/a.rs",
        "dataflow/src/worker/a.rs",
    );
    both("std::env::args();", "connectors/src/a.rs", "src/cli/a.rs");
    both(
        "std::env::args_os();",
        "models/src/a.rs",
        "models/examples/a.rs",
    );
    both(
        "std::process::exit(1);",
        "dataflow/src/a.rs",
        "xtask/src/main.rs",
    );
    both(
        "use timely::progress;",
        "operators/src/a.rs",
        "dataflow/src/a.rs",
    );
    both("use std::fs;", "operators/src/a.rs", "connectors/src/a.rs");
    both("use object_store::path;", "src/a.rs", "buckets/src/a.rs");
    both(
        "use rdkafka::Offset;",
        "connectors/src/a.rs",
        "kafka/src/a.rs",
    );
    both(
        "tokio::spawn(x);",
        "connectors/src/a.rs",
        "buckets/src/a.rs",
    );
    both(
        "std::net::TcpStream",
        "operators/src/a.rs",
        "operators/src/a/tests.rs",
    );
    check(
        rule,
        "operators/src/a.rs",
        "// timely\n\"timely\"; untimely();",
        &[],
    );
    check(
        rule,
        "operators/src/a.rs",
        "#[cfg(test)]\nmod tests { use std::fs; }",
        &[],
    );
    check(
        rule,
        "operators/src/a.rs",
        "#[cfg(test)]\n#[expect(x, reason = \";\")]\nmod tests;\nuse std::fs;",
        &["line 4"],
    );
}

#[test]
fn is_an_example_of_more_than_the_library_found() {
    let rule = shows_only_the_library;
    let small = "examples/count_by_key.rs";
    check(rule, small, "use slackwater_dataflow::flow;", &[]);
    check(
        rule,
        small,
        "use slackwater_operators::json;",
        &["slackwater_operators"],
    );
    let large = "examples/score_events.rs";
    check(rule, large, "use slackwater_operators::json;", &[]);
    check(
        rule,
        large,
        "use slackwater::job;\nuse timely::order;",
        &["line 1: `slackwater`", "line 2: `timely`"],
    );
    check(rule, large, "// timely\nlet a = \"slackwater run\";", &[]);
    check(rule, "examples/a.rs", "", &["does not know"]);
    check(rule, "models/examples/a.rs", "use timely;", &[]);
}

#[test]
fn is_a_field_of_the_reference_job_found() {
    let rule = names_no_field_of_a_job;
    check(
        rule,
        "operators/src/a.rs",
        "let key = \"user_id\";",
        &["`user_id`"],
    );
    check(
        rule,
        "src/a.rs",
        "struct A { timestamp_ms: u64 }",
        &["`timestamp_ms`"],
    );
    check(
        rule,
        "src/a.rs",
        "r#\"{\"event_type\": 1}\"#",
        &["`event_type`"],
    );
    check(
        rule,
        "src/a.rs",
        "/// The `user_id`.\nlet user_ids = order_timestamp_ms;",
        &[],
    );
    check(
        rule,
        "src/a.rs",
        "#[cfg(test)]\nmod tests { const A: &str = \"category\"; }",
        &[],
    );
    check(
        rule,
        "connectors/src/generator/templates.rs",
        "\"product_id\"",
        &[],
    );
    check(rule, "tests/cli/main.rs", "\"product_id\"", &[]);
}

#[test]
fn is_a_crate_without_the_lints_found() {
    let rule = keeps_the_workspace_lints;
    let lints = "[lints]\nworkspace = true\n";
    check(
        rule,
        "models/Cargo.toml",
        "[package]",
        &["`[lints] workspace = true`"],
    );
    check(
        rule,
        "models/Cargo.toml",
        "[lints]\nworkspace = false",
        &["`[lints] workspace = true`"],
    );
    check(rule, "Cargo.toml", lints, &["unsafe"]);
    check(
        rule,
        "Cargo.toml",
        &format!("{lints}[workspace.lints.rust]\nunsafe_code = \"deny\""),
        &["unsafe"],
    );
    check(
        rule,
        "Cargo.toml",
        &format!("{lints}[workspace.lints.rust]\nunsafe_code = \"forbid\""),
        &[],
    );
    check(rule, "models/Cargo.toml", lints, &[]);
    check(rule, "fuzz/Cargo.toml", "[package]", &[]);
}

#[test]
fn is_a_module_that_looks_ahead_found() {
    const ROOT: &str =
        "//! Why.\npub mod first;\nmod second;\npub mod third;\n#[cfg(test)]\nmod tests;";
    let check = |path: &str, text: &str, expected: &[&str]| {
        let file = |path: &str, text: &str| File {
            path: path.to_owned(),
            text: text.to_owned(),
            test: path.ends_with("/tests.rs"),
        };
        let findings = modules_go_one_way(&[file("models/src/lib.rs", ROOT), file(path, text)]);
        let right = findings.len() == expected.len()
            && findings
                .iter()
                .zip(expected)
                .all(|(finding, word)| finding.contains(word));
        assert!(
            right,
            "{path}: {text}\nfound {findings:#?}\nexpected {expected:?}"
        );
    };
    let first = "models/src/first.rs";
    check(
        first,
        "//! a\nuse crate::third::A;",
        &["line 2: uses `third`"],
    );
    check(first, "fn f() { crate::second::g() }", &["`second`"]);
    check(
        first,
        "use crate::{first::A, third::{B, C}, second};",
        &["`third`", "`second`"],
    );
    check(
        "models/src/second/deep/a.rs",
        "use crate::third;",
        &["`third`"],
    );
    check(
        "models/src/third/mod.rs",
        "use crate::{first::A, second::B};",
        &[],
    );
    check(
        "models/src/second.rs",
        "use crate::second::inner::third;",
        &[],
    );
    check(
        first,
        "// crate::third\nuse crate::thirds; use xcrate::third; other::third();",
        &[],
    );
    check(
        first,
        "#[cfg(test)]\nmod tests { use crate::third::A; }",
        &[],
    );
    check("models/src/first/tests.rs", "use crate::third::A;", &[]);
    check("operators/src/first.rs", "use crate::third::A;", &[]);
}

#[test]
fn is_a_trace_of_a_machine_found() {
    let rule = says_nothing_of_a_machine;
    check(
        rule,
        "a.md",
        &["see /hom", "e/me/notes"].concat(),
        &["line 1"],
    );
    check(
        rule,
        "a.toml",
        &["\n\npath = \"/roo", "t/x\""].concat(),
        &["line 3"],
    );
    check(rule, "a.py", &["# Cla", "ude did it"].concat(), &["line 1"]);
    check(
        rule,
        "a.rs",
        &["// AI-gen", "erated by a sub", "agent"].concat(),
        &["line 1", "line 1"],
    );
    check(rule, "a.md", "framework/root/homework", &[]);
}

#[test]
fn does_the_scanner_tell_code_from_the_rest() {
    let check = |text: &str, code: &str| assert_eq!(Source::of(text).code(), code, "{text}");
    check("a // b\nc", "a     \nc");
    check("a /* b /* c */ d */ e", "a                   e");
    check(r#"f("a\"b", c)"#, "f(      , c)");
    check("r#\"a\"b\"# c", "         c");
    check("br\"a\\\" c", "       c");
    check(r"'a' + '\'' + '\u{61}'", "    +      +         ");
    check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
    check("\"open", "     ");
    check("for\"x\"", "for   ");
}

#[test]
fn which_files_are_modules_of_tests() {
    let check = |path: &str, text: &str, expected: &[&str]| {
        let mut found = test_modules(path, text);
        found.retain(|file| !file.ends_with("/mod.rs"));
        assert_eq!(found, expected, "{path}: {text}");
    };
    let race = "#[cfg(test)]\nmod race;";
    check(
        "operators/src/json/mod.rs",
        race,
        &["operators/src/json/race.rs"],
    );
    check(
        "operators/src/json.rs",
        race,
        &["operators/src/json/race.rs"],
    );
    check(
        "src/lib.rs",
        "#[cfg(test)]\n#[expect(a, reason = \"b;\")]\nmod tests;",
        &["src/tests.rs"],
    );
    check(
        "src/lib.rs",
        "mod shipped;\n#[cfg(test)]\nmod tests { mod a; }\n#[cfg(test)]\nuse a;",
        &[],
    );
}
