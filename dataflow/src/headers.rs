//! Headers of records, as topics have them: names with values, in order, the same name more than once if need be.
//!
//! They travel as bytes, so that a record keeps all of them in one piece: for each `u16` length and name, `u32` length and
//! value, or `0xffffffff` for none; little-endian.

use crate::fields::Fields;

/// Length of what is not there.
pub const NONE: u32 = u32::MAX;

/// A header: its name and its value, if it has one.
pub type Header<'a> = (&'a str, Option<&'a [u8]>);

/// Headers of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// Those that [`write()`] has written one after the other. What is none ends them.
    pub fn of(bytes: &'a [u8]) -> Self {
        Headers(bytes)
    }

    /// As they lie.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let mut fields = Fields(self.0);
        std::iter::from_fn(move || read(&mut fields))
    }
}

/// Appends a header. Of a name longer than 65,535 bytes, nothing: false.
pub fn write(out: &mut Vec<u8>, (name, value): Header<'_>) -> bool {
    let Ok(length) = u16::try_from(name.len()) else {
        return false;
    };
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(name.as_bytes());
    let length = value.map_or(NONE, |value| value.len() as u32);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(value.unwrap_or_default());
    true
}

/// Reads one; nothing if there is none.
pub(crate) fn read<'a>(fields: &mut Fields<'a>) -> Option<Header<'a>> {
    let length = fields.u16()?;
    let name = str::from_utf8(fields.bytes(length.into())?).ok()?;
    let length = fields.u32()?;
    Some((name, optional(fields, length)?))
}

/// Something of a length, or that there is none; nothing at all if there is less.
pub fn optional<'a>(fields: &mut Fields<'a>, length: u32) -> Option<Option<&'a [u8]>> {
    if length == NONE {
        return Some(None);
    }
    fields.bytes(length).map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::any;

    use crate::headers::{Headers, write};

    proptest::proptest! {
        #[test]
        fn are_headers_read_as_they_were_written(
            written in vec((".{0,4}", option::of(vec(any::<u8>(), 0..5))), 0..4),
            cut in 0_usize..9,
        ) {
            let mut bytes = Vec::new();
            for (name, value) in &written {
                assert!(write(&mut bytes, (name, value.as_deref())));
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            let read: Vec<_> = Headers::of(&bytes).iter().collect();
            let written = written.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
            let written: Vec<_> = written.collect();
            assert_eq!(&read[..], &written[..read.len()]);
            assert_eq!(read.len() == written.len(), cut == 0 || written.is_empty());
        }
    }

    #[test]
    fn is_a_name_that_is_too_long_left_out() {
        let mut bytes = Vec::new();
        assert!(!write(&mut bytes, (&"n".repeat(65_536), None)));
        assert!(bytes.is_empty());
    }
}
