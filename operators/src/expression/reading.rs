//! From a text to a compiled expression, or the first mistake in it.

use std::fmt;

use cel::ParseError;
use cel::parser::{Expression as Tree, Parser};

use crate::event::FieldType;
use crate::expression::functions::Patterns;
use crate::expression::kinds::Kinds;
use crate::expression::values::Names;
use crate::expression::{DEPTH_MAX, TEXT_BYTES_MAX, Wanted};

/// Stack of the thread that reads an expression: the parser goes into itself for each level of what is written, also of what
/// turns out to be too deep, and several times for each.
const STACK_BYTES: usize = 64 << 20;

/// A mistake in an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The byte of the text where it is.
    pub at: usize,
    /// What it is.
    pub fault: Fault,
}

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It uses a name that nothing has.
    UnknownName(String),
    /// It calls a function that does not exist; which do, [`super::functions`] says.
    UnknownFunction(String),
    /// This.
    Other(String),
}

impl Mistake {
    pub(super) fn other(at: usize, message: impl Into<String>) -> Self {
        Mistake {
            at,
            fault: Fault::Other(message.into()),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            Fault::UnknownName(name) => write!(f, "unknown name {name:?}")?,
            Fault::UnknownFunction(name) => write!(f, "unknown function {name:?}")?,
            Fault::Other(message) => f.write_str(message)?,
        }
        write!(f, " at byte {}", self.at)
    }
}

impl std::error::Error for Mistake {}

/// A text that was read.
pub(super) struct Read {
    pub(super) tree: Tree,
    pub(super) names: Names,
    pub(super) patterns: Patterns,
}

/// Reads a text.
pub(super) fn read(
    text: &str,
    known: &[(&str, FieldType)],
    wanted: Wanted,
) -> Result<Read, Mistake> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("an expression has at most {TEXT_BYTES_MAX} bytes");
        return Err(Mistake::other(TEXT_BYTES_MAX, message));
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("expression".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || parse(text, known, wanted));
        let read = thread.map(|thread| thread.join());
        match read {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => Err(Mistake::other(
                0,
                "the expression cannot be read: please report it",
            )),
            Err(error) => {
                let message = format!("no thread can be started to read the expression: {error}");
                Err(Mistake::other(0, message))
            }
        }
    })
}

fn parse(text: &str, known: &[(&str, FieldType)], wanted: Wanted) -> Result<Read, Mistake> {
    if let Some((at, found)) = text.char_indices().find(|(_, found)| *found == '\0') {
        return Err(Mistake::other(at, format!("unexpected {found:?}")));
    }
    let parser = Parser::new().max_recursion_depth(DEPTH_MAX as u16);
    let parsed = parser.parse_with_source_info(text);
    let (tree, places) = parsed.map_err(|errors| syntax(text, &errors.errors))?;
    let mut kinds = Kinds::new(text, &places, known);
    kinds.check(&tree, wanted)?;
    let Kinds {
        names, patterns, ..
    } = kinds;
    Ok(Read {
        tree,
        names,
        patterns,
    })
}

/// The mistake that the parser's errors are about: what the grammar says comes before what follows from it.
fn syntax(text: &str, errors: &[ParseError]) -> Mistake {
    const SYNTAX: &str = "Syntax error: ";
    let of_grammar = errors.iter().find(|error| error.msg.starts_with(SYNTAX));
    let Some(error) = of_grammar.or(errors.first()) else {
        return Mistake::other(0, "the expression cannot be read");
    };
    let at = place(text, error.pos);
    let said = error.msg.trim_start_matches(SYNTAX);
    let (what, rest) = said.split_once('\'').unwrap_or((said, ""));
    // What is quoted may hold quotes.
    let quoted = rest.split("' expecting").next().unwrap_or_default();
    let found = quoted.trim_end_matches('\'');
    let message = match what.trim_end() {
        _ if found == "<EOF>" => "the expression ends too early".to_owned(),
        "missing" => {
            let missing = found.split('\'').next().unwrap_or_default();
            format!("`{missing}` is missing")
        }
        "token recognition error at:" if found.starts_with(['\'', '"']) => {
            "a string is not closed".to_owned()
        }
        "mismatched input"
        | "extraneous input"
        | "token recognition error at:"
        | "no viable alternative at input" => format!("unexpected `{found}`"),
        _ if said.starts_with("invalid argument to has() macro") => {
            "has() is for keys of a map; of a field write `x != null`".to_owned()
        }
        _ => said.to_owned(),
    };
    Mistake::other(at, message)
}

/// The byte of a line and a column in characters, both counted from 1.
fn place(text: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line - 1).unwrap_or_default();
    let column = usize::try_from(column - 1).unwrap_or_default();
    let start = text.split_inclusive('\n').take(line).map(str::len).sum();
    let of_line = text.get(start..).unwrap_or_default();
    let column = of_line.char_indices().nth(column);
    column.map_or(text.len(), |(at, _)| start + at)
}
