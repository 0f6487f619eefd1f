//! A source whose readers are those of another, wrapped.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use slackwater_dataflow::source::{
    Partition, Share, Source, SourceError, SourceReader, Starts, Topics, Wake,
};

/// Another source, each of whose readers goes through a function: it may be read more slowly, or break its contract.
/// A reader of partitions that may be found, or be known again, has to pass on `begin` and `mark`.
pub struct Wrapped<S, F> {
    inner: S,
    wrap: F,
}

impl<S, F> Wrapped<S, F>
where
    S: Source,
    F: Fn(Share, Box<dyn SourceReader>) -> Box<dyn SourceReader> + Send + Sync,
{
    /// The source `inner`, with the readers that `wrap` makes of its readers.
    pub fn new(inner: S, wrap: F) -> Self {
        Wrapped { inner, wrap }
    }
}

impl<S: fmt::Debug, F> fmt::Debug for Wrapped<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wrapped").field(&self.inner).finish()
    }
}

impl<S, F> Source for Wrapped<S, F>
where
    S: Source,
    F: Fn(Share, Box<dyn SourceReader>) -> Box<dyn SourceReader> + Send + Sync,
{
    fn partitions(&self) -> &[Partition] {
        self.inner.partitions()
    }

    fn open(
        &self,
        share: Share,
        from: &Starts,
        wake: Wake,
    ) -> Result<Box<dyn SourceReader>, SourceError> {
        let reader = self.inner.open(share, from, wake)?;
        Ok((self.wrap)(share, reader))
    }

    fn may_change(&self) -> bool {
        self.inner.may_change()
    }

    fn look_every(&self) -> Option<Duration> {
        self.inner.look_every()
    }

    fn look(&self) -> Result<Vec<Partition>, SourceError> {
        self.inner.look()
    }

    fn topics(&self) -> Arc<Topics> {
        self.inner.topics()
    }
}
