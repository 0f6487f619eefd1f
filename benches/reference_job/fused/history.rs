//! What is remembered of each user, laid out for this one job: one piece of memory per user and counts
//! that are kept up to date.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64;

/// Events of a history.
const EVENTS: usize = 50;
/// 24 hours.
const TTL_MS: i64 = 24 * 60 * 60 * 1_000;
/// Room of a new history.
const EVENTS_AT_FIRST: usize = 4;
/// Kinds of events that are counted; the next number is any other kind.
const KINDS: usize = 4;
/// Columns of a history: two halves of the time, product, category.
const COLUMNS: usize = 4;
/// Places without an event; no text has this number.
const VACANT: u32 = 0;
/// A category's number and a kind share a cell.
const KIND_BITS: u32 = 3;

/// Features of an event.
pub const FEATURES: usize = 16;

/// Texts, numbered from 1 and never forgotten: products and categories come from a catalogue.
#[derive(Debug, Default)]
pub struct Catalogue {
    table: HashTable<u32>,
    texts: Vec<(u64, Box<[u8]>)>,
}

impl Catalogue {
    /// The number of a text, and its hash.
    pub fn number(&mut self, text: &[u8]) -> (u32, u64) {
        let hash = xxh3_64(text);
        let texts = &mut self.texts;
        let known = |&number: &u32| {
            texts
                .get(number as usize - 1)
                .is_some_and(|(other, bytes)| *other == hash && **bytes == *text)
        };
        let rehash = |&number: &u32| texts.get(number as usize - 1).map_or(0, |(hash, _)| *hash);
        match self.table.entry(hash, known, rehash) {
            Entry::Occupied(found) => (*found.get(), hash),
            Entry::Vacant(place) => {
                texts.push((hash, text.into()));
                let number = texts.len() as u32;
                place.insert(number);
                (number, hash)
            }
        }
    }
}

/// A user's history: a ring, and what features need of it.
#[derive(Debug, Default)]
pub struct History {
    /// `COLUMNS` columns of `capacity` places.
    ring: Box<[u32]>,
    capacity: u8,
    head: u8,
    len: u8,
    kinds: [u8; KINDS + 1],
    products: u8,
    categories: u8,
}

/// An event as histories know it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub time: i64,
    pub product: u32,
    pub category: u32,
    pub kind: u8,
    pub category_hash: u64,
}

impl History {
    fn place(&self, nth: u8) -> usize {
        let at = usize::from(self.head) + usize::from(nth);
        let capacity = usize::from(self.capacity);
        if at >= capacity { at - capacity } else { at }
    }

    fn cell(&self, column: usize, place: usize) -> u32 {
        let at = column * usize::from(self.capacity) + place;
        self.ring.get(at).copied().unwrap_or(VACANT)
    }

    fn set(&mut self, column: usize, place: usize, value: u32) {
        let at = column * usize::from(self.capacity) + place;
        if let Some(cell) = self.ring.get_mut(at) {
            *cell = value;
        }
    }

    fn time(&self, nth: u8) -> i64 {
        let place = self.place(nth);
        let (high, low) = (self.cell(0, place), self.cell(1, place));
        ((u64::from(high) << 32) | u64::from(low)) as i64
    }

    /// Brings the ring into the cache; the value means nothing. Called for many histories at once, so
    /// that the processor waits for all of them together.
    fn touched(&self) -> u32 {
        /// Cells in a line of the cache.
        const LINE: usize = 16;
        self.ring
            .iter()
            .step_by(LINE)
            .fold(0, |all, &cell| all ^ cell)
    }

    fn column(&self, column: usize) -> &[u32] {
        let capacity = usize::from(self.capacity);
        self.ring
            .get(column * capacity..(column + 1) * capacity)
            .unwrap_or_default()
    }

    fn holds_product(&self, product: u32) -> bool {
        self.column(2)
            .iter()
            .fold(false, |found, &other| found | (other == product))
    }

    fn holds_category(&self, category: u32) -> bool {
        let same = |other: u32| other >> KIND_BITS == category;
        self.column(3)
            .iter()
            .fold(false, |found, &other| found | same(other))
    }

    fn grow(&mut self) {
        let old = usize::from(self.capacity);
        let new = (old * 2).clamp(EVENTS_AT_FIRST, EVENTS);
        let mut ring = vec![VACANT; new * COLUMNS].into_boxed_slice();
        for column in 0..COLUMNS {
            for nth in 0..self.len {
                let value = self.cell(column, self.place(nth));
                if let Some(cell) = ring.get_mut(column * new + usize::from(nth)) {
                    *cell = value;
                }
            }
        }
        self.ring = ring;
        self.capacity = new as u8;
        self.head = 0;
    }

