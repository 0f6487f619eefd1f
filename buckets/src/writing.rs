//! Writes an object: a small one with one request, a large one in parts while it grows.
//!
//! Either way it is there, whole and durable, when the last request is answered, and before that it is not there at
//! all. Nobody else writes one of this name: whoever made it up drew 64 bits of it at random.

use std::io;
use std::time::{Duration, Instant};

use object_store::path::Path;
use object_store::{GetOptions, MultipartUpload, ObjectStoreExt, PutPayload};
use slackwater_dataflow::store::{ObjectWriter, Put, StoreError, refuse_broken};
use tokio::task::JoinSet;

use crate::fault::status;
use crate::link::Link;

/// Bytes of a part. The least that S3 takes is 5 MiB; with these an object can have 80 GB.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// Parts of an object on their way. As many more bytes lie in memory.
const PARTS_UNDER_WAY_MAX: usize = 2;

/// Between two times that an object is sent, when nobody knows what became of it.
const SETTLE_PAUSE: Duration = Duration::from_millis(200);

pub(crate) struct BucketWriter {
    link: Link,
    name: String,
    key: Path,
    /// What was not sent yet.
    buffer: Vec<u8>,
    length: u64,
    upload: Option<Upload>,
    /// A part of what was appended is lost.
    broken: bool,
}

/// An object on its way in parts.
struct Upload {
    parts: Box<dyn MultipartUpload>,
    under_way: JoinSet<object_store::Result<()>>,
}

impl Upload {
    /// Waits until so many parts are under way, at most.
    async fn wait(&mut self, most: usize) -> object_store::Result<()> {
        while self.under_way.len() > most {
            match self.under_way.join_next().await {
                Some(Ok(sent)) => sent?,
                Some(Err(source)) => return Err(object_store::Error::JoinError { source }),
                None => {}
            }
        }
        Ok(())
    }
}

impl BucketWriter {
    pub(crate) fn new(link: &Link, name: &str) -> Self {
        BucketWriter {
            key: link.key(name),
            link: link.clone(),
            name: name.to_owned(),
            buffer: Vec::new(),
            length: 0,
            upload: None,
            broken: false,
        }
    }

    fn failed(&self, action: &'static str, error: &object_store::Error) -> StoreError {
        self.link.failed(action, &self.name, error)
    }

    fn refused(&self, action: &'static str, source: io::Error) -> StoreError {
        StoreError {
            action,
            name: self.link.named(&self.name),
            source,
        }
    }

    fn refuse_broken(&self, action: &'static str) -> Result<(), StoreError> {
        refuse_broken(self.broken).map_err(|source| self.refused(action, source))
    }

    fn send_part(&mut self, part: Vec<u8>) -> object_store::Result<()> {
        let (link, key) = (self.link.clone(), self.key.clone());
        link.wait(async {
            let upload = match &mut self.upload {
                Some(upload) => upload,
                none => none.insert(Upload {
                    parts: link.client().put_multipart(&key).await?,
                    under_way: JoinSet::new(),
                }),
            };
            upload.wait(PARTS_UNDER_WAY_MAX - 1).await?;
            let sending = upload.parts.put_part(PutPayload::from(part));
            upload.under_way.spawn_on(sending, link.handle());
            Ok(())
        })
    }

    /// Sends a small object, until somebody knows that it is there.
    fn put(&mut self) -> Result<(), StoreError> {
        let payload = PutPayload::from(std::mem::take(&mut self.buffer));
        let until = Instant::now() + self.link.patience();
        loop {
            let put = self.link.put_if_absent(&self.key, payload.clone());
            match self.link.wait(put) {
                Ok(Put::Created) => return Ok(()),
                Ok(Put::Exists) => break,
                // What was answered, or not even sent after many tries, is known.
                Err(error) if status(&error).is_some() || Instant::now() > until => {
                    return Err(self.failed("finish", &error));
                }
                Err(_) => std::thread::sleep(SETTLE_PAUSE),
            }
        }
        // It may be ours: sent, and its answer lost.
        let there = async { self.link.client().get(&self.key).await?.bytes().await };
        let there = self.link.wait(there);
        let there = there.map_err(|error| self.failed("finish", &error))?;
        let ours = payload.iter().flatten();
        if there.iter().eq(ours) {
            return Ok(());
        }
        Err(self.refused("finish", io::ErrorKind::AlreadyExists.into()))
    }

    /// Makes an object of the parts.
    fn complete(&mut self, mut upload: Upload) -> Result<(), StoreError> {
        let link = self.link.clone();
        let rest = PutPayload::from(std::mem::take(&mut self.buffer));
        let completed = link.wait(async {
            let sent = async {
                if rest.content_length() > 0 {
                    let sending = upload.parts.put_part(rest);
                    upload.under_way.spawn_on(sending, link.handle());
                }
                upload.wait(0).await?;
                if self.length_there().await?.is_some() {
                    return Ok(false);
                }
                upload.parts.complete().await.map(|_| true)
            };
            let sent = sent.await;
            // It may be there: completed, and the answer lost.
            if sent.is_err() && self.length_there().await.ok().flatten() == Some(self.length) {
                return Ok(true);
            }
            if !matches!(sent, Ok(true)) {
                // What can't be taken back costs room, until the bucket's own rules remove it.
                drop(upload.parts.abort().await);
            }
            sent
        });
        match completed {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.refused("finish", io::ErrorKind::AlreadyExists.into())),
            Err(error) => Err(self.failed("finish", &error)),
        }
    }

    /// The length of the object that is there, if there is one.
    async fn length_there(&self) -> object_store::Result<Option<u64>> {
        let options = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        match self.link.client().get_opts(&self.key, options).await {
            Ok(head) => Ok(Some(head.meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl ObjectWriter for BucketWriter {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.refuse_broken("append to")?;
        self.length += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
        while self.buffer.len() >= PART_BYTES {
            let rest = self.buffer.split_off(PART_BYTES);
            let part = std::mem::replace(&mut self.buffer, rest);
            if let Err(error) = self.send_part(part) {
                self.broken = true;
                return Err(self.failed("append to", &error));
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        self.refuse_broken("finish")?;
        match self.upload.take() {
            None => self.put(),
            Some(upload) => self.complete(upload),
        }
    }
}

impl Drop for BucketWriter {
    fn drop(&mut self) {
        if let Some(mut upload) = self.upload.take() {
            // Nobody waits for it; what it leaves costs room, until the bucket's own rules remove it.
            self.link.handle().spawn(async move {
                upload.under_way.abort_all();
                drop(upload.parts.abort().await);
            });
        }
    }
}
