//! Fields that lie in objects of a record: the values of nested keys.
//!
//! The record is scanned once, as if no key were nested, which judges all of it. Then each object that holds fields is
//! passed once more, and only it. A schema without nested fields pays for none of this.

use crate::json::Scanner;
use crate::json::keys::Schema;
use crate::json::outcome::{Malformed, Value};

/// Scans records for fields of which each has a path: the key in the outermost object, the key in the object that lies
/// there, and so on. As with a [`Scanner`], what is kept from one record to the next changes no result.
#[derive(Clone, Debug)]
pub struct PathScanner {
    outermost: Scanner,
    /// None if no path leads into an object.
    nested: Option<Nested>,
}

/// Which fields lie in which objects.
#[derive(Clone, Debug)]
struct Nested {
    /// The values of the keys of the outermost object that count.
    outermost: Box<[Value]>,
    /// Fields among them: key, then field.
    fields: Box<[(usize, usize)]>,
    /// Every object comes behind the one that it lies in.
    objects: Box<[Object]>,
}

/// An object that holds fields, or objects that do.
#[derive(Clone, Debug)]
struct Object {
    /// The object that it lies in, by its place among the objects; none if that is the outermost one.
    within: Option<usize>,
    /// Its key there.
    key: usize,
    scanner: Scanner,
    /// The values of its keys that count.
    values: Box<[Value]>,
    /// Fields among them: key, then field.
    fields: Box<[(usize, usize)]>,
}

/// What stands where an object should be that a field lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obstacle<'p> {
    /// The part of the field's path that leads there.
    pub path: &'p [String],
    /// What stands there.
    pub found: Value,
}

/// The keys of an object while the paths are sorted out.
#[derive(Default)]
struct Keys<'p> {
    names: Vec<&'p str>,
    fields: Vec<(usize, usize)>,
    /// By key, the object that lies there, if any path leads into it.
    objects: Vec<Option<usize>>,
    within: Option<usize>,
    key: usize,
}

impl<'p> Keys<'p> {
    fn key(&mut self, name: &'p str) -> usize {
        match self.names.iter().position(|known| *known == name) {
            Some(known) => known,
            None => {
                self.names.push(name);
                self.objects.push(None);
                self.names.len() - 1
            }
        }
    }
}

impl PathScanner {
    /// A scanner for fields with these paths, each of at least one key. Any text can be a key, fields may have the same
    /// path, and a field may be an object in which others lie.
    #[must_use]
    pub fn new(paths: &[Vec<String>]) -> Self {
        if paths.iter().all(|path| path.len() <= 1) && !has_duplicates(paths) {
            let names = paths
                .iter()
                .map(|path| path.first().map_or("", String::as_str));
            return PathScanner {
                outermost: Scanner::new(Schema::new(&names.collect::<Vec<_>>())),
                nested: None,
            };
        }
        let mut all = sorted_out(paths).into_iter();
        let outermost = all.next().unwrap_or_default();
        let objects = all.map(|keys| Object {
            within: keys.within,
            key: keys.key,
            scanner: Scanner::new(Schema::new(&keys.names)),
            values: vec![Value::Missing; keys.names.len()].into(),
            fields: keys.fields.into(),
        });
        let nested = Nested {
            outermost: vec![Value::Missing; outermost.names.len()].into(),
            fields: outermost.fields.into(),
            objects: objects.collect(),
        };
        PathScanner {
            outermost: Scanner::new(Schema::new(&outermost.names)),
            nested: Some(nested),
        }
    }

    /// Scans one whole record and writes into `values[i]` what it holds at path `i`; `values` has one entry for each. Of
    /// equal keys the last wins, in every object. Where an object on the way is missing or null, so is the field; where
    /// something else stands in its place, the field is [`Value::Blocked`].
    ///
    /// # Errors
    /// [`Malformed`], as [`Scanner::scan`].
    #[inline]
    pub fn scan(
        &mut self,
        record: &[u8],
        max_depth: u32,
        values: &mut [Value],
    ) -> Result<(), Malformed> {
        match &mut self.nested {
            None => self.outermost.scan(record, max_depth, values),
            Some(nested) => {
                let all = &mut nested.outermost;
                self.outermost.scan(record, max_depth, all)?;
                nested.descend(record, values)
            }
        }
    }

