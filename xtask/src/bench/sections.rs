//! Sections of the page that commands of their own write: each run of one replaces its own, and leaves all else as it is.

use std::fs;

use anyhow::{Context as _, Result};

use super::PAGE;
use crate::process;

/// Headings of such sections.
pub const KAFKA: &str = "## Through Kafka";
pub const REDIS: &str = "## Lookups in Redis";
pub const FEATURES: &str = "## Features";

/// In the order in which they stand, behind all else.
const HEADINGS: [&str; 3] = [KAFKA, REDIS, FEATURES];

/// Puts a section into its place on the page.
///
/// # Errors
/// When the page cannot be written.
fn publish(section: &str) -> Result<()> {
    let page = process::root().join(PAGE);
    let before = fs::read_to_string(&page).unwrap_or_default();
    fs::write(&page, with_section(&before, section))
        .with_context(|| format!("cannot write {}", page.display()))?;
    println!("report: {PAGE}");
    Ok(())
}

/// Shows a section, and publishes it if it is to be.
///
/// # Errors
/// As [`publish`].
pub fn show(section: &str, is_published: bool) -> Result<()> {
    println!("\n{section}");
    if is_published {
        publish(section)
    } else {
        Ok(())
    }
}

/// A page with the sections that another one has.
pub fn with_sections_of(page: &str, other: &str) -> String {
    let sections = HEADINGS
        .iter()
        .filter_map(|heading| section(other, heading));
    sections.fold(page.to_owned(), |page, section| {
        with_section(&page, section)
    })
}

/// Where the line of a heading begins.
fn place(page: &str, heading: &str) -> Option<usize> {
    let is_line = |at: &usize| {
        let (before, after) = page.split_at(*at);
        let after = after.get(heading.len()..).unwrap_or_default();
        (before.is_empty() || before.ends_with('\n')) && after.starts_with('\n')
    };
    page.match_indices(heading).map(|(at, _)| at).find(is_line)
}

/// The section with this heading, if a page has it.
fn section<'p>(page: &'p str, heading: &str) -> Option<&'p str> {
    let section = page.get(place(page, heading)?..)?;
    let end = section.find("\n## ").unwrap_or(section.len());
    section.get(..end).map(str::trim_end)
}

/// A page with this section in place of the one that has the same heading.
fn with_section(page: &str, new: &str) -> String {
    let begin = HEADINGS
        .iter()
        .filter_map(|heading| place(page, heading))
        .min();
    let before = page.get(..begin.unwrap_or(page.len())).unwrap_or_default();
    let sections = HEADINGS
        .iter()
        .filter_map(|heading| match place(new, heading) {
            Some(0) => Some(new.trim_end()),
            _ => section(page, heading),
        });
    let parts: Vec<&str> = std::iter::once(before.trim_end())
        .chain(sections)
        .filter(|part| !part.is_empty())
        .collect();
    parts.join("\n\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::{with_section, with_sections_of};

    const KAFKA: &str = "## Through Kafka\n\nnew\n";
    const REDIS: &str = "## Lookups in Redis\n\nnew\n";

    #[test]
    fn where_does_a_section_stand() {
        let check = |page: &str, section: &str, expected: &str| {
            assert_eq!(with_section(page, section), expected, "{page:?}");
        };
        check(
            "# All\n\ntext\n",
            KAFKA,
            "# All\n\ntext\n\n## Through Kafka\n\nnew\n",
        );
        check(
            "# All\n\n## Through Kafka\n\nold\n",
            KAFKA,
            "# All\n\n## Through Kafka\n\nnew\n",
        );
        check("", KAFKA, KAFKA);
        check("## Through Kafka\n\nold\n", KAFKA, KAFKA);
        let both = "# All\n\n## Through Kafka\n\nold\n\n## Lookups in Redis\n\nold\n";
        check(
            both,
            KAFKA,
            "# All\n\n## Through Kafka\n\nnew\n\n## Lookups in Redis\n\nold\n",
        );
        check(
            both,
            REDIS,
            "# All\n\n## Through Kafka\n\nold\n\n## Lookups in Redis\n\nnew\n",
        );
        check(
            "# All\n\n## Lookups in Redis\n\nold\n",
            KAFKA,
            "# All\n\n## Through Kafka\n\nnew\n\n## Lookups in Redis\n\nold\n",
        );
        check(
            "# All\n\n## Features\n\nold\n",
            REDIS,
            "# All\n\n## Lookups in Redis\n\nnew\n\n## Features\n\nold\n",
        );
        check(
            "# Not ## Through Kafka\n",
            KAFKA,
            "# Not ## Through Kafka\n\n## Through Kafka\n\nnew\n",
        );
    }

    #[test]
    fn does_a_new_page_keep_the_sections_of_others() {
        let before = "# Old\n\n## Through Kafka\n\na\n\n## Lookups in Redis\n\nb\n";
        let expected = "# New\n\n## Through Kafka\n\na\n\n## Lookups in Redis\n\nb\n";
        assert_eq!(with_sections_of("# New\n", before), expected);
        assert_eq!(with_sections_of("# New\n", "# Old\n"), "# New\n");
    }
}
