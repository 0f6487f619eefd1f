//! Checks: each rule with its bound or values in the type of its field, and a message; or an expression. And filters, which
//! are expressions too.

use slackwater_operators::expression::{Expression, Wanted};

use slackwater_operators::check::Pattern;

use crate::pipeline::mistakes::Findings;
use crate::pipeline::read::Section;
use crate::pipeline::spec::{CheckSpec, CheckStage, EventSpec, FieldKind, Literal, Rule, WhenSpec};
use crate::pipeline::value::{Located, Value, quoted, show_literal};

use crate::pipeline::resolve::event::{Fields, type_name};
use crate::pipeline::resolve::expression;

/// Every `[[check]]`.
pub(super) struct Checks {
    /// Of fields.
    pub(super) of_fields: Vec<CheckSpec>,
    /// Of all fields together.
    pub(super) conditions: Vec<WhenSpec>,
}

/// Reads every `[[check]]`.
pub(super) fn checks(
    sections: &[Section],
    fields: &Fields,
    event: Option<&EventSpec>,
    findings: &mut Findings,
) -> Option<Checks> {
    let mut before = 0;
    let (mut of_fields, mut conditions) = (Vec::new(), Vec::new());
    for section in sections {
        if section.is_meant("when") {
            conditions.push(when(section, before, fields, findings));
            continue;
        }
        before += 1;
        let check = check(section, fields, findings);
        if let Some(check) = &check {
            comes_in_time(section, check, event, findings);
        }
        of_fields.push(check);
    }
    Some(Checks {
        of_fields: of_fields.into_iter().collect::<Option<_>>()?,
        conditions: conditions.into_iter().collect::<Option<_>>()?,
    })
}

/// Reads a check with `when`, before which so many checks of fields stand.
fn when(
    section: &Section,
    after: usize,
    fields: &Fields,
    findings: &mut Findings,
) -> Option<WhenSpec> {
    let condition = condition(section, "when", fields, findings);
    Some(WhenSpec {
        condition: condition?,
        message: section.string("message")?,
        stage: stage(section)?,
        after,
    })
}

/// Reads every `[[filter]]`.
pub(super) fn filters(
    sections: &[Section],
    fields: &Fields,
    findings: &mut Findings,
) -> Option<Vec<Expression>> {
    let filters = sections.iter();
    let filters: Vec<_> = filters
        .map(|section| condition(section, "keep", fields, findings))
        .collect();
    filters.into_iter().collect()
}

/// A condition over the fields.
fn condition(
    section: &Section,
    key: &str,
    fields: &Fields,
    findings: &mut Findings,
) -> Option<Expression> {
    let written = section.expression(key)?;
    let names = fields.typed()?;
    expression::compile(key, &written, "field", &names, Wanted::Truth, findings)
}

fn stage(section: &Section) -> Option<CheckStage> {
    Some(match section.text("stage")?.value {
        "feature" => CheckStage::Feature,
        _ => CheckStage::Validate,
    })
}

/// A `not_empty` of the feature stage lets an event without the field come that far. Its key and its time
/// are needed before.
fn comes_in_time(
    section: &Section,
    check: &CheckSpec,
    event: Option<&EventSpec>,
    findings: &mut Findings,
) {
    let needed = event.is_some_and(|event| {
        event.time.field() == Some(check.field) || event.key.contains(&check.field)
    });
    if needed && check.stage == CheckStage::Feature && check.rule == Rule::NotEmpty {
        let at = section.get("stage").map_or(section.at, |(at, _)| at);
        let message = "the key and the time of an event are needed before stage \"feature\": leave `stage` out";
        findings.add(at, message);
    }
}

fn check(section: &Section, fields: &Fields, findings: &mut Findings) -> Option<CheckSpec> {
    let field = section
        .text("field")
        .and_then(|name| fields.index(&name, findings));
    let rule = section.text("rule")?;
    let (field, kind) = (field?, fields.kind(field?)?);
    let name = fields.name(field);
    let (rule, message) = match rule.value {
        "not_empty" => (Rule::NotEmpty, format!("{name} cannot be empty")),
        "min" => {
            let least = bound(section, kind, findings)?;
            let message = format!("{name} must be at least {}", shown(&least));
            (Rule::Min(least), message)
        }
        "max" => {
            let most = bound(section, kind, findings)?;
            let message = format!("{name} must be at most {}", shown(&most));
            (Rule::Max(most), message)
        }
        "max_length" => {
            let most = length(section, rule.at, (name, kind), findings)?;
            let of = if kind.is_list() {
                "elements"
            } else {
                "characters"
            };
            (
                Rule::MaxLength(most),
                format!("{name} must have at most {most} {of}"),
            )
        }
        "matches" => {
            let pattern = pattern(section, rule.at, (name, kind), findings)?;
            let message = format!("{name} must match {}", pattern.as_str());
            (Rule::Matches(pattern), message)
        }
        _ => {
            let values = accepted(section, rule.at, (name, kind), findings)?;
            let list: Vec<String> = values.iter().map(shown).collect();
            (
                Rule::OneOf(values),
                format!("{name} must be one of {}", list.join(", ")),
            )
        }
    };
    let stage = stage(section)?;
    if section
        .get("message")
        .is_none_or(|(_, value)| matches!(value, Value::Text(_)))
    {
        let message = section.string("message").unwrap_or(message);
        return Some(CheckSpec {
            field,
            rule,
            message,
            stage,
        });
    }
    None
}

