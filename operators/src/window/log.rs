//! The events of one key, in one order, and what is measured over any stretch that ends with the newest.
//!
//! Beside its events a log keeps what is measured over blocks of them: over each 8 that follow each other, over each 8
//! of these blocks, and so on. A block begins at a multiple of its length, counted from the key's first event; so what is
//! measured over a stretch is added up in the same order whatever was dropped before it, and after a restart. A stretch
//! is a few events, a few blocks of 8, of 64 ..., and the same again down to the newest event: some seven steps for each
//! digit of the number of its events in the octal system, however long it lasts.
//!
//! Alternatives: two stacks need a stack for each measure and window, one of them as long as the window, and are made anew from time to
//! time, all at once; and in arrival order an older event would look for a window that has been given up already.

use std::cell::Cell;
use std::ops::Range;

use hashbrown::HashMap;
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

use crate::window::measure::{Entry, Mark, Measure, Measured, NULL, Word};

/// Events of a block, and blocks of a larger one.
const FAN: u64 = 8;

/// Number of the first event of a log: blocks of up to so many events begin with it.
const ORIGIN: u64 = 1 << 24;

/// Events from which on values are found by a table; up to there looking at each is as quick.
const SEARCHED_MAX: usize = 48;

/// What a log keeps of each event, and what it measures.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    /// Words of an event; the first are its marks.
    pub(super) columns: usize,
    /// Which of them says when it was handled; none if the log is in the order in which events were handled.
    pub(super) turn: Option<usize>,
    /// Measures, each with its first word among those of a block.
    pub(super) measures: Vec<(usize, Measure)>,
    /// Words of a block.
    pub(super) words: usize,
    /// Values whose newest bearer is marked: column, condition, mark, and whose counts change with it.
    pub(super) distinct: Vec<Distinct>,
}

/// A value that is counted once, where it is borne by the newest event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Distinct {
    /// Where the value is.
    pub(super) column: usize,
    /// Who counts at all.
    pub(super) among: Option<Mark>,
    /// Of the newest that bears a value.
    pub(super) newest: Mark,
}

/// Part of a stretch: events (level 0) or blocks, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    level: usize,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// Items with numbers that go up, of so many words each; the oldest are dropped.
#[derive(Clone, Debug, Default)]
struct Queue<T> {
    /// Number of the oldest one.
    base: u64,
    /// Words in front that were dropped.
    dead: usize,
    words: Vec<T>,
}

impl<T: Copy + Default> Queue<T> {
    fn live(&self) -> &[T] {
        self.words.get(self.dead..).unwrap_or_default()
    }

    fn item(&self, number: u64, width: usize) -> &[T] {
        let at = self.dead + (number.wrapping_sub(self.base) as usize) * width;
        self.words.get(at..at + width).unwrap_or_default()
    }

    fn item_mut(&mut self, number: u64, width: usize) -> &mut [T] {
        let at = self.dead + (number.wrapping_sub(self.base) as usize) * width;
        self.words.get_mut(at..at + width).unwrap_or_default()
    }

    fn insert(&mut self, number: u64, item: &[T]) {
        let at = self.dead + (number.wrapping_sub(self.base) as usize) * item.len();
        if at == self.words.len() {
            self.words.extend_from_slice(item);
        } else {
            self.words.splice(at..at, item.iter().copied());
        }
    }

    /// Lets there be an item of this number, which follows those that there are or is one of them.
    fn make_room(&mut self, number: u64, width: usize) {
        let end = self.dead + (number.wrapping_sub(self.base) as usize + 1) * width;
        if self.words.len() < end {
            self.words.resize(end, T::default());
        }
    }

    /// Drops those below `base`. Their room is given back when it is half of all.
    fn drop_below(&mut self, base: u64, width: usize) {
        let dropped = base.saturating_sub(self.base) as usize * width;
        self.base = self.base.max(base);
        self.dead = (self.dead + dropped).min(self.words.len());
        if self.dead * 2 >= self.words.len() {
            self.words.drain(..self.dead);
            self.dead = 0;
            // What a busy hour has needed is not kept for a quiet one.
            if self.words.len() < self.words.capacity() / 4 {
                self.words.shrink_to(self.words.len() * 2);
            }
        }
    }
}

