//! Expressions: compiled with the names that they may use; a mistake inside one is told with its own place in the file.

use slackwater_operators::event::FieldType;
use slackwater_operators::expression::{Expression, Fault, Mistake, Wanted, functions};

use crate::pipeline::mistakes::Findings;
use crate::pipeline::value::{Located, Written, quoted, unknown};

/// Compiles the expression of a key. `kind` is what its names are, as messages call one: a field.
pub(super) fn compile(
    key: &str,
    written: &Located<&Written>,
    kind: &str,
    names: &[(&str, FieldType)],
    wanted: Wanted,
    findings: &mut Findings,
) -> Option<Expression> {
    let otherwise = |_: &str| None;
    compile_or(key, written, kind, names, wanted, otherwise, findings)
}

/// The same; `otherwise` says what there is to say of a name that may not be used.
pub(super) fn compile_or(
    key: &str,
    written: &Located<&Written>,
    kind: &str,
    names: &[(&str, FieldType)],
    wanted: Wanted,
    otherwise: impl Fn(&str) -> Option<String>,
    findings: &mut Findings,
) -> Option<Expression> {
    let Mistake { at, fault } = match Expression::compile(&written.value.text, names, wanted) {
        Ok(expression) => return Some(expression),
        Err(mistake) => mistake,
    };
    let message = match &fault {
        Fault::UnknownName(name) if otherwise(name).is_some() => {
            otherwise(name).unwrap_or_default()
        }
        Fault::UnknownName(name) => {
            let known: Vec<String> = names.iter().map(|(name, _)| quoted(name)).collect();
            let known = format!(", known are {}", known.join(", "));
            unknown(kind, name, names.iter().map(|(name, _)| *name), &known)
        }
        Fault::UnknownFunction(name) => {
            let known: Vec<&str> = functions().collect();
            let known = format!(", known are {}", known.join(", "));
            unknown("function", name, functions(), &known)
        }
        Fault::Other(message) => message.clone(),
    };
    let place = written.value.place(written.at, at);
    findings.add(place, format!("`{key}`: {message}"));
    None
}
