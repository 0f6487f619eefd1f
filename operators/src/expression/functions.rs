//! The functions that an expression may call. All are the interpreter's but `matches`, which would compile its pattern at
//! each call.

use std::sync::{Arc, LazyLock};

use cel::extractors::This;
use cel::{Context, Env, ExecutionError};
use regex::Regex;

use crate::expression::kinds::Kind;

/// Compiled patterns of an expression, by what is written.
pub(super) type Patterns = Vec<(String, Regex)>;

/// A function, as far as it can be told before it is called.
pub(super) struct Function {
    pub(super) name: &'static str,
    /// Whether it may be called as `x.f(y)`.
    pub(super) on_target: bool,
    /// Whether it may be called as `f(x, y)`.
    pub(super) alone: bool,
    /// The kinds that each argument may have, that of the target first.
    pub(super) takes: &'static [&'static [Kind]],
    pub(super) gives: Kind,
}

const TEXT: &[Kind] = &[Kind::Text];
const SIZED: &[Kind] = &[Kind::Text, Kind::Bytes, Kind::List, Kind::Map];
const FOR_NUMBERS: &[Kind] = &[Kind::Int, Kind::UInt, Kind::Double, Kind::Text];
const FOR_TEXT: &[Kind] = &[
    Kind::Bool,
    Kind::Int,
    Kind::UInt,
    Kind::Double,
    Kind::Text,
    Kind::Bytes,
];
const FOR_BOOL: &[Kind] = &[Kind::Bool, Kind::Text];
const FOR_BYTES: &[Kind] = &[Kind::Text, Kind::Bytes];

/// The function that matches a pattern.
pub(super) const MATCHES: &str = "matches";

/// All functions.
#[rustfmt::skip] // One a line reads as a table.
pub(super) static FUNCTIONS: &[Function] = &[
    both("size", &[SIZED], Kind::Int),
    on_target("contains", &[TEXT, TEXT], Kind::Bool),
    on_target("startsWith", &[TEXT, TEXT], Kind::Bool),
    on_target("endsWith", &[TEXT, TEXT], Kind::Bool),
    both(MATCHES, &[TEXT, TEXT], Kind::Bool),
    alone("int", &[FOR_NUMBERS], Kind::Int),
    alone("uint", &[FOR_NUMBERS], Kind::UInt),
    alone("double", &[FOR_NUMBERS], Kind::Double),
    alone("string", &[FOR_TEXT], Kind::Text),
    alone("bool", &[FOR_BOOL], Kind::Bool),
    alone("bytes", &[FOR_BYTES], Kind::Bytes),
    alone("dyn", &[&[Kind::Any]], Kind::Any),
    alone("type", &[&[Kind::Any]], Kind::Type),
];

/// Names of types, which are values too: `type(x) == int`.
pub(super) const TYPES: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

const fn on_target(name: &'static str, takes: &'static [&'static [Kind]], gives: Kind) -> Function {
    Function {
        name,
        on_target: true,
        alone: false,
        takes,
        gives,
    }
}

const fn alone(name: &'static str, takes: &'static [&'static [Kind]], gives: Kind) -> Function {
    Function {
        on_target: false,
        alone: true,
        ..on_target(name, takes, gives)
    }
}

const fn both(name: &'static str, takes: &'static [&'static [Kind]], gives: Kind) -> Function {
    Function {
        alone: true,
        ..on_target(name, takes, gives)
    }
}

/// The names of all functions, and of the macros, which look alike.
pub fn names() -> impl Iterator<Item = &'static str> {
    let macros = ["has", "all", "exists", "exists_one", "map", "filter"];
    FUNCTIONS.iter().map(|function| function.name).chain(macros)
}

/// The interpreter's functions and types; none for optional values.
static LIBRARY: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// What an expression with these patterns is evaluated in.
pub(super) fn context(patterns: Patterns) -> Context<'static, 'static> {
    let mut context = Context::with_env(Arc::clone(&LIBRARY));
    if !patterns.is_empty() {
        let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| {
            let known = patterns.iter().find(|(known, _)| *known == *pattern);
            // The pattern is written out, or the expression would not have been compiled.
            let unknown = || ExecutionError::function_error(MATCHES, "the pattern is not known");
            let (_, regex) = known.ok_or_else(unknown)?;
            Ok::<bool, ExecutionError>(regex.is_match(&text))
        };
        // Fails only if the library had a function of that name.
        let added = context.add_function(MATCHES, matches);
        debug_assert!(added.is_ok());
    }
    context
}
