//! Expressions in CEL that people write into policies, webhooks and the rules of their kinds: read, checked as far as
//! that goes without types, and evaluated within a budget.
//!
//! | question | where |
//! |---|---|
//! | is a text an expression | [`Expression::compile`] |
//! | of what type is it, and does all in it fit | `checker`, `types`; which functions there are: `declared` |
//! | what may it cost at most | `cost`, `estimates` |
//! | does it fit what the kinds look like that a policy is about | `warnings` |
//! | what does it come to | [`Expression::evaluate`] |
//! | is it too deep to be read at all | `depth` |
//! | which names it may use | `check` |
//! | which functions there are, and how texts become trees | `tree`, `expand` |
//! | how a tree is walked; what operators do; what steps cost | `run`, `operate`, `price` |
//! | regular expressions; texts, times and amounts | `patterns`; `convert` |
//! | what `authorizer` is asked | `authorizer` |
//! | from JSON to values and back | `value` |
//! | what names stand for; what all evaluations for one request may cost | `scope`; `purse` |
//! | what constants come to when they are written; can they be formatted as they are to be | `fold`; `formats` |
//! | when a policy's variables come to something | `lazy` |
//!
//! The parser and most functions are the `kube-cel` crate's. Trees are walked here, since what tenants write must cost
//! no more than it may, and a field of what has no fields must be an error.

mod authorizer;
mod check;
mod checker;
mod convert;
mod cost;
mod declared;
pub(crate) mod depth;
mod estimates;
mod expand;
mod fold;
mod formats;
mod lazy;
mod operate;
mod patterns;
mod price;
mod purse;
pub(crate) mod run;
mod scope;
pub(crate) mod tree;
pub(crate) mod types;
mod value;
mod warnings;

use kube_cel::cel::Value as CelValue;
use serde_json::Value;

pub use authorizer::{Authorizer, Question};
pub(crate) use checker::{Environment, Variables};
pub use lazy::Variables as LazyVariables;
pub(crate) use patterns::{SIZE_MAX, built};
pub use purse::Purse;
use run::Frame;
pub use scope::{Scope, Unevaluated};
use tree::{LENGTH_MAX, Tree};
pub use warnings::{TypeWarning, type_warnings};

use crate::custom::Seen;

/// What all expressions that one scope is for may cost, unless it says otherwise.
pub const BUDGET: u64 = 10_000_000;
/// What all conditions may cost upon which a policy or a webhook is asked.
pub const CONDITIONS_BUDGET: u64 = 2_500_000;

/// How much is said of the faults of one expression, in bytes.
const SAID_MAX: usize = 64 * 1024;
/// The longest line that is shown of one.
const LINE_MAX: usize = 4096;

/// An expression that can be evaluated, any number of times and by any thread.
#[derive(Debug)]
pub struct Expression {
    source: String,
    tree: Tree,
}

/// Why a text is no expression, in the API's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// It cannot be read, or something in it does not fit.
    #[error("compilation failed: {0}")]
    Faulty(String),
    /// What is constant in it comes to nothing. Upstream calls that an error of its own.
    #[error("program instantiation failed: {0}")]
    Constant(String),
}

impl Expression {
    /// Reads an expression that may use these names.
    ///
    /// # Errors
    /// [`CompileError`] for what is no expression, and for names that nobody knows.
    pub fn compile(source: &str, names: &[&str]) -> Result<Self, CompileError> {
        let tree = read(source)?;
        let unknown = check::unknown_names(&tree, source, names);
        if !unknown.is_empty() {
            return Err(told(source, unknown));
        }
        Ok(Self { source: source.to_owned(), tree: Tree::of(tree) })
    }

    /// The text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What the expression comes to.
    ///
    /// # Errors
    /// Why it comes to nothing.
    pub fn evaluate(&self, scope: &Scope) -> Result<Value, Unevaluated> {
        value::from_cel(&self.find(scope)?).map_err(Unevaluated::Said)
    }

