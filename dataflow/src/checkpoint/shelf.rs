//! A store in memory for the tests of this module, whose objects a test can damage.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use crate::store::{ObjectReader, ObjectWriter, Put, Store, StoreError};

/// All objects by name.
type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// Keeps objects as long as it lives.
#[derive(Clone, Default)]
pub(super) struct Shelf(Objects);

impl Shelf {
    /// A copy of an object's bytes.
    pub(super) fn get(&self, name: &str) -> Vec<u8> {
        self.0.lock().unwrap().get(name).unwrap().clone()
    }

    /// Puts bytes under a name, whatever was there.
    pub(super) fn set(&self, name: &str, bytes: Vec<u8>) {
        self.0.lock().unwrap().insert(name.to_owned(), bytes);
    }

    /// How many objects there are.
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

fn failure(action: &'static str, name: &str, kind: io::ErrorKind) -> StoreError {
    StoreError {
        action,
        name: name.to_owned(),
        source: kind.into(),
    }
}

impl Store for Shelf {
    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        if self.0.lock().unwrap().contains_key(name) {
            return Err(failure("create", name, io::ErrorKind::AlreadyExists));
        }
        Ok(Box::new(Writing {
            objects: Arc::clone(&self.0),
            name: name.to_owned(),
            bytes: Vec::new(),
        }))
    }

    fn put_if_absent(&self, name: &str, bytes: &[u8]) -> Result<Put, StoreError> {
        let mut objects = self.0.lock().unwrap();
        if objects.contains_key(name) {
            return Ok(Put::Exists);
        }
        objects.insert(name.to_owned(), bytes.to_vec());
        Ok(Put::Created)
    }

    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>, StoreError> {
        let objects = self.0.lock().unwrap();
        let bytes = objects
            .get(name)
            .ok_or_else(|| failure("open", name, io::ErrorKind::NotFound))?;
        Ok(Box::new(Reading {
            name: name.to_owned(),
            bytes: bytes.clone(),
        }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let objects = self.0.lock().unwrap();
        let names = objects.keys().filter(|name| name.starts_with(prefix));
        Ok(names.cloned().collect())
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.0.lock().unwrap().remove(name);
        Ok(())
    }
}

struct Writing {
    objects: Objects,
    name: String,
    bytes: Vec<u8>,
}

impl ObjectWriter for Writing {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        self.objects.lock().unwrap().insert(self.name, self.bytes);
        Ok(())
    }
}

struct Reading {
    name: String,
    bytes: Vec<u8>,
}

impl ObjectReader for Reading {
    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&mut self, position: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let start = usize::try_from(position).unwrap();
        let end = start.saturating_add(buffer.len());
        let bytes = self
            .bytes
            .get(start..end)
            .ok_or_else(|| failure("read", &self.name, io::ErrorKind::UnexpectedEof))?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}