/// The log of one key. Empty until its first event.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    times: Queue<i64>,
    entries: Queue<Word>,
    /// Blocks of 8, of 64, ... that are complete.
    levels: Vec<Queue<Word>>,
    /// By [`Distinct`], where the newest event with a value is; empty while looking at each is as quick.
    newest: Vec<HashMap<Word, u64, Xxh3DefaultBuilder>>,
    /// Events handled so far.
    turns: u64,
    /// What checkpoints have of it.
    kept: Kept,
}

/// What checkpoints have of a log.
#[derive(Clone, Debug, Default)]
struct Kept {
    /// Chunks of events that they have, first and behind the last.
    chunks: Cell<(u64, u64)>,
    /// Least number of an event that is another since; none less than that.
    changed_from: Cell<u64>,
}

impl Log {
    /// Number of events.
    pub(super) fn len(&self) -> usize {
        self.times.live().len()
    }

    /// Number of the oldest event, counted from the key's first.
    pub(super) fn begin(&self) -> u64 {
        self.times.base
    }

    /// Number behind the newest event.
    pub(super) fn end(&self) -> u64 {
        self.times.base + self.len() as u64
    }

    /// Events handled so far, those that were dropped among them.
    pub(super) fn turns(&self) -> u64 {
        self.turns
    }

    /// The chunks that checkpoints have, and from which event on the log is another now.
    pub(super) fn saved(&self) -> (Range<u64>, u64) {
        let (from, to) = self.kept.chunks.get();
        (from..to, self.kept.changed_from.get())
    }

    /// Told that checkpoints have these chunks now, as they are, and what follows them.
    pub(super) fn note_saved(&self, chunks: Range<u64>) {
        self.kept.chunks.set((chunks.start, chunks.end));
        self.kept.changed_from.set(u64::MAX);
    }

    /// Their times, in the order of the log.
    pub(super) fn times(&self) -> &[i64] {
        self.times.live()
    }