    /// The change that the expression comes to: an object to be `applied`, or the steps of a patch.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate); objects must be of the types that their places have.
    pub fn evaluate_change(&self, scope: &Scope, applied: bool) -> Result<Value, Unevaluated> {
        let found = self.find(scope)?;
        let objects = match &found {
            CelValue::List(steps) => steps.iter().filter_map(value::of_step).collect(),
            found => vec![found],
        };
        for object in objects {
            let faults = value::misplaced(object);
            if !faults.is_empty() {
                return Err(Unevaluated::Misplaced(faults.join("\n")));
            }
        }
        value::changed(&found, applied).map_err(Unevaluated::Said)
    }

    fn find(&self, scope: &Scope) -> Result<CelValue, Unevaluated> {
        let left = scope.left();
        tree::within(left, |run| {
            let mut names = Frame::default();
            for (name, value) in &scope.variables {
                names = names.with(name, value.clone());
            }
            let variables = scope.variables.iter().find(|(name, _)| name == "variables");
            let ready = variables.map_or(Ok(()), |(_, value)| lazy::ready(run, value, &self.source));
            let found = ready.and_then(|()| self.tree.resolve(run, &names));
            scope.spend(left - run.budget());
            let found = found.map_err(|fault| match fault {
                run::Fault::Budget => Unevaluated::Budget,
                fault => Unevaluated::Said(told_fault(&fault.to_string())),
            })?;
            if price::is_too_large(&found) {
                return Err(Unevaluated::Said(run::Fault::Cost.to_string()));
            }
            Ok(found)
        })
    }
}

/// The type of an expression in an environment, in which all must fit.
///
/// # Errors
/// [`CompileError`] for what is no expression, and for each part of it that does not fit.
pub(crate) fn type_of<'a>(source: &str, environment: &Environment<'a>) -> Result<types::Type<'a>, CompileError> {
    Ok(checked(&read(source)?, source, environment)?.of)
}

/// The type of an expression, and what it may cost at most where its names stand for what a schema describes.
///
/// # Errors
/// As [`type_of`].
pub(crate) fn type_and_cost<'a>(
    source: &str,
    environment: &Environment<'a>,
    seen: Seen<'a>,
) -> Result<(types::Type<'a>, u64), CompileError> {
    let tree = read(source)?;
    let known = checked(&tree, source, environment)?;
    let cost = cost::most(&tree, &known, seen);
    Ok((known.of, cost))
}

/// The type of an expression, or what in it does not fit.
fn well_typed<'a>(source: &str, environment: &Environment<'a>) -> Result<types::Type<'a>, String> {
    let found = read(source).and_then(|tree| fitting(&tree, source, environment));
    found.map(|known| known.of).map_err(|fault| match fault {
        CompileError::Faulty(why) | CompileError::Constant(why) => why,
    })
}

fn checked<'a>(
    tree: &kube_cel::cel::IdedExpr,
    source: &str,
    environment: &Environment<'a>,
) -> Result<checker::Checked<'a>, CompileError> {
    let found = fitting(tree, source, environment)?;
    fold::fault(tree, environment).map_or(Ok(found), |why| Err(CompileError::Constant(why)))
}

fn fitting<'a>(
    tree: &kube_cel::cel::IdedExpr,
    source: &str,
    environment: &Environment<'a>,
) -> Result<checker::Checked<'a>, CompileError> {
    checker::check(tree, environment).map_err(|faults| {
        let mut places: Vec<(isize, isize, String)> = Vec::with_capacity(faults.len());
        let all = tree::Places::of(source);
        for (part, why) in faults {
            let (line, column) = all.of_part(part);
            places.push((line, column, why));
        }
        places.sort_by_key(|(line, column, _)| (*line, *column));
        told(source, places)
    })
}

fn read(source: &str) -> Result<kube_cel::cel::IdedExpr, CompileError> {
    if source.len() > LENGTH_MAX {
        return Err(CompileError::Faulty(format!("ERROR: <input>:1:1: expression is longer than {LENGTH_MAX} bytes")));
    }
    if depth::is_too_deep(source) {
        return Err(CompileError::Faulty(format!("ERROR: <input>:1:1: {}", depth::TOO_DEEP)));
    }
    tree::parse(source).map_err(|errors| {
        told(source, errors.errors.into_iter().map(|error| (error.pos.0, error.pos.1, ended(error.msg))).collect())
    })
}

