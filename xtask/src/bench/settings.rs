//! Changes single values of a pipeline file, so that what is measured is the file that people read.

/// The text with another value for a key of a table, if it has both.
pub fn with(text: &str, table: &str, key: &str, value: &str) -> Option<String> {
    let header = format!("\n[{table}]\n");
    let at = text.find(&header)? + header.len();
    let (before, inside) = text.split_at_checked(at)?;
    let end = inside.find("\n[").unwrap_or(inside.len());
    let line = format!("{key} = ");
    let from = match inside.starts_with(&line) {
        true => 0,
        false => inside.find(&format!("\n{line}"))? + 1,
    };
    let (kept, rest) = inside.split_at_checked(from)?;
    let after = rest.find('\n').and_then(|length| rest.get(length..))?;
    (from < end).then(|| format!("{before}{kept}{line}{value}{after}"))
}

#[cfg(test)]
mod tests {
    use super::with;

    #[test]
    fn which_line_of_a_pipeline_is_changed() {
        let text = "\n[a]\nx = 1\ny = 2    # why\n\n[b]\ny = 3\n";
        let check = |table: &str, key: &str, expected: Option<&str>| {
            assert_eq!(
                with(text, table, key, "9").as_deref(),
                expected,
                "{table}.{key}"
            );
        };
        check(
            "a",
            "x",
            Some("\n[a]\nx = 9\ny = 2    # why\n\n[b]\ny = 3\n"),
        );
        check("a", "y", Some("\n[a]\nx = 1\ny = 9\n\n[b]\ny = 3\n"));
        check(
            "b",
            "y",
            Some("\n[a]\nx = 1\ny = 2    # why\n\n[b]\ny = 9\n"),
        );
        check("b", "x", None);
        check("c", "x", None);
    }
}
