//! Expressions of a pipeline file, in CEL: whether a check holds, whether an event is kept, what a feature is.
//!
//! The language and its evaluation are those of the crate `cel`; what is here makes them fit for an engine:
//!
//! - [`reading`] compiles a text once for a job, and finds at that time what can be known to be wrong: names that are no
//!   fields, functions that do not exist, operands that do not go together. Each mistake has its place in the text.
//! - `kinds` are the rules of that, `functions` the functions that there are, [`values`] what an event gives.
//!
//! What an evaluation may cost is bounded: texts and depths by constants, and a macro over a list (`all`, `exists`,
//! `exists_one`, `map`, `filter`) may not stand within another, nor use a field that is a list for each of its elements, so
//! that no list is ever looked at more than once for each place of the expression that names it. Regular expressions are compiled with the expression, take time that is linear in the text
//! that they look at, and must therefore be written out.
//!
//! # What is compared with what
//! As CEL has it, whole and other numbers may be compared, `amount > 10` with an `amount` that is a float; above 2^53 a
//! whole number is rounded for that. Arithmetic wants two numbers of one kind: `amount * 2.0`, or `double(count) / 2.0`. A
//! field that is null is `null`: it equals only `null`, and all else that is done with it is a [`Failure`], unless `&&`,
//! `||` or `? :` do without it.

mod functions;
mod kinds;
pub mod reading;
pub mod values;

use std::fmt;
use std::sync::Arc;

use cel::Context;
use cel::ExecutionError;
use cel::Value;
use cel::common::types::{CelBool, CelDouble, CelInt, CelNull, CelUInt};
use cel::common::value::Val;
use cel::parser::Expression as Tree;
use slackwater_dataflow::text::shortened;

use self::values::{Names, Resolver, Values};
use crate::event::FieldType;

pub use self::functions::names as functions;
pub use self::reading::{Fault, Mistake};

/// Longest text of an expression, in bytes: parsing takes time and depth that grow with it.
pub const TEXT_BYTES_MAX: usize = 4_096;

/// Deepest nesting of an expression: an evaluation uses as much of a worker's stack. `a + b + c` is two deep.
pub const DEPTH_MAX: usize = 64;

/// Characters of what an evaluation says of its failure: what a function says of its own is not bounded elsewhere.
const FAILURE_CHARACTERS_MAX: usize = 200;

/// What an expression has to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A truth value.
    Truth,
    /// A number; a truth value counts 0 or 1.
    Number,
}

/// Why an expression has no value for an event, as a person reads it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

/// A compiled expression. Copies share it, also among threads.
#[derive(Clone)]
pub struct Expression {
    compiled: Arc<Compiled>,
}

struct Compiled {
    text: String,
    tree: Tree,
    /// The names that it uses.
    names: Names,
    /// Functions and types.
    root: Context<'static, 'static>,
}

impl Expression {
    /// Compiles a text that may use these names, and is to give what is wanted. The values of names are later asked for by
    /// their places here.
    ///
    /// # Errors
    /// The first mistake in the text.
    pub fn compile(
        text: &str,
        names: &[(&str, FieldType)],
        wanted: Wanted,
    ) -> Result<Self, Mistake> {
        let read = reading::read(text, names, wanted)?;
        Ok(Expression {
            compiled: Arc::new(Compiled {
                text: text.to_owned(),
                tree: read.tree,
                names: read.names,
                root: functions::context(read.patterns),
            }),
        })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.compiled.text
    }

