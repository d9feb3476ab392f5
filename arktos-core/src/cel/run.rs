//! What expressions come to: a walk over the tree, which pays for each step.
//!
//! Operators, loops, optionals and selections are read here. Other functions are the crate's: they are called by
//! names that stand for values. A field of what has no fields is an error, as a missing key is.

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, ListExpr, LiteralValue, SelectExpr, operators,
};
use kube_cel::cel::objects::{Key, Map as CelMap, OptionalValue};
use kube_cel::cel::{Context, ExecutionError, IdedExpr, Value as CelValue};

use super::patterns::{self, Patterns};
use super::tree::Tree;
use super::{authorizer, convert, declared, expand, lazy, operate, price, value};

/// What the evaluation of one expression may cost.
pub(crate) const CALL_LIMIT: u64 = 1_000_000;

/// Why an expression comes to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Fault {
    /// It costs too much.
    #[error("operation cancelled: actual cost limit exceeded")]
    Cost,
    /// All that may be spent is.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    Budget,
    /// Something in it does not work.
    #[error("{0}")]
    Said(Box<ExecutionError>),
}

impl From<ExecutionError> for Fault {
    fn from(error: ExecutionError) -> Self {
        Self::Said(Box::new(operate::short(error)))
    }
}

impl Fault {
    /// Whether nothing goes on after it: `||` and `&&` overlook other faults.
    pub(crate) fn ends(&self) -> bool {
        !matches!(self, Self::Said(_))
    }
}

pub(crate) type Found = Result<CelValue, Fault>;

/// Names, and what they stand for; those of outer frames show through.
#[derive(Debug, Default)]
pub(crate) struct Frame<'a> {
    outer: Option<&'a Frame<'a>>,
    names: Vec<(&'a str, Found)>,
}

impl<'a> Frame<'a> {
    /// A frame in another.
    pub(crate) fn within(outer: &'a Frame<'a>) -> Self {
        Self { outer: Some(outer), names: Vec::new() }
    }

    /// With a name more.
    pub(crate) fn with(mut self, name: &'a str, value: CelValue) -> Self {
        self.set(name, Ok(value));
        self
    }

    fn set(&mut self, name: &'a str, value: Found) {
        match self.names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.names.push((name, value)),
        }
    }

    fn take(&mut self, name: &str) -> Found {
        let known = self.names.iter_mut().find(|(known, _)| *known == name);
        known.map_or(Ok(CelValue::Null), |(_, value)| std::mem::replace(value, Ok(CelValue::Null)))
    }

    fn get(&self, name: &str) -> Option<&Found> {
        let own = self.names.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        own.or_else(|| self.outer.and_then(|outer| outer.get(name)))
    }
}

/// Evaluates expressions, and counts what they cost.
pub(crate) struct Run<'f> {
    functions: &'f Context<'static>,
    patterns: Patterns,
    /// What is left for this expression.
    left: Cell<u64>,
    /// What has been spent in hundredths, as far as it is no whole unit yet.
    hundredths: Cell<u64>,
    /// What is left for all of them.
    budget: Cell<u64>,
    over: Cell<bool>,
}

impl<'f> Run<'f> {
    pub(super) fn new(functions: &'f Context<'static>, budget: u64) -> Self {
        let (patterns, budget) = (Patterns::default(), Cell::new(budget));
        let (left, hundredths) = (Cell::new(0), Cell::new(0));
        Self { functions, patterns, left, hundredths, budget, over: Cell::new(false) }
    }

    /// What is left for further expressions.
    pub(crate) fn budget(&self) -> u64 {
        self.budget.get()
    }

    /// Says that no further expression is worth evaluating.
    pub(crate) fn end(&self) {
        self.over.set(true);
    }

    /// Whether none is.
    pub(crate) fn is_over(&self) -> bool {
        self.over.get()
    }

    /// What an expression comes to.
    pub(crate) fn evaluate(&self, tree: &IdedExpr, names: &Frame<'_>) -> Found {
        if self.budget.get() == 0 {
            return Err(Fault::Budget);
        }
        self.limited(tree, names)
    }

    /// What another expression comes to that this one asks for.
    pub(super) fn apart(&self, tree: &Tree, names: &Frame<'_>) -> Found {
        let left = self.left.get();
        let found = self.limited(tree.root(), names);
        self.left.set(left);
        found
    }

