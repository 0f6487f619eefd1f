//! The standard input as a source: one partition, read until it ends.
//!
//! Nothing tells when a read of the standard input will return, and a worker must never wait. So a thread
//! reads ahead into a short queue and wakes the worker. Nobody waits for that thread: it may be inside a read
//! that never returns, and ends with the process.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::source::{
    Demand, Origin, Partition, Polled, Readiness, Share, Source, SourceError, SourceReader, Start,
    Starts, Wake,
};

use crate::file::lines::{BLOCK_BYTES, LineReader, Lines};

/// What the source is called, as a topic and in messages.
const NAME: &str = "stdin";

/// Its only partition.
const PARTITION: PartitionId = PartitionId(0);

/// Bytes asked of the system at once: as many as a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// Blocks read ahead: enough that the thread reads while the worker decodes, and little memory.
const BLOCKS_AHEAD: usize = 4;

/// A block of input, or why there is no more.
type Block = io::Result<Vec<u8>>;

/// Lines of JSON from the standard input. The offset of a record is the number of bytes before it.
pub struct StdinSource {
    partitions: [Partition; 1],
    /// Taken when it is opened: what was read ahead of it cannot be given back.
    input: Mutex<Option<Box<dyn Read + Send>>>,
    max_bytes: usize,
}

impl StdinSource {
    /// The standard input of this process; records longer than `max_bytes` are handed out as oversize.
    /// Reads nothing before it is opened.
    pub fn new(max_bytes: usize) -> Self {
        StdinSource::of(io::stdin(), max_bytes)
    }

    fn of(input: impl Read + Send + 'static, max_bytes: usize) -> Self {
        StdinSource {
            partitions: [Partition::new(PARTITION, Arc::from(NAME))],
            input: Mutex::new(Some(Box::new(input))),
            max_bytes,
        }
    }
}

impl Source for StdinSource {
    fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    fn open(
        &self,
        share: Share,
        from: &Starts,
        wake: Wake,
    ) -> Result<Box<dyn SourceReader>, SourceError> {
        if !share.reads(PARTITION) || from.has_ended(PARTITION) {
            return Ok(Box::new(StdinReader {
                lines: None,
                ended: None,
            }));
        }
        if let Some(Start::At(offset)) = from.of(PARTITION)
            && offset != Offset(0)
        {
            let message = format!(
                "it was read to byte {offset} by an earlier run, and cannot be read again from there; put \
                 the events into a file, or start over with `--fresh`"
            );
            return Err(failed("open", io::Error::other(message)));
        }
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let input = input.take().ok_or_else(|| {
            let twice = "it can be read only once";
            failed("open", io::Error::other(twice))
        })?;
        let (blocks, queue) = crossbeam_channel::bounded(BLOCKS_AHEAD);
        thread::Builder::new()
            .name(NAME.to_owned())
            .spawn(move || read_ahead(input, blocks, &wake))
            .map_err(|error| failed("start a thread for", error))?;
        let queue = Queue {
            blocks: queue,
            block: Vec::new(),
            given: 0,
        };
        Ok(Box::new(StdinReader {
            lines: Some(LineReader::new(queue, self.max_bytes, BLOCK_BYTES)),
            ended: None,
        }))
    }
}

fn failed(action: &'static str, source: io::Error) -> SourceError {
    SourceError {
        action,
        subject: NAME.to_owned(),
        source,
    }
}

/// Reads until the input ends or fails, or nobody wants more.
fn read_ahead(mut input: impl Read, blocks: Sender<Block>, wake: &Wake) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let block = match input.read(&mut buffer) {
            Ok(0) => break,
            // As large as what came: a slow input comes in small pieces.
            Ok(read) => Ok(buffer[..read.min(READ_BYTES)].to_vec()),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => continue,
                io::ErrorKind::WouldBlock => Err(io::Error::other(
                    "another program has set it not to wait for data; read it through `cat |`",
                )),
                _ => Err(error),
            },
        };
        let is_last = block.is_err();
        if blocks.send(block).is_err() {
            // The run was stopped.
            return;
        }
        wake.wake();
        if is_last {
            return;
        }
    }
    // Hanging up says that the input has ended; whoever is woken must find it so.
    drop(blocks);
    wake.wake();
}

/// What was read ahead; [`io::ErrorKind::WouldBlock`] where the thread has not read yet.
struct Queue {
    blocks: Receiver<Block>,
    block: Vec<u8>,
    /// Bytes of the block given away.
    given: usize,
}

impl Read for Queue {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.block.len() {
            self.block = match self.blocks.try_recv() {
                Ok(block) => block?,
                Err(TryRecvError::Empty) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(TryRecvError::Disconnected) => return Ok(0),
            };
            self.given = 0;
        }
        let read = { &self.block[self.given..] }.read(buffer)?;
        self.given += read;
        Ok(read)
    }
}

struct StdinReader {
    /// None once the input has ended, and where another worker reads it.
    lines: Option<LineReader<Queue>>,
    /// The length of an input that was read to its end.
    ended: Option<Offset>,
}

impl SourceReader for StdinReader {
    fn poll(
        &mut self,
        demand: Demand<'_>,
        emit: &mut dyn FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<Readiness, SourceError> {
        let Some(lines) = &mut self.lines else {
            return Ok(Readiness::Finished);
        };
        if !demand.allows(PARTITION) {
            return Ok(Readiness::Waiting);
        }
        let read = lines.read(demand.limit, &mut |offset, payload| {
            emit(Polled::Record {
                partition: PARTITION,
                offset,
                payload,
                origin: Origin::default(),
            })
        });
        match read.map_err(|error| failed("read", error))? {
            Lines::More => Ok(Readiness::More),
            Lines::Dry => Ok(Readiness::Waiting),
            Lines::Ended => {
                self.ended = Some(lines.position());
                self.lines = None;
                let _ = emit(Polled::Finished(PARTITION));
                Ok(Readiness::Finished)
            }
        }
    }

    fn position(&self, partition: PartitionId) -> Option<Offset> {
        let open = self.lines.as_ref().map(LineReader::position);
        open.or(self.ended).filter(|_| partition == PARTITION)
    }
}

#[cfg(test)]
mod tests;
