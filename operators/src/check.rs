//! The declared rules that an event must obey, field by field or as a whole, and what is said when it does not.

mod pattern;

use std::cmp::Ordering;

use crate::batch::{Cell, Row, Rows};
use crate::event::FieldIndex;
use crate::expression::values::{RowValues, Values};
use crate::expression::{Expression, Failure};
use crate::json::Elements;
use crate::reject::{Code, Reason, Stage};

pub use self::pattern::{BadPattern, Pattern};

/// A constant that a rule or a `where` compares a field with.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A truth value.
    Bool(bool),
}

/// The bound of a number, of its field's type: whole numbers beyond 2^53 differ where floats do not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Of a whole number.
    Int(i64),
    /// Of any number.
    Float(f64),
}

impl Bound {
    /// How a value lies to the bound; `None` if there is none to compare.
    fn compared_with(self, cell: Cell) -> Option<Ordering> {
        match (self, cell) {
            (Bound::Int(bound), Cell::Int(value)) => Some(value.cmp(&bound)),
            (Bound::Int(bound), Cell::Float(value)) => value.partial_cmp(&(bound as f64)),
            (Bound::Float(bound), Cell::Int(value)) => (value as f64).partial_cmp(&bound),
            (Bound::Float(bound), Cell::Float(value)) => value.partial_cmp(&bound),
            (_, Cell::Null | Cell::Text { .. } | Cell::Bool(_) | Cell::List { .. }) => None,
        }
    }
}

/// A rule on one field.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// Text must have at least one character, a list at least one element; missing and null count as empty.
    NotEmpty,
    /// A number must be at least this.
    Min(Bound),
    /// A number must be at most this.
    Max(Bound),
    /// The value must be one of these.
    OneOf(Vec<Constant>),
    /// Text must have at most this many characters, a list at most this many elements.
    MaxLength(u64),
    /// In text this must be found, anywhere.
    Matches(Pattern),
}

/// A rule, the field it is about, and its message.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The field.
    pub field: FieldIndex,
    /// The rule.
    pub rule: Rule,
    /// What a reject says.
    pub message: String,
}

impl Check {
    /// A rule on a field, with what is said of an event that breaks it.
    pub fn new(field: FieldIndex, rule: Rule, message: impl Into<String>) -> Self {
        Check {
            field,
            rule,
            message: message.into(),
        }
    }

    /// Whether a value obeys the rule. `bytes` gives the content of a text, and the JSON of a list. Rules other than `NotEmpty`
    /// have nothing to say about a value that is not there.
    pub fn holds<'b>(
        &self,
        cell: Cell,
        bytes: impl FnOnce(crate::batch::Span) -> &'b [u8],
    ) -> bool {
        match (&self.rule, cell) {
            (Rule::NotEmpty, Cell::Null) => false,
            (_, Cell::Null) => true,
            (Rule::NotEmpty, Cell::Text { span, .. }) => span.len > 0,
            (Rule::Min(least), cell) => least.compared_with(cell) != Some(Ordering::Less),
            (Rule::Max(most), cell) => most.compared_with(cell) != Some(Ordering::Greater),
            (Rule::MaxLength(most), Cell::Text { span, .. }) => {
                u64::from(span.len) <= *most || characters(bytes(span)) <= *most
            }
            (Rule::Matches(pattern), Cell::Text { span, .. }) => pattern.is_found_in(bytes(span)),
            (rule, Cell::List { span, .. }) => holds_for_list(rule, bytes(span)),
            (Rule::OneOf(constants), cell) => is_one_of(constants, cell, bytes),
            // The pipeline file's checks are refused unless rule and type go together.
            _ => true,
        }
    }

    /// [`Self::holds`] for a row of a batch.
    pub fn holds_for(&self, rows: &Rows, row: &Row) -> bool {
        self.holds(rows.cell(row, self.field), |span| rows.bytes(span))
    }

    /// What is said when the check fails at `stage`.
    pub fn reason(&self, stage: Stage) -> Reason {
        let code = match self.rule {
            Rule::NotEmpty => Code::Empty,
            _ => Code::CheckFailed,
        };
        let causes = match stage {
            Stage::Feature => vec![format!("feature/check: {}", self.message)],
            _ => Vec::new(),
        };
        Reason {
            stage,
            code,
            message: self.message.clone(),
            causes,
        }
    }
}

/// A condition over all fields, and its message.
#[derive(Clone, Debug, PartialEq)]
pub struct When {
    /// What must hold; its names are the fields of the schema.
    pub condition: Expression,
    /// What a reject says.
    pub message: String,
}

impl When {
    /// Why an event is refused at `stage`, if it is. One of which the condition has no value is: nothing says that it is
    /// right.
    pub fn refuses(&self, values: &impl Values, stage: Stage) -> Option<Reason> {
        let failure = match self.condition.holds(values) {
            Ok(true) => return None,
            Ok(false) => None,
            Err(failure) => Some(failure),
        };
        let mut causes = match stage {
            Stage::Feature => vec![format!("feature/check: {}", self.message)],
            _ => Vec::new(),
        };
        causes.extend(failure.map(|failure| cause(stage, &self.condition, &failure)));
        Some(Reason {
            stage,
            code: Code::CheckFailed,
            message: self.message.clone(),
            causes,
        })
    }
}

/// Which events a job wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// What must hold of them; its names are the fields of the schema.
    pub keep: Expression,
}

impl Filter {
    /// Whether an event is kept.
    ///
    /// # Errors
    /// That cannot be told, so it is refused: it is neither left out nor handled without a word.
    pub fn keeps(&self, values: &impl Values) -> Result<bool, Reason> {
        self.keep.holds(values).map_err(|failure| Reason {
            stage: Stage::Validate,
            code: Code::FilterFailed,
            message: format!("filter `{}` has no value: {failure}", self.keep.text()),
            causes: vec![cause(Stage::Validate, &self.keep, &failure)],
        })
    }
}

