//! The names in an expression that nobody knows.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr};

/// How many faults of one expression are told.
pub(super) const FAULTS_MAX: usize = 100;

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
                if !known && self.unknown.len() < FAULTS_MAX {
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

    /// What a method is called on: a name there may be the first half of a function's, such as `lists` or `sets`.
    fn target(&mut self, target: &IdedExpr) {
        const SPACES: [&str; 8] = ["sets", "ip", "cidr", "format", "optional", "strings", "lists", "jsonpatch"];
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
