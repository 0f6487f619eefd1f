//! Regular expressions that texts are held to.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};
use thiserror::Error;

/// Most bytes that a compiled pattern may take. Counted repetitions multiply: `\pL{1000}` takes several MiB, and each
/// event is held to it.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// A regular expression, in the syntax of the crate `regex`: without back references and looks around, so that a search
/// takes time that grows with the text and no faster.
#[derive(Clone)]
pub struct Pattern(Regex);

/// Why a pattern is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadPattern {
    /// It is not a regular expression.
    #[error("is no regular expression: {0}")]
    Syntax(String),
    /// It is one, but too large.
    #[error(
        "takes more than {} KiB when it is compiled: repeat less, or leave classes of Unicode such as `\\w` out",
        COMPILED_BYTES_MAX >> 10
    )]
    TooLarge,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`BadPattern`]: what is wrong with it.
    pub fn new(text: &str) -> Result<Self, BadPattern> {
        let mut builder = RegexBuilder::new(text);
        let compiled = builder.size_limit(COMPILED_BYTES_MAX).build();
        compiled.map(Pattern).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => BadPattern::TooLarge,
            // The last line says what is wrong, those before it show where, in a picture.
            error => {
                let message = error.to_string();
                let last = message.lines().next_back().unwrap_or_default();
                BadPattern::Syntax(last.trim_start_matches("error: ").to_owned())
            }
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it is found in a text, which is UTF-8.
    pub fn is_found_in(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.as_str()).finish()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::check::{BadPattern, Pattern};

    #[test]
    fn is_a_pattern_found_anywhere_unless_it_says_where() {
        let check = |pattern: &str, text: &str, expected: bool| {
            let pattern = Pattern::new(pattern).unwrap();
            assert_eq!(pattern.is_found_in(text.as_bytes()), expected, "{text}");
        };
        check("b+", "abbc", true);
        check("^b+$", "abbc", false);
        check("^b+$", "bb", true);
        check("^.$", "é", true);
        check("(?i)^straße$", "STRAßE", true);
        check("", "", true);
        check("^[A-Z]{2}-\\d{4}$", "AB-12345", false);
    }

    #[test]
    fn what_is_said_of_a_bad_pattern() {
        let check = |pattern: &str, expected: BadPattern| {
            assert_eq!(Pattern::new(pattern), Err(expected), "{pattern}");
        };
        let syntax = |what: &str| BadPattern::Syntax(what.to_owned());
        check("(a", syntax("unclosed group"));
        check(
            "a{3,2}",
            syntax("invalid repetition count range, the start must be <= the end"),
        );
        check(
            "(?=a)",
            syntax("look-around, including look-ahead and look-behind, is not supported"),
        );
        check(r"\pL{1000}", BadPattern::TooLarge);
    }
}