/// Why an expression has no value, as a cause of a reject.
fn cause(stage: Stage, expression: &Expression, failure: &Failure) -> String {
    format!(
        "{}/expression: {failure} in `{}`",
        stage.name(),
        expression.text()
    )
}

/// A check of the feature stage.
#[derive(Clone, Debug, PartialEq)]
pub enum RowCheck {
    /// Of a field.
    Field(Check),
    /// Of all.
    When(When),
}

impl RowCheck {
    /// Why a row is refused, if it is.
    pub fn refuses(&self, rows: &Rows, row: &Row) -> Option<Reason> {
        match self {
            RowCheck::Field(check) => {
                let fails = !check.holds_for(rows, row);
                fails.then(|| check.reason(Stage::Feature))
            }
            RowCheck::When(when) => when.refuses(&RowValues { rows, row }, Stage::Feature),
        }
    }
}

impl From<Check> for RowCheck {
    fn from(check: Check) -> Self {
        RowCheck::Field(check)
    }
}

fn characters(text: &[u8]) -> u64 {
    // Every byte of UTF-8 but a continuation byte begins a character.
    text.iter().filter(|&&byte| byte & 0xC0 != 0x80).count() as u64
}

/// Whether a list has as many elements as a rule wants.
// Apart: texts and numbers are by far the usual fields.
#[inline(never)]
fn holds_for_list(rule: &Rule, list: &[u8]) -> bool {
    match rule {
        Rule::NotEmpty => Elements::of(list).next().is_some(),
        // Each element takes a byte at least.
        Rule::MaxLength(most) => {
            list.len() as u64 <= *most || Elements::of(list).count() as u64 <= *most
        }
        // The pipeline file's checks are refused unless rule and type go together.
        _ => true,
    }
}

/// Whether a value is one of these.
pub(crate) fn is_one_of<'b>(
    constants: &[Constant],
    cell: Cell,
    bytes: impl FnOnce(crate::batch::Span) -> &'b [u8],
) -> bool {
    match cell {
        Cell::Text { span, .. } => {
            let text = bytes(span);
            constants
                .iter()
                .any(|c| matches!(c, Constant::Text(t) if t.as_bytes() == text))
        }
        Cell::Int(value) => constants.contains(&Constant::Int(value)),
        Cell::Bool(value) => constants.contains(&Constant::Bool(value)),
        Cell::Float(value) => constants.contains(&Constant::Float(value)),
        Cell::Null | Cell::List { .. } => false,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::batch::{Cell, Span};
    use crate::check::{Bound, Check, Constant, Pattern, Rule};
    use crate::event::FieldIndex;

    #[test]
    fn rules_mean_what_they_say() {
        let check = |rule: Rule, cell: Cell, text: &str, expected: bool| {
            let subject = Check {
                field: FieldIndex(0),
                rule,
                message: String::new(),
            };
            let holds = subject.holds(cell, |_| text.as_bytes());
            assert_eq!(holds, expected, "{subject:?} on {cell:?} {text:?}");
        };
        let text = |len| Cell::Text {
            span: Span { start: 0, len },
            plain: true,
        };
        check(Rule::NotEmpty, text(0), "", false);
        check(Rule::NotEmpty, Cell::Null, "", false);
        check(Rule::NotEmpty, text(1), "a", true);
        check(Rule::Min(Bound::Float(2.0)), Cell::Int(1), "", false);
        check(Rule::Min(Bound::Float(2.0)), Cell::Int(2), "", true);
        check(Rule::Min(Bound::Float(2.0)), Cell::Null, "", true);
        check(Rule::Max(Bound::Float(2.0)), Cell::Float(2.5), "", false);
        check(Rule::Max(Bound::Float(2.0)), Cell::Float(-2.5), "", true);
        let exact = Bound::Int(1 << 53);
        check(Rule::Max(exact), Cell::Int((1 << 53) + 1), "", false);
        check(Rule::Max(exact), Cell::Int(1 << 53), "", true);
        check(Rule::Min(exact), Cell::Int((1 << 53) - 1), "", false);
        check(Rule::MaxLength(2), text(4), "éé", true);
        check(Rule::MaxLength(2), text(3), "abc", false);
        let colours = || Rule::OneOf(vec![Constant::Text("red".into()), Constant::Int(7)]);
        check(colours(), text(3), "red", true);
        check(colours(), text(4), "blue", false);
        check(colours(), Cell::Int(7), "", true);
        check(colours(), Cell::Bool(true), "", false);
        let digits = || Rule::Matches(Pattern::new("^[0-9]+$").unwrap());
        check(digits(), text(3), "123", true);
        check(digits(), text(3), "12a", false);
        check(digits(), Cell::Null, "", true);
    }

    #[test]
    fn rules_on_lists_count_elements() {
        let check = |rule: Rule, list: &str, expected: bool| {
            let cell = Cell::List {
                span: Span {
                    start: 0,
                    len: list.len() as u32,
                },
                in_record: true,
            };
            let subject = Check::new(FieldIndex(0), rule, "");
            assert_eq!(subject.holds(cell, |_| list.as_bytes()), expected, "{list}");
        };
        check(Rule::NotEmpty, "[]", false);
        check(Rule::NotEmpty, "[ \n]", false);
        check(Rule::NotEmpty, "[\"\"]", true);
        check(Rule::MaxLength(0), "[ ]", true);
        check(Rule::MaxLength(2), r#"["a,b", "]"]"#, true);
        check(Rule::MaxLength(2), "[1,2,3]", false);
        check(Rule::MaxLength(100), "[1,2,3]", true);
    }
}