/// Where a whole expression may end, upstream expects that it does, and names nothing else that could come.
fn ended(why: String) -> String {
    match why.split_once(" expecting {<EOF>,") {
        Some((begin, _)) => format!("{begin} expecting <EOF>"),
        None => why,
    }
}

fn told(source: &str, faults: Vec<(isize, isize, String)>) -> CompileError {
    let mut said = String::new();
    for (line, column, why) in faults.into_iter().take(check::FAULTS_MAX) {
        if said.len() > SAID_MAX {
            break;
        }
        let begin = if said.is_empty() { "" } else { "\n" };
        said = said + begin + &shown(source, line, column, &why);
    }
    CompileError::Faulty(said)
}

/// What went wrong with a rule, in the words of the library that upstream has.
pub(crate) fn told_fault(why: &str) -> String {
    let why = match why.strip_prefix("Error executing function '").and_then(|rest| rest.split_once("': ")) {
        Some((_, inner)) => inner,
        None => why,
    };
    let inner = |begin: &str| why.strip_prefix(begin);
    for begin in ["start index ", "end index ", "index "] {
        if let Some((number, _)) = inner(begin).and_then(|rest| rest.split_once(" out of range")) {
            return format!("index out of range: {number}");
        }
    }
    if inner("No such overload").is_some() {
        return "no such overload".to_owned();
    }
    if inner("Unsupported binary operator").is_some() || inner("Unable to use value").is_some() {
        return "no such overload".to_owned();
    }
    if let Some(rest) = inner("Overflow from binary operator") {
        let of = [("UInt(", "unsigned integer"), ("Timestamp(", "timestamp"), ("Duration(", "duration")];
        let of = of.iter().find(|(begin, _)| rest.contains(begin)).map_or("integer", |(_, of)| of);
        return format!("{of} overflow");
    }
    if let Some((bounds, length)) =
        inner("slice(").and_then(|rest| rest.split_once(") out of range for list of length "))
    {
        let ordered = bounds.split_once(", ").is_none_or(|(start, end)| {
            let number = |text: &str| text.parse::<i64>().unwrap_or(0);
            number(start) <= number(end)
        });
        let short = format!("list is length {length}");
        let why = if ordered { short.as_str() } else { "start index must be less than or equal to end index" };
        return format!("cannot slice({bounds}), {why}");
    }
    if let Some(name) = inner("cannot call ").and_then(|rest| rest.strip_suffix(" on empty list")) {
        return format!("{name} called on empty list");
    }
    if why == "quantity is not an integer" {
        return "cannot convert value to integer".to_owned();
    }
    if let Some(number) = inner("Index out of bounds: ") {
        let number = number.trim_start_matches(|letter: char| !letter.is_ascii_digit() && letter != '-');
        return format!("index out of bounds: {}", number.trim_end_matches(')'));
    }
    if let Some(key) = inner("No such key: ") {
        return format!("no such key: {key}");
    }
    if inner("Division by zero").is_some() {
        return "division by zero".to_owned();
    }
    if inner("Remainder by zero").is_some() {
        return "modulus by zero".to_owned();
    }
    why.to_owned()
}

/// A fault as the API shows it: where, why, and the line with a mark below it. A long line is not shown.
fn shown(source: &str, line: isize, column: isize, why: &str) -> String {
    let at = usize::try_from(line.max(1)).unwrap_or(1) - 1;
    let text = source.lines().nth(at).unwrap_or_default();
    if text.len() > LINE_MAX {
        return format!("ERROR: <input>:{line}:{column}: {why}");
    }
    let dots = ".".repeat(usize::try_from(column.max(1)).unwrap_or(1) - 1);
    format!("ERROR: <input>:{line}:{column}: {why}\n | {text}\n | {dots}^")
}

