//! Expressions in CEL that people write into policies, webhooks and the rules of their kinds: read, checked as far as
//! that goes without types, and evaluated within a budget.
//!
//! | question | where |
//! |---|---|
//! | is a text an expression | [`Expression::compile`] |
//! | of what type is it, and does all in it fit | `checker`, `types`; which functions there are: `declared` |
//! | what does it come to | [`Expression::evaluate`] |
//! | is it too deep to be read at all | `depth` |
//! | which names it may use | `check` |
//! | which functions there are, and how texts become trees | `tree`, `expand` |
//! | how a tree is walked; what operators do; what steps cost | `run`, `operate`, `price` |
//! | regular expressions; texts, times and amounts | `patterns`; `convert` |
//! | what `authorizer` is asked | `authorizer` |
//! | from JSON to values and back | `value` |
//! | what all evaluations for one request may cost | `purse` |
//!
//! The parser and most functions are the `kube-cel` crate's. Trees are walked here, since what tenants write must cost
//! no more than it may, and a field of what has no fields must be an error.

mod authorizer;
mod check;
mod checker;
mod convert;
mod declared;
pub(crate) mod depth;
mod expand;
mod operate;
mod patterns;
mod price;
mod purse;
pub(crate) mod run;
pub(crate) mod tree;
pub(crate) mod types;
mod value;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kube_cel::cel::Value as CelValue;
use serde_json::Value;

use authorizer::Stage;
pub use authorizer::{Authorizer, Question};
pub(crate) use checker::{Environment, Variables};
pub(crate) use patterns::translated;
pub use purse::Purse;
use run::Frame;
use tree::{LENGTH_MAX, Tree};

/// What all expressions that one scope is for may cost.
const BUDGET: u64 = 10_000_000;

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
#[error("compilation failed: {0}")]
pub struct CompileError(String);

/// Names and what they stand for, for one evaluation or several, which may cost only so much together.
#[derive(Debug)]
pub struct Scope {
    variables: Vec<(String, CelValue)>,
    /// What is left to spend. Evaluations take from it.
    budget: AtomicU64,
    /// What is left to spend for all scopes that have it in common, where some do.
    purse: Option<Purse>,
}

impl Default for Scope {
    fn default() -> Self {
        Self { variables: Vec::new(), budget: AtomicU64::new(BUDGET), purse: None }
    }
}

impl Scope {
    /// A scope that has a purse in common with others, from which it pays for what names stand for, too.
    #[must_use]
    pub fn paid_from(purse: &Purse) -> Self {
        Self { purse: Some(purse.clone()), ..Self::default() }
    }

