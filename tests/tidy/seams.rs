//! The rules about who may know whom: edges between crates, things behind a seam, names of fields.

use crate::scanner::{Source, words};
use crate::{File, finding, is_manifest, is_rust};

/// Who may use whom: manifest, ours that it may use, others that it must never know. "Never" does
/// not bind tests and benches: they may compare with the real thing.
const EDGES: [(&str, &[&str], &[&str]); 7] = [
    (
        "dataflow/Cargo.toml",
        &[],
        &["tract", "rdkafka", "redis", "toml", "clap"],
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
        &["timely", "differential", "tract"],
    ),
    (
        "Cargo.toml",
        &[
            "slackwater-dataflow",
            "slackwater-operators",
            "slackwater-connectors",
            "slackwater-models",
        ],
        &["tract"],
    ),
    ("xtask/Cargo.toml", &[], &["timely", "tract"]),
    (
        "fuzz/Cargo.toml",
        &[
            "slackwater-dataflow",
            "slackwater-operators",
            "slackwater-connectors",
            "slackwater-models",
        ],
        &[],
    ),
];

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
    }
    findings
}

/// Each thing that only some paths may touch: the words, the paths, what it is. Tests,
/// benches and examples may touch anything.
const TOUCH: [(&[&str], &[&str], &str); 6] = [
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
            "models/",
            "dataflow/",
            "src/",
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
