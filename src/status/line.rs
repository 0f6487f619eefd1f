//! The line of a log: what a running job says where nobody watches it, as `key=value` fields for programs.

use slackwater_dataflow::lookup::counts::LookupFigures;
use slackwater_dataflow::sink::OutputStream;
use tracing::Subscriber;
use tracing_subscriber::fmt::{self, MakeWriter};

use crate::report::ProductName;
use crate::status::Status;

/// Writes lines to `output`: plain text, without colours or other control codes wherever it goes. What cannot
/// be written is dropped, and no reason to fail.
pub(super) fn writer<W>(output: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    fmt::Subscriber::builder()
        .with_writer(output)
        .with_ansi(false)
        .with_target(false)
        .log_internal_errors(false)
        .finish()
}

/// Says how a run is, or how it was when it has `ended`.
pub(super) fn write(status: &Status, ended: bool) {
    let totals = &status.totals;
    let settled = |stream| totals.settled(stream);
    let made = |product| (product == status.product).then(|| settled(OutputStream::Predictions));
    let lookups = &status.lookups;
    let unanswered = |it: &LookupFigures| it.counts.timed_out + it.counts.unavailable;
    let unanswered = (!lookups.is_empty()).then(|| lookups.iter().map(unanswered).sum::<u64>());
    let away = lookups.iter().filter(|it| it.away.is_some());
    let away: Vec<&str> = away.map(|it| it.name.as_str()).collect();
    let reached = status.span.and_then(|span| span.least);
    tracing::info!(
        job = status.job,
        seconds = status.elapsed.as_secs(),
        read = totals.read,
        expected = status.expected,
        per_second = if ended {
            status.mean_per_second()
        } else {
            status.per_second
        },
        predictions = made(ProductName::Predictions),
        features = made(ProductName::Features),
        validation_errors = settled(OutputStream::ValidationErrors),
        processing_errors = settled(OutputStream::ProcessingErrors),
        late_events = settled(OutputStream::LateEvents),
        filtered = (totals.filtered > 0).then_some(totals.filtered),
        in_flight = totals.in_flight(),
        waiting = status.waiting,
        lookups_unanswered = unanswered,
        stores_away = (!away.is_empty()).then(|| away.join(",")),
        event_time = reached.map(|time| time.0),
        behind_newest_ms = status.behind_newest_ms(),
        behind_now_ms = status.behind_now_ms(),
        "{}",
        if ended { "ended" } else { "running" },
    );
}

/// Says what went wrong that the run survives.
pub(super) fn warn(status: &Status, trouble: &str) {
    tracing::warn!(
        job = status.job,
        seconds = status.elapsed.as_secs(),
        trouble,
        "running, with trouble",
    );
}