    /// An event.
    pub(super) fn entry(&self, shape: &Shape, number: u64) -> Entry<'_> {
        let words = self.entries.item(number, shape.columns);
        let turn = match shape.turn {
            Some(column) => words.get(column).copied().unwrap_or_default(),
            None => number + 1,
        };
        let time = self.times.item(number, 1).first().copied();
        Entry {
            time: time.unwrap_or_default(),
            turn,
            words,
        }
    }

    /// Begins anew behind the events that there are: the next one has the number that the first one of a log has. So what is
    /// measured from there on is added up as if nothing had been there, and it makes no difference when old events are
    /// dropped.
    pub(super) fn begin_anew(&mut self, shape: &Shape) {
        let before = std::mem::take(self);
        let kept = before.len() as u64;
        self.begin_at(kept.max(1).next_multiple_of(ORIGIN) - kept, before.turns);
        self.kept.chunks.set(before.kept.chunks.get());
        for number in before.begin()..before.end() {
            let entry = before.entry(shape, number);
            let mut words = entry.words.to_vec();
            self.put(shape, self.end(), entry.time, &mut words);
        }
    }

    /// Reads something of what adding an event will need; what it adds up to means nothing.
    pub(super) fn touch(&self) -> u64 {
        let time = self.times.live().last().copied().unwrap_or_default();
        self.entries.live().last().copied().unwrap_or_default() ^ time as u64
    }

    /// Sets where the log begins, before its first event: for one that goes on after a restart.
    pub(super) fn begin_at(&mut self, number: u64, turns: u64) {
        self.times.base = number;
        self.entries.base = number;
        self.turns = turns;
    }

    /// Number of the first event with a time above `boundary`, in a log that is in the order of time.
    pub(super) fn first_above(&self, boundary: Option<i64>) -> u64 {
        let Some(boundary) = boundary else {
            return self.begin();
        };
        let times = self.times.live();
        // Most windows begin where little has changed since the last look, but nobody remembers where that was.
        self.begin() + times.partition_point(|&time| time <= boundary) as u64
    }

    /// Number that an event of this time gets, in a log that is in the order of time: behind those of the same time.
    pub(super) fn place_of(&self, time: i64) -> u64 {
        let times = self.times.live();
        match times.last() {
            Some(&last) if last > time => {
                self.begin() + times.partition_point(|&earlier| earlier <= time) as u64
            }
            _ => self.end(),
        }
    }

    /// Adds an event with this number; those from there on get the next ones. Marks of newest values and the turn are the
    /// log's own business.
    pub(super) fn insert(&mut self, shape: &Shape, number: u64, time: i64, words: &mut [Word]) {
        self.turns += 1;
        if let Some(turn) = shape.turn.and_then(|column| words.get_mut(column)) {
            *turn = self.turns;
        }
        self.put(shape, number, time, words);
    }

    /// The same of an event that was handled before a restart; its turn is known.
    pub(super) fn put(&mut self, shape: &Shape, number: u64, time: i64, words: &mut [Word]) {
        let changed_from = self.kept.changed_from.get();
        self.kept.changed_from.set(changed_from.min(number));
        self.remember_newest(shape);
        if number < self.end() {
            self.move_up(shape, number);
        }
        self.mark_newest(shape, number, words);
        self.times.insert(number, &[time]);
        self.entries.insert(number, words);
        self.measure_blocks(shape, number);
    }

    /// Drops events below this number.
    pub(super) fn drop_below(&mut self, shape: &Shape, number: u64) {
        let number = number.min(self.end());
        if number <= self.begin() {
            return;
        }
        for (distinct, newest) in shape.distinct.iter().zip(&mut self.newest) {
            for dropped in self.entries.base..number {
                let words = self.entries.item(dropped, shape.columns);
                if let Some(value) = words.get(distinct.column)
                    && Mark::is_on(Some(distinct.newest), words)
                {
                    newest.remove(value);
                }
            }
        }
        self.times.drop_below(number, 1);
        self.entries.drop_below(number, shape.columns);
        let mut length = 1;
        for level in &mut self.levels {
            length *= FAN;
            level.drop_below(number.div_ceil(length), shape.words);
        }
        if self.len() < SEARCHED_MAX / 2 {
            self.newest = Vec::new();
        }
    }

    /// The stretch from this event to the newest, in pieces from the left to the right.
    pub(super) fn stretch(&self, from: u64, pieces: &mut Vec<Piece>) {
        pieces.clear();
        let (mut from, mut to) = (from.clamp(self.begin(), self.end()), self.end());
        let mut right = [(0, 0); 24];
        let mut level = 0;
        // Up, as long as whole blocks lie between.
        loop {
            let (up_from, up_to) = (from.div_ceil(FAN), to / FAN);
            if up_from >= up_to || level + 1 >= right.len() || level >= self.levels.len() {
                pieces.push(Piece { level, from, to });
                break;
            }
            pieces.push(Piece {
                level,
                from,
                to: up_from * FAN,
            });
            if let Some(right) = right.get_mut(level) {
                *right = (up_to * FAN, to);
            }
            (from, to) = (up_from, up_to);
            level += 1;
        }
        for (level, &(from, to)) in right.iter().enumerate().take(level).rev() {
            pieces.push(Piece { level, from, to });
        }
    }

    fn times_from(&self, from: u64) -> &[i64] {
        let times = self.times.live();
        let times = times.get(from.saturating_sub(self.begin()) as usize..);
        times.unwrap_or_default()
    }

    /// Number of the first event from this one on that has a time above `boundary`.
    pub(super) fn first_above_from(&self, from: u64, boundary: Option<i64>) -> u64 {
        let mut times = self.times_from(from).iter();
        let before = times.position(|&time| Some(time) > boundary);
        before.map_or(self.end(), |before| from + before as u64)
    }

    /// The events from this one on that have a time above `boundary`, in pieces from the left to the right. That is no stretch:
    /// there may be others between them and behind them.
    pub(super) fn select_above(&self, from: u64, boundary: Option<i64>, pieces: &mut Vec<Piece>) {
        pieces.clear();
        let from = from.max(self.begin());
        for (number, &time) in (from..).zip(self.times_from(from)) {
            match pieces.last_mut() {
                _ if Some(time) <= boundary => {}
                Some(piece) if piece.to == number => piece.to += 1,
                _ => pieces.push(Piece {
                    level: 0,
                    from: number,
                    to: number + 1,
                }),
            }
        }
    }

    /// What a measure says of a stretch.
    pub(super) fn measure(&self, shape: &Shape, nth: usize, pieces: &[Piece]) -> Measured {
        let Some(&(at, measure)) = shape.measures.get(nth) else {
            return Measured::default();
        };
        let mut all = measure.of_nothing();
        for piece in pieces {
            for number in piece.from..piece.to {
                let next = match piece.level.checked_sub(1) {
                    None => measure.of_one(&self.entry(shape, number)),
                    Some(level) => self.block(shape, level, number, at, measure),
                };
                all = measure.combine(all, next);
            }
        }
        all
    }

    /// How many different values the events of these pieces bear, which are no stretch: whoever bears the mark
    /// of a value may not be among them.
    pub(super) fn different(&self, shape: &Shape, nth: usize, pieces: &[Piece]) -> u64 {
        let measure = shape.measures.get(nth).map(|(_, measure)| *measure);
        let of_measure = |it: &&Distinct| measure == Some(Measure::Count(it.newest));
        let Some(distinct) = shape.distinct.iter().find(of_measure) else {
            return 0;
        };
        let numbers = pieces.iter().flat_map(|piece| piece.from..piece.to);
        let value = |number| {
            let words = self.entries.item(number, shape.columns);
            let value = words.get(distinct.column).copied();
            value.filter(|&value| value != NULL && Mark::is_on(distinct.among, words))
        };
        let mut values: Vec<Word> = numbers.filter_map(value).collect();
        values.sort_unstable();
        values.dedup();
        values.len() as u64
    }

    #[inline]
    fn block(
        &self,
        shape: &Shape,
        level: usize,
        number: u64,
        at: usize,
        measure: Measure,
    ) -> Measured {
        let blocks = self.levels.get(level);
        let words = blocks.map_or(&[][..], |blocks| blocks.item(number, shape.words));
        let mut measured = Measured::default();
        let words = words.get(at..at + measure.words()).unwrap_or_default();
        for (place, word) in measured.iter_mut().zip(words) {
            *place = *word;
        }
        measured
    }

    /// Values of events from this one on are borne by the next number now.
    fn move_up(&mut self, shape: &Shape, from: u64) {
        for (distinct, newest) in shape.distinct.iter().zip(&mut self.newest) {
            for moved in from..self.entries.base + self.times.live().len() as u64 {
                let words = self.entries.item(moved, shape.columns);
                if let Some(value) = words.get(distinct.column)
                    && Mark::is_on(Some(distinct.newest), words)
                    && let Some(at) = newest.get_mut(value)
                {
                    *at += 1;
                }
            }
        }
    }

    /// Marks the event that is about to get this number where it is the newest that bears a value, and takes the mark from
    /// the one that was.
    fn mark_newest(&mut self, shape: &Shape, number: u64, words: &mut [Word]) {
        for (nth, distinct) in shape.distinct.iter().enumerate() {
            let value = words.get(distinct.column).copied().unwrap_or(NULL);
            let counts = value != NULL && Mark::is_on(distinct.among, words);
            let earlier = if counts {
                self.newest_with(shape, nth, *distinct, value)
            } else {
                None
            };
            // The log has moved up only in the tables so far; what lies behind keeps the mark.
            let is_newest = counts && earlier.is_none_or(|earlier| earlier < number);
            if let Some(marks) = words.first_mut() {
                *marks &= !distinct.newest.bit();
                *marks |= if is_newest { distinct.newest.bit() } else { 0 };
            }
            if !is_newest {
                continue;
            }
            if let Some(earlier) = earlier {
                self.unmark(shape, earlier, *distinct);
            }
            if let Some(newest) = self.newest.get_mut(nth) {
                newest.insert(value, number);
            }
        }
    }

    /// The event that bears the mark of a value.
    fn newest_with(
        &self,
        shape: &Shape,
        nth: usize,
        distinct: Distinct,
        value: Word,
    ) -> Option<u64> {
        if let Some(newest) = self.newest.get(nth) {
            return newest.get(&value).copied();
        }
        let found = |&number: &u64| {
            let words = self.entries.item(number, shape.columns);
            words.get(distinct.column) == Some(&value) && Mark::is_on(Some(distinct.newest), words)
        };
        (self.begin()..self.end()).rev().find(found)
    }

    /// Makes the tables when there are enough events.
    fn remember_newest(&mut self, shape: &Shape) {
        if shape.distinct.is_empty() || !self.newest.is_empty() || self.len() < SEARCHED_MAX {
            return;
        }
        let table = |distinct: &Distinct| {
            let bearer = |number: u64| {
                let words = self.entries.item(number, shape.columns);
                let value = words.get(distinct.column).copied()?;
                Mark::is_on(Some(distinct.newest), words).then_some((value, number))
            };
            (self.begin()..self.end()).filter_map(bearer).collect()
        };
        self.newest = shape.distinct.iter().map(table).collect();
    }

    /// Takes the mark of a value from an event, and from the counts of the blocks that it is in.
    fn unmark(&mut self, shape: &Shape, number: u64, distinct: Distinct) {
        let words = self.entries.item_mut(number, shape.columns);
        if let Some(marks) = words.first_mut() {
            *marks &= !distinct.newest.bit();
        }
        let mut of_block = number;
        for level in &mut self.levels {
            of_block /= FAN;
            if of_block < level.base {
                continue;
            }
            let block = level.item_mut(of_block, shape.words);
            for &(at, measure) in &shape.measures {
                if let Measure::Count(mark) = measure
                    && mark == distinct.newest
                    && let Some(count) = block.get_mut(at)
                {
                    *count = count.saturating_sub(1);
                }
            }
        }
    }

    /// Measures each complete block that holds an event from this one on.
    fn measure_blocks(&mut self, shape: &Shape, from: u64) {
        if shape.words == 0 {
            return;
        }
        let (mut from, mut to) = (from, self.end());
        let mut level = 0;
        loop {
            (from, to) = (from / FAN, to / FAN);
            if level == self.levels.len() {
                // The first block of this level that is complete, or none yet.
                let base = self.lowest(level);
                if to <= base {
                    return;
                }
                self.levels.push(Queue {
                    base,
                    dead: 0,
                    words: Vec::new(),
                });
            }
            let base = self.levels.get(level).map_or(0, |blocks| blocks.base);
            for number in from.max(base)..to {
                self.measure_block(shape, level, number);
            }
            level += 1;
        }
    }

    /// Number of the first block of a level that lies whole in the log.
    fn lowest(&self, level: usize) -> u64 {
        let mut lowest = self.begin();
        for _ in 0..=level {
            lowest = lowest.div_ceil(FAN);
        }
        lowest
    }

    fn measure_block(&mut self, shape: &Shape, level: usize, number: u64) {
        if let Some(blocks) = self.levels.get_mut(level) {
            blocks.make_room(number, shape.words);
        }
        for &(at, measure) in &shape.measures {
            let mut all = measure.of_nothing();
            for child in number * FAN..(number + 1) * FAN {
                let next = match level.checked_sub(1) {
                    None => measure.of_one(&self.entry(shape, child)),
                    Some(below) => self.block(shape, below, child, at, measure),
                };
                all = measure.combine(all, next);
            }
            let blocks = self.levels.get_mut(level);
            let block = blocks.map(|blocks| blocks.item_mut(number, shape.words));
            let place = block.and_then(|block| block.get_mut(at..at + measure.words()));
            if let Some(place) = place {
                place
                    .iter_mut()
                    .zip(all)
                    .for_each(|(place, word)| *place = word);
            }
        }
    }
}
