//! Which chunks of a shard's epoch go into one transaction.
//!
//! Each worker leaves chunks of its own, of which most are small: a transaction for each of them would wait for brokers as often. A
//! transaction ends where a chunk ends, so whoever goes on after a crash finds in the marker a chunk to begin with, and may put
//! the rest together in another way.

use slackwater_dataflow::sink::{Chunks, EpochChunk, OutputChunk, SinkError};

/// What is committed at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Transaction {
    /// How many chunks of the epoch's shard are published when it is.
    pub(super) chunks: u32,
    /// Records of the shard in this epoch before it.
    pub(super) records_before: u64,
    /// The records, in order.
    pub(super) outputs: Vec<OutputChunk>,
}

impl Transaction {
    fn of(chunk: EpochChunk) -> Self {
        Transaction {
            chunks: chunk.chunk + 1,
            records_before: chunk.records_before,
            outputs: chunk.outputs,
        }
    }
}

/// Puts chunks that follow each other together, as long as they have at most so many bytes.
pub(super) fn transactions(
    chunks: Chunks<'_>,
    bytes_most: u64,
) -> impl Iterator<Item = Result<Transaction, SinkError>> {
    let mut chunks = chunks.peekable();
    std::iter::from_fn(move || {
        let mut transaction = match chunks.next()? {
            Ok(first) => Transaction::of(first),
            Err(error) => return Some(Err(error)),
        };
        let mut bytes = bytes_of(&transaction.outputs);
        let fits = |next: &Result<EpochChunk, SinkError>, bytes: u64| {
            next.as_ref()
                .is_ok_and(|next| bytes + bytes_of(&next.outputs) <= bytes_most)
        };
        while let Some(Ok(next)) = chunks.next_if(|next| fits(next, bytes)) {
            bytes += bytes_of(&next.outputs);
            transaction.chunks = next.chunk + 1;
            transaction.outputs.extend(next.outputs);
        }
        Some(Ok(transaction))
    })
}

fn bytes_of(outputs: &[OutputChunk]) -> u64 {
    outputs.iter().map(|part| part.bytes.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use std::io;

    use slackwater_dataflow::place::ShardId;
    use slackwater_dataflow::sink::{EpochChunk, Framing, OutputChunk, OutputStream, SinkError};

    use super::transactions;

    fn chunk(number: u32, lengths: &[usize]) -> EpochChunk {
        let outputs = lengths.iter().map(|length| OutputChunk {
            stream: OutputStream::Predictions,
            shard: ShardId(0),
            records: 1,
            framing: Framing::Addressed,
            bytes: vec![0; *length],
        });
        EpochChunk {
            chunk: number,
            chunks: 9,
            records_before: u64::from(number) * 10,
            outputs: outputs.collect(),
        }
    }

    #[test]
    fn which_chunks_go_together() {
        let check = |first: u32, lengths: &[&[usize]], expected: &[(u32, u64, &[usize])]| {
            let chunks = (first..).zip(lengths);
            let mut chunks = chunks.map(|(number, lengths)| Ok(chunk(number, lengths)));
            let found = transactions(&mut chunks, 10).map(Result::unwrap);
            let found = found.map(|it| {
                let lengths: Vec<_> = it.outputs.iter().map(|part| part.bytes.len()).collect();
                (it.chunks, it.records_before, lengths)
            });
            let expected = expected
                .iter()
                .map(|(chunks, before, lengths)| (*chunks, *before, lengths.to_vec()));
            assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        };
        check(0, &[], &[]);
        check(0, &[&[3]], &[(1, 0, &[3])]);
        check(0, &[&[3, 3], &[4]], &[(2, 0, &[3, 3, 4])]);
        check(0, &[&[3, 3], &[5]], &[(1, 0, &[3, 3]), (2, 10, &[5])]);
        // What is too large already goes alone, and what was published before is left out.
        check(
            2,
            &[&[40], &[1], &[9], &[1]],
            &[(3, 20, &[40]), (5, 30, &[1, 9]), (6, 50, &[1])],
        );
    }

    #[test]
    fn what_was_read_before_a_failure_is_published() {
        let failed = || SinkError {
            action: "read back",
            subject: "outputs".to_owned(),
            source: io::Error::other("gone"),
        };
        let mut chunks = [Ok(chunk(0, &[1])), Ok(chunk(1, &[1])), Err(failed())].into_iter();
        let found: Vec<_> = transactions(&mut chunks, 10).collect();
        let ends = found.iter().map(|it| it.as_ref().ok().map(|it| it.chunks));
        assert_eq!(ends.collect::<Vec<_>>(), [Some(2), None]);
    }
}
