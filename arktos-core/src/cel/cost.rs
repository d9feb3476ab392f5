//! What an expression may cost at most: estimated as cel-go does it, from the types of its parts and from how large a
//! schema lets values be.

use std::collections::HashMap;

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, LiteralValue};

use super::checker::Checked;
use super::estimates::{self, Span};
use super::types::Type;
use crate::custom::{Seen, Step};

/// What a list, a map and an object cost that are made.
const LIST: u64 = 10;
const MAP: u64 = 30;
const MESSAGE: u64 = 40;

/// What an expression may cost at most; `root` is what its names stand for.
pub(super) fn most<'a>(tree: &IdedExpr, checked: &Checked<'a>, root: Seen<'a>) -> u64 {
    let mut reader = Reader {
        checked,
        root,
        places: HashMap::new(),
        sizes: HashMap::new(),
        entries: HashMap::new(),
        locals: Vec::new(),
    };
    reader.cost(tree).max
}

/// Where a value stands in what the schema describes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// Nowhere: it is made by the expression.
    Nowhere,
    /// Here.
    At(Seen<'a>),
    /// Somewhere of which the schema says nothing.
    Lost,
}

impl<'a> Place<'a> {
    /// What is in it. The first step from nowhere leads to the root, as upstream has it.
    fn below(self, step: &Step<'_>, root: Seen<'a>) -> Self {
        match self {
            Self::Nowhere => Self::At(root),
            Self::At(seen) => seen.below(step).map_or(Self::Lost, Self::At),
            Self::Lost => Self::Lost,
        }
    }

    /// How large a value there may be.
    pub(super) fn size(self) -> Option<Span> {
        match self {
            Self::At(seen) => Some(Span { min: 0, max: seen.most() }),
            Self::Nowhere | Self::Lost => None,
        }
    }
}

/// How large the keys and the values of a list or a map may be.
#[derive(Debug, Clone, Copy)]
struct Entry {
    list: bool,
    key: Span,
    value: Span,
}

impl Entry {
    fn with(self, other: Self) -> Self {
        Self { list: self.list, key: self.key.with(other.key), value: self.value.with(other.value) }
    }
}

/// A part of an expression that a function is given.
pub(super) struct Node<'a, 'b> {
    pub(super) place: Place<'a>,
    pub(super) of: Type<'a>,
    pub(super) size: Option<Span>,
    tree: &'b IdedExpr,
}

impl Node<'_, '_> {
    pub(super) fn size(&self) -> Span {
        self.size.or_else(|| self.place.size()).unwrap_or(Span::ANY)
    }

    /// The number that it is, or another; none is negative.
    pub(super) fn number_or(&self, other: u64) -> u64 {
        match &self.tree.expr {
            Expr::Literal(LiteralValue::Int(number)) => u64::try_from(*number.inner()).unwrap_or(0),
            _ => other,
        }
    }

    /// The number that it is, as it stands.
    pub(super) fn number(&self) -> Option<i64> {
        match &self.tree.expr {
            Expr::Literal(LiteralValue::Int(number)) => Some(*number.inner()),
            _ => None,
        }
    }

    /// Whether the items of a list are texts, and how large they may be.
    pub(super) fn items(&self) -> Option<(bool, Span)> {
        let of = match &self.of {
            Type::List(of) | Type::Optional(of) => of,
            Type::Map(key, _) => key,
            _ => return None,
        };
        let most = match self.place {
            Place::At(seen) => seen.below(&Step::Items).map(Seen::most),
            Place::Nowhere | Place::Lost => None,
        };
        let text = matches!(**of, Type::String | Type::Bytes);
        Some((text, most.map_or(Span::ANY, |max| Span { min: 0, max })))
    }
}

/// What a name stands for that the expression brought.
struct Local<'a, 'b> {
    name: &'b str,
    place: Place<'a>,
    size: Option<Span>,
    entry: Option<Entry>,
}

type Part = *const IdedExpr;

struct Reader<'a, 'b> {
    checked: &'b Checked<'a>,
    root: Seen<'a>,
    places: HashMap<Part, Place<'a>>,
    sizes: HashMap<Part, Span>,
    entries: HashMap<Part, Entry>,
    locals: Vec<Local<'a, 'b>>,
}

