//! The client of a bucket, and the small runtime in which its requests run.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, PutMode, PutPayload, RetryConfig};
use slackwater_dataflow::store::{Put, StoreError};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::fault::{explain, is_conflict};

/// Longest time until a connection stands.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Longest time for one request and its answer. A part of an object fits through a slow line in that time.
const REQUEST_MAX: Duration = Duration::from_secs(20);

/// Tries of a request after the first one: so many that the time ends them.
const RETRIES_MAX: usize = 1000;

/// Between two tries: from the first of these to the second, longer each time.
const BACKOFF: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];

/// Tries of a conditional put that another request gets in the way of. Each says that somebody else puts the same
/// name in that moment.
const CONFLICTS_MAX: u32 = 20;

/// Between two of them.
const CONFLICT_PAUSE: Duration = Duration::from_millis(50);

/// A bucket can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The settings in the environment make no sense.
    #[error(
        "cannot use the bucket `{bucket}`: {reason}; see the variables AWS_* in the environment"
    )]
    Settings {
        /// The bucket.
        bucket: String,
        /// What is wrong.
        reason: String,
    },
    /// The system refuses a thread.
    #[error("cannot start the threads of the client of S3: {0}")]
    Threads(std::io::Error),
}

/// How long a service may be away before a request to it has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Of a job that runs: what it has in memory would have to be made again.
    OfAJob,
    /// Of a person who waits for an answer.
    OfAPerson,
    /// So long.
    Of(Duration),
}

impl Patience {
    fn duration(self) -> Duration {
        match self {
            // Below the time that a checkpoint has by default.
            Patience::OfAJob => Duration::from_secs(20),
            Patience::OfAPerson => Duration::from_secs(3),
            Patience::Of(duration) => duration,
        }
    }
}

/// A bucket, the names in it that are ours, and the way to it. Clones are the same.
#[derive(Clone)]
pub(crate) struct Link {
    client: Arc<dyn ObjectStore>,
    bucket: Arc<str>,
    /// Stands before all names; empty or without a slash at its end.
    prefix: Arc<str>,
    patience: Duration,
    runtime: Arc<Ending>,
}

/// Ends the runtime without waiting for requests of which nobody wants the answer.
struct Ending(Option<Runtime>, Handle);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Link {
    /// A way to a bucket, by variables of the environment.
    pub(crate) fn open(
        bucket: &str,
        prefix: &str,
        patience: Patience,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, OpenError> {
        // Once for the process; a second time is told that there is one, which is as well.
        drop(rustls::crypto::ring::default_provider().install_default());
        let options = ClientOptions::new()
            .with_connect_timeout(CONNECT_MAX)
            .with_timeout(REQUEST_MAX);
        // First: what the environment says of the client is added to it.
        let mut builder = AmazonS3Builder::new().with_client_options(options);
        for (name, value) in variables {
            // Others are not for the client.
            let is_known = name.starts_with("AWS_");
            if let (true, Ok(key)) = (is_known, name.to_ascii_lowercase().parse()) {
                builder = builder.with_config(key, value);
            }
        }
        let builder = builder.with_bucket_name(bucket);
        let is_plain = [AmazonS3ConfigKey::Endpoint, AmazonS3ConfigKey::S3Endpoint]
            .iter()
            .filter_map(|key| builder.get_config_value(key))
            .any(|endpoint| endpoint.starts_with("http://"));
        let [init_backoff, max_backoff] = BACKOFF;
        let client = builder
            // Who writes so in the endpoint means it.
            .with_allow_http(is_plain)
            // Whatever the environment says: all rests on it.
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // One object is deleted at a time, and not all services take lists.
            .with_config(AmazonS3ConfigKey::DisableBulkDelete, "true")
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff,
                    max_backoff,
                    base: 2.0,
                },
                max_retries: RETRIES_MAX,
                retry_timeout: patience.duration(),
            })
            .build()
            .map_err(|error| OpenError::Settings {
                bucket: bucket.to_owned(),
                reason: explain(&error, bucket).to_string(),
            })?;
        Link::to(Arc::new(client), bucket, prefix, patience)
    }

    /// A way to objects wherever they are.
    pub(crate) fn to(
        client: Arc<dyn ObjectStore>,
        bucket: &str,
        prefix: &str,
        patience: Patience,
    ) -> Result<Self, OpenError> {
        let runtime = Builder::new_multi_thread()
            // It moves bytes between sockets and memory; who waits for them does the rest.
            .worker_threads(1)
            .thread_name("s3")
            .enable_all()
            .build()
            .map_err(OpenError::Threads)?;
        let handle = runtime.handle().clone();
        Ok(Link {
            client,
            bucket: bucket.into(),
            prefix: prefix.into(),
            patience: patience.duration(),
            runtime: Arc::new(Ending(Some(runtime), handle)),
        })
    }

    pub(crate) fn client(&self) -> &Arc<dyn ObjectStore> {
        &self.client
    }

    /// How long a service may be away.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Where what nobody waits for can run.
    pub(crate) fn handle(&self) -> &Handle {
        &self.runtime.1
    }

    /// Waits for an answer.
    pub(crate) fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.handle().block_on(answer)
    }

    /// The key of an object in the bucket.
    pub(crate) fn key(&self, name: &str) -> Path {
        if self.prefix.is_empty() {
            Path::from(name)
        } else {
            Path::from(format!("{}/{name}", self.prefix))
        }
    }

    /// Says of a failure what was tried, and on what.
    pub(crate) fn failed(
        &self,
        action: &'static str,
        name: &str,
        error: &object_store::Error,
    ) -> StoreError {
        StoreError {
            action,
            name: self.named(name),
            source: explain(error, &self.bucket),
        }
    }

    /// An object as a person finds it.
    pub(crate) fn named(&self, name: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.key(name))
    }

    /// Creates an object, unless there is one of this key. After an error nobody knows.
    pub(crate) async fn put_if_absent(
        &self,
        key: &Path,
        payload: PutPayload,
    ) -> object_store::Result<Put> {
        let mut conflicts = 0;
        loop {
            let put = self
                .client
                .put_opts(key, payload.clone(), PutMode::Create.into());
            match put.await {
                Ok(_) => return Ok(Put::Created),
                Err(error) if is_conflict(&error) => {
                    conflicts += 1;
                    if conflicts > CONFLICTS_MAX {
                        return Err(error);
                    }
                    tokio::time::sleep(CONFLICT_PAUSE).await;
                }
                Err(object_store::Error::AlreadyExists { .. }) => return Ok(Put::Exists),
                Err(error) => return Err(error),
            }
        }
    }
}
