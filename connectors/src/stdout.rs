//! A sink that writes all streams to one output, for a person or a program that reads along.
//!
//! Each record is one line, wrapped so that its stream can be told:
//! `{"stream":"ml_predictions","record":{...}}`. The record's own bytes are not changed.

use std::io::{self, BufWriter, Write};

use slackwater_dataflow::sink::{OutputChunk, OutputStream, Sink, SinkError};

/// Bytes handed to the system at once, within a chunk.
const BLOCK_BYTES: usize = 64 * 1024;

/// What stands behind each record.
const END: &[u8] = b"}\n";

/// Writes records of all streams to `W`, which is the standard output but for tests. A whole chunk is
/// written out before the next one is taken: at least once, and nothing is held back.
#[derive(Debug)]
pub struct StdoutSink<W: Write> {
    output: BufWriter<W>,
    /// What stands before each record, by stream.
    starts: [String; OutputStream::ALL.len()],
}

impl<W: Write> StdoutSink<W> {
    /// A sink that writes to `output`, where `name` gives the name of each stream: letters, digits, `-`,
    /// `_` and `.`, as pipeline files have them.
    pub fn new(output: W, name: impl Fn(OutputStream) -> String) -> Self {
        let start = |stream| format!("{{\"stream\":\"{}\",\"record\":", name(stream));
        StdoutSink {
            output: BufWriter::with_capacity(BLOCK_BYTES, output),
            starts: OutputStream::ALL.map(start),
        }
    }

    fn write(&mut self, stream: OutputStream, lines: &[u8]) -> io::Result<()> {
        // A stream's index is below the number of streams by its definition.
        let start = self.starts[stream.index()].as_bytes();
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            self.output.write_all(start)?;
            self.output
                .write_all(line.strip_suffix(b"\n").unwrap_or(line))?;
            self.output.write_all(END)?;
        }
        self.output.flush()
    }
}

impl<W: Write + Send> Sink for StdoutSink<W> {
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError> {
        let lines = chunk.lines()?;
        self.write(chunk.stream, lines).map_err(|source| SinkError {
            action: "write to",
            subject: "stdout".to_owned(),
            source,
        })
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        // Every chunk was written out.
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use slackwater_dataflow::place::ShardId;
    use slackwater_dataflow::sink::Framing;

    use super::*;

    fn chunk(stream: OutputStream, records: u32, text: &str) -> OutputChunk {
        OutputChunk {
            stream,
            shard: ShardId(0),
            records,
            framing: Framing::Lines,
            bytes: text.into(),
        }
    }

    #[test]
    fn is_each_record_a_line_that_names_its_stream() {
        let mut written = Vec::new();
        let mut sink = StdoutSink::new(&mut written, |stream| format!("my-{}", stream.name()));
        for chunk in [
            chunk(OutputStream::Predictions, 2, "{\"a\":1}\n{\"b\":\"}\"}\n"),
            chunk(OutputStream::LateEvents, 1, "{}\n"),
            chunk(OutputStream::ValidationErrors, 0, ""),
        ] {
            sink.append(&chunk).unwrap();
        }
        sink.finish().unwrap();
        drop(sink);
        let expected = "{\"stream\":\"my-predictions\",\"record\":{\"a\":1}}\n\
            {\"stream\":\"my-predictions\",\"record\":{\"b\":\"}\"}}\n\
            {\"stream\":\"my-late_events\",\"record\":{}}\n";
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }

    /// Takes so many bytes and then breaks.
    struct Pipe(usize);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self.0.min(bytes.len());
            self.0 -= taken;
            if taken == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn does_a_chunk_that_is_not_written_out_fail_at_once() {
        let text = "{}\n".repeat(100);
        let line = "{\"stream\":\"s\",\"record\":{}}\n".len();
        let check = |room: usize, expected: bool| {
            let mut sink = StdoutSink::new(Pipe(room), |_| "s".to_owned());
            let result = sink.append(&chunk(OutputStream::Predictions, 100, &text));
            assert_eq!(result.is_ok(), expected, "{room}");
            if let Err(error) = result {
                assert_eq!(error.source.kind(), io::ErrorKind::BrokenPipe);
                assert_eq!(
                    (error.action, error.subject.as_str()),
                    ("write to", "stdout")
                );
            }
        };
        check(100 * line, true);
        check(100 * line - 1, false);
        check(0, false);
    }
}
