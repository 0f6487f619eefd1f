//! Servers that a job reaches besides brokers, and keys there.

use slackwater_operators::event::FieldIndex;
use slackwater_operators::lookup::plan::KeyPiece;
use slackwater_redis::address::Address;
use slackwater_redis::tls::HAS_TLS;
use slackwater_redis::trust::BUILD;

use crate::pipeline::mistakes::Findings;
use crate::pipeline::read::Section;
use crate::pipeline::resolve::event::{Fields, type_name};
use crate::pipeline::spec::{FieldKind, Hidden, PropertySpec, ServerSpec};
use crate::pipeline::value::{Located, quoted};

/// Where a server is, and who comes.
pub(super) fn server(section: &Section, findings: &mut Findings) -> Option<ServerSpec> {
    let url = url(section, findings);
    credentials(section, findings);
    let identity = identity(section, findings);
    Some(ServerSpec {
        url: Hidden(url?),
        username: section.secret("username"),
        password: section.secret("password"),
        ca: section.secret("ca"),
        identity,
    })
}

/// A user without any proof is let in nowhere; both may stand in the file or in the URL.
fn credentials(section: &Section, findings: &mut Findings) {
    // A wrong URL is a mistake of its own, and says nothing of who comes.
    let Some((at, Ok(address))) = section
        .text("url")
        .map(|url| (url.at, Address::parse(url.value)))
    else {
        return;
    };
    if section.get("password").is_some() || address.password.is_some() {
        return;
    }
    if let Some((at, _)) = section.get("username") {
        findings.add(at, "`username` needs `password`");
    } else if address.user.is_some() {
        let message = "`url` names a user and no password: write `password`, or, if what stands there is one, `redis://:PASSWORD@HOST`";
        findings.add(at, message);
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

/// Where it is. What is wrong with it is said without repeating it: it may hold a password.
fn url(section: &Section, findings: &mut Findings) -> Option<String> {
    let url = section.text("url")?;
    match Address::parse(url.value) {
        Ok(_) => Some(url.value.to_owned()),
        Err(error) => {
            findings.add(url.at, format!("`url`: {error}"));
            None
        }
    }
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
        let kind = fields.kind(field);
        if let Some(kind) = kind.filter(|kind| *kind == FieldKind::Float || kind.is_list()) {
            let (shown, kind) = (quoted(name.value), type_name(kind));
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
