//! Texts of others as messages repeat them: enough to recognise what was meant, and no more.

/// Stands for what was cut off.
const CUT: &str = "...";

/// A text of at most so many characters, and a sign if that is not all of it.
pub fn shortened(text: &str, chars_most: usize) -> String {
    match text.char_indices().nth(chars_most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}{CUT}", text.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn how_much_of_a_text_is_kept() {
        let check = |text: &str, most, expected: &str| {
            assert_eq!(shortened(text, most), expected, "{text} {most}");
        };
        check("", 0, "");
        check("\u{e9}\u{e9}", 2, "\u{e9}\u{e9}");
        check("\u{e9}\u{e9}\u{e9}", 2, "\u{e9}\u{e9}...");
        check("abc", 0, "...");
    }
}
