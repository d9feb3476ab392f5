//! Macros that the parser leaves as calls: loops with two variables, `optMap`, `sortBy`.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, ListExpr, LiteralValue, MapExpr, operators,
};

/// The function that adds a field to a map.
pub(super) const INSERT: &str = "cel.@mapInsert";
/// The function that sorts a list by keys.
pub(super) const SORT_BY: &str = "@sortByAssociatedKeys";
/// What a loop has collected so far.
const SO_FAR: &str = "@result";
const UNUSED: &str = "#unused";

/// A part that is no name where a name must be, or a name that was there before.
pub(super) struct Odd {
    /// The part.
    pub(super) id: u64,
    /// What is wrong with it.
    pub(super) why: String,
}

/// A name with dots, where an expression is nothing else.
pub(super) fn qualified(tree: &IdedExpr) -> Option<String> {
    match &tree.expr {
        Expr::Ident(name) => Some(name.trim_start_matches('.').to_owned()),
        Expr::Select(select) if !select.test => Some(format!("{}.{}", qualified(&select.operand)?, select.field)),
        _ => None,
    }
}

/// Puts what macros stand for in their place.
pub(super) fn expand(tree: &mut IdedExpr) -> Result<(), Odd> {
    match &mut tree.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Ok(()),
        Expr::Call(call) => {
            if let Some(target) = &mut call.target {
                expand(target)?;
            }
            call.args.iter_mut().try_for_each(expand)?;
            match instead(tree.id, call)? {
                Some(found) => {
                    tree.expr = found;
                    Ok(())
                }
                None => Ok(()),
            }
        }
        Expr::List(list) => list.elements.iter_mut().try_for_each(expand),
        Expr::Map(map) => map.entries.iter_mut().try_for_each(entry),
        Expr::Struct(message) => message.entries.iter_mut().try_for_each(entry),
        Expr::Select(select) => expand(&mut select.operand),
        Expr::Comprehension(all) => {
            [&mut all.iter_range, &mut all.accu_init, &mut all.loop_cond, &mut all.loop_step, &mut all.result]
                .into_iter()
                .try_for_each(expand)
        }
    }
}

fn entry(entry: &mut IdedEntryExpr) -> Result<(), Odd> {
    match &mut entry.expr {
        EntryExpr::MapEntry(pair) => {
            expand(&mut pair.key)?;
            expand(&mut pair.value)
        }
        EntryExpr::StructField(field) => expand(&mut field.value),
    }
}

/// Makes parts that stand where a macro stood.
struct Maker(u64);

impl Maker {
    fn part(&self, expr: Expr) -> IdedExpr {
        IdedExpr { id: self.0, expr }
    }

    fn name(&self, name: &str) -> IdedExpr {
        self.part(Expr::Ident(name.to_owned()))
    }

    fn truth(&self, truth: bool) -> IdedExpr {
        self.part(Expr::Literal(LiteralValue::Boolean(truth.into())))
    }

    fn number(&self, number: i64) -> IdedExpr {
        self.part(Expr::Literal(LiteralValue::Int(number.into())))
    }

    fn call(&self, name: &str, target: Option<IdedExpr>, args: Vec<IdedExpr>) -> IdedExpr {
        self.part(Expr::Call(CallExpr { func_name: name.to_owned(), target: target.map(Box::new), args }))
    }

    fn list(&self, elements: Vec<IdedExpr>) -> IdedExpr {
        self.part(Expr::List(ListExpr::new(elements)))
    }

    /// Lets a name stand for a value in an expression: a loop without turns.
    fn bind(&self, name: String, value: IdedExpr, result: IdedExpr) -> Expr {
        Expr::Comprehension(Box::new(ComprehensionExpr {
            iter_range: self.list(Vec::new()),
            iter_var: UNUSED.to_owned(),
            iter_var2: None,
            loop_step: self.name(&name),
            accu_var: name,
            accu_init: value,
            loop_cond: self.truth(false),
            result,
        }))
    }
}

