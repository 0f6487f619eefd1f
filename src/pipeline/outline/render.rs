//! An outline as text for a terminal, as DOT for Graphviz, as a Mermaid flowchart. Names may have any
//! character; each form escapes those that would mean something in it.

use std::fmt::Write as _;

use crate::pipeline::outline::{Outline, Stage};

impl Outline {
    /// For a terminal: stage by stage, each with what it does and where its results go.
    pub fn to_text(&self) -> String {
        let workers = match self.workers {
            1 => "1 worker".to_owned(),
            workers => format!("{workers} workers"),
        };
        let mut text = format!("job {}, {workers}\n", plain(&self.job));
        for stage in &self.stages {
            // Writing to a String cannot fail, here and below.
            let _ = write!(text, "\n{}\n", stage.name);
            for line in lines(stage) {
                let _ = writeln!(text, "  {line}");
            }
            for edge in self.edges.iter().filter(|edge| edge.from == stage.name) {
                let carries = plain(&edge.carries);
                let _ = writeln!(text, "  -> {} ({carries})", edge.to);
            }
        }
        text
    }

    /// For Graphviz: `dot -Tsvg`.
    pub fn to_dot(&self) -> String {
        let mut text = format!("digraph \"{}\" {{\n", dot(&plain(&self.job)));
        text.push_str("  node [shape=box];\n");
        for stage in &self.stages {
            let mut label = format!("{}\\n", dot(stage.name));
            for line in lines(stage) {
                // Left-aligned.
                let _ = write!(label, "{}\\l", dot(&line));
            }
            let _ = writeln!(text, "  \"{}\" [label=\"{label}\"];", stage.name);
        }
        for edge in &self.edges {
            let carries = dot(&plain(&edge.carries));
            let (from, to) = (edge.from, edge.to);
            let _ = writeln!(text, "  \"{from}\" -> \"{to}\" [label=\"{carries}\"];");
        }
        text.push_str("}\n");
        text
    }

    /// For Mermaid, which many renderers of Markdown draw.
    pub fn to_mermaid(&self) -> String {
        let mut text = "flowchart TD\n".to_owned();
        for stage in &self.stages {
            let mut label = mermaid(stage.name);
            for line in lines(stage) {
                let _ = write!(label, "<br/>{}", mermaid(&line));
            }
            let _ = writeln!(text, "  {}[\"{label}\"]", id(stage.name));
        }
        for edge in &self.edges {
            let carries = mermaid(&plain(&edge.carries));
            let (from, to) = (id(edge.from), id(edge.to));
            let _ = writeln!(text, "  {from} -->|\"{carries}\"| {to}");
        }
        text
    }
}

/// The facts of a stage, one a line.
fn lines(stage: &Stage) -> impl Iterator<Item = String> + '_ {
    let facts = stage.facts.iter();
    facts.map(|fact| format!("{}: {}", fact.about, plain(&fact.says)))
}

/// Text with nothing in it that ends a line or drives a terminal.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// Inside a quoted string of DOT: quotes end it, backslashes and ampersands begin escapes in labels.
fn dot(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    text.replace('&', "&amp;")
}

/// Inside a quoted text of Mermaid, which is HTML and has directives and formulas of its own: whatever
/// is neither a letter nor known to be harmless is written as its code.
fn mermaid(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_alphanumeric() || " _-.,:/()".contains(character) {
            escaped.push(character);
        } else {
            let _ = write!(escaped, "#{};", u32::from(character));
        }
    }
    escaped
}

/// A name that Mermaid does not take for a keyword or an arrow. Names of stages are our own: words of
/// letters and underscores.
fn id(name: &str) -> String {
    format!("stage_{}", name.replace(' ', "_"))
}
