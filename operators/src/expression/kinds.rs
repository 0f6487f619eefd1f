//! What can be known of an expression before there is an event: which kind of value each of its parts gives, and whether
//! these go together.
//!
//! A field may be null whatever its kind is, so this only finds what goes wrong for every event.

use std::fmt;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo,
    operators,
};
use regex::RegexBuilder;

use crate::event::FieldType;
use crate::expression::functions::{FUNCTIONS, Function, MATCHES, Patterns, TYPES};
use crate::expression::reading::{Fault, Mistake};
use crate::expression::values::Names;
use crate::expression::{DEPTH_MAX, Wanted};

/// Bytes of a compiled pattern.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// What kind of value a part of an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    UInt,
    Double,
    Text,
    Bytes,
    Null,
    List,
    Map,
    Type,
    /// Which one is known only when there is an event.
    Any,
}

impl Kind {
    fn is_number(self) -> bool {
        matches!(self, Kind::Int | Kind::UInt | Kind::Double)
    }

    /// Whether a value of this kind may be one of the other.
    fn may_be(self, other: Kind) -> bool {
        self == other || self == Kind::Any || other == Kind::Any
    }

    /// Whether values of both kinds can be equal.
    fn may_equal(self, other: Kind) -> bool {
        let is_null = self == Kind::Null || other == Kind::Null;
        is_null || self.may_be(other) || (self.is_number() && other.is_number())
    }

    /// Whether there is an order of values of both kinds.
    fn may_be_ordered_with(self, other: Kind) -> bool {
        let has_order = |kind: Kind| {
            let others = [Kind::Text, Kind::Bool, Kind::Bytes, Kind::Any];
            kind.is_number() || others.contains(&kind)
        };
        let go_together = self.may_be(other) || (self.is_number() && other.is_number());
        has_order(self) && has_order(other) && go_together
    }
}

impl From<FieldType> for Kind {
    fn from(field: FieldType) -> Self {
        match field {
            FieldType::Text => Kind::Text,
            FieldType::Int => Kind::Int,
            FieldType::Float => Kind::Double,
            FieldType::Bool => Kind::Bool,
            FieldType::Floats | FieldType::Texts => Kind::List,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Bool => "a bool",
            Kind::Int => "an int",
            Kind::UInt => "a uint",
            Kind::Double => "a float",
            Kind::Text => "a string",
            Kind::Bytes => "bytes",
            Kind::Null => "null",
            Kind::List => "a list",
            Kind::Map => "a map",
            Kind::Type => "a type",
            Kind::Any => "any value",
        })
    }
}

/// What the interpreter calls a kind, with its article and as a pipeline file calls it.
pub(super) fn of_value(name: &str) -> String {
    named(name).map_or_else(|| name.to_owned(), |kind| kind.to_string())
}

/// The kind that the interpreter calls so.
pub(super) fn named(name: &str) -> Option<Kind> {
    Some(match name {
        "bool" => Kind::Bool,
        "int" => Kind::Int,
        "uint" => Kind::UInt,
        "double" | "float" => Kind::Double,
        "string" => Kind::Text,
        "bytes" => Kind::Bytes,
        "null" | "null_type" => Kind::Null,
        "list" => Kind::List,
        "map" => Kind::Map,
        "type" => Kind::Type,
        _ => return None,
    })
}

/// An operator as it is written: `>` for `_>_`. Names of functions stay.
pub(super) fn operator(name: &str) -> String {
    match name {
        "@in" | "_in_" => "in".to_owned(),
        "_[_]" => "[]".to_owned(),
        "_?_:_" => "? :".to_owned(),
        other => other.trim_matches('_').to_owned(),
    }
}

/// An operator by the name that the interpreter has for its trait.
pub(super) fn arithmetic(name: &str) -> &str {
    match name {
        "add" => "+",
        "sub" | "negate" => "-",
        "mul" => "*",
        "div" => "/",
        "rem" => "%",
        other => other,
    }
}

/// Finds the kinds of an expression's parts.
pub(super) struct Kinds<'t> {
    text: &'t str,
    places: &'t SourceInfo,
    /// Names that it may use.
    known: &'t [(&'t str, FieldType)],
    in_macro: bool,
    /// Variables of the macro around it.
    bound: Vec<&'t str>,
    /// Those that it uses.
    pub(super) names: Names,
    pub(super) patterns: Patterns,
}

