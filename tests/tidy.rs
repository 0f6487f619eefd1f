//! Does the repository keep its house rules (CONTRIBUTING.md)?
//!
//! Each rule is a function from one file to its findings; `is_the_tree_tidy` runs them all over
//! what git knows or would add. Each rule also has mutation tests that feed it a mistake, so that
//! no rule can stop working without being noticed.
//!
//! - `scanner` tells code from comments and literals;
//! - `writing` holds the rules about how a file is written;
//! - `seams` holds the rules about who may know whom;
//! - `mutations` shows that each rule can fail.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "tidy/mutations.rs"]
mod mutations;
#[path = "tidy/scanner.rs"]
mod scanner;
#[path = "tidy/seams.rs"]
mod seams;
#[path = "tidy/writing.rs"]
mod writing;

use std::process::Command;

use crate::scanner::test_modules;

/// A file of the repository.
struct File {
    /// From the root, with `/`.
    path: String,
    /// All of it.
    text: String,
    /// Compiled for tests only: the rules about what ships leave it alone.
    test: bool,
}

/// A rule: one file in, one line out for each thing that is wrong with it.
type Rule = fn(&File) -> Vec<String>;

/// Every rule.
const RULES: [Rule; 11] = [
    writing::opens_with_its_reason,
    writing::is_not_too_long,
    writing::has_no_long_function,
    writing::has_nothing_unfinished,
    writing::has_a_telling_name,
    seams::knows_only_whom_it_may,
    seams::touches_only_what_it_may,
    seams::shows_only_the_library,
    seams::names_no_field_of_a_job,
    seams::keeps_the_workspace_lints,
    writing::says_nothing_of_a_machine,
];

#[test]
fn is_the_tree_tidy() {
    let files = files();
    assert!(files.len() > 20, "only {} files were found", files.len());
    let findings: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let all = RULES.iter().flat_map(|rule| rule(file));
            all.map(|finding| format!("{}: {finding}", file.path))
        })
        .collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn do_the_modules_of_each_crate_go_one_way() {
    let findings = seams::modules_go_one_way(&files());
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// The text files that git has, or would take with `git add --all`.
fn files() -> Vec<File> {
    let root = env!("CARGO_MANIFEST_DIR");
    let listed = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others"])
        .arg("--exclude-standard")
        .output()
        .unwrap();
    assert!(
        listed.status.success(),
        "git ls-files failed ({}): {}\ntidy needs a git work tree",
        listed.status,
        String::from_utf8_lossy(&listed.stderr).trim()
    );
    let paths = String::from_utf8(listed.stdout).unwrap();
    let read = |path: &str| {
        // Deleted but not yet committed, or no text: nothing to read.
        let text = std::fs::read_to_string(format!("{root}/{path}")).ok()?;
        Some((path.to_owned(), text))
    };
    let read: Vec<(String, String)> = paths.split_terminator('\0').filter_map(read).collect();
    let declared: Vec<String> = read
        .iter()
        .filter(|(path, _)| path.ends_with(".rs"))
        .flat_map(|(path, text)| test_modules(path, text))
        .collect();
    let file = |(path, text): (String, String)| File {
        test: path.starts_with("tests/") || path.contains("/tests/") || declared.contains(&path),
        path,
        text,
    };
    read.into_iter().map(file).collect()
}

/// One finding or none.
fn finding(wrong: bool, text: impl FnOnce() -> String) -> Vec<String> {
    wrong.then(text).into_iter().collect()
}

fn is_rust(file: &File) -> bool {
    file.path.ends_with(".rs")
}

fn is_manifest(file: &File) -> bool {
    file.path == "Cargo.toml" || file.path.ends_with("/Cargo.toml")
}
