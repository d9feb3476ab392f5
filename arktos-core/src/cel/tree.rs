//! Trees of expressions that can be evaluated, whoever wrote them: what the crate would panic on is gone, and loops
//! count.

use std::cell::Cell;
use std::sync::Arc;

use kube_cel::KubeCelExt;
use kube_cel::cel::common::ast::{CallExpr, EntryExpr, Expr, IdedEntryExpr, LiteralValue, MapEntryExpr, MapExpr};
use kube_cel::cel::extractors::This;
use kube_cel::cel::parser::{ParseErrors, Parser};
use kube_cel::cel::{Context, ExecutionError, FunctionContext, IdedExpr, ResolveResult, Value as CelValue};

/// The longest expression that is read, in bytes.
pub(crate) const LENGTH_MAX: usize = 64 * 1024;
/// The function by which a loop takes from the budget.
const TURN: &str = "@turn";

thread_local! {
    /// The functions there are. Nobody writes them once they are made.
    static FUNCTIONS: Context<'static> = functions();
    /// What is left of the budget of what this thread is evaluating.
    static LEFT: Cell<u32> = const { Cell::new(0) };
}

/// Lets expressions be evaluated with the functions there are, whose loops may take so many turns, all together.
pub(crate) fn within<R>(turns: u32, evaluate: impl FnOnce(&Context<'_>) -> R) -> R {
    LEFT.set(turns);
    FUNCTIONS.with(evaluate)
}

/// The functions of CEL and of the Kubernetes libraries, and what the crate leaves out of CEL: `dyn`, which is for type
/// checkers alone, `type`, with the names of types, and texts whose size is in characters.
fn functions() -> Context<'static> {
    let mut context = Context::default().with_all();
    context.add_function(TURN, turn);
    super::authorizer::add_functions(&mut context);
    context.add_function("dyn", |This(value): This<CelValue>| -> ResolveResult { Ok(value) });
    context.add_function("type", |This(value): This<CelValue>| -> ResolveResult { Ok(text(type_name(&value))) });
    context.add_function("string", string);
    context.add_function("size", |This(value): This<CelValue>| -> ResolveResult { size(&value) });
    for name in ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type"] {
        context.add_variable_from_value(name, text(name));
    }
    context
}

fn turn() -> Result<bool, ExecutionError> {
    spend(1)
}

/// Takes so many turns from the budget.
pub(super) fn spend(turns: u32) -> Result<bool, ExecutionError> {
    let Some(left) = LEFT.get().checked_sub(turns) else {
        return Err(ExecutionError::function_error("loop", "operation cancelled: actual cost limit exceeded"));
    };
    LEFT.set(left);
    Ok(true)
}

fn text(text: &str) -> CelValue {
    CelValue::String(Arc::new(text.to_owned()))
}

/// As the crate has it, and for truths.
fn string(context: &FunctionContext, This(value): This<CelValue>) -> ResolveResult {
    match value {
        CelValue::Bool(truth) => Ok(text(if truth { "true" } else { "false" })),
        other => kube_cel::cel::functions::string(context, This(other)),
    }
}