    fn drop_first(&mut self) {
        let place = self.place(0);
        let (product, packed) = (self.cell(2, place), self.cell(3, place));
        self.set(2, place, VACANT);
        self.set(3, place, VACANT);
        self.head = self.place(1) as u8;
        self.len -= 1;
        if let Some(count) = self
            .kinds
            .get_mut((packed & ((1 << KIND_BITS) - 1)) as usize)
        {
            *count -= 1;
        }
        self.products -= u8::from(!self.holds_product(product));
        self.categories -= u8::from(!self.holds_category(packed >> KIND_BITS));
    }

    /// Adds an event and gives its features.
    pub fn add(&mut self, event: &Seen, hours: &[(f32, f32); 24]) -> [f32; FEATURES] {
        while self.len > 0 && self.time(0) <= event.time - TTL_MS {
            self.drop_first();
        }
        if self.len == self.capacity {
            if usize::from(self.capacity) < EVENTS {
                self.grow();
            } else {
                self.drop_first();
            }
        }
        let previous = self.len.checked_sub(1).map(|last| self.time(last));
        self.products += u8::from(!self.holds_product(event.product));
        self.categories += u8::from(!self.holds_category(event.category));
        if let Some(count) = self.kinds.get_mut(usize::from(event.kind)) {
            *count += 1;
        }
        let place = self.place(self.len);
        self.set(0, place, (event.time as u64 >> 32) as u32);
        self.set(1, place, event.time as u32);
        self.set(2, place, event.product);
        self.set(
            3,
            place,
            (event.category << KIND_BITS) | u32::from(event.kind),
        );
        self.len += 1;
        self.features(event, previous, hours)
    }

    fn features(
        &self,
        event: &Seen,
        previous: Option<i64>,
        hours: &[(f32, f32); 24],
    ) -> [f32; FEATURES] {
        let count = f64::from(self.len);
        let [views, clicks, carts, purchases, _] = self.kinds;
        let squeezed = |ms: f64| ms.clamp(0.0, 1e7).ln_1p() as f32;
        let gap = previous.map_or(0.0, |previous| squeezed((event.time - previous) as f64));
        let mean_gap = if self.len > 1 {
            squeezed((event.time - self.time(0)) as f64 / (count - 1.0))
        } else {
            0.0
        };
        let hour = (event.time / 3_600_000).rem_euclid(24) as usize;
        let (sin, cos) = hours.get(hour).copied().unwrap_or_default();
        let kind = if event.kind < KINDS as u8 {
            f32::from(event.kind)
        } else {
            -1.0
        };
        [
            f32::from(self.len),
            f32::from(views),
            f32::from(clicks),
            f32::from(carts),
            f32::from(purchases),
            f32::from(self.products),
            f32::from(self.categories),
            gap,
            mean_gap,
            sin,
            cos,
            ((event.category_hash % 20) as f64 / 20.0) as f32,
            kind,
            (f64::from(purchases) / count) as f32,
            (f64::from(carts) / count) as f32,
            1.0,
        ]
    }
}

/// Sine and cosine of the hours of a day.
pub fn hours() -> [(f32, f32); 24] {
    std::array::from_fn(|hour| {
        let (sin, cos) = (std::f64::consts::TAU * hour as f64 / 24.0).sin_cos();
        (sin as f32, cos as f32)
    })
}

/// All users of a worker.
#[derive(Debug, Default)]
pub struct Users {
    table: HashTable<u32>,
    users: Vec<User>,
}

#[derive(Debug)]
struct User {
    hash: u64,
    name: Box<[u8]>,
    history: History,
}

impl Users {
    /// The place of a user.
    pub fn locate(&mut self, hash: u64, name: &[u8]) -> u32 {
        let users = &mut self.users;
        let known = |&at: &u32| {
            users
                .get(at as usize)
                .is_some_and(|user| user.hash == hash && *user.name == *name)
        };
        let rehash = |&at: &u32| users.get(at as usize).map_or(0, |user| user.hash);
        match self.table.entry(hash, known, rehash) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(place) => {
                let at = users.len() as u32;
                users.push(User {
                    hash,
                    name: name.into(),
                    history: History::default(),
                });
                place.insert(at);
                at
            }
        }
    }

    /// Brings a user's history into the cache.
    pub fn touch(&self, at: u32) -> u32 {
        self.users
            .get(at as usize)
            .map_or(0, |user| user.history.touched())
    }

    /// Number of users.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// A user's history.
    pub fn history(&mut self, at: u32) -> Option<&mut History> {
        self.users
            .get_mut(at as usize)
            .map(|user| &mut user.history)
    }
}