impl<'t> Kinds<'t> {
    pub(super) fn new(
        text: &'t str,
        places: &'t SourceInfo,
        known: &'t [(&'t str, FieldType)],
    ) -> Self {
        Kinds {
            text,
            places,
            known,
            in_macro: false,
            bound: Vec::new(),
            names: Names::new(),
            patterns: Patterns::new(),
        }
    }

    /// Looks at a whole expression that is to give what is wanted.
    pub(super) fn check(&mut self, tree: &'t IdedExpr, wanted: Wanted) -> Result<(), Mistake> {
        let kind = self.kind(tree, 1)?;
        let (fits, what) = match wanted {
            Wanted::Truth => (kind.may_be(Kind::Bool), "true or false"),
            Wanted::Number => {
                let others = [Kind::Bool, Kind::Null, Kind::Any];
                let fits = kind.is_number() || others.contains(&kind);
                (fits, "a number")
            }
        };
        if fits {
            return Ok(());
        }
        let message = format!("the expression must give {what}, it gives {kind}");
        Err(Mistake::other(0, message))
    }

    fn at(&self, expr: &IdedExpr) -> usize {
        let place = self.places.offset_for(expr.id);
        place.map_or(0, |(start, _)| start as usize)
    }

    fn wrong<T>(&self, expr: &IdedExpr, message: impl Into<String>) -> Result<T, Mistake> {
        Err(Mistake::other(self.at(expr), message))
    }

    fn kind(&mut self, expr: &'t IdedExpr, depth: usize) -> Result<Kind, Mistake> {
        if depth > DEPTH_MAX {
            return self.wrong(
                expr,
                format!("the expression is nested more than {DEPTH_MAX} deep"),
            );
        }
        let depth = depth + 1;
        match &expr.expr {
            Expr::Literal(literal) => Ok(of_literal(literal)),
            Expr::Ident(name) => self.name(expr, name),
            Expr::Call(call) => self.call(expr, call, depth),
            Expr::Select(select) => self.select(expr, select, depth),
            Expr::List(list) => {
                for element in &list.elements {
                    self.kind(element, depth)?;
                }
                Ok(Kind::List)
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else {
                        return self.wrong(expr, "expected a map of keys and values");
                    };
                    self.kind(&entry.key, depth)?;
                    self.kind(&entry.value, depth)?;
                }
                Ok(Kind::Map)
            }
            Expr::Comprehension(comprehension) => self.comprehension(expr, comprehension, depth),
            Expr::Struct(made) => {
                let message = format!("there is no type `{}` to make a value of", made.type_name);
                self.wrong(expr, message)
            }
            Expr::Unspecified => self.wrong(expr, "something is missing"),
        }
    }

    fn name(&mut self, expr: &IdedExpr, name: &str) -> Result<Kind, Mistake> {
        if self.bound.contains(&name) {
            return Ok(Kind::Any);
        }
        if let Some(kind) = self.field(expr, name)? {
            return Ok(kind);
        }
        if TYPES.contains(&name) {
            return Ok(Kind::Type);
        }
        Err(Mistake {
            at: self.at(expr),
            fault: Fault::UnknownName(name.to_owned()),
        })
    }

    /// The kind of a field, which is noted as used; none if no field has that name.
    fn field(&mut self, expr: &IdedExpr, name: &str) -> Result<Option<Kind>, Mistake> {
        let mut known = self.known.iter().enumerate();
        let Some((place, (_, field))) = known.find(|(_, (known, _))| *known == name) else {
            return Ok(None);
        };
        let kind = Kind::from(*field);
        // Each element of the macro's list would read all of this one.
        if kind == Kind::List && !self.bound.is_empty() {
            let message = format!(
                "the list `{name}` cannot be used for each element of a list: its time would be the product of both lengths"
            );
            return self.wrong(expr, message);
        }
        if self.names.iter().all(|(used, _)| used != name) {
            self.names.push((name.to_owned(), place));
        }
        Ok(Some(kind))
    }

    /// `a.b`: a field whose name has a dot in it, or what is in a map.
    fn select(
        &mut self,
        expr: &'t IdedExpr,
        select: &'t SelectExpr,
        depth: usize,
    ) -> Result<Kind, Mistake> {
        if !select.test
            && let Some(name) = dotted(expr)
            && !self
                .bound
                .iter()
                .any(|bound| name.split('.').next() == Some(bound))
            && let Some(kind) = self.field(expr, &name)?
        {
            return Ok(kind);
        }
        let operand = self.kind(&select.operand, depth)?;
        if !operand.may_be(Kind::Map) {
            let field = &select.field;
            return self.wrong(expr, format!("there is no `{field}` in {operand}"));
        }
        Ok(if select.test { Kind::Bool } else { Kind::Any })
    }

    fn call(
        &mut self,
        expr: &'t IdedExpr,
        call: &'t CallExpr,
        depth: usize,
    ) -> Result<Kind, Mistake> {
        let mut kinds = Vec::new();
        for argument in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
            kinds.push(self.kind(argument, depth)?);
        }
        if call.target.is_none()
            && let Some(kind) = of_operator(&call.func_name, &kinds)
        {
            return kind.map_err(|message| Mistake::other(self.at(expr), message));
        }
        let known = FUNCTIONS.iter().find(|known| known.name == call.func_name);
        let Some(function) = known else {
            return Err(Mistake {
                at: self.name_before(expr, &call.func_name),
                fault: Fault::UnknownFunction(call.func_name.clone()),
            });
        };
        self.arguments(expr, function, call.target.is_some(), &kinds)?;
        if function.name == MATCHES {
            self.pattern(call)?;
        }
        Ok(function.gives)
    }

    fn arguments(
        &self,
        expr: &IdedExpr,
        function: &Function,
        on_target: bool,
        kinds: &[Kind],
    ) -> Result<(), Mistake> {
        let name = function.name;
        let fits = if on_target {
            function.on_target
        } else {
            function.alone
        };
        let at = self.name_before(expr, name);
        if !fits || kinds.len() != function.takes.len() {
            let places = ["x", "y"].get(..function.takes.len()).unwrap_or_default();
            let shape = match (function.on_target, places) {
                (true, [target, rest @ ..]) => format!("{target}.{name}({})", rest.join(", ")),
                (_, all) => format!("{name}({})", all.join(", ")),
            };
            let message = format!("`{name}` is not called like this, write {shape}");
            return Err(Mistake::other(at, message));
        }
        for (kind, takes) in kinds.iter().zip(function.takes) {
            if !takes.iter().any(|taken| kind.may_be(*taken)) {
                let message = format!("`{name}` does not take {kind}");
                return Err(Mistake::other(at, message));
            }
        }
        Ok(())
    }

    /// Compiles the pattern of a call of `matches`.
    fn pattern(&mut self, call: &CallExpr) -> Result<(), Mistake> {
        let Some(argument) = call.args.last() else {
            return Ok(());
        };
        let Expr::Literal(LiteralValue::String(pattern)) = &argument.expr else {
            let message =
                "the pattern of `matches` must be written out, so that it is compiled once";
            return self.wrong(argument, message);
        };
        let pattern = pattern.inner();
        if self.patterns.iter().any(|(known, _)| known == pattern) {
            return Ok(());
        }
        let mut builder = RegexBuilder::new(pattern);
        match builder.size_limit(PATTERN_BYTES_MAX).build() {
            Ok(regex) => self.patterns.push((pattern.to_owned(), regex)),
            Err(error) => {
                // The last line says what is wrong, those before it show where.
                let error = error.to_string();
                let what = error.lines().last().unwrap_or_default();
                let what = what.trim_start_matches("error: ");
                return self.wrong(argument, format!("not a regular expression: {what}"));
            }
        }
        Ok(())
    }

    fn comprehension(
        &mut self,
        expr: &'t IdedExpr,
        made: &'t ComprehensionExpr,
        depth: usize,
    ) -> Result<Kind, Mistake> {
        if self.in_macro {
            let message = "a macro over a list cannot stand within another: its time would be the product of both lengths";
            return self.wrong(expr, message);
        }
        // Also the list that it goes over: each of a chain could make texts twice as long.
        self.in_macro = true;
        let range = self.kind(&made.iter_range, depth)?;
        // Not over a map, nor over what might be one: the order of its keys is another each time.
        if range != Kind::List {
            return self.wrong(expr, format!("a macro goes over a list, not over {range}"));
        }
        let variables = [
            Some(&made.iter_var),
            made.iter_var2.as_ref(),
            Some(&made.accu_var),
        ];
        let variables = variables.into_iter().flatten();
        self.bound.extend(variables.map(String::as_str));
        self.kind(&made.accu_init, depth)?;
        self.kind(&made.loop_cond, depth)?;
        let step = self.kind(&made.loop_step, depth)?;
        let result = self.kind(&made.result, depth)?;
        self.bound.clear();
        self.in_macro = false;
        // Of `map` and `filter` a list; the result of the others is a variable, or compares one.
        let gives_list = made.accu_init.expr == Expr::List(cel::common::ast::ListExpr::default());
        Ok(match (gives_list, step) {
            (true, _) => Kind::List,
            (false, Kind::Bool) => Kind::Bool,
            _ => result,
        })
    }

    /// Where the name of a function stands whose parenthesis stands where the call does.
    fn name_before(&self, expr: &IdedExpr, name: &str) -> usize {
        let at = self.at(expr);
        let before = self.text.get(..at).unwrap_or_default().trim_end();
        before.strip_suffix(name).map_or(at, str::len)
    }
}