    /// Why the field at this path is [`Value::Blocked`] in the record that was scanned last; none if it is not.
    #[must_use]
    pub fn obstacle<'p>(&self, field: usize, path: &'p [String]) -> Option<Obstacle<'p>> {
        let nested = self.nested.as_ref()?;
        let holds = |object: &Object| object.fields.iter().any(|(_, held)| *held == field);
        let mut at = nested.objects.iter().position(holds)?;
        let mut parts = path.len().checked_sub(1)?;
        loop {
            let object = nested.objects.get(at)?;
            // No value inside an object that is one is blocked.
            if object.values.first() != Some(&Value::Blocked) {
                return None;
            }
            match (nested.value(object), object.within) {
                (Value::Blocked, Some(within)) => (at, parts) = (within, parts.checked_sub(1)?),
                (found, _) => {
                    let path = path.get(..parts)?;
                    return Some(Obstacle { path, found });
                }
            }
        }
    }
}

fn has_duplicates(paths: &[Vec<String>]) -> bool {
    let mut sorted: Vec<_> = paths.iter().collect();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair.first() == pair.last())
}

/// The outermost object first, every other one behind the one that it lies in.
fn sorted_out(paths: &[Vec<String>]) -> Vec<Keys<'_>> {
    let mut all = vec![Keys::default()];
    for (field, path) in paths.iter().enumerate() {
        let mut at = 0;
        let mut parts = path.iter().peekable();
        while let Some(part) = parts.next() {
            let new = all.len();
            let Some(keys) = all.get_mut(at) else {
                break;
            };
            let key = keys.key(part);
            if parts.peek().is_none() {
                keys.fields.push((key, field));
                break;
            }
            let known = keys.objects.get_mut(key);
            let inner = known.map_or(new, |known| *known.get_or_insert(new));
            if inner == new {
                all.push(Keys {
                    // The outermost one is no object of the list.
                    within: at.checked_sub(1),
                    key,
                    ..Keys::default()
                });
            }
            at = inner;
        }
    }
    all
}

impl Nested {
    /// What stands in the place of an object.
    fn value(&self, object: &Object) -> Value {
        let values = match object.within {
            None => Some(&self.outermost),
            Some(within) => self.objects.get(within).map(|within| &within.values),
        };
        let found = values.and_then(|values| values.get(object.key));
        found.copied().unwrap_or_default()
    }

    fn descend(&mut self, record: &[u8], values: &mut [Value]) -> Result<(), Malformed> {
        hand_out(&self.outermost, &self.fields, values);
        for at in 0..self.objects.len() {
            let Some(object) = self.objects.get(at) else {
                break;
            };
            let found = self.value(object);
            if let Some(object) = self.objects.get_mut(at) {
                object.read(record, found)?;
                hand_out(&object.values, &object.fields, values);
            }
        }
        Ok(())
    }
}

impl Object {
    /// Reads its keys, if `found` is an object of the record.
    fn read(&mut self, record: &[u8], found: Value) -> Result<(), Malformed> {
        let absent = match found {
            Value::Composite { start, .. } if record.get(start as usize) == Some(&b'{') => {
                return self
                    .scanner
                    .scan_inner(record, start as usize, &mut self.values);
            }
            Value::Missing | Value::Null => Value::Missing,
            _ => Value::Blocked,
        };
        self.values.fill(absent);
        Ok(())
    }
}

/// Gives fields the values of their keys.
fn hand_out(found: &[Value], fields: &[(usize, usize)], values: &mut [Value]) {
    for &(key, field) in fields {
        if let (Some(value), Some(slot)) = (found.get(key), values.get_mut(field)) {
            *slot = *value;
        }
    }
}
