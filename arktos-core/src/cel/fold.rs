//! What is made of constants alone comes to something when an expression is written: conversions of constants, and
//! patterns that are looked for. What comes to nothing then is no expression.

use kube_cel::cel::Value as CelValue;
use kube_cel::cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue};

use super::checker::Environment;
use super::run::Frame;
use super::tree;

/// Functions that convert.
const CONVERSIONS: [&str; 9] = ["bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "uint"];

/// Why an expression comes to nothing, whatever its names stand for.
pub(super) fn fault(tree: &IdedExpr, environment: &Environment<'_>) -> Option<String> {
    let fault = |tree: &IdedExpr| fault(tree, environment);
    let of_entry = |entry: &EntryExpr| of_entry(entry, environment);
    match &tree.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => None,
        Expr::Select(select) => fault(&select.operand),
        Expr::List(list) => list.elements.iter().find_map(&fault),
        Expr::Map(map) => map.entries.iter().find_map(|entry| of_entry(&entry.expr)),
        Expr::Struct(message) => message.entries.iter().find_map(|entry| of_entry(&entry.expr)),
        Expr::Comprehension(all) => {
            [&all.iter_range, &all.accu_init, &all.loop_cond, &all.loop_step, &all.result].into_iter().find_map(&fault)
        }
        Expr::Call(call) => call
            .target
            .iter()
            .find_map(|target| fault(target))
            .or_else(|| call.args.iter().find_map(&fault))
            .or_else(|| of_call(call, tree, environment)),
    }
}

fn of_entry(entry: &EntryExpr, environment: &Environment<'_>) -> Option<String> {
    let fault = |tree: &IdedExpr| fault(tree, environment);
    match entry {
        EntryExpr::StructField(field) => fault(&field.value),
        EntryExpr::MapEntry(pair) => fault(&pair.key).or_else(|| fault(&pair.value)),
    }
}

fn of_call(call: &CallExpr, tree: &IdedExpr, environment: &Environment<'_>) -> Option<String> {
    if let ("find" | "findAll", Some(argument)) = (call.func_name.as_str(), call.args.first())
        && let Expr::Literal(LiteralValue::String(pattern)) = &argument.expr
    {
        return environment.read_pattern(pattern.inner()).err().map(|why| format!("error parsing regexp: {why}"));
    }
    if !is_conversion(call) || !call.args.first().is_some_and(is_constant) {
        return None;
    }
    let given = come_to(&call.args[0])?;
    let unreadable =
        matches!(&given, CelValue::Bytes(bytes) if call.func_name == "string" && std::str::from_utf8(bytes).is_err());
    (unreadable || come_to(tree).is_none()).then(|| failed(&call.func_name, &given))
}

fn is_conversion(call: &CallExpr) -> bool {
    call.target.is_none() && call.args.len() == 1 && CONVERSIONS.contains(&call.func_name.as_str())
}

fn is_constant(tree: &IdedExpr) -> bool {
    match &tree.expr {
        Expr::Literal(_) => true,
        Expr::Call(call) => is_conversion(call) && is_constant(&call.args[0]),
        _ => false,
    }
}

fn come_to(tree: &IdedExpr) -> Option<CelValue> {
    tree::within(super::BUDGET, |run| run.evaluate(tree, &Frame::default()).ok())
}

fn failed(name: &str, given: &CelValue) -> String {
    let to = match name {
        "duration" => "google.protobuf.Duration",
        "timestamp" => "google.protobuf.Timestamp",
        name => name,
    };
    match (given, name) {
        (CelValue::Bytes(_), "string") => "invalid UTF-8 in bytes, cannot convert to string".to_owned(),
        (CelValue::String(_), _) => format!("type conversion error from 'string' to '{to}'"),
        (_, "uint") => "unsigned integer overflow".to_owned(),
        (_, "timestamp") => "timestamp overflow".to_owned(),
        _ => "integer overflow".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, type_of};

    #[test]
    fn constants_come_to_something_when_they_are_written() {
        let told =
            |source: &str| type_of(source, &Environment::of_request(false, true, false)).map_err(|why| why.to_string());
        for (source, why) in [
            ("int('x') == 1", "type conversion error from 'string' to 'int'"),
            ("true || double('x') == 1.0", "type conversion error from 'string' to 'double'"),
            ("[1].all(x, int(string('x')) == x)", "type conversion error from 'string' to 'int'"),
            ("object.a in [bool('x')]", "type conversion error from 'string' to 'bool'"),
            (
                "duration(string('x')) == duration('1s')",
                "type conversion error from 'string' to 'google.protobuf.Duration'",
            ),
            ("uint(-1) == 1u", "unsigned integer overflow"),
            ("int(1e30) == 1", "integer overflow"),
            ("string(b'\\xff') == 'a'", "invalid UTF-8 in bytes, cannot convert to string"),
        ] {
            assert_eq!(told(source).expect_err(source), format!("program instantiation failed: {why}"), "{source}");
        }
        for source in ["int('5') == 1", "int(object.x) == 1", "1 / 0 == 1", "string(1.5) == 'a'"] {
            assert!(told(source).is_ok(), "{source}");
        }
    }
}