/// The name that selections from a name spell: `a.b.c`.
fn dotted(expr: &IdedExpr) -> Option<String> {
    match &expr.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => {
            let before = dotted(&select.operand)?;
            Some(format!("{before}.{}", select.field))
        }
        _ => None,
    }
}

fn of_literal(literal: &LiteralValue) -> Kind {
    match literal {
        LiteralValue::Boolean(_) => Kind::Bool,
        LiteralValue::Bytes(_) => Kind::Bytes,
        LiteralValue::Double(_) => Kind::Double,
        LiteralValue::Int(_) => Kind::Int,
        LiteralValue::Null => Kind::Null,
        LiteralValue::String(_) => Kind::Text,
        LiteralValue::UInt(_) => Kind::UInt,
    }
}

/// What an operator gives, or why it does not take these; `None` if it is none.
fn of_operator(name: &str, kinds: &[Kind]) -> Option<Result<Kind, String>> {
    let shown = operator(name);
    Some(match (name, kinds) {
        (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, kinds) => {
            truths(&shown, kinds).map(|()| Kind::Bool)
        }
        // Of a macro.
        (operators::NOT_STRICTLY_FALSE, _) => Ok(Kind::Bool),
        (operators::CONDITIONAL, [condition, one, other]) => {
            let same = if one == other { *one } else { Kind::Any };
            truths(&shown, &[*condition]).map(|()| same)
        }
        (operators::EQUALS | operators::NOT_EQUALS, [one, other]) => {
            if one.may_equal(*other) {
                Ok(Kind::Bool)
            } else {
                Err(format!("{one} never equals {other}"))
            }
        }
        (
            operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS,
            [one, other],
        ) => {
            if one.may_be_ordered_with(*other) {
                Ok(Kind::Bool)
            } else {
                Err(format!("`{shown}` does not compare {one} with {other}"))
            }
        }
        (operators::IN, [_, list]) => {
            if list.may_be(Kind::List) || list.may_be(Kind::Map) {
                Ok(Kind::Bool)
            } else {
                Err(format!("`in` looks into a list or a map, not into {list}"))
            }
        }
        (operators::INDEX, [list, _]) => {
            if list.may_be(Kind::List) || list.may_be(Kind::Map) {
                Ok(Kind::Any)
            } else {
                Err(format!(
                    "`[]` takes something from a list or a map, not from {list}"
                ))
            }
        }
        (operators::NEGATE, [kind]) => negated(*kind),
        (
            operators::ADD
            | operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO,
            [one, other],
        ) => computed(&shown, *one, *other),
        _ => return None,
    })
}

