//! What a record was written with beside its bytes, kept for a dead letter that repeats all of it: `u32` length of the
//! rest, `u32` length and bytes of the key (`0xffffffff`: none), then its headers.

use slackwater_dataflow::fields::Fields;
use slackwater_dataflow::headers::{Headers, NONE, optional};
use slackwater_dataflow::source::Origin;

/// Of a record of which nothing is known.
const UNKNOWN: [u8; 8] = [4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];

/// What was kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptOrigin<'a> {
    /// The key of the record; none if it had none.
    pub key: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

/// Writes what is to be kept.
pub(crate) fn write(origin: Origin<'_>, out: &mut Vec<u8>) {
    let headers = origin.headers.bytes();
    let key = origin.key.unwrap_or_default();
    let length = origin.key.map_or(NONE, |key| key.len() as u32);
    let rest = (4 + key.len() + headers.len()) as u32;
    out.extend_from_slice(&rest.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(headers);
}

/// The same of a record of which nothing is known.
pub(crate) fn write_unknown(out: &mut Vec<u8>) {
    out.extend_from_slice(&UNKNOWN);
}

/// Bytes that it takes at the front of these; 0 if there is none.
pub(crate) fn length(bytes: &[u8]) -> u32 {
    let mut fields = Fields(bytes);
    let rest = fields.u32().filter(|rest| fields.bytes(*rest).is_some());
    rest.map_or(0, |rest| rest.saturating_add(4))
}

/// Reads it from the front of these bytes.
pub(crate) fn read(bytes: &[u8]) -> Option<KeptOrigin<'_>> {
    let mut fields = Fields(bytes);
    let mut kept = Fields(fields.string()?);
    let length = kept.u32()?;
    let key = optional(&mut kept, length)?;
    let headers = Headers::of(kept.0);
    Some(KeptOrigin { key, headers })
}

#[cfg(test)]
mod tests {
    use slackwater_dataflow::headers::{self, Headers};
    use slackwater_dataflow::source::Origin;

    use crate::origin::{KeptOrigin, length, read, write, write_unknown};

    #[test]
    fn is_what_was_kept_read_back() {
        let mut all = Vec::new();
        headers::write(&mut all, ("trace", Some(b"7")));
        headers::write(&mut all, ("none", None));
        for (key, headers) in [
            (None, &[][..]),
            (Some(&b""[..]), &all),
            (Some(&b"key"[..]), &all),
        ] {
            let headers = Headers::of(headers);
            let mut bytes = Vec::new();
            let origin = Origin {
                key,
                headers,
                time: None,
            };
            write(origin, &mut bytes);
            let whole = bytes.len();
            bytes.extend_from_slice(b"what follows");
            assert_eq!(length(&bytes) as usize, whole);
            assert_eq!(read(&bytes), Some(KeptOrigin { key, headers }));
            for cut in 0..whole {
                assert_eq!(length(&bytes[..cut]), 0);
                assert_eq!(read(&bytes[..cut]), None);
            }
        }
        let mut unknown = Vec::new();
        write_unknown(&mut unknown);
        assert_eq!(read(&unknown), Some(KeptOrigin::default()));
    }
}
