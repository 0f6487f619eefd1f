//! What an event gives an expression.

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelNull, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;

use crate::batch::{Cell, Row, Rows, Span, content};
use crate::event::FieldIndex;
use crate::json::Elements;

/// The names that an expression uses, each with its place among all names that it may use.
pub(super) type Names = Vec<(String, usize)>;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Given<'v> {
    /// Nothing.
    Null,
    /// A text.
    Text(&'v str),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A list of numbers or of texts: the JSON text of it, which was checked to be one.
    List(&'v [u8]),
}

impl<'v> Given<'v> {
    /// The value of a cell; `bytes` gives the content of a text.
    fn of(cell: Cell, bytes: impl FnOnce(Span) -> &'v [u8]) -> Self {
        match cell {
            Cell::Null => Given::Null,
            // The scanner has checked that records are UTF-8.
            Cell::Text { span, .. } => Given::Text(str::from_utf8(bytes(span)).unwrap_or_default()),
            Cell::Int(number) => Given::Int(number),
            Cell::Float(number) => Given::Float(number),
            Cell::Bool(truth) => Given::Bool(truth),
            Cell::List { span, .. } => Given::List(bytes(span)),
        }
    }

    /// The same as the interpreter has it. The only place where values of events become values of CEL.
    fn into_value(self) -> CowVal<'v, 'v> {
        match self {
            Given::Null => CowVal::owned(CelNull),
            Given::Text(text) => CowVal::owned(CelString::from(text)),
            Given::Int(number) => CowVal::owned(CelInt::from(number)),
            Given::Float(number) => CowVal::owned(CelDouble::from(number)),
            Given::Bool(truth) => CowVal::owned(CelBool::from(truth)),
            Given::List(list) => CowVal::owned(CelList::from(elements(list))),
        }
    }
}

/// The elements of a list, which are of one kind.
fn elements(list: &[u8]) -> Vec<Box<dyn Val + '_>> {
    let numbers = Elements::of(list).numbers().map(CelDouble::from);
    let numbers = numbers.map(|number| -> Box<dyn Val> { Box::new(number) });
    let texts = Elements::of(list).texts();
    let texts = texts.map(|text| -> Box<dyn Val> { Box::new(CelString::from(text.into_owned())) });
    numbers.chain(texts).collect()
}

/// What the names of an expression stand for.
pub trait Values: Send + Sync {
    /// The value of the name at this place among those that the expression was compiled with.
    fn value(&self, place: usize) -> Given<'_>;
}

/// The fields of a row of a batch, for an expression whose names are those of the schema.
#[derive(Clone, Copy, Debug)]
pub struct RowValues<'b> {
    /// The batch.
    pub rows: &'b Rows,
    /// One of its rows.
    pub row: &'b Row,
}

impl Values for RowValues<'_> {
    fn value(&self, place: usize) -> Given<'_> {
        let cell = self.rows.cell(self.row, FieldIndex(place));
        Given::of(cell, |span| self.rows.bytes(span))
    }
}

/// The fields of an event that is not in a batch yet.
pub(crate) struct RecordValues<'b> {
    pub(crate) cells: &'b [Cell],
    pub(crate) record: &'b [u8],
    pub(crate) scratch: &'b [u8],
}

impl Values for RecordValues<'_> {
    fn value(&self, place: usize) -> Given<'_> {
        let cell = self.cells.get(place).copied().unwrap_or_default();
        Given::of(cell, |span| content(cell, span, self.record, self.scratch))
    }
}

/// Finds what the names of an expression stand for, when it needs them.
pub(super) struct Resolver<'e, V> {
    pub(super) names: &'e Names,
    pub(super) values: &'e V,
}

impl<V: Values> VariableResolver for Resolver<'_, V> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        // An expression has a few names.
        let (_, place) = self.names.iter().find(|(known, _)| known == name)?;
        Some(self.values.value(*place).into_value())
    }
}