fn truths(operator: &str, kinds: &[Kind]) -> Result<(), String> {
    match kinds.iter().find(|kind| !kind.may_be(Kind::Bool)) {
        None => Ok(()),
        Some(kind) => Err(format!("`{operator}` takes true or false, not {kind}")),
    }
}

fn negated(kind: Kind) -> Result<Kind, String> {
    match kind {
        Kind::Int | Kind::Double | Kind::Any => Ok(kind),
        kind => Err(format!("`-` does not take {kind}")),
    }
}

/// What arithmetic gives: it takes two of one kind.
fn computed(operator: &str, one: Kind, other: Kind) -> Result<Kind, String> {
    let takes = |kind: Kind| match (operator, kind) {
        (_, Kind::Any) => true,
        ("%", kind) => matches!(kind, Kind::Int | Kind::UInt),
        ("+", Kind::Text | Kind::Bytes | Kind::List) => true,
        (_, kind) => kind.is_number(),
    };
    if !takes(one) || !takes(other) {
        return Err(format!("`{operator}` does not take {one} and {other}"));
    }
    match (one, other) {
        (Kind::Any, kind) | (kind, Kind::Any) => Ok(kind),
        (one, other) if one == other => Ok(one),
        (one, other) if one.is_number() && other.is_number() => Err(format!(
            "`{operator}` takes two numbers of one kind, here {one} and {other}: write 2.0 instead of 2, or double(x)"
        )),
        (one, other) => Err(format!("`{operator}` does not take {one} and {other}")),
    }
}