impl<'a, 'b> Reader<'a, 'b> {
    fn cost(&mut self, tree: &'b IdedExpr) -> Span {
        match &tree.expr {
            Expr::Unspecified | Expr::Literal(_) => Span::of(0),
            Expr::Ident(name) => {
                let place = self.local(name).map_or(Place::At(self.root), |local| local.place);
                self.places.insert(tree, place);
                Span::of(1)
            }
            Expr::Select(select) => {
                let operand = self.cost(&select.operand);
                if select.test {
                    return operand;
                }
                let of = self.checked.type_of(&select.operand);
                let fields = matches!(of, Type::Map(..) | Type::Object(..) | Type::Named(_) | Type::Variables);
                let place = self.place(&select.operand).below(&Step::Field(&select.field), self.root);
                self.places.insert(tree, place);
                operand.plus(Span::of(u64::from(fields)))
            }
            Expr::Call(call) => self.call(tree, call),
            Expr::List(list) => {
                let (mut sum, mut items) = (Span::of(LIST), Extent::default());
                for element in &list.elements {
                    sum = sum.plus(self.cost(element));
                    items.add(self.size_or_any(element));
                }
                self.entries.insert(tree, Entry { list: true, key: Span::of(1), value: items.span() });
                sum
            }
            Expr::Map(map) => {
                let (mut sum, mut keys, mut values) = (Span::of(MAP), Extent::default(), Extent::default());
                for IdedEntryExpr { expr, .. } in &map.entries {
                    let EntryExpr::MapEntry(pair) = expr else { continue };
                    sum = sum.plus(self.cost(&pair.key)).plus(self.cost(&pair.value));
                    keys.add(self.size_or_any(&pair.key));
                    values.add(self.size_or_any(&pair.value));
                }
                self.entries.insert(tree, Entry { list: false, key: keys.span(), value: values.span() });
                sum
            }
            Expr::Struct(message) => {
                let fields = message.entries.iter().filter_map(|entry| match &entry.expr {
                    EntryExpr::StructField(field) => Some(&field.value),
                    EntryExpr::MapEntry(_) => None,
                });
                fields.fold(Span::of(MESSAGE), |sum, value| sum.plus(self.cost(value)))
            }
            Expr::Comprehension(all) if binds(all) => {
                let start = self.cost(&all.iter_range).plus(self.cost(&all.accu_init));
                self.begin(&all.accu_var, &all.accu_init);
                let result = self.cost(&all.result);
                self.locals.pop();
                self.copy(tree, &all.result);
                start.plus(result)
            }
            Expr::Comprehension(all) => self.comprehension(tree, all),
        }
    }

    fn comprehension(&mut self, tree: &'b IdedExpr, all: &'b ComprehensionExpr) -> Span {
        let start = self.cost(&all.iter_range).plus(self.cost(&all.accu_init));
        self.begin(&all.accu_var, &all.accu_init);
        let before = self.locals.len();
        let entry = self.entry(&all.iter_range);
        let list =
            entry.map_or_else(|| matches!(self.checked.type_of(&all.iter_range), Type::List(_)), |entry| entry.list);
        let range = self.place(&all.iter_range);
        let (key, value) = if list { (Step::Indices, Step::Items) } else { (Step::Keys, Step::Values) };
        let mut push = |name: &'b str, step: &Step<'_>, size: Option<Span>| {
            let place = range.below(step, self.root);
            self.locals.push(Local { name, place, size, entry: None });
        };
        let (key_size, value_size) = (entry.map(|entry| entry.key), entry.map(|entry| entry.value));
        match &all.iter_var2 {
            Some(second) => {
                push(&all.iter_var, &key, key_size);
                push(second, &value, value_size);
            }
            None if list => push(&all.iter_var, &value, value_size),
            None => push(&all.iter_var, &key, key_size),
        }
        let each = self.cost(&all.loop_cond).plus(self.cost(&all.loop_step));
        self.locals.truncate(before);
        let result = self.cost(&all.result);
        self.locals.pop();
        let turns = self.size_or_any(&all.iter_range);
        match &all.accu_init.expr {
            Expr::Literal(_) => {
                if let Some(size) = self.size(&all.accu_init) {
                    self.sizes.insert(tree, size);
                }
            }
            Expr::List(_) | Expr::Map(_) => {
                self.sizes.insert(tree, turns);
                if let Some(entry) = self.entry(&all.loop_step) {
                    self.entries.insert(tree, entry);
                }
            }
            _ => {}
        }
        start.plus(result).plus(turns.times(each))
    }

    fn call(&mut self, tree: &'b IdedExpr, call: &'b CallExpr) -> Span {
        if let ("dyn", [argument]) = (call.func_name.as_str(), call.args.as_slice()) {
            let cost = self.cost(argument);
            self.copy(tree, argument);
            return cost.plus(Span::of(1));
        }
        let (mut nodes, mut costs) = (Vec::with_capacity(call.args.len()), Vec::with_capacity(call.args.len()));
        for argument in &call.args {
            costs.push(self.cost(argument));
            nodes.push(self.node(argument));
        }
        let Some(called) = self.checked.call(tree) else { return Span::of(0) };
        let (mut sum, mut target) = (Span::of(0), None);
        if let Some(on) = call.target.as_deref().filter(|_| called.method) {
            sum = self.cost(on);
            target = Some(self.node(on));
        }
        let given: Span = costs.iter().fold(Span::of(0), |sum, cost| sum.plus(*cost));
        let (mut cost, mut size) = (Extent::default(), None::<Span>);
        for form in &called.forms {
            let found = estimates::of(&called.name, *form, target.as_ref(), &nodes);
            cost.add(if found.branches { branched(&costs) } else { found.cost.plus(given) });
            if let Some(of) = found.size {
                size = Some(size.map_or(of, |known| known.with(of)));
            }
            if found.joins {
                let (one, other) = (&call.args[call.args.len() - 2], &call.args[call.args.len() - 1]);
                if let (Some(one), Some(other)) = (self.entry(one), self.entry(other)) {
                    self.entries.insert(tree, one.with(other));
                }
            }
            if let Some(step) =
                form.filter(|_| called.name == "_[_]").and_then(|form| match form.arguments.first()? {
                    Type::List(_) => Some(Step::Items),
                    Type::Map(..) => Some(Step::Values),
                    _ => None,
                })
            {
                size = self.entry(&call.args[0]).map(|entry| entry.value);
                let place = self.place(&call.args[0]).below(&step, self.root);
                self.places.insert(tree, place);
            }
            size = size.or_else(|| self.size(tree));
        }
        if let Some(size) = size {
            self.sizes.insert(tree, size);
        }
        sum.plus(cost.span())
    }

