//! Features: what they are made of, over what, and how they are transformed.

use slackwater_operators::event::FieldType;
use slackwater_operators::expression::{Expression, Wanted};

use crate::pipeline::keys::header;
use crate::pipeline::keys::input::MAX_SPAN_MS;
use crate::pipeline::mistakes::Findings;
use crate::pipeline::read::Section;
use crate::pipeline::resolve::check::typed;
use crate::pipeline::resolve::event::{Fields, Kept, type_name};
use crate::pipeline::resolve::expression;
use crate::pipeline::resolve::lookup::Lookups;
use crate::pipeline::spec::{
    Condition, FeatureKind, FeatureSpec, FieldKind, Over, Transform, WindowSpec,
};
use crate::pipeline::units::{duration_ms, show_ms};
use crate::pipeline::value::{Located, Value, nearest, quoted, unknown};

/// Fields that are numbers, or count as such.
const NUMBERS: &[FieldKind] = &[FieldKind::Int, FieldKind::Float, FieldKind::Bool];

/// Most events of a window of the last so many: each stays in memory for every key, for good.
const MAX_LAST: u32 = 65_536;

/// The declared features.
pub(super) struct Features {
    names: Vec<String>,
    specs: Vec<Option<FeatureSpec>>,
    /// Whether every declared feature has a name; else a name that is not found proves nothing.
    complete: bool,
}

impl Features {
    /// The index of a feature; a name that is not declared is a mistake.
    pub(super) fn index(&self, name: &Located<String>, findings: &mut Findings) -> Option<usize> {
        let found = self.names.iter().position(|known| *known == name.value);
        if found.is_none() && self.complete {
            let names = self.names.iter().map(String::as_str);
            let what = format!(": no {} has that name", header("feature[]"));
            findings.add(name.at, unknown("feature", &name.value, names, &what));
        }
        found
    }

    /// Number of features.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// The features, when all could be read.
    pub(super) fn into_specs(self) -> Option<Vec<FeatureSpec>> {
        self.specs.into_iter().collect()
    }
}

/// What features may be made of.
#[derive(Clone, Copy)]
pub(super) struct Known<'r> {
    pub(super) fields: &'r Fields,
    /// The job's key, when it could be read.
    pub(super) key: Option<&'r [usize]>,
    pub(super) kept: Option<&'r Kept>,
    pub(super) lookups: &'r Lookups,
}

/// Reads every `[[feature]]`.
pub(super) fn features(
    sections: &[Section],
    known: Known<'_>,
    findings: &mut Findings,
) -> Features {
    let complete = !sections.is_empty() && !findings.broken_header();
    let mut features = Features {
        names: Vec::new(),
        specs: Vec::new(),
        complete,
    };
    for section in sections {
        let mut reader = FeatureReader {
            section,
            known,
            above: &features,
            all: sections,
            findings: &mut *findings,
        };
        let spec = reader.spec();
        match section.text("name") {
            Some(name) if features.names.iter().any(|known| known == name.value) => {
                findings.add(
                    name.at,
                    format!("feature {} is declared twice", quoted(name.value)),
                );
            }
            Some(name) => {
                features.names.push(name.value.to_owned());
                features.specs.push(spec);
            }
            None => features.complete = false,
        }
    }
    features
}

struct FeatureReader<'r> {
    section: &'r Section,
    known: Known<'r>,
    /// Those above it.
    above: &'r Features,
    /// The tables of all.
    all: &'r [Section],
    findings: &'r mut Findings,
}

