//! Tests of the types of expressions, and of what is said where something does not fit.

use super::*;

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
        ("url('x').foo == 'x'", vec![(9, "unexpected failed resolution of 'kubernetes.URL'")]),
        ("ip('1.1.1.1').foo == 1", vec![(14, "type 'net.IP' does not support field selection")]),
        ("variables.zz == 1", vec![(10, "undefined field 'zz'")]),
        ("'a'.matches('(')", vec![(13, "invalid matches argument")]),
        (
            "'%d'.format(['a'])",
            vec![(14, "error during formatting: decimal clause can only be used on integers, was given string")],
        ),
        ("'%s %s'.format([1])", vec![(15, "index 1 out of range")]),
        ("'%s'.format([1, 2])", vec![(12, "too many arguments supplied to string.format (expected 1, got 2)")]),
        ("'%q'.format([1])", vec![(12, "could not parse formatting clause: unrecognized formatting clause \"q\"")]),
        ("duration('x') == duration('1h')", vec![(10, "invalid duration argument")]),
        ("self matches 'x'", vec![(6, "Syntax error: mismatched input 'matches' expecting <EOF>")]),
        ("[?1]", vec![(3, "expected type 'optional_type(int)' but found 'int'")]),
        ("[JSONPatch{zz: 1}]", vec![(14, "expected type of field 'zz' is '' but provided type is 'int'")]),
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
