//! The model: where it is, and which features it takes in which order.

use std::collections::BTreeSet;

use crate::pipeline::mistakes::{Findings, Place};
use crate::pipeline::read::Section;
use crate::pipeline::resolve::feature::Features;
use crate::pipeline::spec::{ModelPath, ModelSpec, OutputSpec};
use crate::pipeline::value::{Located, nearest, quoted};

/// The models that are embedded in the binary.
const BUILTIN: &[&str] = &["user-events"];

/// Reads `[model]`.
pub(super) fn model(
    section: &Section,
    features: &Features,
    findings: &mut Findings,
) -> Option<ModelSpec> {
    let path = section
        .text("path")
        .and_then(|path| self::path(&path, findings));
    let digest = section.text("digest").map(|text| digest(&text, findings));
    let inputs = match section.texts("features") {
        Some(names) => inputs(section, names, features, findings),
        None => Some((0..features.len()).collect()),
    };
    let outputs = outputs(section, findings);
    Some(ModelSpec {
        place: Place::default(),
        path: path?,
        digest: match digest {
            Some(digest) => Some(digest?),
            None => None,
        },
        features: inputs?,
        input: section.string("input"),
        outputs: outputs?,
        batch: section.integer("batch")?,
        golden: section.string("golden"),
    })
}

/// The tables that say what becomes the prediction: one, or each of several.
pub(super) fn predicted(section: &Section) -> impl Iterator<Item = &Section> {
    let one = section.table("output").into_iter();
    one.chain(section.tables("outputs"))
}

fn outputs(section: &Section, findings: &mut Findings) -> Option<Vec<OutputSpec>> {
    let mut seen = BTreeSet::new();
    for name in predicted(section).filter_map(|output| output.text("name")) {
        if !seen.insert(name.value) {
            let shown = quoted(name.value);
            findings.add(name.at, format!("output {shown} is declared twice"));
        }
    }
    let output = |output: &Section| {
        Some(OutputSpec {
            name: output.string("name")?,
            tensor: output.string("tensor"),
            index: output.integer("index")?,
        })
    };
    predicted(section).map(output).collect()
}

fn path(path: &Located<&str>, findings: &mut Findings) -> Option<ModelPath> {
    let Some(name) = path.value.strip_prefix("builtin:") else {
        return Some(ModelPath::File(path.value.to_owned()));
    };
    if BUILTIN.contains(&name) {
        return Some(ModelPath::Builtin(name.to_owned()));
    }
    let known = nearest(name, BUILTIN.iter().copied());
    findings.add(
        path.at,
        match known {
            Some(near) => format!(
                "unknown builtin model {}, did you mean \"{near}\"?",
                quoted(name)
            ),
            None => format!(
                "unknown builtin model {}, known are {}",
                quoted(name),
                BUILTIN.join(", ")
            ),
        },
    );
    None
}

fn digest(text: &Located<&str>, findings: &mut Findings) -> Option<String> {
    /// Hexadecimal digits of a SHA-256 sum.
    const DIGITS: usize = 64;
    let digits = text.value.strip_prefix("sha256:");
    let digits = digits.filter(|digits| {
        digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    });
    if digits.is_none() {
        let message = format!("`digest`: expected \"sha256:\" and {DIGITS} hexadecimal digits");
        findings.add(text.at, format!("{message}, got {}", quoted(text.value)));
    }
    digits.map(str::to_ascii_lowercase)
}

fn inputs(
    section: &Section,
    names: &[Located<String>],
    features: &Features,
    findings: &mut Findings,
) -> Option<Vec<usize>> {
    if names.is_empty() {
        let at = section.get("features").map_or(section.at, |(at, _)| at);
        findings.add(
            at,
            "`features`: needs at least one feature, or leave it out to take all",
        );
    }
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.value.as_str()) {
            findings.add(
                name.at,
                format!("feature {} is listed twice", quoted(&name.value)),
            );
        }
    }
    let indices: Vec<_> = names
        .iter()
        .map(|name| features.index(name, findings))
        .collect();
    indices.into_iter().collect()
}
