//! The rules about who may know whom: edges between crates, things behind a seam, names of fields.

use std::collections::BTreeSet;

use crate::scanner::{Source, line_of, words};
use crate::{File, finding, is_manifest, is_rust};

/// Who may use whom: manifest, ours that it may use, others that it must never know. "Never" does
/// not bind tests and benches: they may compare with the real thing.
const EDGES: [(&str, &[&str], &[&str]); 12] = [
    (
        "dataflow/Cargo.toml",
        &[],
        &[
            "tract",
            "rdkafka",
            "redis",
            "toml",
            "clap",
            "object_store",
            "tokio",
        ],
    ),
    (
        "models/Cargo.toml",
        &[],
        &["timely", "differential", "rdkafka", "redis"],
    ),
    (
        "operators/Cargo.toml",
        &["slackwater-dataflow", "slackwater-models"],
        &["timely", "differential", "tract", "rdkafka", "redis"],
    ),
    (
        "connectors/Cargo.toml",
        &["slackwater-dataflow"],
        &["timely", "differential", "tract", "rdkafka"],
    ),
    (
        "buckets/Cargo.toml",
        &["slackwater-dataflow"],
        &["timely", "differential", "tract", "rdkafka"],
    ),
    (
        "columns/Cargo.toml",
        &[],
        &["timely", "differential", "tract", "rdkafka", "redis"],
    ),
    (
        "kafka/Cargo.toml",
        &["slackwater-dataflow"],
        &["timely", "differential", "tract", "object_store", "tokio"],
    ),
    (
        "redis/Cargo.toml",
        &["slackwater-dataflow"],
        &[
            "timely",
            "differential",
            "tract",
            "object_store",
            "tokio",
            "rdkafka",
        ],
    ),
    (
        "Cargo.toml",
        &[
            "slackwater-dataflow",
            "slackwater-operators",
            "slackwater-connectors",
            "slackwater-models",
            "slackwater-kafka",
            "slackwater-redis",
            "slackwater-buckets",
            "slackwater-columns",
            SERVICES,
        ],
        &[
            "tract",
            "object_store",
            "rdkafka",
            "tokio",
            "redis",
            "parquet",
            "arrow",
        ],
    ),
    (
        "services/Cargo.toml",
        &[],
        &["timely", "differential", "tract", "rdkafka", "redis"],
    ),
    ("xtask/Cargo.toml", &[SERVICES], &["timely", "tract"]),
    (
        "fuzz/Cargo.toml",
        &[
            "slackwater",
            "slackwater-dataflow",
            "slackwater-operators",
            "slackwater-connectors",
            "slackwater-models",
        ],
        &[],
    ),
];

/// Starts real services, for chores and tests: nothing that ships may use it.
const SERVICES: &str = "slackwater-services";

/// The edges between crates are those of the table, read from the manifests.
pub fn knows_only_whom_it_may(file: &File) -> Vec<String> {
    if !is_manifest(file) || file.path.starts_with("benches/peers/") {
        return Vec::new();
    }
    let Some((_, ours, never)) = EDGES.iter().find(|(path, ..)| *path == file.path) else {
        return vec!["a crate that the table of edges in tests/tidy.rs does not know".into()];
    };
    let manifest: toml::Table = match file.text.parse() {
        Ok(table) => table,
        Err(error) => return vec![error.to_string()],
    };
    let mut findings = Vec::new();
    for (section, name) in dependencies(&manifest) {
        let foreign = name.starts_with("slackwater") && !ours.contains(&name.as_str());
        let banned =
            section != "dev-dependencies" && never.iter().any(|word| name.starts_with(word));
        findings.extend(finding(foreign || banned, || {
            format!("must not know `{name}`")
        }));
        let ships = section != "dev-dependencies" && file.path != "xtask/Cargo.toml";
        findings.extend(finding(name == SERVICES && !foreign && ships, || {
            format!("only tests may use `{name}`")
        }));
    }
    findings
}