#[cfg(test)]
mod typed;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use serde_json::json;

    fn compiled(source: &str) -> Expression {
        Expression::compile(source, &["object", "Object", "JSONPatch"]).expect(source)
    }

    fn comes_to(source: &str, object: Value) -> Result<Value, String> {
        let mut scope = Scope::default();
        scope.set("object", &object);
        compiled(source).evaluate(&scope).map_err(|why| why.to_string())
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
        assert_eq!(comes_to("object.x != 'a'", Value::Null), Err("no such key: x".to_owned()));
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
    fn what_is_wrong_with_a_long_line_is_said_without_it_and_not_without_end() {
        let source = format!("[{}]", "xx, ".repeat(15_000));
        let faults = [
            Expression::compile(&source, &[]).expect_err("unknown").to_string(),
            type_of(&source, &Environment::default()).expect_err("unknown").to_string(),
        ];
        for fault in faults {
            assert!(fault.len() < 10_000, "{}", fault.len());
            let last = fault.lines().last().expect("some");
            assert!(last.starts_with("ERROR: <input>:1:398: undeclared reference to 'xx'"), "{last}");
        }
        let lines = "x +\n".repeat(10) + "1";
        let fault = type_of(&lines, &Environment::default()).expect_err("unknown").to_string();
        assert!(fault.contains("ERROR: <input>:10:1: undeclared"), "{fault}");
    }

    #[test]
    fn patterns_are_compiled_within_one_count_for_all_expressions_of_an_object() {
        let counted = std::rc::Rc::default();
        let environment = || Environment::default().counting(&counted);
        let fault = |source: &str| type_of(source, &environment()).is_err();
        assert!(fault("'a'.matches('(')"));
        for _ in 0..5 {
            assert!(!fault(&format!("'a'.matches('{}')", "a".repeat(4096))));
        }
        let left = 100 - counted.get();
        (0..left).for_each(|_| assert!(fault("'a'.matches('(')")));
        assert!(!fault("'a'.matches('(')"), "no more are compiled");
    }

    #[test]
    fn scopes_of_one_purse_spend_from_it() {
        let purse = Purse::default();
        let whole = purse.left();
        let mut scope = Scope::paid_from(&purse);
        scope.set("object", &json!({"list": vec![0; 1000], "text": "x".repeat(64_000)}));
        let paid = whole - purse.left();
        assert!((5000..6000).contains(&paid), "{paid}");
        let dear = compiled("lists.range(900000).size() > 0");
        let fine = (0..1000).take_while(|_| dear.evaluate(&scope.again()).is_ok()).count();
        assert!((40..50).contains(&fine), "{fine}");
        assert_eq!(purse.left(), 0);
        let why = dear.evaluate(&Scope::paid_from(&purse)).expect_err("all is spent");
        assert_eq!(why, Unevaluated::Budget);
        assert!(dear.evaluate(&Scope::default()).is_ok());
    }

    #[test]
    fn a_loop_that_takes_too_long_is_cut_off() {
        let list: Vec<u32> = (0..2000).collect();
        let fault = comes_to("object.all(a, object.all(b, a + b >= 0))", json!(list)).expect_err("too long");
        assert!(fault.contains("cost limit exceeded"), "{fault}");
    }

    fn with_variables(variables: &[(&str, &str)]) -> Scope {
        let mut scope = Scope::default();
        scope.set("object", &json!({"size": "2Gi", "text": "x".repeat(100_000), "a": 1}));
        let mut all = LazyVariables::default();
        for (name, source) in variables {
            let read = Expression::compile(source, &["object", "variables"]);
            all.add(name, read.map(Arc::new).map_err(|error| error.to_string()));
        }
        scope.set_variables(all);
        scope
    }

    #[test]
    fn variables_are_paid_for_and_may_be_what_one_of_them_comes_to() {
        let purse = Purse::default();
        let mut scope = Scope::paid_from(&purse);
        let mut all = LazyVariables::default();
        let one = Arc::new(Expression::compile("variables", &["variables"]).expect("an expression"));
        (0..1000).for_each(|at| all.add(&format!("v{at}"), Ok(one.clone())));
        let before = purse.left();
        scope.set_variables(all);
        assert!(purse.left() < before - 1000);
        assert_eq!(of_variables("variables.v2.v1 == variables && true", &scope), Ok(json!(false)));
        let fault = of_variables("variables.v1.v2 == variables", &scope).expect_err("comes later");
        assert_eq!(fault.to_string(), "no such key: v2");
    }

    fn of_variables(source: &str, scope: &Scope) -> Result<Value, Unevaluated> {
        Expression::compile(source, &["object", "variables"]).expect(source).evaluate(scope)
    }

    #[test]
    fn variables_come_to_something_when_they_are_asked_for_and_once() {
        let dear = "lists.range(100000).all(n, n >= 0)";
        let mut scope = with_variables(&[
            ("size", "quantity(object.size)"),
            ("odd", "object.none"),
            ("dear", dear),
            ("text", "object.text"),
            ("next", "variables.odd + 1"),
            ("later", "object.a"),
        ]);
        let larger = of_variables("variables.size.isGreaterThan(quantity('1Gi'))", &scope);
        assert_eq!(larger, Ok(json!(true)), "a variable keeps its type");
        assert!(scope.budget() > BUDGET - 1000, "what nobody asks for costs nothing");
        assert_eq!(of_variables("variables.odd == 1 || true", &scope), Ok(json!(true)));
        let fails = |name: &str, why: &str| {
            Err(Unevaluated::Said(format!("composited variable \"{name}\" fails to evaluate: {why}")))
        };
        assert_eq!(of_variables("variables.odd == 1", &scope), fails("odd", "no such key: none"));
        let inner = "composited variable \"odd\" fails to evaluate: no such key: none";
        assert_eq!(of_variables("variables.next == 1", &scope), fails("next", inner));
        assert_eq!(of_variables("has(variables.odd) && !has(variables.other)", &scope), Ok(json!(true)));
        assert_eq!(of_variables("variables.dear && variables.dear", &scope), Ok(json!(true)));
        let left = scope.budget();
        assert!(left < BUDGET - 300_000);
        assert_eq!(of_variables("variables.dear", &scope), Ok(json!(true)));
        assert!(scope.budget() > left - 100, "it is paid for once");
        scope.renew();
        assert_eq!(of_variables("variables.dear", &scope), Ok(json!(true)));
        assert!(scope.budget() < left - 300_000, "and once more by those that begin anew");
        assert!(of_variables("variables", &scope).is_err(), "they are no value themselves");
        let scope = with_variables(&[("early", "variables.late"), ("late", "1")]);
        assert!(of_variables("variables.early", &scope).is_err(), "a variable knows those before it");
    }

    #[test]
    fn variables_that_ask_for_each_other_end_no_stack() {
        let many: Vec<(String, String)> = (0..2000)
            .map(|at| {
                (format!("v{at}x"), if at == 0 { "1".to_owned() } else { format!("((((variables.v{}x))))", at - 1) })
            })
            .collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(name, source)| (name.as_str(), source.as_str())).collect();
        let small = std::thread::Builder::new().stack_size(1 << 20);
        std::thread::scope(|threads| {
            let found = small.spawn_scoped(threads, || of_variables("variables.v1999x", &with_variables(&many)));
            assert_eq!(found.expect("a thread").join().expect("no overflow"), Ok(json!(1)));
        });
    }

    #[test]
    fn what_is_spent_ends_all_that_comes_after() {
        let mut scope = with_variables(&[]);
        scope.set_budget(1000);
        assert_eq!(of_variables("lists.range(5000).size() > 0", &scope), Err(Unevaluated::Budget));
        assert_eq!(of_variables("1 == 1", &scope), Err(Unevaluated::Budget));
    }

    #[test]
    fn objects_are_of_the_types_that_their_places_have() {
        let scope = Scope::default();
        let change = |source: &str, applied| compiled(source).evaluate_change(&scope, applied);
        let fine = "Object{spec: Object.spec{list: [Object.spec.list{a: 1.0}], map: {'k': 'v'}}}";
        assert_eq!(change(fine, true), Ok(json!({"spec": {"list": [{"a": 1}], "map": {"k": "v"}}})));
        let odd = "Object{spec: Object.other{}}";
        let why = "unexpected type name \"Object.other\", expected \"Object.spec\", which matches field name path from \
                   root Object type";
        assert_eq!(change(odd, true), Err(Unevaluated::Misplaced(why.to_owned())));
        let step = "[JSONPatch{op: 'add', path: '/a', value: Object{b: Object.c{}}}]";
        assert!(matches!(change(step, false), Err(Unevaluated::Misplaced(_))));
        let step = "[JSONPatch{op: 'add', path: '/a', value: Object{b: Object.b{c: 2.5}}}]";
        assert_eq!(change(step, false), Ok(json!([{"op": "add", "path": "/a", "value": {"b": {"c": 2.5}}}])));
    }
}