    fn limited(&self, tree: &IdedExpr, names: &Frame<'_>) -> Found {
        self.left.set(CALL_LIMIT);
        let found = self.read(tree, names);
        let spent = CALL_LIMIT - self.left.get();
        let budget = self.budget.get();
        self.budget.set(budget.saturating_sub(spent));
        if spent > budget { Err(Fault::Budget) } else { found }
    }

    fn pay(&self, cost: u64) -> Result<(), Fault> {
        match self.left.get().checked_sub(cost) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.left.set(0);
                Err(Fault::Cost)
            }
        }
    }

    /// What is written. Every branch of a tree ends with that or with a name, so that all of it is paid for.
    fn written(&self, literal: &LiteralValue) -> Found {
        let spent = self.hundredths.get() + price::literal(literal);
        self.hundredths.set(spent % 100);
        self.pay(spent / 100)?;
        Ok(literal.to_val().as_ref().try_into()?)
    }

    fn read(&self, tree: &IdedExpr, names: &Frame<'_>) -> Found {
        match &tree.expr {
            Expr::Literal(literal) => self.written(literal),
            Expr::Ident(name) => self.pay(price::name(name)).and_then(|()| named(name, names)),
            Expr::Select(select) => self.select(select, names),
            Expr::Call(call) => self.call(call, names),
            Expr::List(list) => self.list(list, names),
            Expr::Map(map) => self.map(&map.entries, names),
            Expr::Struct(message) => self.message(&message.type_name, &message.entries, names),
            Expr::Comprehension(all) => self.comprehension(all, names),
            Expr::Unspecified => Err(no_overload()),
        }
    }

    fn truth(&self, tree: &IdedExpr, names: &Frame<'_>) -> Result<bool, Fault> {
        match self.read(tree, names)? {
            CelValue::Bool(truth) => Ok(truth),
            _ => Err(no_overload()),
        }
    }

    fn select(&self, select: &SelectExpr, names: &Frame<'_>) -> Found {
        if let Expr::Ident(name) = &select.operand.expr
            && name == "authorizer"
            && select.field == "requestResource"
        {
            return named(authorizer::REQUEST_RESOURCE, names);
        }
        let operand = self.read(&select.operand, names)?;
        if let Some(there) = lazy::has(&operand, &select.field) {
            if select.test {
                return Ok(CelValue::Bool(there));
            }
            self.pay(price::name(&select.field))?;
            return lazy::get(self, &operand, &select.field).unwrap_or_else(|| Err(no_overload()));
        }
        if select.test {
            self.pay(price::name(&select.field) - 1)?;
            let target = optional(&operand).map_or(Some(&operand), OptionalValue::value);
            return Ok(CelValue::Bool(target.is_some_and(|target| field(target, &select.field).is_some())));
        }
        self.pay(price::name(&select.field))?;
        if let Some(optional) = optional(&operand) {
            return Ok(of(optional.value().and_then(|target| field(target, &select.field)).cloned()));
        }
        match field(&operand, &select.field) {
            Some(found) => Ok(found.clone()),
            None => Ok(operate::at(&operand, &CelValue::String(Arc::new(select.field.clone())))?),
        }
    }

    fn list(&self, list: &ListExpr, names: &Frame<'_>) -> Found {
        let mut items = Vec::with_capacity(list.elements.len());
        for (index, element) in list.elements.iter().enumerate() {
            let item = self.read(element, names)?;
            match optional(&item) {
                Some(there) if list.optional_indices.contains(&index) => items.extend(there.value().cloned()),
                _ => items.push(item),
            }
        }
        self.pay(price::LIST + price::kept(&items))?;
        Ok(CelValue::List(Arc::new(items)))
    }

    fn map(&self, entries: &[IdedEntryExpr], names: &Frame<'_>) -> Found {
        let mut fields = HashMap::with_capacity(entries.len());
        let mut letters = 0;
        for entry in entries {
            let (key, value, may_be_none) = match &entry.expr {
                EntryExpr::StructField(field) => (Key::from(field.field.as_str()), &field.value, field.optional),
                EntryExpr::MapEntry(pair) => (operate::key(&self.read(&pair.key, names)?)?, &pair.value, pair.optional),
            };
            letters += price::key_letters(&key);
            let value = self.read(value, names)?;
            match optional(&value) {
                Some(there) if may_be_none => fields.extend(there.value().cloned().map(|value| (key, value))),
                _ => {
                    fields.insert(key, value);
                }
            }
        }
        self.pay(price::MAP + letters / 10 + price::kept(fields.values()))?;
        Ok(CelValue::Map(CelMap { map: Arc::new(fields) }))
    }

    /// An object that is made. Of objects to be applied the type's name is kept, which must fit the place.
    fn message(&self, name: &str, entries: &[IdedEntryExpr], names: &Frame<'_>) -> Found {
        let made = self.map(entries, names)?;
        let name = name.trim_start_matches('.');
        match made {
            CelValue::Map(mut map) if name == "Object" || name.starts_with("Object.") => {
                let name = CelValue::String(Arc::new(name.to_owned()));
                Arc::make_mut(&mut map.map).insert(Key::from(value::TYPE), name);
                Ok(CelValue::Map(map))
            }
            made => Ok(made),
        }
    }

    fn comprehension(&self, all: &ComprehensionExpr, names: &Frame<'_>) -> Found {
        let range = self.read(&all.iter_range, names)?;
        let start = self.read(&all.accu_init, names);
        if start.as_ref().is_err_and(Fault::ends) {
            return start;
        }
        let mut inner = Frame::within(names);
        inner.set(&all.accu_var, start);
        match &range {
            CelValue::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let index = CelValue::Int(i64::try_from(index).unwrap_or(i64::MAX));
                    let (first, second) = match all.iter_var2 {
                        Some(_) => (index, item),
                        None => (item.clone(), item),
                    };
                    if !self.turn(all, &mut inner, first, second)? {
                        break;
                    }
                }
            }
            CelValue::Map(map) => {
                for (key, value) in map.map.iter() {
                    if !self.turn(all, &mut inner, CelValue::from(key), value)? {
                        break;
                    }
                }
            }
            _ => return Err(no_overload()),
        }
        self.read(&all.result, &inner)
    }

    /// One turn of a loop; false where it ends before.
    fn turn<'a>(
        &self,
        all: &'a ComprehensionExpr,
        inner: &mut Frame<'a>,
        first: CelValue,
        second: &CelValue,
    ) -> Result<bool, Fault> {
        self.pay(price::name(&all.iter_var) + all.iter_var2.as_ref().map_or(0, |name| price::name(name) - 1))?;
        if !self.truth(&all.loop_cond, inner)? {
            return Ok(false);
        }
        inner.set(&all.iter_var, Ok(first));
        if let Some(name) = &all.iter_var2 {
            inner.set(name, Ok(second.clone()));
        }
        let next = self.step(all, inner);
        if next.as_ref().is_err_and(Fault::ends) {
            return next.map(|_| false);
        }
        inner.set(&all.accu_var, next);
        Ok(true)
    }

    /// What is collected after a turn. What only grows by items is not copied for each.
    fn step<'a>(&self, all: &'a ComprehensionExpr, inner: &mut Frame<'a>) -> Found {
        let mut step = &all.loop_step;
        if let Expr::Call(choice) = &step.expr
            && choice.func_name == operators::CONDITIONAL
            && let [condition, grown, same] = choice.args.as_slice()
            && is_name(same, &all.accu_var)
            && growth(grown, &all.accu_var).is_some()
        {
            if !self.truth(condition, inner)? {
                return inner.take(&all.accu_var);
            }
            step = grown;
        }
        let Some(call) = growth(step, &all.accu_var) else { return self.read(step, inner) };
        let mut parts = Vec::with_capacity(2);
        for part in &call.args[1..] {
            parts.push(self.read(part, inner)?);
        }
        let so_far = inner.take(&all.accu_var)?;
        self.pay(1)?;
        match (so_far, parts.as_slice()) {
            (CelValue::List(mut items), [CelValue::List(more)]) => {
                self.pay(more.len() as u64)?;
                Arc::make_mut(&mut items).extend(more.iter().cloned());
                Ok(CelValue::List(items))
            }
            (CelValue::Map(mut map), parts) if call.func_name == expand::INSERT => {
                let known = Arc::make_mut(&mut map.map);
                match parts {
                    [CelValue::Map(more)] => {
                        for (key, value) in more.map.iter() {
                            self.pay(1 + price::key_letters(key) / 10 + price::kept([value]))?;
                            operate::insert(known, key.clone(), value.clone())?;
                        }
                    }
                    [key, value] => {
                        self.pay(price::kept([key, value]))?;
                        operate::insert(known, operate::key(key)?, value.clone())?;
                    }
                    _ => return Err(no_overload()),
                }
                Ok(CelValue::Map(map))
            }
            (so_far, [more]) => Ok(operate::binary(&call.func_name, so_far, more.clone())?),
            _ => Err(no_overload()),
        }
    }

    fn call(&self, call: &CallExpr, names: &Frame<'_>) -> Found {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::CONDITIONAL, [condition, yes, no]) => {
                let taken = if self.truth(condition, names)? { yes } else { no };
                self.read(taken, names)
            }
            (operators::LOGICAL_OR, [one, other]) => self.either(one, other, true, names),
            (operators::LOGICAL_AND, [one, other]) => self.either(one, other, false, names),
            (operators::NOT_STRICTLY_FALSE, [condition]) => not_false(self.read(condition, names)),
            (operators::OPT_SELECT, [operand, name]) => {
                let operand = self.read(operand, names)?;
                self.field_if_there(&operand, name, names)
            }
            _ => self.function(call, names),
        }
    }

    fn field_if_there(&self, operand: &CelValue, name: &IdedExpr, names: &Frame<'_>) -> Found {
        let name = self.read(name, names)?;
        self.pay(price::key(&name))?;
        if let CelValue::String(name) = &name
            && let Some(there) = lazy::has(operand, name)
        {
            let found = there.then(|| lazy::get(self, operand, name)).flatten();
            return Ok(of(found.transpose()?));
        }
        let target = optional(operand).map_or(Some(operand), OptionalValue::value);
        Ok(of(target.and_then(|target| operate::at(target, &name).ok())))
    }

    fn function(&self, call: &CallExpr, names: &Frame<'_>) -> Found {
        let whole = whole_name(call);
        let mut values: Vec<CelValue> = Vec::with_capacity(call.args.len() + 1);
        let method = whole.is_none() && call.target.is_some();
        if let (None, Some(target)) = (&whole, &call.target) {
            values.push(self.read(target, names)?);
            if let Some(found) = self.alternative(call, &values[0]) {
                return match found {
                    Ok(Some(found)) => Ok(found),
                    Ok(None) => self.read(&call.args[0], names),
                    Err(fault) => Err(fault),
                };
            }
        }
        for argument in &call.args {
            values.push(self.read(argument, names)?);
        }
        self.apply(whole.as_deref().unwrap_or(&call.func_name), method, values)
    }

    /// What `or` and `orValue` come to: the argument is asked only where nothing is there. None for other functions.
    fn alternative(&self, call: &CallExpr, target: &CelValue) -> Option<Result<Option<CelValue>, Fault>> {
        let name = call.func_name.as_str();
        let there = matches!(name, "or" | "orValue").then(|| optional(target)).flatten()?;
        if call.args.len() != 1 {
            return None;
        }
        let found = there.value().map(|value| if name == "orValue" { value.clone() } else { target.clone() });
        Some(self.pay(1).map(|()| found))
    }

    /// `||` ends with true, `&&` with false, whatever the other part comes to.
    fn either(&self, one: &IdedExpr, other: &IdedExpr, ends: bool, names: &Frame<'_>) -> Found {
        let first = self.truth(one, names);
        match &first {
            Ok(truth) if *truth == ends => return Ok(CelValue::Bool(ends)),
            Err(fault) if fault.ends() => return first.map(CelValue::Bool),
            _ => {}
        }
        match (first, self.truth(other, names)) {
            (_, Ok(truth)) if truth == ends => Ok(CelValue::Bool(ends)),
            (_, Err(fault)) if fault.ends() => Err(fault),
            (Err(fault), _) | (Ok(_), Err(fault)) => Err(fault),
            (Ok(_), Ok(_)) => Ok(CelValue::Bool(!ends)),
        }
    }

    /// A function, of values.
    fn apply(&self, name: &str, method: bool, values: Vec<CelValue>) -> Found {
        self.pay(price::of(name, &values))?;
        if let Some(found) = operate::function(name, &values) {
            return Ok(found?);
        }
        if let Some(pattern) = patterns::of(name, &values) {
            if !self.patterns.know(pattern) {
                self.pay(patterns::compiled(pattern))?;
            }
            self.pay(self.patterns.search(&values))?;
            if let Some(found) = self.patterns.apply(name, &values) {
                let found = found?;
                self.pay(price::of_result(name, &found))?;
                return Ok(found);
            }
        }
        if operate::is_binary(name) {
            let mut values = values.into_iter();
            let (Some(first), second) = (values.next(), values.next()) else { return Err(no_overload()) };
            return Ok(operate::binary(name, first, second.unwrap_or(CelValue::Null))?);
        }
        self.pay(price::copies(&values))?;
        let values = convert::given(name, values)?;
        let found = match self.foreign(name, method, values) {
            // The crate gives the format itself, and null for none.
            Ok(CelValue::Null) if name == "format.named" => of(None),
            Ok(found) if name == "format.named" && optional(&found).is_none() => of(Some(found)),
            found => found?,
        };
        self.pay(price::of_result(name, &found))?;
        Ok(found)
    }

    /// A function of the crate's. One that fails on what it was not made for is a fault of the expression, and of
    /// nobody else who shares the thread or the connection.
    fn foreign(&self, name: &str, method: bool, values: Vec<CelValue>) -> Found {
        const NAMES: [&str; 6] = ["@0", "@1", "@2", "@3", "@4", "@5"];
        let mut context = self.functions.new_inner_scope();
        let mut arguments: Vec<IdedExpr> = Vec::with_capacity(NAMES.len());
        for (name, value) in NAMES.into_iter().zip(values) {
            context.add_variable_from_value(name, value);
            arguments.push(IdedExpr { id: 0, expr: Expr::Ident(name.to_owned()) });
        }
        let target = (method && !arguments.is_empty()).then(|| Box::new(arguments.remove(0)));
        let call = CallExpr { func_name: name.to_owned(), target, args: arguments };
        let call = IdedExpr { id: 0, expr: Expr::Call(call) };
        let found = catch_unwind(AssertUnwindSafe(|| CelValue::resolve(&call, &context)));
        Ok(found.unwrap_or_else(|_| Err(ExecutionError::function_error(name, "internal error")))?)
    }
}

