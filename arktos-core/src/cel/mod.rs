//! Expressions in CEL that people write into policies and webhooks: read, checked as far as that goes without types,
//! and evaluated within a budget.
//!
//! | question | where |
//! |---|---|
//! | is a text an expression, and of what type | [`Expression::compile`], [`Expression::type_of_result`] |
//! | what does it come to | [`Expression::evaluate`] |
//! | which names it may use | `check` |
//! | from JSON to values and back | `value` |
//!
//! The language and its libraries are the `kube-cel` crate's. What that leaves open is done here: messages
//! (`Object{…}`), which the crate cannot evaluate, become maps; and loops take from a budget, so that no expression
//! holds a thread for long.

mod check;
mod value;

use std::cell::Cell;

use kube_cel::KubeCelExt;
use kube_cel::cel::common::ast::{CallExpr, EntryExpr, Expr, IdedEntryExpr, LiteralValue, MapEntryExpr};
use kube_cel::cel::parser::Parser;
use kube_cel::cel::{Context, ExecutionError, IdedExpr, Value as CelValue};
use serde_json::Value;

pub use check::Type;

/// How many turns the loops of one evaluation may take, all together.
const TURNS: u32 = 10_000;
/// The longest expression that is read, in bytes.
const LENGTH_MAX: usize = 64 * 1024;
/// The function by which a loop takes from the budget.
const TURN: &str = "@turn";

thread_local! {
    /// The functions there are. Nobody writes them once they are made.
    static FUNCTIONS: Context<'static> = {
        let mut functions = Context::default().with_all();
        functions.add_function(TURN, turn);
        functions
    };
    /// What is left of the budget of the evaluation that this thread is at.
    static LEFT: Cell<u32> = const { Cell::new(0) };
}

fn turn() -> Result<bool, ExecutionError> {
    match LEFT.get() {
        0 => Err(ExecutionError::function_error("loop", "operation cancelled: actual cost limit exceeded")),
        left => {
            LEFT.set(left - 1);
            Ok(true)
        }
    }
}

/// An expression that can be evaluated, any number of times and by any thread.
#[derive(Debug)]
pub struct Expression {
    source: String,
    tree: IdedExpr,
    result: Type,
}

/// Why a text is no expression, in the API's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("compilation failed: {0}")]
pub struct CompileError(String);

/// Names and what they stand for, for one evaluation or several.
#[derive(Debug, Default)]
pub struct Scope {
    variables: Vec<(String, CelValue)>,
}

impl Scope {
    /// Lets a name stand for a value; a later value goes before.
    pub fn set(&mut self, name: &str, value: &Value) {
        let value = value::to_cel(value);
        match self.variables.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }
}

impl Expression {
    /// Reads an expression that may use these names.
    ///
    /// # Errors
    /// [`CompileError`] for what is no expression, and for names that nobody knows.
    pub fn compile(source: &str, names: &[&str]) -> Result<Self, CompileError> {
        if source.len() > LENGTH_MAX {
            return Err(CompileError(format!("ERROR: <input>:1:1: expression is longer than {LENGTH_MAX} bytes")));
        }
        let fault = |faults: Vec<(isize, isize, String)>| {
            let faults: Vec<String> =
                faults.into_iter().map(|(line, column, why)| shown(source, line, column, &why)).collect();
            CompileError(faults.join("\n"))
        };
        let mut tree = Parser::default().enable_optional_syntax(true).parse(source).map_err(|errors| {
            fault(errors.errors.into_iter().map(|error| (error.pos.0, error.pos.1, error.msg)).collect())
        })?;
        let unknown = check::unknown_names(&tree, source, names);
        if !unknown.is_empty() {
            return Err(fault(unknown));
        }
        let result = check::type_of(&tree);
        prepare(&mut tree);
        Ok(Self { source: source.to_owned(), tree, result })
    }

    /// The text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The type of what it comes to, where the text alone tells it.
    #[must_use]
    pub fn type_of_result(&self) -> &Type {
        &self.result
    }

    /// What the expression comes to.
    ///
    /// # Errors
    /// A sentence that says why it comes to nothing: a field that is not there, a type that does not fit, a loop that
    /// takes too long.
    pub fn evaluate(&self, scope: &Scope) -> Result<Value, String> {
        FUNCTIONS.with(|functions| {
            let mut context = functions.new_inner_scope();
            for (name, value) in &scope.variables {
                context.add_variable_from_value(name.as_str(), value.clone());
            }
            LEFT.set(TURNS);
            let value = CelValue::resolve(&self.tree, &context).map_err(|error| error.to_string())?;
            value::from_cel(&value)
        })
    }
}

