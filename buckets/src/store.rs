//! Objects in a bucket, below a prefix of their names.
//!
//! There is no lock: two runs of a job on two machines are kept apart by the claims in the log alone, which rest on
//! [`Store::put_if_absent`]. Each put of a record is a request with the header `If-None-Match: *`.

use futures_util::TryStreamExt as _;
use object_store::{ObjectStoreExt as _, PutPayload};
use slackwater_dataflow::store::{
    ObjectReader, ObjectWriter, Put, Store, StoreError, name as names,
};

use crate::link::{Link, OpenError, Patience};
use crate::reading::BucketReader;
use crate::writing::BucketWriter;

/// Objects in a bucket. Clones are the same store.
#[derive(Clone)]
pub struct BucketStore {
    link: Link,
}

impl BucketStore {
    /// A store in `bucket`, below `prefix`, which may be empty. Who may use it, and where it is, say the usual
    /// variables of the environment, of which `variables` has all: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    /// `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL` and others that begin with `AWS_`. Nothing is asked of
    /// the service yet.
    ///
    /// # Errors
    /// The variables make no sense, or the system refuses a thread.
    pub fn open(
        bucket: &str,
        prefix: &str,
        patience: Patience,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, OpenError> {
        let link = Link::open(bucket, prefix, patience, variables)?;
        Ok(BucketStore { link })
    }

    /// A store in objects that are somewhere else: the test double's way in.
    ///
    /// # Errors
    /// The system refuses a thread.
    #[cfg(test)]
    pub(crate) fn of(
        client: std::sync::Arc<dyn object_store::ObjectStore>,
        prefix: &str,
    ) -> Result<Self, OpenError> {
        let link = Link::to(client, "bucket", prefix, Patience::OfAPerson)?;
        Ok(BucketStore { link })
    }
}

impl Store for BucketStore {
    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        names::parse("create", name)?;
        Ok(Box::new(BucketWriter::new(&self.link, name)))
    }

    fn put_if_absent(&self, name: &str, bytes: &[u8]) -> Result<Put, StoreError> {
        names::parse("put", name)?;
        let key = self.link.key(name);
        let payload = PutPayload::from(bytes.to_vec());
        let put = self.link.wait(self.link.put_if_absent(&key, payload));
        put.map_err(|error| self.link.failed("put", name, &error))
    }

    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>, StoreError> {
        names::parse("read", name)?;
        Ok(Box::new(BucketReader::open(&self.link, name)?))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let folder = names::parse_prefix("list", prefix)?;
        let within = self.link.key(folder);
        let listed = self
            .link
            .client()
            .list(Some(&within))
            .try_collect::<Vec<_>>();
        let listed = self.link.wait(listed);
        let listed = listed.map_err(|error| self.link.failed("list", prefix, &error))?;
        // What has no name of an object, or lies deeper, is none of ours.
        let own = listed.iter().filter_map(|object| {
            let own = object.location.as_ref().strip_prefix(within.as_ref())?;
            own.strip_prefix('/').filter(|own| names::is_plain(own))
        });
        let mut names: Vec<String> = own.map(|own| format!("{folder}/{own}")).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        names::parse("delete", name)?;
        let key = self.link.key(name);
        match self.link.wait(self.link.client().delete(&key)) {
            Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(self.link.failed("delete", name, &error)),
        }
    }
}
