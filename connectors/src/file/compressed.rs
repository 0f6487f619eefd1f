//! Reads a file as what it stands for: as it is, or decompressed when its name ends in `.gz` or `.zst`.
//!
//! A compressed file that is cut short or damaged is an error and never a short file: the formats say
//! where they end, and whoever reads on past that is told how far the data was good.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// Compressed bytes asked of the system at once: they become several times as many.
const COMPRESSED_BLOCK_BYTES: usize = 64 * 1024;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// Members one after the other, as gzip and pigz write them.
    Gzip,
    /// Frames one after the other, with a window of at most 128 MiB each, as the command's own default.
    Zstandard,
}

impl Format {
    /// By the end of the name; none: not compressed.
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "gz" => Some(Format::Gzip),
            "zst" => Some(Format::Zstandard),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Format::Gzip => "gzip",
            Format::Zstandard => "Zstandard",
        }
    }
}

/// Whether a file of that name is decompressed when it is read.
pub fn is_compressed(path: &Path) -> bool {
    Format::of(path).is_some()
}

/// A reader of the content of `file`, whose name is `path`.
pub(super) fn decompressed(path: &Path, file: File) -> io::Result<Box<dyn Read>> {
    match Format::of(path) {
        None => Ok(Box::new(file)),
        Some(format) => Ok(Box::new(Decompressed::new(format, file)?)),
    }
}

/// What a compressed input stands for. Counts what it gives, so that an error can say how far it went.
struct Decompressed {
    format: Format,
    decoder: Box<dyn Read>,
    /// Bytes given so far.
    given: u64,
}

impl Decompressed {
    fn new(format: Format, input: impl Read + 'static) -> io::Result<Self> {
        let input = BufReader::with_capacity(COMPRESSED_BLOCK_BYTES, input);
        let decoder: Box<dyn Read> = match format {
            Format::Gzip => Box::new(MultiGzDecoder::new(input)),
            Format::Zstandard => Box::new(zstd::Decoder::with_buffer(input)?),
        };
        Ok(Decompressed {
            format,
            decoder,
            given: 0,
        })
    }

    /// Says of what the decoder refused where that was. What the system itself refused stays as it is.
    fn located(&self, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::Interrupted || error.raw_os_error().is_some() {
            return error;
        }
        let (format, given) = (self.format.name(), self.given);
        let message = format!(
            "the {format} data is cut short or damaged; it was read up to byte {given} of what it \
             decompresses to ({error})"
        );
        io::Error::new(error.kind(), message)
    }
}

impl Read for Decompressed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer);
        let read = read.map_err(|error| self.located(error))?;
        self.given += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