fn not_false(found: Found) -> Found {
    match found {
        Err(fault) if fault.ends() => Err(fault),
        found => Ok(CelValue::Bool(!matches!(found, Ok(CelValue::Bool(false))))),
    }
}

/// The name of a function that has dots in it, with what stands before them.
fn whole_name(call: &CallExpr) -> Option<String> {
    let begin = expand::qualified(call.target.as_ref()?)?;
    Some(format!("{begin}.{}", call.func_name)).filter(|whole| declared::overloads(whole).is_some())
}

fn no_overload() -> Fault {
    ExecutionError::NoSuchOverload.into()
}

fn named(name: &str, names: &Frame<'_>) -> Found {
    let name = name.trim_start_matches('.');
    match names.get(name) {
        Some(found) => found.clone(),
        None => Ok(operate::kind(name).ok_or_else(|| ExecutionError::undeclared_reference(name))?),
    }
}

fn field<'a>(of: &'a CelValue, name: &str) -> Option<&'a CelValue> {
    match of {
        CelValue::Map(map) => map.map.get(&Key::from(name)),
        _ => None,
    }
}

fn is_name(tree: &IdedExpr, name: &str) -> bool {
    matches!(&tree.expr, Expr::Ident(found) if found == name)
}

/// The call by which what a loop collects becomes larger.
fn growth<'a>(tree: &'a IdedExpr, accumulator: &str) -> Option<&'a CallExpr> {
    let Expr::Call(call) = &tree.expr else { return None };
    let grows = match call.func_name.as_str() {
        operators::ADD => call.args.len() == 2 && matches!(call.args[1].expr, Expr::List(_)),
        expand::INSERT => matches!(call.args.len(), 2 | 3),
        _ => false,
    };
    (grows && is_name(&call.args[0], accumulator)).then_some(call)
}

/// A value as an optional, if it is one.
pub(super) fn optional(value: &CelValue) -> Option<&OptionalValue> {
    match value {
        CelValue::Opaque(opaque) => opaque.downcast_ref::<OptionalValue>(),
        _ => None,
    }
}

/// An optional of what may be there.
pub(super) fn of(value: Option<CelValue>) -> CelValue {
    CelValue::Opaque(Arc::new(value.map_or_else(OptionalValue::none, OptionalValue::of)))
}