impl FeatureReader<'_> {
    fn spec(&mut self) -> Option<FeatureSpec> {
        let transforms = self.transforms();
        let conditions = self.conditions();
        let among = self.among();
        let kind = self.kind();
        let window = self.window();
        let spec = FeatureSpec {
            name: self.section.string("name")?,
            kind: kind?,
            window: window?,
            conditions: conditions?,
            among: among?,
            transforms: transforms?,
            fill: self.section.float("fill")?,
        };
        if spec.is_count_of_history() {
            self.are_kept(&spec);
        }
        Some(spec)
    }

    fn kind(&mut self) -> Option<FeatureKind> {
        let of = self.section.text("of")?;
        Some(match of.value {
            "value" => FeatureKind::Value {
                field: self.field(of.value, NUMBERS)?,
            },
            "index" | "one_hot" => {
                let field = self.field(of.value, &[FieldKind::String]);
                let values = self.listed_values();
                let (field, values) = (field?, values?);
                if of.value == "index" {
                    FeatureKind::Index { field, values }
                } else {
                    FeatureKind::OneHot { field, values }
                }
            }
            "hash" => {
                let field = self.field(of.value, &[FieldKind::String])?;
                FeatureKind::Hash {
                    field,
                    buckets: self.section.integer("buckets")?,
                }
            }
            "hour_sin" => FeatureKind::HourSin,
            "hour_cos" => FeatureKind::HourCos,
            "day_of_week" => FeatureKind::DayOfWeek,
            "lookup" => {
                if let Some((at, _)) = self
                    .section
                    .get("fill")
                    .filter(|_| self.section.is_meant("fill"))
                {
                    let message = "`fill` with of = \"lookup\": what is not there is the `default` of the lookup's field";
                    self.findings.add(at, message);
                }
                let from = self.section.text("from")?;
                let (lookup, field) = self.known.lookups.field(&from, self.findings)?;
                FeatureKind::Lookup { lookup, field }
            }
            "constant" => FeatureKind::Constant(self.section.float("value")?),
            "expr" => return self.expr(),
            "count" => FeatureKind::Count,
            "since_previous" => FeatureKind::SincePrevious,
            "mean_gap" => FeatureKind::MeanGap,
            "share" => FeatureKind::Share,
            "distinct" => {
                let name = self.section.text("field")?;
                let field = self.known.fields.index(&name, self.findings)?;
                self.is_single(name.at, field);
                FeatureKind::Distinct { field }
            }
            // The key table has no other supported word.
            of => {
                let field = self.field(of, NUMBERS)?;
                match of {
                    "sum" => FeatureKind::Sum { field },
                    "mean" => FeatureKind::Mean { field },
                    "min" => FeatureKind::Min { field },
                    "max" => FeatureKind::Max { field },
                    "std" => FeatureKind::Std { field },
                    _ => FeatureKind::Last { field },
                }
            }
        })
    }

    /// The field of a feature of this event, of one of the given types.
    fn field(&mut self, of: &str, kinds: &[FieldKind]) -> Option<usize> {
        let name = self.section.text("field")?;
        let index = self.known.fields.index(&name, self.findings)?;
        let kind = self.known.fields.kind(index)?;
        if !kinds.contains(&kind) {
            let wanted: Vec<_> = kinds.iter().map(|kind| type_name(*kind)).collect();
            let (wanted, kind, name_shown) =
                (wanted.join(", "), type_name(kind), quoted(name.value));
            let message = format!(
                "of = \"{of}\" needs a field of type {wanted}, {name_shown} is of type {kind}"
            );
            self.findings.add(name.at, message);
        }
        Some(index)
    }

    fn listed_values(&mut self) -> Option<Vec<String>> {
        let list = self.section.texts("values")?;
        if list.is_empty() {
            let (at, _) = self.section.get("values")?;
            self.findings.add(at, "`values`: needs at least one value");
        }
        let mut values: Vec<String> = Vec::new();
        for Located { at, value } in list {
            if values.contains(value) {
                self.findings
                    .add(*at, format!("value {} is listed twice", quoted(value)));
            }
            values.push(value.clone());
        }
        Some(values)
    }

    /// Over which events a feature is. A feature of this event alone has the window that nobody looks at.
    fn window(&mut self) -> Option<WindowSpec> {
        let Some(window) = self.section.text("window") else {
            return Some(WindowSpec::default());
        };
        let over = self.over(&window);
        let key = match self.section.texts("key") {
            Some(names) => Some(self.key(names)?),
            None => None,
        };
        Some(WindowSpec {
            over: over?,
            key: key.filter(|key| Some(key.as_slice()) != self.known.key),
            includes_self: self.section.boolean("include_self")?,
        })
    }

    fn over(&mut self, window: &Located<&str>) -> Option<Over> {
        if window.value == "history" {
            // Of a feature of which nobody knows what it is there is nothing to say.
            if self.known.kept.is_none()
                && !self.findings.broken_header()
                && let Some(Located { at, value: of }) = self.section.text("of")
            {
                let message = format!(
                    "of = \"{of}\" over a history needs [history], or another `window`, such as \"1h\" or \"last 20\""
                );
                self.findings.add(at, message);
            }
            return Some(Over::History);
        }
        let events = window.value.strip_prefix("last ").map(str::trim);
        let message = match (events, duration_ms(window.value)) {
            (Some(events), _) => match events.parse() {
                Ok(events) if (1..=MAX_LAST).contains(&events) => return Some(Over::Last(events)),
                _ => format!(
                    "`window`: expected \"last N\" with N from 1 to {MAX_LAST}, got {}",
                    quoted(window.value)
                ),
            },
            (None, Some(ms)) if (1..=MAX_SPAN_MS).contains(&ms) => return Some(Over::Time(ms)),
            (None, Some(_)) => format!(
                "`window`: must be from 1ms to {}, got {}",
                show_ms(MAX_SPAN_MS),
                quoted(window.value)
            ),
            (None, None) => format!(
                "`window`: expected \"history\", \"last N\" or a duration such as \"1h\", got {}",
                quoted(window.value)
            ),
        };
        self.findings.add(window.at, message);
        None
    }

    /// The fields of another key.
    fn key(&mut self, names: &[Located<String>]) -> Option<Vec<usize>> {
        if names.is_empty() {
            let (at, _) = self.section.get("key")?;
            self.findings.add(at, "`key`: needs at least one field");
        }
        for name in names {
            let kind = self.known.fields.kind_of(&name.value);
            if let Some(kind) =
                kind.filter(|kind| !matches!(kind, FieldKind::String | FieldKind::Int))
            {
                let (shown, kind) = (quoted(&name.value), type_name(kind));
                let message =
                    format!("key field {shown} must be a string or an int, it is a {kind}");
                self.findings.add(name.at, message);
            }
        }
        self.known.fields.indices(names, self.findings)
    }

    /// A window has no lists.
    fn is_single(&mut self, at: usize, field: usize) {
        let kind = self.known.fields.kind(field);
        if let Some(kind) = kind.filter(|kind| kind.is_list()) {
            let (name, kind) = (quoted(self.known.fields.name(field)), type_name(kind));
            let message = format!("field {name} is a {kind}, and a window has single values only");
            self.findings.add(at, message);
        }
    }

    /// What a history is asked for it must have kept.
    fn are_kept(&mut self, spec: &FeatureSpec) {
        if let (FeatureKind::Distinct { field }, Some(name)) =
            (&spec.kind, self.section.text("field"))
        {
            self.keeps(name.at, *field);
        }
        if let Some((_, Value::Where(list))) = self.section.get("where") {
            for ((name, _), condition) in list.iter().zip(&spec.conditions) {
                self.keeps(name.at, condition.field);
            }
        }
    }

    /// A field that a history is asked for must be among those that it keeps.
    fn keeps(&mut self, at: usize, field: usize) {
        let Some(kept) = self.known.kept.and_then(|kept| kept.fields.as_ref()) else {
            return;
        };
        let is_list = self
            .known
            .fields
            .kind(field)
            .is_some_and(FieldKind::is_list);
        if !kept.contains(&field) && !is_list {
            let name = quoted(self.known.fields.name(field));
            self.findings.add(
                at,
                format!("field {name} is not kept: add it to [history] fields"),
            );
        }
    }

    fn conditions(&mut self) -> Option<Vec<Condition>> {
        let Some((_, Value::Where(list))) = self.section.get("where") else {
            return Some(Vec::new());
        };
        let mut conditions = Vec::new();
        for (name, any_of) in list {
            let Some(field) = self.known.fields.index(name, self.findings) else {
                continue;
            };
            let Some(kind) = self.known.fields.kind(field) else {
                continue;
            };
            if let Some(any_of) = typed(any_of, kind, self.findings) {
                conditions.push(Condition { field, any_of });
            }
        }
        (conditions.len() == list.len()).then_some(conditions)
    }

    /// The expression that says which events of a window count, if it is one.
    fn among(&mut self) -> Option<Option<Expression>> {
        let Some(written) = self.section.expression("where") else {
            return Some(None);
        };
        let names = self.known.fields.typed()?;
        let compiled = expression::compile(
            "where",
            &written,
            "field",
            &names,
            Wanted::Truth,
            self.findings,
        );
        compiled.map(Some)
    }

    /// What an expression makes of the features above it.
    fn expr(&mut self) -> Option<FeatureKind> {
        let written = self.section.expression("expr")?;
        let above = self.above.specs.iter().zip(&self.above.names);
        let numbers = above
            .enumerate()
            .filter(|(_, (spec, _))| spec.as_ref().is_none_or(|spec| spec.width() == 1));
        let (places, names): (Vec<usize>, Vec<_>) = numbers
            .map(|(at, (_, name))| (at, (name.as_str(), FieldType::Float)))
            .unzip();
        let is_of = |name: &str, section: &Section| {
            section
                .text("name")
                .is_some_and(|known| known.value == name)
        };
        let otherwise = |name: &str| {
            if self.above.names.iter().any(|known| known == name) {
                return Some(format!("feature {} is more than one number", quoted(name)));
            }
            let is_below = self.all.iter().any(|section| is_of(name, section));
            is_below.then(|| {
                format!(
                    "feature {} is not above this one: an expression sees the features above it",
                    quoted(name)
                )
            })
        };
        let compiled = expression::compile_or(
            "expr",
            &written,
            "feature",
            &names,
            Wanted::Number,
            otherwise,
            self.findings,
        );
        Some(FeatureKind::Expr {
            expression: compiled?,
            names: places,
        })
    }

    fn transforms(&mut self) -> Option<Vec<Transform>> {
        let list = self.section.texts("transform")?;
        let mut transforms = Vec::new();
        for Located { at, value } in list {
            match transform(value) {
                Ok(transform) => transforms.push(transform),
                Err(message) => self.findings.add(*at, message),
            }
        }
        (transforms.len() == list.len()).then_some(transforms)
    }
}

