//! Reads Rust well enough for the rules: it knows comments, literals, braces and test modules.
//!
//! It is no parser. It may be fooled on purpose, but not by accident; and because it can tell a
//! literal from code, the rules may name what they ban inside a string.

/// What stands before an item that only tests have.
const TEST_ONLY: &str = "#[cfg(test)]";

/// The lines on which a word or path stands, not as a part of a longer word.
pub fn words<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let starts = word.starts_with(char::is_alphanumeric);
    let ends = word.ends_with(char::is_alphanumeric);
    text.match_indices(word)
        .filter(move |(at, found)| {
            let before = text.get(..*at).and_then(|text| text.chars().next_back());
            let after = text
                .get(at + found.len()..)
                .and_then(|text| text.chars().next());
            !(starts && joins(before) || ends && joins(after))
        })
        .map(|(at, _)| line_of(text, at))
}

/// The number of the line, from 1, on which a byte stands.
pub fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// The files of the modules that this file declares under `#[cfg(test)]`, in both places where the
/// compiler would look.
pub fn test_modules(path: &str, text: &str) -> Vec<String> {
    let (folder, stem) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = match stem {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        _ => format!("{folder}/{}", stem.trim_end_matches(".rs")),
    };
    let code = Source::of(text).code();
    let modules = code.match_indices(TEST_ONLY).filter_map(|(at, _)| {
        let item = code.get(at..)?;
        if body_start(item).is_some() {
            return None;
        }
        let (item, _) = item.split_once(';')?;
        let (item, name) = item.trim_end().rsplit_once(' ')?;
        item.ends_with("mod").then_some(name)
    });
    modules
        .flat_map(|name| {
            [
                format!("{folder}/{name}.rs"),
                format!("{folder}/{name}/mod.rs"),
            ]
        })
        .collect()
}

/// Name, first line and number of lines of each function with a body. Takes code without comments
/// and literals.
pub fn functions(code: &str) -> impl Iterator<Item = (String, usize, usize)> + '_ {
    code.match_indices("fn ").filter_map(|(at, found)| {
        let joined = |c: char| c.is_alphanumeric() || c == '_';
        if code.get(..at)?.ends_with(joined) {
            return None;
        }
        let rest = code.get(at + found.len()..)?;
        let name: String = rest.chars().take_while(|c| joined(*c)).collect();
        let body = body_start(rest).filter(|_| !name.is_empty())?;
        let end = at + found.len() + block_end(rest, body);
        let first = line_of(code, at);
        Some((name, first, line_of(code, end) + 1 - first))
    })
}

/// Where an item's `{` stands; nothing for one that ends with `;`.
fn body_start(item: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, c) in item.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(at),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Where the block that opens at `open` closes.
fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0_i32;
    for (at, c) in code.char_indices().skip_while(|(at, _)| *at < open) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

/// What a character of Rust source belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// Rust source with each character's kind. Blanking characters keeps every line where it was.
pub struct Source(Vec<(char, Kind)>);

impl Source {
    /// Reads source text.
    pub fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut kinds = Vec::with_capacity(chars.len());
        while let Some(rest) = chars.get(kinds.len()..).filter(|rest| !rest.is_empty()) {
            let joined = kinds.len().checked_sub(1).and_then(|at| chars.get(at));
            let joined = joined.is_some_and(|c| c.is_alphanumeric() || *c == '_');
            let (kind, length) = token(rest, joined);
            kinds.extend(std::iter::repeat_n(kind, length.clamp(1, rest.len())));
        }
        Self(chars.into_iter().zip(kinds).collect())
    }

    /// The code: no comments, no literals.
    pub fn code(&self) -> String {
        self.only(&[Kind::Code])
    }

    /// The comments, documentation included.
    pub fn comments(&self) -> String {
        self.only(&[Kind::Comment])
    }

    /// All but the comments.
    pub fn code_and_literals(&self) -> String {
        self.only(&[Kind::Code, Kind::Literal])
    }

    fn only(&self, kinds: &[Kind]) -> String {
        let keep = |(c, kind): &(char, Kind)| {
            if *c == '\n' || kinds.contains(kind) {
                *c
            } else {
                ' '
            }
        };
        self.0.iter().map(keep).collect()
    }

    /// Everything under `#[cfg(test)]` becomes a comment.
    pub fn without_tests(mut self) -> Self {
        // One byte a character, so that places in the text are places in the vector.
        let code: String = self
            .code()
            .chars()
            .map(|c| if c.is_ascii() { c } else { '?' })
            .collect();
        for (at, _) in code.match_indices(TEST_ONLY) {
            let item = code.get(at..).unwrap_or_default();
            let end = match body_start(item) {
                Some(open) => block_end(item, open),
                None => item.find(';').unwrap_or(item.len()),
            };
            for place in self.0.iter_mut().skip(at).take(end + 1) {
                place.1 = Kind::Comment;
            }
        }
        self
    }
}

/// Kind and length of what the text begins with. `joined`: the character before it is part of a
/// word, so that an `r` or `b` here does not start a literal.
fn token(text: &[char], joined: bool) -> (Kind, usize) {
    match text {
        ['/', '/', ..] => (
            Kind::Comment,
            text.iter().take_while(|c| **c != '\n').count(),
        ),
        ['/', '*', ..] => (Kind::Comment, nested_comment(text)),
        ['"', rest @ ..] => (Kind::Literal, 1 + quoted(rest, '"')),
        ['\'', '\\', rest @ ..] => (
            Kind::Literal,
            3 + quoted(rest.get(1..).unwrap_or_default(), '\''),
        ),
        ['\'', _, '\'', ..] => (Kind::Literal, 3),
        ['r', rest @ ..] if !joined => match raw_string(rest) {
            Some(length) => (Kind::Literal, 1 + length),
            None => (Kind::Code, 1),
        },
        ['b', 'r', rest @ ..] if !joined => match raw_string(rest) {
            Some(length) => (Kind::Literal, 2 + length),
            None => (Kind::Code, 2),
        },
        _ => (Kind::Code, 1),
    }
}

/// Length up to and with the closing quote; a backslash hides the character after it.
fn quoted(text: &[char], quote: char) -> usize {
    let mut at = 0;
    while let Some(c) = text.get(at) {
        at += if *c == '\\' { 2 } else { 1 };
        if *c == quote {
            break;
        }
    }
    at
}

/// Length of `#"..."#` with any number of `#`, if the text begins with one.
fn raw_string(text: &[char]) -> Option<usize> {
    let hashes = text.iter().take_while(|c| **c == '#').count();
    let body = text.get(hashes..)?.strip_prefix(&['"'])?;
    let mut end = vec!['"'];
    end.extend(std::iter::repeat_n('#', hashes));
    let length = body.windows(end.len()).position(|window| window == end);
    Some(hashes + 1 + length.unwrap_or(body.len()) + end.len())
}

/// Length of a block comment, which may hold others.
fn nested_comment(text: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        match rest {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth.saturating_sub(1), at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}
