//! What an expression tells without being evaluated: names that nobody knows, and the type it comes to.

use std::fmt;

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue};

/// The type of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// One that only evaluation tells.
    Dyn,
    /// A truth.
    Bool,
    /// A signed integer.
    Int,
    /// An unsigned integer.
    Uint,
    /// A floating point number.
    Double,
    /// A text.
    String,
    /// Bytes.
    Bytes,
    /// Nothing.
    Null,
    /// A list of values of a type.
    List(Box<Type>),
    /// A map.
    Map,
    /// A message.
    Message(String),
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dyn => "dyn",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Null => "null_type",
            Self::List(of) => return write!(f, "list({of})"),
            Self::Map => "map(dyn, dyn)",
            Self::Message(name) => name,
        })
    }
}

impl Type {
    /// Whether a value of this type may turn out to be one of the other.
    #[must_use]
    pub fn may_be(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dyn, _) | (_, Self::Dyn) => true,
            (Self::List(one), Self::List(other)) => one.may_be(other),
            (one, other) => one == other,
        }
    }
}

/// Names that stand for types, wherever they stand.
const TYPES: [&str; 13] = [
    "bool",
    "bytes",
    "double",
    "dyn",
    "duration",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "timestamp",
    "type",
    "uint",
];

/// The names that nobody knows: line, column and fault of each, in the order of the text.
pub(super) fn unknown_names(tree: &IdedExpr, source: &str, names: &[&str]) -> Vec<(isize, isize, String)> {
    let mut walk = Names { known: names.iter().map(|name| (*name).to_owned()).collect(), unknown: Vec::new() };
    walk.expression(tree);
    let mut from = 0;
    let mut faults = Vec::new();
    for name in walk.unknown {
        // The tree does not say where its parts stand, but names come in the order of the text.
        let Some(at) = word(source, &name, from).or_else(|| word(source, &name, 0)) else { continue };
        from = at + name.len();
        let before = &source[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let number = |number: usize| isize::try_from(number).unwrap_or(isize::MAX);
        let why = format!("undeclared reference to '{name}' (in container '')");
        faults.push((number(line), number(column), why));
    }
    faults
}

/// Where a word stands in a text that no letter or dot goes before.
fn word(source: &str, word: &str, from: usize) -> Option<usize> {
    let letter = |one: char| one.is_alphanumeric() || one == '_';
    source.get(from..)?.match_indices(word).map(|(at, _)| at + from).find(|at| {
        let before = source[..*at].chars().next_back();
        let after = source[at + word.len()..].chars().next();
        before.is_none_or(|one| !letter(one) && one != '.') && after.is_none_or(|one| !letter(one))
    })
}

struct Names {
    known: Vec<String>,
    unknown: Vec<String>,
}

impl Names {
    fn expression(&mut self, tree: &IdedExpr) {
        match &tree.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => {
                let name = name.trim_start_matches('.');
                let known = name.starts_with('@') || TYPES.contains(&name) || self.known.iter().any(|one| one == name);
                if !known {
                    self.unknown.push(name.to_owned());
                }
            }
            Expr::Call(CallExpr { target, args, .. }) => {
                target.iter().for_each(|target| self.target(target));
                args.iter().for_each(|argument| self.expression(argument));
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.expression(element)),
            Expr::Select(select) => self.expression(&select.operand),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.entry(&entry.expr)),
            Expr::Struct(message) => message.entries.iter().for_each(|entry| self.entry(&entry.expr)),
            Expr::Comprehension(all) => self.comprehension(all),
        }
    }

    /// What a method is called on: a name there may be the first half of a function's, such as `math` or `sets`.
    fn target(&mut self, target: &IdedExpr) {
        const SPACES: [&str; 9] = ["math", "sets", "ip", "cidr", "format", "optional", "base64", "strings", "semver"];
        let space = matches!(&target.expr, Expr::Ident(name) if SPACES.contains(&name.as_str()));
        if !space {
            self.expression(target);
        }
    }

    fn entry(&mut self, entry: &EntryExpr) {
        match entry {
            EntryExpr::StructField(field) => self.expression(&field.value),
            EntryExpr::MapEntry(pair) => {
                self.expression(&pair.key);
                self.expression(&pair.value);
            }
        }
    }

    fn comprehension(&mut self, all: &ComprehensionExpr) {
        self.expression(&all.iter_range);
        self.expression(&all.accu_init);
        let before = self.known.len();
        self.known.extend([all.accu_var.clone(), all.iter_var.clone()]);
        self.known.extend(all.iter_var2.clone());
        for part in [&all.loop_cond, &all.loop_step, &all.result] {
            self.expression(part);
        }
        self.known.truncate(before);
    }
}

/// The type of what an expression comes to, as far as the text alone tells.
pub(super) fn type_of(tree: &IdedExpr) -> Type {
    match &tree.expr {
        Expr::Unspecified | Expr::Ident(_) => Type::Dyn,
        Expr::Literal(literal) => match literal {
            LiteralValue::Boolean(_) => Type::Bool,
            LiteralValue::Bytes(_) => Type::Bytes,
            LiteralValue::Double(_) => Type::Double,
            LiteralValue::Int(_) => Type::Int,
            LiteralValue::Null => Type::Null,
            LiteralValue::String(_) => Type::String,
            LiteralValue::UInt(_) => Type::Uint,
        },
        Expr::List(list) => {
            let mut types = list.elements.iter().map(type_of);
            let first = types.next().unwrap_or(Type::Dyn);
            let same = types.all(|one| one == first);
            Type::List(Box::new(if same { first } else { Type::Dyn }))
        }
        Expr::Map(_) => Type::Map,
        Expr::Select(select) if select.test => Type::Bool,
        Expr::Select(_) => Type::Dyn,
        Expr::Struct(message) => Type::Message(message.type_name.trim_start_matches('.').to_owned()),
        Expr::Comprehension(all) => match type_of(&all.result) {
            // What it comes to is what was gathered.
            Type::Dyn => match type_of(&all.accu_init) {
                Type::List(_) => Type::List(Box::new(Type::Dyn)),
                other => other,
            },
            other => other,
        },
        Expr::Call(call) => type_of_call(call),
    }
}

fn type_of_call(call: &CallExpr) -> Type {
    let same = |one: Type, other: Type| if one == other { one } else { Type::Dyn };
    match (call.func_name.as_str(), call.args.as_slice()) {
        ("_?_:_", [_, one, other]) => same(type_of(one), type_of(other)),
        ("_+_" | "_-_" | "_*_" | "_/_" | "_%_", [one, other]) => same(type_of(one), type_of(other)),
        ("-_", [one]) => type_of(one),
        (
            "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" | "_&&_" | "_||_" | "!_" | "@in" | "startsWith"
            | "endsWith" | "contains" | "matches" | "bool",
            _,
        ) => Type::Bool,
        ("size" | "int", _) => Type::Int,
        ("uint", _) => Type::Uint,
        ("double", _) => Type::Double,
        ("string" | "lowerAscii" | "upperAscii" | "replace" | "trim" | "join", _) => Type::String,
        ("bytes", _) => Type::Bytes,
        _ => Type::Dyn,
    }
}