/// A fault as the API shows it: where, why, and the line with a mark below it.
fn shown(source: &str, line: isize, column: isize, why: &str) -> String {
    let at = usize::try_from(line.max(1)).unwrap_or(1) - 1;
    let text = source.lines().nth(at).unwrap_or_default();
    let dots = ".".repeat(usize::try_from(column.max(1)).unwrap_or(1) - 1);
    format!("ERROR: <input>:{line}:{column}: {why}\n | {text}\n | {dots}^")
}

/// Whether a tree makes a message somewhere (`Kind{field: 1}`), which nothing evaluates that was not prepared.
pub(crate) fn makes_message(tree: &IdedExpr) -> bool {
    let entry = |entry: &IdedEntryExpr| match &entry.expr {
        EntryExpr::MapEntry(pair) => makes_message(&pair.key) || makes_message(&pair.value),
        EntryExpr::StructField(_) => true,
    };
    match &tree.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => false,
        Expr::Call(call) => call.target.iter().any(|it| makes_message(it)) || call.args.iter().any(makes_message),
        Expr::List(list) => list.elements.iter().any(makes_message),
        Expr::Map(map) => map.entries.iter().any(entry),
        Expr::Select(select) => makes_message(&select.operand),
        Expr::Struct(_) => true,
        Expr::Comprehension(all) => [&all.iter_range, &all.accu_init, &all.loop_cond, &all.loop_step, &all.result]
            .into_iter()
            .any(|part| makes_message(part)),
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
        Expr::Select(select) => prepare(&mut select.operand),
        Expr::Struct(message) => {
            let mut entries = std::mem::take(&mut message.entries);
            entries.iter_mut().for_each(entry);
            tree.expr = Expr::Map(kube_cel::cel::common::ast::MapExpr { entries });
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
    use serde_json::json;

    fn compiled(source: &str) -> Expression {
        Expression::compile(source, &["object", "Object", "JSONPatch"]).expect(source)
    }

    fn comes_to(source: &str, object: Value) -> Result<Value, String> {
        let mut scope = Scope::default();
        scope.set("object", &object);
        compiled(source).evaluate(&scope)
    }

    #[test]
    fn expressions_come_to_what_the_language_says() {
        let object = json!({"metadata": {"name": "a"}, "data": {"x": "1", "y": "2"}, "list": [3, 1, 2], "half": 0.5});
        for (source, value) in [
            ("object.metadata.name + '-b'", json!("a-b")),
            ("has(object.data) && 'x' in object.data", json!(true)),
            ("object.list.all(n, n > 0)", json!(true)),
            ("object.list.map(n, n * 2).filter(n, n > 2)", json!([6, 4])),
            ("object.list.size() == 3 ? 'three' : 'other'", json!("three")),
            ("object.half * 2.0", json!(1.0)),
            ("object.data.map(k, k).size()", json!(2)),
            (
                "Object{metadata: Object.metadata{labels: {'a': object.metadata.name}}}",
                json!({"metadata": {"labels": {"a": "a"}}}),
            ),
            ("[JSONPatch{op: 'add', path: '/x', value: 1}]", json!([{"op": "add", "path": "/x", "value": 1}])),
        ] {
            assert_eq!(comes_to(source, object.clone()), Ok(value), "{source}");
        }
        assert!(comes_to("object.none.deep", object).is_err());
    }

    #[test]
    fn what_is_no_expression_is_said_with_the_place() {
        let fault = Expression::compile("1 +", &[]).expect_err("breaks off").to_string();
        assert_eq!(
            fault,
            "compilation failed: ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', \
             '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | 1 \
             +\n | ...^"
        );
        let fault = Expression::compile("object.x == nobody", &["object"]).expect_err("unknown").to_string();
        assert_eq!(
            fault,
            "compilation failed: ERROR: <input>:1:13: undeclared reference to 'nobody' (in container '')\n | object.x \
             == nobody\n | ............^"
        );
    }

    #[test]
    fn a_loop_that_takes_too_long_is_cut_off() {
        let list: Vec<u32> = (0..200).collect();
        let fault = comes_to("object.all(a, object.all(b, a + b >= 0))", json!(list)).expect_err("too long");
        assert!(fault.contains("cost limit exceeded"), "{fault}");
    }

    #[test]
    fn the_text_alone_tells_some_types() {
        for (source, shown) in [
            ("1", "int"),
            ("'x'", "string"),
            ("Object{}", "Object"),
            ("[JSONPatch{}]", "list(JSONPatch)"),
            ("[1, 2]", "list(int)"),
            ("object.a == 1 || true", "bool"),
            ("object.list.exists(a, a == 1)", "bool"),
            ("true ? 1 : 2", "int"),
            ("object.a", "dyn"),
        ] {
            assert_eq!(compiled(source).type_of_result().to_string(), shown, "{source}");
        }
    }
}