    /// Lets a name stand for a value.
    fn begin(&mut self, name: &'b str, value: &'b IdedExpr) {
        let local = Local { name, place: self.place(value), entry: self.entry(value), size: self.size(value) };
        self.locals.push(local);
    }

    fn local(&self, name: &str) -> Option<&Local<'a, 'b>> {
        self.locals.iter().rev().find(|local| local.name == name)
    }

    fn local_of(&self, tree: &IdedExpr) -> Option<&Local<'a, 'b>> {
        match &tree.expr {
            Expr::Ident(name) => self.local(name),
            _ => None,
        }
    }

    fn place(&self, tree: &IdedExpr) -> Place<'a> {
        let local = self.local_of(tree).map(|local| local.place);
        local.or_else(|| self.places.get(&std::ptr::from_ref(tree)).copied()).unwrap_or(Place::Nowhere)
    }

    fn node(&mut self, tree: &'b IdedExpr) -> Node<'a, 'b> {
        let place = self.place(tree);
        Node { place, of: self.checked.type_of(tree), size: self.size(tree), tree }
    }

    fn copy(&mut self, to: &'b IdedExpr, from: &'b IdedExpr) {
        if let Some(size) = self.size(from) {
            self.sizes.insert(to, size);
        }
        if let Some(entry) = self.entry(from) {
            self.entries.insert(to, entry);
        }
    }

    fn size_or_any(&mut self, tree: &'b IdedExpr) -> Span {
        self.size(tree).unwrap_or(Span::ANY)
    }

    fn size(&mut self, tree: &'b IdedExpr) -> Option<Span> {
        let known = self.sizes.get(&std::ptr::from_ref(tree)).copied().or_else(|| written(tree));
        if known.is_some() {
            return known;
        }
        if let Some(size) = self.place(tree).size() {
            self.sizes.insert(tree, size);
            return Some(size);
        }
        if is_scalar(&self.checked.type_of(tree)) {
            return Some(Span::of(1));
        }
        self.local_of(tree)?.size
    }

    fn entry(&self, tree: &IdedExpr) -> Option<Entry> {
        let known = self.entries.get(&std::ptr::from_ref(tree)).copied();
        known.or_else(|| self.local_of(tree)?.entry)
    }
}

/// Of the branches of a `&&`, a `||` or a `? :`, as many as must be taken and as many as may be.
fn branched(costs: &[Span]) -> Span {
    match costs {
        [one, other] => Span { min: one.min, max: one.plus(*other).max },
        [test, yes, no] => test.plus(yes.with(*no)),
        _ => Span::of(0),
    }
}

/// The least and the most of what was seen.
#[derive(Default)]
struct Extent(Option<Span>);

impl Extent {
    fn add(&mut self, span: Span) {
        self.0 = Some(self.0.map_or(span, |known| known.with(span)));
    }

    fn span(&self) -> Span {
        self.0.unwrap_or(Span::of(0))
    }
}

/// Whether a loop has no turns, and a name stands for a value in its result.
fn binds(all: &ComprehensionExpr) -> bool {
    matches!(&all.iter_range.expr, Expr::List(list) if list.elements.is_empty())
        && matches!(&all.loop_cond.expr, Expr::Literal(LiteralValue::Boolean(truth)) if !truth.inner())
}

/// How large a value is that is written down.
fn written(tree: &IdedExpr) -> Option<Span> {
    let count = match &tree.expr {
        Expr::Literal(LiteralValue::String(text)) => text.inner().chars().count(),
        Expr::Literal(LiteralValue::Bytes(bytes)) => bytes.inner().len(),
        Expr::Literal(_) => 1,
        Expr::List(list) => list.elements.len(),
        Expr::Map(map) => map.entries.len(),
        _ => return None,
    };
    Some(Span::of(count as u64))
}

fn is_scalar(of: &Type<'_>) -> bool {
    match of {
        Type::Bool | Type::Int | Type::Uint | Type::Double | Type::Timestamp | Type::Duration => true,
        Type::Optional(of) => is_scalar(of),
        _ => false,
    }
}
