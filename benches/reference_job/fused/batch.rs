//! What travels between workers: only what the second half of the job needs of an event.

use serde::{Deserialize, Serialize};

/// Events for one worker. Serialisable because timely wants it; inside one process it never happens.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Batch {
    /// Where it goes.
    pub worker: u64,
    /// User, product and category of each row, one after the other.
    pub texts: Vec<u8>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// One event.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Row {
    pub time: i64,
    pub user_hash: u64,
    /// Where its texts begin.
    pub start: u32,
    pub user: u32,
    pub product: u32,
    pub category: u32,
    pub kind: u8,
    /// Whether user and product can be written without escapes.
    pub user_plain: bool,
    pub product_plain: bool,
}

impl Batch {
    /// A batch with room for `rows`.
    pub fn with_room(worker: u64, rows: usize) -> Self {
        /// Bytes that the texts of an event take, rather more than less.
        const TEXTS_BYTES: usize = 40;
        Batch {
            worker,
            texts: Vec::with_capacity(rows * TEXTS_BYTES),
            rows: Vec::with_capacity(rows),
        }
    }

    /// User, product and category of a row.
    pub fn texts(&self, row: &Row) -> (&[u8], &[u8], &[u8]) {
        let user = row.start as usize;
        let product = user + row.user as usize;
        let category = product + row.product as usize;
        let end = category + row.category as usize;
        let part = |from: usize, to: usize| self.texts.get(from..to).unwrap_or_default();
        (
            part(user, product),
            part(product, category),
            part(category, end),
        )
    }
}