fn size(value: &CelValue) -> ResolveResult {
    let size = match value {
        CelValue::List(list) => list.len(),
        CelValue::Map(map) => map.map.len(),
        CelValue::String(text) => text.chars().count(),
        CelValue::Bytes(bytes) => bytes.len(),
        other => return Err(ExecutionError::function_error("size", format!("no such overload: {}", type_name(other)))),
    };
    Ok(CelValue::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

fn type_name(value: &CelValue) -> &'static str {
    match value {
        CelValue::List(_) => "list",
        CelValue::Map(_) => "map",
        CelValue::Int(_) => "int",
        CelValue::UInt(_) => "uint",
        CelValue::Float(_) => "double",
        CelValue::String(_) => "string",
        CelValue::Bytes(_) => "bytes",
        CelValue::Bool(_) => "bool",
        CelValue::Duration(_) => "google.protobuf.Duration",
        CelValue::Timestamp(_) => "google.protobuf.Timestamp",
        CelValue::Null => "null_type",
        CelValue::Function(..) | CelValue::Opaque(_) => "dyn",
    }
}

/// Reads an expression, as it stands.
pub(crate) fn parse(source: &str) -> Result<IdedExpr, ParseErrors> {
    Parser::default().enable_optional_syntax(true).parse(source)
}

/// An expression that can be evaluated, any number of times and by any thread.
#[derive(Debug)]
pub(crate) struct Tree(IdedExpr);

impl Tree {
    /// Makes a tree fit to be evaluated.
    pub(crate) fn of(mut tree: IdedExpr) -> Self {
        prepare(&mut tree);
        Self(tree)
    }

    /// Reads an expression. None for what is none, and for what is longer than anybody needs.
    pub(crate) fn read(source: &str) -> Option<Self> {
        if source.len() > LENGTH_MAX || super::depth::is_too_deep(source) {
            return None;
        }
        parse(source).ok().map(Self::of)
    }

    /// Whether a name stands in it for a value.
    pub(crate) fn has_variable(&self, name: &str) -> bool {
        self.0.references().has_variable(name)
    }

    /// What it comes to, within the budget that [`within`] has given.
    pub(crate) fn resolve(&self, context: &Context<'_>) -> ResolveResult {
        CelValue::resolve(&self.0, context)
    }
}

/// Makes a tree fit to be evaluated: messages become maps, and loops count.
fn prepare(tree: &mut IdedExpr) {
    match &mut tree.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| prepare(target));
            call.args.iter_mut().for_each(prepare);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(prepare),
        Expr::Map(map) => map.entries.iter_mut().for_each(entry),
        Expr::Select(select) => match &select.operand.expr {
            Expr::Ident(name) if name == "authorizer" && select.field == "requestResource" => {
                tree.expr = Expr::Ident(super::authorizer::REQUEST_RESOURCE.to_owned());
            }
            _ => prepare(&mut select.operand),
        },
        Expr::Struct(message) => {
            let mut entries = std::mem::take(&mut message.entries);
            entries.iter_mut().for_each(entry);
            tree.expr = Expr::Map(MapExpr { entries });
        }
        Expr::Comprehension(all) => {
            for part in
                [&mut all.iter_range, &mut all.accu_init, &mut all.loop_cond, &mut all.loop_step, &mut all.result]
            {
                prepare(part);
            }
            let turn = CallExpr { func_name: TURN.to_owned(), target: None, args: Vec::new() };
            let turn = IdedExpr { id: all.loop_cond.id, expr: Expr::Call(turn) };
            let condition = std::mem::take(&mut all.loop_cond);
            let both = CallExpr { func_name: "_&&_".to_owned(), target: None, args: vec![turn, condition] };
            all.loop_cond = IdedExpr { id: 0, expr: Expr::Call(both) };
        }
    }
}

fn entry(entry: &mut IdedEntryExpr) {
    match &mut entry.expr {
        EntryExpr::MapEntry(pair) => {
            prepare(&mut pair.key);
            prepare(&mut pair.value);
        }
        EntryExpr::StructField(field) => {
            let mut value = std::mem::take(&mut field.value);
            prepare(&mut value);
            let key = Expr::Literal(LiteralValue::String(std::mem::take(&mut field.field).into()));
            let key = IdedExpr { id: entry.id, expr: key };
            let optional = field.optional;
            entry.expr = EntryExpr::MapEntry(MapEntryExpr { key, value, optional });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_to(source: &str, turns: u32) -> ResolveResult {
        let tree = Tree::read(source).expect(source);
        within(turns, |functions| tree.resolve(&functions.new_inner_scope()))
    }

    #[test]
    fn messages_are_maps_wherever_they_stand() {
        for source in ["Kind{field: 1}.field == 1", "[1].all(x, Kind{f: x}.f == x)", "{'a': Kind{}}.a == {}"] {
            assert_eq!(comes_to(source, 100), Ok(CelValue::Bool(true)), "{source}");
        }
    }

    #[test]
    fn truths_are_texts_too() {
        assert_eq!(comes_to("string(1 == 1) + string(2)", 100), Ok(text("true2")));
    }

    #[test]
    fn loops_take_from_one_budget_however_they_are_nested() {
        let loops = "[1, 2, 3].all(x, [1, 2, 3].all(y, x * y > 0))";
        assert_eq!(comes_to(loops, 12), Ok(CelValue::Bool(true)));
        assert!(comes_to(loops, 11).is_err());
    }
}