/// The pattern of matches, for a field of this name and type.
fn pattern(
    section: &Section,
    rule_at: usize,
    (name, kind): (&str, FieldKind),
    findings: &mut Findings,
) -> Option<Pattern> {
    if kind != FieldKind::String {
        let kind = type_name(kind);
        let message = format!("rule \"matches\" is for strings, {name} is of type {kind}");
        findings.add(rule_at, message);
        return None;
    }
    let text = section.text("pattern")?;
    let compiled = Pattern::new(text.value);
    compiled
        .map_err(|fault| {
            findings.add(
                text.at,
                format!("`pattern`: {} {fault}", quoted(text.value)),
            )
        })
        .ok()
}

/// The bound of min and max, in the field's type.
fn bound(section: &Section, kind: FieldKind, findings: &mut Findings) -> Option<Literal> {
    let (at, _) = section.get("value")?;
    let value = section.float("value")?;
    match kind {
        FieldKind::Float => Some(Literal::Float(value)),
        FieldKind::Int => match exact(value) {
            Some(whole) => Some(Literal::Int(whole)),
            None => {
                findings.add(
                    at,
                    format!("`value`: the field is an int, expected a whole number, got {value}"),
                );
                None
            }
        },
        FieldKind::String | FieldKind::Bool | FieldKind::Floats | FieldKind::Strings => {
            let kind = type_name(kind);
            let rule = section.text("rule")?;
            findings.add(
                rule.at,
                format!(
                    "rule \"{}\" is for ints and floats, the field is a {kind}",
                    rule.value
                ),
            );
            None
        }
    }
}

/// The values of one_of, for a field of this name and type.
fn accepted(
    section: &Section,
    rule_at: usize,
    (name, kind): (&str, FieldKind),
    findings: &mut Findings,
) -> Option<Vec<Literal>> {
    if kind.is_list() {
        let kind = type_name(kind);
        let message = format!("rule \"one_of\" is for single values, {name} is of type {kind}");
        findings.add(rule_at, message);
        return None;
    }
    match section.get("values") {
        Some((_, Value::Literals(values))) => typed(values, kind, findings),
        _ => None,
    }
}

/// The bound of max_length, for a field of this name and type.
fn length(
    section: &Section,
    rule_at: usize,
    (name, kind): (&str, FieldKind),
    findings: &mut Findings,
) -> Option<usize> {
    if kind != FieldKind::String && !kind.is_list() {
        let kind = type_name(kind);
        let message =
            format!("rule \"max_length\" is for strings and lists, {name} is of type {kind}");
        findings.add(rule_at, message);
        return None;
    }
    let (at, _) = section.get("value")?;
    let value = section.float("value")?;
    let length = exact(value).and_then(|whole| usize::try_from(whole).ok());
    if length.is_none() {
        findings.add(
            at,
            format!("`value`: expected a number of characters or elements, got {value}"),
        );
    }
    length
}

/// A whole number that f64 holds exactly.
fn exact(value: f64) -> Option<i64> {
    /// 2^53: every whole number up to here is exact in f64.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a whole number within 2^53"
    )]
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}

/// Values in the field's type.
pub(super) fn typed(
    values: &[Located<Literal>],
    kind: FieldKind,
    findings: &mut Findings,
) -> Option<Vec<Literal>> {
    let mut typed = Vec::new();
    for Located { at, value } in values {
        let fitting = match (kind, value) {
            (FieldKind::String, Literal::Text(_))
            | (FieldKind::Int, Literal::Int(_))
            | (FieldKind::Float, Literal::Float(_))
            | (FieldKind::Bool, Literal::Bool(_)) => Some(value.clone()),
            #[expect(clippy::cast_precision_loss, reason = "a float field rounds alike")]
            (FieldKind::Float, Literal::Int(whole)) => Some(Literal::Float(*whole as f64)),
            _ => None,
        };
        match fitting {
            Some(literal) => typed.push(literal),
            None => {
                let (kind, got) = (type_name(kind), show_literal(value));
                findings.add(*at, format!("the field is of type {kind}, got {got}"));
            }
        }
    }
    (typed.len() == values.len()).then_some(typed)
}

/// A value as a message for the event's sender shows it.
fn shown(literal: &Literal) -> String {
    match literal {
        Literal::Text(text) => text.clone(),
        Literal::Int(whole) => whole.to_string(),
        Literal::Float(number) => number.to_string(),
        Literal::Bool(value) => value.to_string(),
    }
}
