//! Copies of state for other services.

use slackwater_operators::event::FieldIndex;
use slackwater_operators::lookup::plan::{KeyPiece, KeyTemplate};
use slackwater_redis::mirror::MARKERS;

use crate::pipeline::mistakes::Findings;
use crate::pipeline::read::Section;
use crate::pipeline::resolve::event::Fields;
use crate::pipeline::resolve::server::{server, template};
use crate::pipeline::spec::{HistorySpec, MirrorSpec};
use crate::pipeline::value::quoted;

/// Resolves `[mirror.redis]`. `Some(None)` if there is none.
pub(super) fn mirror(
    root: &Section,
    fields: &Fields,
    key: Option<&[usize]>,
    history: Option<&HistorySpec>,
    findings: &mut Findings,
) -> Option<Option<MirrorSpec>> {
    let Some(section) = root.table("mirror") else {
        return Some(None);
    };
    let section = section.table("redis")?;
    for (table, why) in [
        ("history", "it copies what is kept of each key"),
        ("checkpoint", "it is written after each of these"),
    ] {
        if !root.is_meant(table) && !findings.broken_header() {
            let message = format!("[mirror.redis] needs [{table}]: {why}");
            findings.add(section.at, message);
        }
    }
    let server = server(section, findings);
    let layout = layout(section, fields, key, findings);
    let ttl_ms = match section.is_meant("ttl") {
        true => section.millis("ttl"),
        false => history.map(|history| history.ttl_ms),
    };
    Some(Some(MirrorSpec {
        server: server?,
        layout: layout?,
        ttl_ms: ttl_ms?,
        timeout_ms: section.millis("timeout")?,
        connect_timeout_ms: section.millis("connect_timeout")?,
    }))
}

/// What the key of a list is made of: all fields of the event's key, and no other.
fn layout(
    section: &Section,
    fields: &Fields,
    key: Option<&[usize]>,
    findings: &mut Findings,
) -> Option<KeyTemplate> {
    let pieces = template(section, "layout", fields, findings)?;
    let at = section.text("layout")?.at;
    let key = key?;
    let named = |wanted: usize| {
        let mut pieces = pieces.iter();
        pieces.any(|piece| *piece == KeyPiece::Field(FieldIndex(wanted)))
    };
    for &field in key.iter().filter(|field| !named(**field)) {
        let name = quoted(fields.name(field));
        let message = format!(
            "`layout`: lists of different keys would be one: add the key's field {name} in braces"
        );
        findings.add(at, message);
    }
    for piece in &pieces {
        if let KeyPiece::Field(FieldIndex(field)) = piece
            && !key.contains(field)
        {
            let name = quoted(fields.name(*field));
            let message = format!(
                "`layout`: there is one list for each key, and {name} is no field of `key` in [event]"
            );
            findings.add(at, message);
        }
    }
    if let Some(problem) = ambiguous(&pieces) {
        findings.add(at, format!("`layout`: {problem}"));
    }
    Some(KeyTemplate(pieces))
}

/// Why lists could not be told from others by their keys.
fn ambiguous(pieces: &[KeyPiece]) -> Option<&'static str> {
    let is_field = |piece: &KeyPiece| matches!(piece, KeyPiece::Field(_));
    if let Some(KeyPiece::Text(first)) = pieces.first() {
        if MARKERS.starts_with(first) || first.starts_with(MARKERS) {
            return Some("keys that begin so are the mirror's own: begin it with another word");
        }
    } else {
        return Some(
            "any key could be one of its lists: begin it with a word, as in \"visitor:{visitor}\"",
        );
    }
    let mut neighbours = pieces.iter().zip(pieces.iter().skip(1));
    neighbours
        .any(|(one, next)| is_field(one) && is_field(next))
        .then_some(
            "where one field ends and the next begins is not to be seen: write a text between them",
        )
}
