//! Lookups: what is asked, of whom, and what is done without an answer.

use std::time::Duration;

use slackwater_operators::event::FieldIndex;
use slackwater_operators::lookup::plan::{
    CachePlan, KeyPiece, KeyTemplate, LookupField, LookupType, OnError, OnMiss,
};
use slackwater_redis::address::Address;
use slackwater_redis::tls::HAS_TLS;
use slackwater_redis::trust::BUILD;

use crate::pipeline::keys::header;
use crate::pipeline::mistakes::Findings;
use crate::pipeline::read::Section;
use crate::pipeline::resolve::event::{Fields, type_name};
use crate::pipeline::spec::{FieldKind, Hidden, LookupRead, LookupSpec, PropertySpec};
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
    let url = url(section, findings);
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
    credentials(section, findings);
    let identity = identity(section, findings);
    let breaker = section.table("breaker")?;
    Some(LookupSpec {
        name: section.string("name")?,
        url: Hidden(url?),
        username: section.secret("username"),
        password: section.secret("password"),
        ca: section.secret("ca"),
        identity,
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

/// A user without any proof is let in nowhere; both may stand in the file or in the URL.
fn credentials(section: &Section, findings: &mut Findings) {
    let Some((at, _)) = section.get("username") else {
        return;
    };
    let url = section.text("url");
    // A wrong URL is a mistake of its own, and says nothing of a password.
    let has_password = url.is_none_or(|url| {
        Address::parse(url.value).map_or(true, |address| address.password.is_some())
    });
    if section.get("password").is_none() && !has_password {
        findings.add(at, "`username` needs `password`");
    }
}

/// The keys that belong to TLS.
const OF_TLS: [&str; 3] = ["ca", "certificate", "certificate_key"];

/// What proves who asks, with TLS.
fn identity(section: &Section, findings: &mut Findings) -> Option<(PropertySpec, PropertySpec)> {
    let is_encrypted = section
        .text("url")
        .is_none_or(|url| !url.value.starts_with("redis:"));
    for name in OF_TLS {
        let Some((at, _)) = section.get(name) else {
            continue;
        };
        if !HAS_TLS {
            findings.add(at, format!("`{name}` belongs to TLS, and {BUILD}"));
        } else if !is_encrypted {
            let message = format!("`{name}` belongs to TLS: write `rediss://` in `url`");
            findings.add(at, message);
        }
    }
    let [_, certificate, key] = OF_TLS.map(|name| section.get(name));
    match (certificate, key) {
        (Some((at, _)), None) => findings.add(at, "`certificate` needs `certificate_key`"),
        (None, Some((at, _))) => findings.add(at, "`certificate_key` needs `certificate`"),
        _ => {}
    }
    section
        .secret("certificate")
        .zip(section.secret("certificate_key"))
}

/// Where the store is. What is wrong with it is said without repeating it: it may hold a password.
pub(super) fn url(section: &Section, findings: &mut Findings) -> Option<String> {
    let url = section.text("url")?;
    match Address::parse(url.value) {
        Ok(_) => Some(url.value.to_owned()),
        Err(error) => {
            findings.add(url.at, format!("`url`: {error}"));
            None
        }
    }
}

/// What is asked for: texts, and fields in braces.
fn key(section: &Section, fields: &Fields, findings: &mut Findings) -> Option<KeyTemplate> {
    let key = template(section, "key", fields, findings)?;
    let prefix = section.string("prefix").map(KeyPiece::Text);
    Some(KeyTemplate(prefix.into_iter().chain(key).collect()))
}

/// Texts, and fields in braces: what keys in a store are made of.
pub(super) fn template(
    section: &Section,
    name: &str,
    fields: &Fields,
    findings: &mut Findings,
) -> Option<Vec<KeyPiece>> {
    let what = name;
    let template = section.text(name)?;
    let mut pieces = Vec::new();
    let (mut rest, mut names_field) = (template.value, false);
    while let Some((text, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            findings.add(template.at, format!("`{what}`: a brace is not closed"));
            return None;
        };
        if !text.is_empty() {
            pieces.push(KeyPiece::Text(text.to_owned()));
        }
        let name = Located {
            at: template.at,
            value: name,
        };
        let field = fields.index(&name, findings)?;
        if fields.kind(field) == Some(FieldKind::Float) {
            let (shown, kind) = (quoted(name.value), type_name(FieldKind::Float));
            let message = format!(
                "`{what}`: field {shown} is of type {kind}, which has more than one way to be written"
            );
            findings.add(template.at, message);
        }
        names_field = true;
        pieces.push(KeyPiece::Field(FieldIndex(field)));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(KeyPiece::Text(rest.to_owned()));
    }
    if !names_field {
        let message = format!(
            "`{what}`: names no field, so it would be the same for all events: write one in braces, as in \
             \"profile:{{visitor}}\""
        );
        findings.add(template.at, message);
    }
    Some(pieces)
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