/// Each thing that only some paths may touch: the words, the paths, what it is. Tests,
/// benches and examples may touch anything.
const TOUCH: [(&[&str], &[&str], &str); 10] = [
    (
        &[
            "tract",
            "tract_onnx",
            "tract_core",
            "tract_hir",
            "tract_data",
            "tract_linalg",
        ],
        &["models/"],
        "the ONNX runtime",
    ),
    (
        &["parquet", "arrow_array", "arrow_buffer", "arrow_schema"],
        &["columns/"],
        "Parquet and Arrow",
    ),
    (
        &["object_store", "reqwest", "tokio"],
        &["buckets/"],
        "the client of S3 and the asynchronous runtime",
    ),
    (
        &["rustls", "rustls_native_certs"],
        &["buckets/", "redis/"],
        "TLS",
    ),
    (&["rdkafka"], &["kafka/"], "the client of Kafka"),
    (
        &["builder_rc", "builder_raw"],
        &["dataflow/src/adapter", "dataflow/src/worker"],
        "timely's raw builders",
    ),
    (
        &["env::args", "args_os"],
        &["src/", "xtask/", "build.rs"],
        "the command line",
    ),
    (
        &["process::exit", "process::abort"],
        &["src/", "xtask/"],
        "the end of the process",
    ),
    (
        &["timely", "differential_dataflow"],
        &["dataflow/", "src/"],
        "timely and differential",
    ),
    (
        &["std::fs", "std::net"],
        &[
            "connectors/",
            "columns/",
            "redis/",
            "models/",
            "dataflow/",
            "src/",
            "services/",
            "xtask/",
            "fuzz/",
        ],
        "files and sockets",
    ),
];

/// What stands behind a seam is named on its own side of it only.
pub fn touches_only_what_it_may(file: &File) -> Vec<String> {
    if !is_rust(file) || file.test || is_demonstration(file) {
        return Vec::new();
    }
    let code = Source::of(&file.text).without_tests().code();
    let mut findings = Vec::new();
    for (names, paths, what) in TOUCH {
        if paths.iter().any(|path| file.path.starts_with(path)) {
            continue;
        }
        for name in names {
            let found = words(&code, name);
            findings.extend(
                found.map(|line| format!("line {line}: `{name}`: only {paths:?} may touch {what}")),
            );
        }
    }
    findings
}

/// The programs in examples/ and which of our crates each shows.
const EXAMPLES: [(&str, &[&str]); 2] = [
    (
        "examples/count_by_key.rs",
        &["slackwater_dataflow", "slackwater_connectors"],
    ),
    (
        "examples/score_events.rs",
        &[
            "slackwater_dataflow",
            "slackwater_operators",
            "slackwater_connectors",
            "slackwater_models",
        ],
    ),
];

/// Whoever reads an example learns how the library is used without the binary: it names neither the package
/// of pipeline files nor what stands behind the library's seams.
pub fn shows_only_the_library(file: &File) -> Vec<String> {
    const NEVER: [&str; 4] = [
        "slackwater",
        "timely",
        "differential_dataflow",
        "tract_onnx",
    ];
    if !is_rust(file) || !file.path.starts_with("examples/") {
        return Vec::new();
    }
    let Some((_, shown)) = EXAMPLES.iter().find(|(path, _)| *path == file.path) else {
        return vec!["an example that the table in tests/tidy does not know".into()];
    };
    let code = Source::of(&file.text).code();
    let all = EXAMPLES.iter().flat_map(|(_, shown)| *shown).chain(&NEVER);
    let others: BTreeSet<&str> = all.copied().filter(|name| !shown.contains(name)).collect();
    let found = others.into_iter().flat_map(|name| {
        words(&code, name)
            .map(move |line| format!("line {line}: `{name}`: it shows only {shown:?}"))
    });
    found.collect()
}

/// The engine is told the fields of a job by its pipeline file. Only the generator makes them up.
pub fn names_no_field_of_a_job(file: &File) -> Vec<String> {
    const FIELDS: [&str; 5] = [
        "user_id",
        "product_id",
        "category",
        "timestamp_ms",
        "event_type",
    ];
    const MAY: [&str; 2] = ["connectors/src/generator/templates.rs", "fuzz/"];
    let may = MAY.iter().any(|path| file.path.starts_with(path));
    if !is_rust(file) || file.test || is_demonstration(file) || may {
        return Vec::new();
    }
    let text = Source::of(&file.text).without_tests().code_and_literals();
    let found = FIELDS.iter().flat_map(|field| {
        words(&text, field)
            .map(move |line| format!("line {line}: names the field `{field}` of the reference job"))
    });
    found.collect()
}

