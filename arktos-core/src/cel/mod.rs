//! Expressions in CEL that people write into policies, webhooks and the rules of their kinds: read, checked as far as
//! that goes without types, and evaluated within a budget.
//!
//! | question | where |
//! |---|---|
//! | is a text an expression, and of what type | [`Expression::compile`], [`Expression::type_of_result`] |
//! | what does it come to | [`Expression::evaluate`] |
//! | is it too deep to be read at all | `depth` |
//! | which names it may use | `check` |
//! | which functions there are, what makes it fit to be evaluated | `tree` |
//! | what `authorizer` is asked | `authorizer` |
//! | from JSON to values and back | `value` |
//!
//! The language and its libraries are the `kube-cel` crate's. What that leaves open is done here: messages
//! (`Object{…}`), which the crate cannot evaluate, become maps; and loops take from a budget, so that no expression
//! holds a thread for long.

mod authorizer;
mod check;
pub(crate) mod depth;
pub(crate) mod tree;
mod value;

use std::sync::Arc;

use kube_cel::cel::Value as CelValue;
use serde_json::Value;

use authorizer::Stage;
pub use authorizer::{Authorizer, Question};
pub use check::Type;
use tree::{LENGTH_MAX, Tree};

/// How many turns the loops of one evaluation may take, all together.
const TURNS: u32 = 10_000;
/// An expression that can be evaluated, any number of times and by any thread.
#[derive(Debug)]
pub struct Expression {
    source: String,
    tree: Tree,
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
        self.set_value(name, value::to_cel(value));
    }

    /// Lets `authorizer` ask this, and `authorizer.requestResource` stand for what is asked about.
    pub fn set_authorizer(&mut self, of: Arc<dyn Authorizer>, request: Question) {
        self.set_value("authorizer", authorizer::asking(&of, Stage::Begin, Question::default()));
        self.set_value(authorizer::REQUEST_RESOURCE, authorizer::asking(&of, Stage::Resource, request));
    }

    fn set_value(&mut self, name: &str, value: CelValue) {
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
        if depth::is_too_deep(source) {
            return Err(CompileError(format!("ERROR: <input>:1:1: {}", depth::TOO_DEEP)));
        }
        let fault = |faults: Vec<(isize, isize, String)>| {
            let faults: Vec<String> =
                faults.into_iter().map(|(line, column, why)| shown(source, line, column, &why)).collect();
            CompileError(faults.join("\n"))
        };
        let tree = tree::parse(source).map_err(|errors| {
            fault(errors.errors.into_iter().map(|error| (error.pos.0, error.pos.1, error.msg)).collect())
        })?;
        let unknown = check::unknown_names(&tree, source, names);
        if !unknown.is_empty() {
            return Err(fault(unknown));
        }
        let result = check::type_of(&tree);
        Ok(Self { source: source.to_owned(), tree: Tree::of(tree), result })
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
        tree::within(TURNS, |functions| {
            let mut context = functions.new_inner_scope();
            for (name, value) in &scope.variables {
                context.add_variable_from_value(name.as_str(), value.clone());
            }
            let value = self.tree.resolve(&context).map_err(|error| error.to_string())?;
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
