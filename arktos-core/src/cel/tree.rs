//! Trees of expressions that can be evaluated, whoever wrote them, and the functions that they may call.

use std::sync::Arc;

use kube_cel::KubeCelExt;
use kube_cel::cel::common::ast::SourceInfo;
use kube_cel::cel::parser::{ParseError, ParseErrors, Parser};
use kube_cel::cel::{Context, IdedExpr};

use super::expand;
use super::run::{Found, Frame, Run};

/// The longest expression that is read, in bytes.
pub(crate) const LENGTH_MAX: usize = 64 * 1024;

thread_local! {
    /// The crate's functions. Nobody writes them once they are made.
    static FUNCTIONS: Context<'static> = functions();
}

/// Lets expressions be evaluated that may cost so much, all together.
pub(crate) fn within<R>(budget: u64, evaluate: impl FnOnce(&Run<'_>) -> R) -> R {
    FUNCTIONS.with(|functions| evaluate(&Run::new(functions, budget)))
}

fn functions() -> Context<'static> {
    let mut context = Context::default().with_all();
    super::authorizer::add_functions(&mut context);
    context
}

/// Reads an expression; macros become what they stand for.
pub(crate) fn parse(source: &str) -> Result<IdedExpr, ParseErrors> {
    let mut tree = text(source)?;
    expand::expand(&mut tree).map_err(|odd| {
        let pos = Places::of(source).of_part(odd.id);
        let error = ParseError { source: None, pos, msg: odd.why, expr_id: odd.id, source_info: None };
        ParseErrors { errors: vec![error] }
    })?;
    Ok(tree)
}

fn text(source: &str) -> Result<IdedExpr, ParseErrors> {
    Parser::default().enable_optional_syntax(true).parse(source)
}

/// Where the parts of an expression stand.
pub(super) struct Places {
    info: Option<Arc<SourceInfo>>,
    /// How many letters go before each line.
    lines: Vec<usize>,
    /// How many letters there are.
    end: usize,
}

impl Places {
    /// The parser says that only when something is wrong: so something is.
    pub(super) fn of(source: &str) -> Self {
        let odd = text(&format!("{source}\n)")).err();
        let info = odd.and_then(|odd| odd.errors.into_iter().find_map(|error| error.source_info));
        let (mut lines, mut end) = (vec![0], 0);
        for letter in source.chars() {
            end += 1;
            if letter == '\n' {
                lines.push(end);
            }
        }
        Self { info, lines, end }
    }

    /// The line and the column of a part.
    pub(super) fn of_part(&self, part: u64) -> (isize, isize) {
        let at = self.info.as_ref().and_then(|info| info.offset_for(part)).map_or(0, |(start, _)| start as usize);
        let at = at.min(self.end);
        let line = self.lines.partition_point(|begin| *begin <= at);
        let before = line.checked_sub(1).and_then(|line| self.lines.get(line)).copied().unwrap_or(0);
        let number = |number: usize| isize::try_from(number).unwrap_or(isize::MAX);
        (number(line), number(at - before + 1))
    }
}

/// An expression that can be evaluated, any number of times and by any thread.
#[derive(Debug)]
pub(crate) struct Tree(IdedExpr);