/// Every crate takes the lints of the workspace, and unsafe code is forbidden there.
pub fn keeps_the_workspace_lints(file: &File) -> Vec<String> {
    // fuzz/ and the peers of the benches are workspaces of their own.
    let own = ["fuzz/", "benches/"]
        .iter()
        .any(|path| file.path.starts_with(path));
    let Some(manifest) = file
        .text
        .parse::<toml::Table>()
        .ok()
        .filter(|_| is_manifest(file) && !own)
    else {
        return Vec::new();
    };
    let at = |keys: &[&str]| {
        let (first, rest) = keys.split_first()?;
        rest.iter()
            .try_fold(manifest.get(*first)?, |value, key| value.get(key))
            .cloned()
    };
    let mut findings = finding(at(&["lints", "workspace"]) != Some(true.into()), || {
        "no `[lints] workspace = true`".into()
    });
    let forbidden = at(&["workspace", "lints", "rust", "unsafe_code"]) == Some("forbid".into());
    findings.extend(finding(file.path == "Cargo.toml" && !forbidden, || {
        "the workspace does not forbid unsafe code".into()
    }));
    findings
}

/// Within a crate, modules are declared in reading order, and a later one uses an earlier one, never the
/// reverse. Tests are exempt: they may compare with anything.
pub fn modules_go_one_way(files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for root in files
        .iter()
        .filter(|file| file.path.ends_with("src/lib.rs"))
    {
        let folder = root.path.trim_end_matches("lib.rs");
        let modules = modules(&Source::of(&root.text).without_tests().code());
        let place = |name: &str| modules.iter().position(|module| module == name);
        for file in files.iter().filter(|file| is_rust(file) && !file.test) {
            let own = file.path.strip_prefix(folder).and_then(|path| {
                let first = path.split('/').next().unwrap_or(path);
                place(first.trim_end_matches(".rs"))
            });
            let Some(own) = own else {
                continue;
            };
            let code = Source::of(&file.text).without_tests().code();
            for (line, name) in of_this_crate(&code) {
                let later = place(&name).is_some_and(|other| other > own);
                findings.extend(finding(later, || {
                    format!(
                        "{}: line {line}: uses `{name}`, which {} declares later",
                        file.path, root.path
                    )
                }));
            }
        }
    }
    findings
}

/// The modules that a crate's root declares, in order. Takes code without tests.
fn modules(root: &str) -> Vec<String> {
    let tokens: Vec<&str> = root.split_whitespace().collect();
    let pairs = tokens.windows(2).filter_map(|pair| match pair {
        ["mod", name] => Some(name.trim_end_matches([';', '{']).to_owned()),
        _ => None,
    });
    pairs.collect()
}

/// The first names of the paths that begin with `crate::`, and where they stand; of each path when
/// several share one `crate::{...}`.
fn of_this_crate(code: &str) -> Vec<(usize, String)> {
    let joined = |c: char| c.is_alphanumeric() || c == '_';
    let name = |text: &str| -> String { text.chars().take_while(|c| joined(*c)).collect() };
    let mut found = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        let before = code.get(..at).unwrap_or_default();
        if before.ends_with(joined) {
            continue;
        }
        let rest = code.get(at + start.len()..).unwrap_or_default();
        let line = line_of(code, at);
        let Some(list) = rest.strip_prefix('{') else {
            found.push((line, name(rest)));
            continue;
        };
        let (mut depth, mut first) = (1_u32, true);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => first = true,
                c if first && joined(c) => {
                    found.push((line, name(list.get(at..).unwrap_or_default())));
                    first = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

/// A bench or an example, of the root package or of a crate: a program beside the engine.
fn is_demonstration(file: &File) -> bool {
    file.path
        .split('/')
        .any(|folder| ["benches", "examples"].contains(&folder))
}

/// All dependencies of a manifest with the kind of section they stand in.
fn dependencies(manifest: &toml::Table) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let targets = targets
        .into_iter()
        .flat_map(toml::Table::values)
        .filter_map(toml::Value::as_table);
    for table in targets.chain([manifest]) {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(entries) = table.get(section).and_then(toml::Value::as_table) else {
                continue;
            };
            for (name, entry) in entries {
                // `nice = { package = "real" }` is a use of `real`.
                let real = entry
                    .get("package")
                    .and_then(toml::Value::as_str)
                    .unwrap_or(name);
                found.push((section.to_owned(), real.to_owned()));
            }
        }
    }
    found
}