/// Reads one transform such as "clip(0, 1e7)".
fn transform(text: &str) -> Result<Transform, String> {
    /// The transforms and how they are written.
    const FORMS: &[(&str, &str)] = &[
        ("log1p", "log1p"),
        ("clip", "clip(a,b)"),
        ("scale", "scale(m,s)"),
    ];
    let (name, arguments) = match text.split_once('(') {
        Some((name, rest)) => (name.trim(), rest.trim_end().strip_suffix(')')),
        None => (text.trim(), Some("")),
    };
    let numbers = arguments.and_then(numbers);
    let shown = quoted(text);
    match (name, numbers.as_deref()) {
        ("log1p", Some([])) => Ok(Transform::Log1p),
        ("clip", Some(&[least, most])) if least <= most => Ok(Transform::Clip { least, most }),
        ("clip", Some([_, _])) => Err(format!(
            "transform {shown}: the first bound is above the second"
        )),
        ("scale", Some(&[_, 0.0])) => Err(format!("transform {shown}: divides by 0")),
        ("scale", Some(&[mean, deviation])) => Ok(Transform::Scale { mean, deviation }),
        ("fill", _) => Err("fill is a key of the feature, write fill = 0.0 instead".to_owned()),
        _ => {
            let known = FORMS.iter().find(|(known, _)| *known == name);
            let near = || nearest(name, FORMS.iter().map(|(known, _)| *known));
            Err(match (known, near()) {
                (Some((_, form)), _) => format!("transform {shown}: expected {form}"),
                (None, Some(near)) => {
                    format!("unknown transform {shown}, did you mean \"{near}\"?")
                }
                (None, None) => {
                    let forms: Vec<_> = FORMS.iter().map(|(_, form)| *form).collect();
                    format!("unknown transform {shown}, known are {}", forms.join(", "))
                }
            })
        }
    }
}

fn numbers(arguments: &str) -> Option<Vec<f64>> {
    if arguments.trim().is_empty() {
        return Some(Vec::new());
    }
    let number = |text: &str| {
        text.trim()
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
    };
    arguments.split(',').map(number).collect()
}