fn instead(id: u64, call: &mut CallExpr) -> Result<Option<Expr>, Odd> {
    let count = call.args.len();
    let macro_of_two = match call.func_name.as_str() {
        "all" | "exists" | "exists_one" | "existsOne" => count == 3,
        "transformList" | "transformMap" | "transformMapEntry" => matches!(count, 3 | 4),
        "optMap" | "optFlatMap" => count == 2,
        "sortBy" => count == 2,
        _ => false,
    };
    if !macro_of_two {
        return Ok(None);
    }
    let Some(target) = call.target.take() else { return Ok(None) };
    let make = Maker(id);
    let mut args = std::mem::take(&mut call.args);
    let first = name_of(&args[0])?;
    Ok(Some(match call.func_name.as_str() {
        "optMap" | "optFlatMap" => {
            const INPUT: &str = "@__optMap_input__";
            let value = make.call("value", Some(make.name(INPUT)), Vec::new());
            let result = args.remove(1);
            let bound = make.part(make.bind(first, value, result));
            let optional = || Some(make.name("optional"));
            let found = if call.func_name == "optMap" { make.call("of", optional(), vec![bound]) } else { bound };
            let there = make.call("hasValue", Some(make.name(INPUT)), Vec::new());
            let none = make.call("none", optional(), Vec::new());
            let chosen = make.call(operators::CONDITIONAL, None, vec![there, found, none]);
            make.bind(INPUT.to_owned(), *target, chosen)
        }
        "sortBy" => {
            const INPUT: &str = "@__sortBy_input__";
            let more = make.list(vec![args.remove(1)]);
            let keys = make.part(Expr::Comprehension(Box::new(ComprehensionExpr {
                iter_range: make.name(INPUT),
                iter_var: first,
                iter_var2: None,
                accu_var: SO_FAR.to_owned(),
                accu_init: make.list(Vec::new()),
                loop_cond: make.truth(true),
                loop_step: make.call(operators::ADD, None, vec![make.name(SO_FAR), more]),
                result: make.name(SO_FAR),
            })));
            let sorted = make.call(SORT_BY, Some(make.name(INPUT)), vec![keys]);
            make.bind(INPUT.to_owned(), *target, sorted)
        }
        _ => of_two(&make, &call.func_name, *target, first, args)?,
    }))
}

/// A loop with two variables: indexes and items, or keys and values.
fn of_two(make: &Maker, name: &str, target: IdedExpr, first: String, mut args: Vec<IdedExpr>) -> Result<Expr, Odd> {
    let second = name_of(&args[1])?;
    if first == second {
        return Err(Odd { id: args[1].id, why: format!("duplicate variable name: {first}") });
    }
    let body = args.pop().unwrap_or_default();
    let filter = if args.len() == 3 { args.pop() } else { None };
    let so_far = || make.name(SO_FAR);
    let always = || make.truth(true);
    let (start, condition, step, result) = match name {
        "all" => {
            let condition = make.call(operators::NOT_STRICTLY_FALSE, None, vec![so_far()]);
            (always(), condition, make.call(operators::LOGICAL_AND, None, vec![so_far(), body]), so_far())
        }
        "exists" => {
            let not = make.call(operators::LOGICAL_NOT, None, vec![so_far()]);
            let condition = make.call(operators::NOT_STRICTLY_FALSE, None, vec![not]);
            let step = make.call(operators::LOGICAL_OR, None, vec![so_far(), body]);
            (make.truth(false), condition, step, so_far())
        }
        "exists_one" | "existsOne" => {
            let more = make.call(operators::ADD, None, vec![so_far(), make.number(1)]);
            let step = make.call(operators::CONDITIONAL, None, vec![body, more, so_far()]);
            let result = make.call(operators::EQUALS, None, vec![so_far(), make.number(1)]);
            (make.number(0), always(), step, result)
        }
        _ => {
            let (start, step) = match name {
                "transformList" => {
                    let more = make.list(vec![body]);
                    (make.list(Vec::new()), make.call(operators::ADD, None, vec![so_far(), more]))
                }
                "transformMap" => {
                    let step = make.call(INSERT, None, vec![so_far(), make.name(&first), body]);
                    (make.part(Expr::Map(MapExpr { entries: Vec::new() })), step)
                }
                _ => {
                    let step = make.call(INSERT, None, vec![so_far(), body]);
                    (make.part(Expr::Map(MapExpr { entries: Vec::new() })), step)
                }
            };
            let step = match filter {
                Some(filter) => make.call(operators::CONDITIONAL, None, vec![filter, step, so_far()]),
                None => step,
            };
            (start, always(), step, so_far())
        }
    };
    Ok(Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: target,
        iter_var: first,
        iter_var2: Some(second),
        accu_var: SO_FAR.to_owned(),
        accu_init: start,
        loop_cond: condition,
        loop_step: step,
        result,
    })))
}

fn name_of(part: &IdedExpr) -> Result<String, Odd> {
    match &part.expr {
        Expr::Ident(name) if name != SO_FAR => Ok(name.clone()),
        _ => Err(Odd { id: part.id, why: "argument must be a simple name".to_owned() }),
    }
}