impl Tree {
    /// What has been read.
    pub(crate) fn of(tree: IdedExpr) -> Self {
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

    /// What is in it.
    pub(super) fn root(&self) -> &IdedExpr {
        &self.0
    }

    /// What it comes to.
    pub(crate) fn resolve(&self, run: &Run<'_>, names: &Frame<'_>) -> Found {
        run.evaluate(&self.0, names)
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::Fault;
    use super::*;
    use kube_cel::cel::Value as CelValue;
    use serde_json::json;

    fn found(source: &str, budget: u64) -> Found {
        let tree = Tree::read(source).expect(source);
        let object = super::super::value::to_cel(&json!({"a": {"b": 1}, "l": [3, 1, 2], "m": {"x": 1, "y": 2}}));
        let names = Frame::default().with("none", CelValue::Null).with("object", object);
        within(budget, |run| tree.resolve(run, &names))
    }

    fn holds(source: &str) {
        assert_eq!(found(source, u64::MAX).map_err(|fault| fault.to_string()), Ok(CelValue::Bool(true)), "{source}");
    }

    #[test]
    fn messages_are_maps_wherever_they_stand() {
        for source in ["Kind{field: 1}.field == 1", "[1].all(x, Kind{f: x}.f == x)", "{'a': Kind{}}.a == {}"] {
            holds(source);
        }
    }

    #[test]
    fn a_field_of_what_has_none_is_an_error() {
        for (source, why) in [
            ("none.x != 'a'", "No such key: x"),
            ("object.a.b.c == 1", "No such key: c"),
            ("object.l.x == 1", "Error executing function 'index': unsupported index type 'string' in list"),
            ("format.named('none').value()", "Error executing function 'value': optional.none() dereference"),
            ("double('NaN') < 1.0", "Error executing function 'compare': NaN values cannot be ordered"),
            ("object.x.y == 1", "No such key: x"),
            ("!none.x", "No such key: x"),
            ("none['x'] == 1", "No such key: x"),
            ("has(object.x.y)", "No such key: x"),
            ("none < 1", "No such overload"),
        ] {
            assert_eq!(found(source, u64::MAX).expect_err(source).to_string(), why, "{source}");
        }
        for source in [
            "!has(none.x) && !has(object.a.c) && has(object.a.b)",
            "none == null && none.?x.orValue('d') == 'd'",
            "object.?x.?y.orValue('d') == 'd' && object.?a.b.orValue(2) == 1",
            "none.x == 1 || true",
            "!(none.x == 1 && false)",
            "[1, 2].exists(n, n == 2 || none.x)",
            "[{'a': 1}, {'b': 1}].exists(one, one.b == 1)",
            "!['a'].all(one, none.x) || true",
        ] {
            holds(source);
        }
    }

    #[test]
    fn loops_take_keys_and_values() {
        for source in [
            "object.m.all(k, v, v > 0 && k != 'z') && object.l.exists(i, v, i == 0 && v == 3)",
            "object.l.existsOne(i, v, v == 2) && object.l.exists_one(i, v, i == v) == false",
            "object.l.transformList(i, v, i * 10 + v) == [3, 11, 22]",
            "object.l.transformList(i, v, v > 1, v) == [3, 2]",
            "object.m.transformMap(k, v, v + 1) == {'x': 2, 'y': 3}",
            "object.m.transformMap(k, v, k == 'y', v) == {'y': 2}",
            "object.m.transformMapEntry(k, v, {v: k}) == {1: 'x', 2: 'y'}",
            "object.l.sortBy(n, -n) == [3, 2, 1] && lists.range(3) == [0, 1, 2]",
            "object.?a.optMap(a, a.b + 1).orValue(0) == 2 && !object.?z.optMap(a, a.b).hasValue()",
            "object.?a.optFlatMap(a, a.?b).value() == 1",
            "[optional.of(1), optional.none()].unwrapOpt() == [1]",
            "int(timestamp('1970-01-01T00:00:05Z')) == 5",
            "format.named('uuid').value().validate('x').hasValue()",
            "object.l.map(n, n > 1, n * 2) == [6, 4] && object.l.filter(n, n < 3) == [1, 2]",
        ] {
            holds(source);
        }
        assert!(found("object.l.transformMapEntry(i, v, {'a': v})", u64::MAX).is_err());
        assert!(Tree::read("object.m.all(k, k, true)").is_none());
        assert!(Tree::read("object.m.all(1, v, true)").is_none());
    }

    #[test]
    fn truths_are_texts_too() {
        holds("string(1 == 1) + string(2) == 'true2'");
    }

    #[test]
    fn what_costs_too_much_is_cut_off_however_it_is_written() {
        let twice = format!("['xxxxxxxxxx']{}.size() == 1", ".map(a, a + a)".repeat(40));
        let lists = format!("[[1]]{}.size() == 1", ".map(a, a + a)".repeat(40));
        let replaced = format!("'xxxxxxxxxx'{} == ''", ".replace('x', 'xxxxxxxxxxxxxxxxxxxx')".repeat(20));
        for source in [
            twice.as_str(),
            &lists,
            &replaced,
            "lists.range(1000000000).size() > 0",
            "lists.range(2000).all(a, lists.range(2000).all(b, a + b >= 0))",
            "lists.range(3).all(a, lists.range(400000).size() > 0) || true",
        ] {
            assert!(matches!(found(source, u64::MAX), Err(Fault::Cost)), "{source}");
        }
    }

    #[test]
    fn all_expressions_take_from_one_budget() {
        let tree = Tree::read("lists.range(100).all(n, n >= 0)").expect("an expression");
        let names = Frame::default();
        within(1000, |run| {
            let fine = (0..100).take_while(|_| tree.resolve(run, &names).is_ok()).count();
            assert!((1..5).contains(&fine), "{fine}");
            assert!(matches!(tree.resolve(run, &names), Err(Fault::Budget)));
        });
    }

    #[test]
    fn what_is_shared_is_paid_for_as_if_it_were_not() {
        let grown = |step: &str| format!("[1]{}", step.repeat(40));
        let doubled = grown(".map(a, [a, a])");
        for source in [
            doubled.clone(),
            format!("{doubled} == []"),
            format!("{doubled}.reverse().size() == 1"),
            format!("[{doubled}, {doubled}].distinct().size() == 1"),
            grown(".map(a, {'a': a, 'b': a})"),
            grown(".map(a, optional.of([a, a]))"),
            format!("optional.of(1){}.hasValue()", ".optMap(a, [a, a])".repeat(40)),
            "lists.range(100000).map(i, '%.65535f').join('').format(lists.range(100000)) == ''".to_owned(),
            "lists.range(50000).all(i, ''.matches('(' + string(i) + ')*'))".to_owned(),
            "[lists.range(300000)].all(l, lists.range(10).all(i, l + l != []))".to_owned(),
        ] {
            assert!(matches!(found(&source, u64::MAX), Err(Fault::Cost)), "{source}");
        }
        let folded = (0..400).fold("1".to_owned(), |inner, _| format!("optional.of({inner})"));
        assert!(Tree::read(&folded).is_none(), "too deep");
        let small = format!("optional.of(1){}.value() == 1", ".optMap(a, a)".repeat(40));
        holds(&small);
    }

    /// What an expression costs, with a long text `s`, and a map `m` that has it as a key.
    fn cost(source: &str) -> u64 {
        const BUDGET: u64 = 1 << 40;
        let long = "s".repeat(1_000_000);
        let map = super::super::value::to_cel(&json!({long.as_str(): 1}));
        let names = Frame::default().with("s", CelValue::String(Arc::new(long))).with("m", map);
        let tree = Tree::read(source).expect(source);
        within(BUDGET, |run| {
            drop(tree.resolve(run, &names));
            BUDGET - run.budget()
        })
    }

    #[test]
    fn texts_that_are_gone_through_are_paid_by_their_length() {
        for source in [
            "s in m",
            "s in {}",
            "m[s]",
            "{}[s]",
            "m[?s]",
            "optional.of(m)[?s]",
            "{s: 1}",
            "{'a': 1}.transformMapEntry(k, v, {s: v})",
            "isQuantity(s)",
            "quantity(s)",
            "isURL(s)",
            "url(s)",
            "[s, s + 'a'].sort()",
            "[1, 2].sortBy(n, s)",
        ] {
            assert!(cost(source) > 10_000, "{source}: {}", cost(source));
        }
        let long = "n".repeat(50_000);
        for source in [
            format!("'{long}'"),
            format!("m.{long}"),
            format!("has(m.{long})"),
            format!("m.?{long}"),
            format!("[1].all({long}, true)"),
            long.clone(),
            format!("{long}(1)"),
        ] {
            assert!(cost(&source) >= 500, "{}: {}", &source[..12], cost(&source));
        }
        let many = format!("[1].all(n, {})", ["true"; 400].join(" && "));
        assert!(cost(&many) >= 40, "{}", cost(&many));
        assert!(cost("s.startsWith('') || ''.endsWith('')") >= 2);
        for source in ["m['a']", "'a' in m", "s == 'abc'", "has(m.a)"] {
            assert!(cost(source) < 10, "{source}: {}", cost(source));
        }
    }

    #[test]
    fn faults_are_short_whatever_they_are_about() {
        let names = Frame::default().with("s", CelValue::String(Arc::new("s".repeat(1_000_000))));
        for source in [
            "{}[s]",
            "s.x[s]",
            "timestamp(0).getHours(s)",
            "timestamp(s)",
            "ip(s)",
            "semver(s)",
            "s.sum()",
            "(s + 1) == s",
            "s.charAt(s)",
        ] {
            let tree = Tree::read(source).expect(source);
            let fault = within(u64::MAX, |run| tree.resolve(run, &names)).expect_err(source);
            assert!(fault.to_string().len() < 5000, "{source}: {}", fault.to_string().len());
        }
    }

    #[test]
    fn patterns_are_paid_by_what_they_are_compiled_to() {
        for source in [
            format!("'{}'.matches('[ab]*a[ab]{{1000}}c')", "abaababb".repeat(7500)),
            format!("lists.range(20).all(i, !'a'.matches('{}' + string(i)))", r"\\pL".repeat(1000)),
        ] {
            assert!(matches!(found(&source, u64::MAX), Err(Fault::Cost)), "{source}");
        }
        let long = format!("'a'.matches('{}')", r"\\pL".repeat(1400));
        assert!(found(&long, u64::MAX).expect_err("too long").to_string().contains("longer than 4096 bytes"));
    }

    #[test]
    fn functions_fail_where_they_cannot_go_on_and_stay_in_their_range() {
        for source in [
            "'%.65536f'.format([1.0]) == ''",
            "duration('1hxyz') == duration('1h')",
            "timestamp(999999999999999) == timestamp(0)",
            "duration('87600000h') + timestamp('9999-12-31T00:00:00Z') == timestamp(0)",
            "[9223372036854775807, 1].sum() < 0",
            "int(double('NaN')) == 0",
            "int(9223372036854775808.0) == 0",
            "timestamp(0).getHours('Mars/Olympus') == 0",
            "{[1]: 2} == {}",
        ] {
            assert!(found(source, u64::MAX).is_err(), "{source}");
        }
        for source in [
            "format.datetime().validate('2020-01-01T00:00:0\u{e9}Z').hasValue()",
            "quantity('1e128').isGreaterThan(quantity('10Gi')) && quantity('10Gi').isLessThan(quantity('1e30'))",
            "quantity('1500m').add(quantity('500m')) == quantity('2') && !isQuantity(' 1') && isQuantity('1Gi')",
            "quantity('-1.5').sign() == -1 && quantity('2Gi').asInteger() == 2147483648",
            "!'\u{661}\u{662}'.matches('^\\\\d+$') && '12'.matches('^\\\\d+$') && 'abc 123'.find('[0-9]+') == '123'",
            "'a1b2'.findAll('[0-9]') == ['1', '2'] && 'a1b2'.findAll('[0-9]', 1) == ['1']",
            "timestamp('2020-01-01T23:00:00-05:00').getHours() == 4",
            "timestamp('2020-01-01T04:00:00Z').getHours('-05:00') == 23",
            "timestamp(0) == timestamp('1970-01-01T00:00:00Z') && timestamp(timestamp(0)) == timestamp(0)",
            "string(timestamp(0)) == '1970-01-01T00:00:00Z' && string(duration('1h30m')) == '5400s'",
            "duration('720h').getMilliseconds() == 2592000000 && int(duration('1s')) == 1000000000",
            "'abc'.split('') == ['a', 'b', 'c'] && 'a-b'.split('-') == ['a', 'b']",
            "[1, 2, 3].sum() == 6 && [].sum() == 0 && [duration('1s'), duration('2s')].sum() == duration('3s')",
            "[3, 1, 2].sort() == [1, 2, 3] && ['b', 'a'].sort() == ['a', 'b']",
            "!isURL('http://exa\\nmple.com') && isURL('http://example.com')",
        ] {
            holds(source);
        }
    }
}
