//! How much a bench runs that takes turns, from what stands behind its name.

use std::str::FromStr;

use anyhow::{Context as _, Result, bail};

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Events of each run.
    pub events: u64,
    /// Turns that count. Even, so that there are as many forth as back.
    pub turns: usize,
    /// Whether the figures are published.
    pub is_published: bool,
}

/// The value of an option.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    name: &'a str,
    value: &'a str,
}

impl Given<'_> {
    /// The number that it is; `_` may stand between its digits.
    ///
    /// # Errors
    /// It is none.
    pub fn number<N: FromStr<Err: std::error::Error + Send + Sync + 'static>>(self) -> Result<N> {
        let Given { name, value } = self;
        let number = value.replace('_', "").parse();
        number.with_context(|| format!("{name} {value}: expected a number"))
    }
}

/// Reads options, `--quick` first, then pairs: `set` takes one, if it is one of the bench's own beside those of all.
///
/// # Errors
/// A mistyped option, as `usage` says it; nothing to measure.
pub fn parse<E>(
    usage: &str,
    (full, quick): (E, E),
    arguments: &[&str],
    extent_of: impl Fn(&mut E) -> &mut Extent,
    set: impl Fn(&mut E, &str, Given<'_>) -> Result<bool>,
) -> Result<E> {
    let (mut wanted, pairs) = match arguments {
        ["--quick", rest @ ..] => (quick, rest),
        rest => (full, rest),
    };
    for pair in pairs.chunks(2) {
        let [name, value] = *pair else {
            bail!("`{}` has no value; {usage}", pair.concat());
        };
        let given = Given { name, value };
        match name {
            "--events" => extent_of(&mut wanted).events = given.number()?,
            "--turns" => extent_of(&mut wanted).turns = given.number()?,
            other if set(&mut wanted, other, given)? => {}
            other => bail!("no option `{other}`; {usage}"),
        }
    }
    let extent = extent_of(&mut wanted);
    if extent.events == 0 || extent.turns == 0 {
        bail!("there is nothing to measure without events and turns; {usage}");
    }
    Ok(wanted)
}

impl Extent {
    /// Reads the options of a bench that has none but those of all.
    ///
    /// # Errors
    /// As [`parse`].
    pub fn parse(usage: &str, full: Extent, quick: Extent, arguments: &[&str]) -> Result<Extent> {
        parse(
            usage,
            (full, quick),
            arguments,
            |it| it,
            |_, _, _| Ok(false),
        )
    }
}
