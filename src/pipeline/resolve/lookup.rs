//! Lookups: what is asked, of whom, and what is done without an answer.

use std::time::Duration;

use slackwater_operators::lookup::plan::{
    CachePlan, KeyPiece, KeyTemplate, LookupField, LookupType, OnError, OnMiss,
};

use crate::pipeline::keys::header;
use crate::pipeline::mistakes::Findings;
use crate::pipeline::read::Section;
use crate::pipeline::resolve::event::Fields;
use crate::pipeline::resolve::server::{server, template};
use crate::pipeline::spec::{LookupRead, LookupSpec};
use crate::pipeline::value::{Located, quoted, unknown};

/// The declared lookups.
pub(super) struct Lookups {
    known: Vec<Known>,
    /// Whether every declared lookup has a name; else a name that is not found proves nothing.
    complete: bool,
}

struct Known {
    name: String,
    fields: Vec<String>,
    spec: Option<LookupSpec>,
}

impl Lookups {
    /// The lookup and the field of it that `lookup.field` names; a name that is not declared is a mistake.
    pub(super) fn field(
        &self,
        from: &Located<&str>,
        findings: &mut Findings,
    ) -> Option<(usize, usize)> {
        let Some((name, field)) = from.value.split_once('.') else {
            let shown = quoted(from.value);
            let message =
                format!("`from`: expected LOOKUP.FIELD, as in \"profile.age\", got {shown}");
            findings.add(from.at, message);
            return None;
        };
        let lookup = self.known.iter().position(|known| known.name == name);
        let Some((at, known)) = lookup.and_then(|at| Some((at, self.known.get(at)?))) else {
            if self.complete {
                let names = self.known.iter().map(|known| known.name.as_str());
                let what = format!(": no {} has that name", header("lookup[]"));
                findings.add(from.at, unknown("lookup", name, names, &what));
            }
            return None;
        };
        let found = known.fields.iter().position(|known| known == field);
        if found.is_none() && !known.fields.is_empty() {
            let names = known.fields.iter().map(String::as_str);
            let what = format!(": lookup {} has no such field", quoted(name));
            findings.add(from.at, unknown("field", field, names, &what));
        }
        Some((at, found?))
    }

    /// The lookups, when all could be read.
    pub(super) fn into_specs(self) -> Option<Vec<LookupSpec>> {
        self.known.into_iter().map(|known| known.spec).collect()
    }
}

/// Reads every `[[lookup]]`.
pub(super) fn lookups(sections: &[Section], fields: &Fields, findings: &mut Findings) -> Lookups {
    let mut lookups = Lookups {
        known: Vec::new(),
        complete: !findings.broken_header(),
    };
    for section in sections {
        let spec = lookup(section, fields, findings);
        let Some(name) = section.text("name") else {
            lookups.complete = false;
            continue;
        };
        if lookups.known.iter().any(|known| known.name == name.value) {
            let shown = quoted(name.value);
            findings.add(name.at, format!("lookup {shown} is declared twice"));
        }
        let of_lookup = section.tables("fields").iter();
        lookups.known.push(Known {
            name: name.value.to_owned(),
            fields: of_lookup.filter_map(|field| field.string("name")).collect(),
            spec,
        });
    }
    lookups
}

/// Every mistake of a lookup is looked for before any of them ends it.
fn lookup(section: &Section, fields: &Fields, findings: &mut Findings) -> Option<LookupSpec> {
    let server = server(section, findings);
    let key = key(section, fields, findings);
    let declared = declared(section, findings);
    let read = section.text("read").map(|read| match read.value {
        "hash" => LookupRead::Hash,
        "json" => LookupRead::Json,
        _ => LookupRead::Text,
    });
    if let (Some(LookupRead::Text), Some([_, more, ..])) = (read, section.tables("fields").get(..))
    {
        let message = "read = \"string\" gives one value: declare one field";
        findings.add(more.at, message);
    }
    let on_error = section.text("on_error").map(|asked| match asked.value {
        "default" => OnError::Default,
        "last_known" => OnError::LastKnown,
        "fail" => OnError::Fail,
        _ => OnError::DeadLetter,
    });
    if let (Some(OnError::LastKnown), None, Some(asked)) =
        (on_error, section.table("cache"), section.text("on_error"))
    {
        let message = "on_error = \"last_known\" needs a cache: add cache = { ttl = \"5s\" }";
        findings.add(asked.at, message);
    }
    let breaker = section.table("breaker")?;
    Some(LookupSpec {
        name: section.string("name")?,
        server: server?,
        key: key?,
        read: read?,
        fields: declared?,
        timeout_ms: section.millis("timeout")?,
        connect_timeout_ms: section.millis("connect_timeout")?,
        retries: section.integer("retries")?,
        on_miss: match section.text("on_miss")?.value {
            "dead_letter" => OnMiss::DeadLetter,
            _ => OnMiss::Default,
        },
        on_error: on_error?,
        in_flight: section.integer("in_flight")?,
        cache: match section.table("cache") {
            Some(cache) => Some(self::cache(cache)?),
            None => None,
        },
        breaker_failures: breaker.integer("failures")?,
        breaker_open_ms: breaker.millis("open")?,
    })
}

fn cache(section: &Section) -> Option<CachePlan> {
    Some(CachePlan {
        bytes: usize::try_from(section.bytes("bytes")?).unwrap_or(usize::MAX),
        ttl: Duration::from_millis(section.millis("ttl")?),
        stale_for: Duration::from_millis(section.millis("stale_for")?),
    })
}

/// What is asked for: texts, and fields in braces.
fn key(section: &Section, fields: &Fields, findings: &mut Findings) -> Option<KeyTemplate> {
    let key = template(section, "key", fields, findings)?;
    let prefix = section.string("prefix").map(KeyPiece::Text);
    Some(KeyTemplate(prefix.into_iter().chain(key).collect()))
}

/// The fields of an answer.
fn declared(section: &Section, findings: &mut Findings) -> Option<Vec<LookupField>> {
    let mut fields: Vec<LookupField> = Vec::new();
    for declared in section.tables("fields") {
        let name = declared.text("name")?;
        if fields.iter().any(|known| known.name == name.value) {
            let shown = quoted(name.value);
            findings.add(name.at, format!("field {shown} is declared twice"));
        }
        let (kind, what) = match declared.text("type")?.value {
            "int" => (LookupType::Int, "a whole number"),
            "bool" => (LookupType::Bool, "0 or 1"),
            _ => (LookupType::Float, "a number"),
        };
        let default = declared.float("default")?;
        let fits = match kind {
            LookupType::Float => true,
            LookupType::Int => default.fract() == 0.0,
            LookupType::Bool => default == 0.0 || default == 1.0,
        };
        if let Some((at, _)) = declared.get("default").filter(|_| !fits) {
            findings.add(at, format!("`default`: expected {what}, got {default}"));
        }
        fields.push(LookupField {
            name: name.value.to_owned(),
            kind,
            default,
        });
    }
    Some(fields)
}