    /// The places of the names that it uses, each once, in the order in which they are first used.
    pub fn uses(&self) -> impl Iterator<Item = usize> + '_ {
        self.compiled.names.iter().map(|(_, place)| *place)
    }

    /// Whether it holds, where `values` says what each name stands for.
    ///
    /// # Errors
    /// It has no value, or one that is neither true nor false.
    pub fn holds(&self, values: &impl Values) -> Result<bool, Failure> {
        self.evaluate(values, |result| {
            let truth = result.downcast_ref::<CelBool>();
            truth
                .map(|truth| *truth.inner())
                .ok_or_else(|| unwanted("true or false", result))
        })
    }

    /// Its number, where `values` says what each name stands for; none if it gives null, or no finite number, as `0.0 / 0.0`
    /// does: that does not exist.
    ///
    /// # Errors
    /// It has no value, or one that is no number.
    pub fn number(&self, values: &impl Values) -> Result<Option<f64>, Failure> {
        self.evaluate(values, |result| {
            let number = if let Some(number) = result.downcast_ref::<CelDouble>() {
                *number.inner()
            } else if let Some(number) = result.downcast_ref::<CelInt>() {
                *number.inner() as f64
            } else if let Some(number) = result.downcast_ref::<CelUInt>() {
                *number.inner() as f64
            } else if let Some(truth) = result.downcast_ref::<CelBool>() {
                f64::from(u8::from(*truth.inner()))
            } else if result.downcast_ref::<CelNull>().is_some() {
                return Ok(None);
            } else {
                return Err(unwanted("a number", result));
            };
            Ok(number.is_finite().then_some(number))
        })
    }

    fn evaluate<T>(
        &self,
        values: &impl Values,
        read: impl FnOnce(&dyn Val) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let resolver = Resolver {
            names: &self.compiled.names,
            values,
        };
        let mut scope = self.compiled.root.new_inner_scope();
        scope.set_variable_resolver(&resolver);
        let result = Value::resolve_val(&self.compiled.tree, &scope);
        match result {
            Ok(result) => read(result.as_ref()),
            Err(error) => Err(failure(&error)),
        }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text()).finish()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        let (one, other) = (&self.compiled, &other.compiled);
        one.text == other.text && one.names == other.names
    }
}

fn unwanted(wanted: &str, found: &dyn Val) -> Failure {
    let kind = kinds::of_value(found.get_type().name());
    Failure(format!("it must give {wanted}, it gives {kind}"))
}

/// What the interpreter says, in the words of its users and without the values of the event, which the dead letter has anyway.
fn failure(error: &ExecutionError) -> Failure {
    let kind_of = |value: &Value| kinds::of_value(&value.type_of().to_string());
    let message = match error {
        ExecutionError::NoSuchOverload(call) => {
            let kinds = call.argument_types().iter();
            let kinds: Vec<String> = kinds.map(|kind| kinds::of_value(kind)).collect();
            let operator = kinds::operator(call.function());
            format!("`{operator}` does not take {}", kinds.join(" and "))
        }
        ExecutionError::UnsupportedBinaryOperator(name, left, right) => {
            let operator = kinds::arithmetic(name);
            let (left, right) = (kind_of(left), kind_of(right));
            format!("`{operator}` does not take {left} and {right}")
        }
        ExecutionError::UnexpectedType { got, want } => {
            // Of an argument of a function these are the value itself and a type of Rust.
            match (kinds::named(got), kinds::named(want)) {
                (Some(got), Some(want)) => format!("found {got} where {want} is needed"),
                _ => "a function was given another kind of value than it takes".to_owned(),
            }
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".to_owned()
        }
        ExecutionError::Overflow(name, ..) => {
            let operator = kinds::arithmetic(name);
            format!("`{operator}` gives no 64-bit whole number")
        }
        ExecutionError::NoSuchKey(_) => "there is no such key".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "there is no element at that place".to_owned(),
        ExecutionError::UnsupportedTargetType { target } => {
            format!("a function does not take {}", kind_of(target))
        }
        ExecutionError::NotSupportedAsMethod { method, target } => {
            format!("`{method}` does not take {}", kind_of(target))
        }
        ExecutionError::UnsupportedKeyType(key) => {
            format!("{} cannot be a key of a map", kind_of(key))
        }
        ExecutionError::DuplicateKey(_) => "a map has a key twice".to_owned(),
        ExecutionError::ValuesNotComparable(left, right) => {
            let (left, right) = (kind_of(left), kind_of(right));
            format!("{left} cannot be compared with {right}")
        }
        ExecutionError::UnsupportedIndex(index, of) => {
            let (index, of) = (kind_of(index), kind_of(of));
            format!("{index} says no place in {of}")
        }
        // What else there is says of no value what it is.
        ExecutionError::FunctionError { function, message } => {
            format!("Error executing function '{function}': {message}")
        }
        _ => "the expression cannot be evaluated".to_owned(),
    };
    Failure(shortened(&message, FAILURE_CHARACTERS_MAX).to_string())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
