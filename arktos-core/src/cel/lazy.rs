//! The variables of a policy: each comes to something when an expression asks for it, and what nobody asks for costs
//! nothing. Each has the limit of an expression of its own, and takes from the budget of all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use kube_cel::cel::objects::Opaque;
use kube_cel::cel::{ExecutionError, Value as CelValue};

use super::run::{Fault, Found, Frame, Run};
use super::{Expression, depth, price, told_fault};

/// A variable. It knows those before it.
#[derive(Debug)]
struct Variable {
    name: String,
    expression: Result<Arc<Expression>, String>,
    /// How deep it may nest with the variables that it may ask for.
    depth: usize,
}

/// The variables of a policy, in their order.
#[derive(Debug, Default)]
pub struct Variables {
    all: Vec<Variable>,
    /// Where those of a name stand.
    places: HashMap<String, Vec<usize>>,
}

impl Variables {
    /// Adds a variable, or why it is none.
    pub fn add(&mut self, name: &str, expression: Result<Arc<Expression>, String>) {
        let depth = expression.as_ref().map_or(0, |one| self.depth_of(one.source()));
        self.places.entry(name.to_owned()).or_default().push(self.all.len());
        self.all.push(Variable { name: name.to_owned(), expression, depth });
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// How deep an expression may nest with what it may ask for: those whose names stand in it.
    fn depth_of(&self, source: &str) -> usize {
        let asked = self.named_in(source).map(|at| self.all[at].depth).max();
        depth::of(source).saturating_add(asked.unwrap_or(0))
    }

    /// Those whose names stand in an expression.
    fn named_in<'a>(&'a self, source: &'a str) -> impl Iterator<Item = usize> + 'a {
        let words = source.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        words.filter_map(|word| self.places.get(word)).flatten().copied()
    }
}

/// The variables for one set of names, and what they have come to so far.
#[derive(Debug)]
pub(super) struct Known {
    all: Arc<Variables>,
    names: Vec<(String, CelValue)>,
    found: Mutex<Vec<Option<Found>>>,
}

impl Known {
    /// Variables none of which has come to anything yet.
    pub(super) fn nothing_of(all: &Arc<Variables>, names: Vec<(String, CelValue)>) -> Arc<Self> {
        let found = Mutex::new(vec![None; all.len()]);
        Arc::new(Self { all: all.clone(), names, found })
    }

    /// The variables.
    pub(super) fn all(&self) -> &Arc<Variables> {
        &self.all
    }

    /// A value that stands for all of them.
    pub(super) fn shown(self: &Arc<Self>) -> CelValue {
        View { of: Arc::downgrade(self), most: self.all.len() }.shown()
    }
}

/// What `variables` stands for: the first of them, as many as whoever asks may know. It may be what one of them comes
/// to, and so does not keep them.
#[derive(Debug, Clone)]
struct View {
    of: Weak<Known>,
    most: usize,
}

impl PartialEq for View {
    fn eq(&self, other: &Self) -> bool {
        Weak::ptr_eq(&self.of, &other.of) && self.most == other.most
    }
}

impl Eq for View {}

impl Opaque for View {
    fn runtime_type_name(&self) -> &'static str {
        "kubernetes.variables"
    }
}

fn view(value: &CelValue) -> Option<&View> {
    match value {
        CelValue::Opaque(opaque) => opaque.downcast_ref::<View>(),
        _ => None,
    }
}

/// Whether a value stands for variables, and then whether one of them has this name.
pub(super) fn has(value: &CelValue, name: &str) -> Option<bool> {
    view(value).map(|view| view.of.upgrade().is_some_and(|known| view.place(&known, name).is_some()))
}

/// What a variable comes to; none where the value does not stand for variables.
pub(super) fn get(run: &Run<'_>, value: &CelValue, name: &str) -> Option<Found> {
    view(value).map(|view| {
        let known = view.of.upgrade();
        let place = known.as_deref().and_then(|known| Some((known, view.place(known, name)?)));
        match place {
            Some((known, at)) => view.at(run, known, at),
            None => Err(ExecutionError::no_such_key(name).into()),
        }
    })
}

/// Lets variables come to something before an expression asks for them, one after the other, where they ask for each
/// other so deep that the stack would end.
pub(super) fn ready(run: &Run<'_>, value: &CelValue, source: &str) -> Result<(), Fault> {
    let Some((view, known)) = view(value).and_then(|view| Some((view, view.of.upgrade()?))) else { return Ok(()) };
    let all = &known.all;
    if all.depth_of(source) <= depth::MOST {
        return Ok(());
    }
    let mut asked = vec![false; all.len()];
    all.named_in(source).for_each(|at| asked[at] = true);
    for at in (0..all.len()).rev() {
        if let (true, Ok(one)) = (asked[at], &all.all[at].expression) {
            all.named_in(one.source()).filter(|other| *other < at).for_each(|other| asked[other] = true);
        }
    }
    for (at, _) in asked.iter().enumerate().filter(|(_, asked)| **asked) {
        match view.at(run, &known, at) {
            Err(fault) if fault.ends() => return Err(fault),
            _ => {}
        }
    }
    Ok(())
}

impl View {
    fn shown(self) -> CelValue {
        CelValue::Opaque(Arc::new(self))
    }

    /// Where the last variable of a name stands that may be known.
    fn place(&self, known: &Known, name: &str) -> Option<usize> {
        let places = known.all.places.get(name)?;
        places[..places.partition_point(|at| *at < self.most)].last().copied()
    }

    fn at(&self, run: &Run<'_>, known: &Known, at: usize) -> Found {
        let found = || known.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = &found()[at] {
            return found.clone();
        }
        let variable = &known.all.all[at];
        let fails = |how: &str, why: &str| {
            let why = format!("composited variable {:?} fails to {how}: {why}", variable.name);
            Fault::from(ExecutionError::function_error("variables", why))
        };
        let come = match &variable.expression {
            Err(why) => Err(fails("compile", why)),
            Ok(expression) => {
                let mut names = Frame::default();
                for (name, value) in &known.names {
                    names = names.with(name, value.clone());
                }
                names = names.with("variables", Self { of: self.of.clone(), most: at }.shown());
                match run.apart(&expression.tree, &names) {
                    Err(Fault::Budget) => return Err(Fault::Budget),
                    Err(fault) => Err(fails("evaluate", &told_fault(&fault.to_string()))),
                    Ok(value) if price::is_too_large(&value) => Err(fails("evaluate", &Fault::Cost.to_string())),
                    Ok(value) => Ok(value),
                }
            }
        };
        found()[at] = Some(come.clone());
        come
    }
}
