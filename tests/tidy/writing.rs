//! The rules about how a file is written: its opening, its length, its words.

use crate::scanner::{Source, functions, line_of, words};
use crate::{File, finding, is_rust};

/// A file longer than this cannot be held in mind; tests in a sibling `tests.rs` do not count.
const LINES_PER_FILE: usize = 600;
/// About a screen and a half.
const LINES_PER_FUNCTION: usize = 70;

/// A reader who opens a file learns first why it exists.
pub fn opens_with_its_reason(file: &File) -> Vec<String> {
    let opens = file.text.trim_start_matches('\u{feff}').starts_with("//!");
    finding(is_rust(file) && !opens, || {
        "the first line is not `//!` and the reason why the file exists".into()
    })
}

/// A file can be held in mind.
pub fn is_not_too_long(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    let counts = is_rust(file) && !file.path.ends_with("/tests.rs");
    finding(counts && lines > LINES_PER_FILE, || {
        format!("{lines} lines, at most {LINES_PER_FILE}: split it by question")
    })
}

/// A function fits on a screen and a half. Test code is exempt: a table of cases may be long.
pub fn has_no_long_function(file: &File) -> Vec<String> {
    if !is_rust(file) || file.test {
        return Vec::new();
    }
    let code = Source::of(&file.text).without_tests().code();
    let long = functions(&code).filter(|(_, _, lines)| *lines > LINES_PER_FUNCTION);
    long.map(|(name, line, lines)| {
        format!("line {line}: `{name}` has {lines} lines, at most {LINES_PER_FUNCTION}")
    })
    .collect()
}

/// Also in tests: what is unfinished or switched off there is no test.
pub fn has_nothing_unfinished(file: &File) -> Vec<String> {
    if !is_rust(file) {
        return Vec::new();
    }
    let source = Source::of(&file.text);
    let mut findings = Vec::new();
    for banned in ["todo!", "unimplemented!", "dbg!", "#[ignore", "#![ignore"] {
        findings.extend(words(&source.code(), banned).map(|line| format!("line {line}: {banned}")));
    }
    for (line, text) in source.comments().lines().enumerate() {
        let fence = text.trim_start_matches(['/', '!', '*', ' ']);
        let skipped = fence
            .strip_prefix("```")
            .is_some_and(|tags| tags.split(',').any(|tag| tag.trim().starts_with("ignore")));
        findings.extend(finding(skipped, || {
            format!("line {}: an ignored doctest", line + 1)
        }));
    }
    findings
}

/// Files, folders and modules are named after what they hold.
pub fn has_a_telling_name(file: &File) -> Vec<String> {
    const EMPTY_NAMES: [&str; 10] = [
        "common",
        "commons",
        "helper",
        "helpers",
        "manager",
        "managers",
        "misc",
        "util",
        "utils",
        "utilities",
    ];
    let is_empty_name = |name: &str| {
        name.split(|c: char| !c.is_alphanumeric())
            .any(|word| EMPTY_NAMES.contains(&word.to_ascii_lowercase().as_str()))
    };
    let mut names: Vec<String> = file.path.split('/').map(str::to_owned).collect();
    if is_rust(file) {
        let code = Source::of(&file.text).code();
        let tokens: Vec<&str> = code.split_whitespace().collect();
        let modules = tokens.windows(2).filter(|pair| matches!(pair, ["mod", _]));
        names.extend(modules.filter_map(|pair| pair.last().map(ToString::to_string)));
    }
    names.retain(|name| is_empty_name(name));
    names
        .iter()
        .map(|name| {
            format!("`{name}` says nothing: name it after what it holds, or put it with its owner")
        })
        .collect()
}

/// A repository is read elsewhere: it must not depend on one machine's folders, nor on how it was
/// written.
pub fn says_nothing_of_a_machine(file: &File) -> Vec<String> {
    // In two pieces, so that this file passes its own rule.
    let banned = [
        ["/wor", "k/"],
        ["/roo", "t/"],
        ["/hom", "e/"],
        ["sub", "agent"],
        ["cla", "ude"],
        ["ai-gen", "erated"],
    ];
    let text = file.text.to_ascii_lowercase();
    let mut findings = Vec::new();
    for word in banned.map(|pieces| pieces.concat()) {
        for (at, _) in text.match_indices(&word) {
            // A folder of that name inside another one is anybody's; at the root it is a machine's.
            let before = text.get(..at).and_then(|text| text.chars().next_back());
            let inside = before.is_some_and(|c| c.is_alphanumeric() || "_-.}>*".contains(c));
            findings.extend(finding(!(word.starts_with('/') && inside), || {
                format!("line {}: \"{word}\"", line_of(&text, at))
            }));
        }
    }
    findings
}
