//! The digest by which a pipeline file names the one model it accepts.

use std::fmt;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// What every digest starts with; the only hash there is.
const PREFIX: &str = "sha256:";

/// Hex digits of a SHA-256.
const HEX_DIGITS: usize = 64;

/// The SHA-256 of a model file, written `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelDigest(String);

impl ModelDigest {
    /// The digest of a model file's bytes.
    #[must_use]
    pub fn of(source: &[u8]) -> Self {
        let mut text = String::from(PREFIX);
        for byte in Sha256::digest(source) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// Reads a digest as a pipeline file has it; capital hex digits are accepted. `None` if the text
    /// is not `sha256:` and 64 hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix(PREFIX)?;
        let valid = hex.len() == HEX_DIGITS && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        valid.then(|| Self(format!("{PREFIX}{}", hex.to_ascii_lowercase())))
    }

    /// The digest as text, `sha256:...`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ModelDigest;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn which_texts_are_digests() {
        let check = |text: &str, expected: Option<&str>| {
            let parsed = ModelDigest::parse(text);
            assert_eq!(parsed.as_ref().map(ModelDigest::as_str), expected, "{text}");
        };
        check(EMPTY, Some(EMPTY));
        check(&EMPTY.to_uppercase().replace("SHA", "sha"), Some(EMPTY));
        check("sha256:e3b0", None);
        check(&EMPTY.replace("sha256:", ""), None);
        check(&EMPTY.replace("e3b0", "x3b0"), None);
        check("", None);
    }

    #[test]
    fn is_the_digest_the_published_one() {
        assert_eq!(ModelDigest::of(b"").as_str(), EMPTY);
    }
}