    /// A scope of the same names, to be evaluated in by itself. What they stand for is shared.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { variables: self.variables.clone(), purse: self.purse.clone(), ..Self::default() }
    }

    /// What an evaluation may cost yet.
    fn left(&self) -> u64 {
        let own = self.budget.load(Ordering::Relaxed);
        self.purse.as_ref().map_or(own, |purse| own.min(purse.left()))
    }

    fn spend(&self, cost: u64) {
        let own = self.budget.load(Ordering::Relaxed);
        self.budget.store(own.saturating_sub(cost), Ordering::Relaxed);
        self.purse.iter().for_each(|purse| purse.take(cost));
    }

    /// Lets a name stand for a value; a later value goes before.
    pub fn set(&mut self, name: &str, value: &Value) {
        if let Some(purse) = &self.purse {
            if purse.left() == 0 {
                return; // nothing is evaluated any more
            }
            purse.take(value::weight(value));
        }
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
    /// A sentence that says why it comes to nothing: a field that is not there, a type that does not fit, a loop that
    /// takes too long.
    pub fn evaluate(&self, scope: &Scope) -> Result<Value, String> {
        value::from_cel(&self.find(scope)?)
    }

    /// Lets a field of the map that a name stands for be what the expression comes to: of any type, shared, not copied.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn evaluate_into(&self, scope: &mut Scope, map: &str, field: &str) -> Result<(), String> {
        let found = self.find(scope)?;
        let known = scope.variables.iter_mut().find(|(name, _)| name == map);
        if let Some((_, CelValue::Map(known))) = known {
            Arc::make_mut(&mut known.map).insert(field.into(), found);
        }
        Ok(())
    }

    fn find(&self, scope: &Scope) -> Result<CelValue, String> {
        let left = scope.left();
        tree::within(left, |run| {
            let mut names = Frame::default();
            for (name, value) in &scope.variables {
                names = names.with(name, value.clone());
            }
            let found = self.tree.resolve(run, &names);
            scope.spend(left - run.budget());
            let found = found.map_err(|fault| told_fault(&fault.to_string()))?;
            if price::is_too_large(&found) {
                return Err(run::Fault::Cost.to_string());
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
    let tree = read(source)?;
    checker::check(&tree, environment).map_err(|faults| {
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
        return Err(CompileError(format!("ERROR: <input>:1:1: expression is longer than {LENGTH_MAX} bytes")));
    }
    if depth::is_too_deep(source) {
        return Err(CompileError(format!("ERROR: <input>:1:1: {}", depth::TOO_DEEP)));
    }
    tree::parse(source).map_err(|errors| {
        told(source, errors.errors.into_iter().map(|error| (error.pos.0, error.pos.1, error.msg)).collect())
    })
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
    CompileError(said)
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
        assert!(why.contains("running out of cost budget"), "{why}");
        assert!(dear.evaluate(&Scope::default()).is_ok());
    }

    #[test]
    fn a_loop_that_takes_too_long_is_cut_off() {
        let list: Vec<u32> = (0..2000).collect();
        let fault = comes_to("object.all(a, object.all(b, a + b >= 0))", json!(list)).expect_err("too long");
        assert!(fault.contains("cost limit exceeded"), "{fault}");
    }

    #[test]
    fn what_a_field_stands_for_keeps_its_type_and_is_not_copied() {
        let mut scope = Scope::default();
        scope.set("object", &json!({"size": "2Gi", "text": "x".repeat(100_000)}));
        scope.set("variables", &json!({}));
        let mut set = |field: &str, source: &str| {
            let expression = Expression::compile(source, &["object", "variables"]).expect(source);
            expression.evaluate_into(&mut scope, "variables", field)
        };
        set("size", "quantity(object.size)").expect("an amount");
        for at in 0..1000 {
            set(&format!("v{at}"), "object").expect("shared");
        }
        set("all", "[variables, variables].size()").expect_err("all of it, written out, is more than anybody pays for");
        let asks = Expression::compile("variables.size.isGreaterThan(quantity('1Gi'))", &["variables"]).expect("asks");
        assert_eq!(asks.evaluate(&scope), Ok(json!(true)));
        let whole = Expression::compile("variables", &["variables"]).expect("is one");
        assert!(whole.evaluate(&scope).expect_err("too large").contains("cost limit exceeded"));
    }

    fn typed(source: &str) -> Result<String, String> {
        let of = [("n".to_owned(), types::Type::Int), ("l".to_owned(), types::Type::list(types::Type::String))];
        let variables = Variables::from(of);
        let environment = Environment::of_request(false, true, true).with_variables(&variables);
        type_of(source, &environment).map(|found| found.name()).map_err(|error| error.to_string())
    }

    #[test]
    fn expressions_have_the_types_that_the_language_gives_them() {
        for (source, shown) in [
            ("1", "int"),
            ("Object{}", "Object"),
            ("[JSONPatch{op: 'add', path: '/a', value: 1}]", "list(JSONPatch)"),
            ("object.a == 1 || true", "bool"),
            ("object.list.exists(a, a == 1)", "bool"),
            ("true ? 1 : 2", "int"),
            ("object.a", "dyn"),
            ("[1, 2].map(n, string(n))", "list(string)"),
            ("{'a': 1}.map(k, k).size() + variables.n", "int"),
            ("variables.l.filter(l, l.startsWith('a'))[0]", "string"),
            ("request.userInfo.extra['a']", "list(string)"),
            ("object.?metadata.?name.orValue('x')", "dyn"),
            ("quantity('1Gi').add(1).isGreaterThan(quantity('1'))", "bool"),
            ("authorizer.group('').resource('pods').check('get').allowed()", "bool"),
            ("authorizer.requestResource.check('get').reason()", "string"),
            ("format.named('uuid').value().validate('x').hasValue()", "bool"),
            ("[]", "list(dyn)"),
            ("timestamp(object.t) - timestamp('2020-01-01T00:00:00Z')", "google.protobuf.Duration"),
            ("namespaceObject.metadata.labels['a']", "string"),
            ("type(1) == int", "bool"),
            ("'%s %d'.format(['a', 1])", "string"),
            ("object.m.transformMap(k, v, string(v))", "map(dyn, string)"),
            ("[1, 2].transformList(i, v, i + v)", "list(int)"),
            ("['a'].sortBy(t, size(t))", "list(string)"),
            ("object.?a.optMap(a, 1)", "optional_type(int)"),
        ] {
            assert_eq!(typed(source).as_deref(), Ok(shown), "{source}");
        }
    }

    #[test]
    fn what_does_not_fit_in_an_expression_is_said_with_its_place() {
        for (source, whys) in [
            ("'a' == 1", vec![(5, "found no matching overload for '_==_' applied to '(string, int)'")]),
            ("true && 1", vec![(9, "expected type 'bool' but found 'int'")]),
            ("jsonpatch.escapeKey('a').b == 'x'", vec![(25, "type 'string' does not support field selection")]),
            ("[1, 'a'].size() == 1", vec![(5, "expected type 'int' but found 'string'")]),
            ("object.foo()", vec![(11, "undeclared reference to 'foo' (in container '')")]),
            ("request.foo == 'x'", vec![(8, "undefined field 'foo'")]),
            ("variables.zz == 1", vec![(10, "undefined field 'zz'")]),
            ("'a'.matches('(')", vec![(13, "invalid matches argument")]),
            ("duration('x') == duration('1h')", vec![(10, "invalid duration argument")]),
            ("'a'.size().b", vec![(11, "type 'int' does not support field selection")]),
            (
                "x + size(1)",
                vec![
                    (1, "undeclared reference to 'x' (in container '')"),
                    (9, "found no matching overload for 'size' applied to '(int)'"),
                ],
            ),
        ] {
            let told: Vec<String> = whys.iter().map(|(at, why)| shown(source, 1, *at, why)).collect();
            assert_eq!(typed(source), Err(format!("compilation failed: {}", told.join("\n"))), "{source}");
        }
    }

    #[test]
    fn types_do_not_grow_without_end() {
        let source = format!("[1]{}", ".map(a, {a: a})".repeat(40));
        assert!(typed(&source).is_ok());

        // Each is known by the next, twice.
        let equal = |first: char| (1..20).map(move |at| format!("{first}{} == {{{first}{at}: {first}{at}}}", at - 1));
        let both = equal('a').chain(equal('b')).chain(["a0 == b0".to_owned()]).collect::<Vec<_>>().join(" && ");
        let names = (0..20).flat_map(|at| [format!("a{at}"), format!("b{at}")]);
        let source = names.fold(both, |inner, name| format!("[].exists({name}, {inner})"));
        assert_eq!(typed(&source).as_deref(), Ok("bool"));
    }
}
