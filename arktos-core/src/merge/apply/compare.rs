//! What is different between two values: fields that came, changed and went.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::types::{Form, Items, Type};
use crate::fields::{Element, FieldSet};

/// What is different.
#[derive(Debug, Clone, Default)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
    /// Whether items were met that nothing tells apart.
    odd: bool,
}

/// What a write did.
#[derive(Debug, Clone, Default)]
pub(super) struct Change {
    /// What is there now and was not, or was something else.
    pub(super) written: FieldSet,
    pub(super) removed: FieldSet,
    /// Whether items were met that nothing tells apart.
    pub(super) odd: bool,
}

impl Change {
    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty() && self.removed.is_empty()
    }
}

/// What is different at one place itself.
#[derive(Clone, Copy, Default)]
struct Here {
    added: bool,
    modified: bool,
    removed: bool,
}

/// Compares two whole objects.
pub(super) fn compare(ty: Type<'_>, old: &Value, new: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    if old != new {
        let _ = at(ty, Some(old), Some(new), &mut comparison);
    }
    comparison
}

impl Comparison {
    /// Makes one of what came and what changed: whoever wrote it owns both alike.
    pub(super) fn into_change(mut self) -> Change {
        self.modified.extend(self.added);
        Change { written: self.modified, removed: self.removed, odd: self.odd }
    }

    /// Compares what is below a step.
    fn step(&mut self, step: Element, ty: Type<'_>, old: Option<&Value>, new: Option<&Value>) {
        let mut below = Self::default();
        let here = at(ty, old, new, &mut below);
        let Self { added, modified, removed, odd } = below;
        self.odd |= odd;
        if here.removed || !removed.is_empty() {
            self.removed.add(step.clone(), here.removed, removed);
        }
        if here.modified || !modified.is_empty() {
            self.modified.add(step.clone(), here.modified, modified);
        }
        self.added.add(step, here.added, added);
    }
}

/// Compares two values, of which one may be absent.
fn at(ty: Type<'_>, old: Option<&Value>, new: Option<&Value>, below: &mut Comparison) -> Here {
    let form = match (old, new) {
        (_, Some(new)) if !new.is_null() => ty.form(new),
        (Some(old), _) => ty.form(old),
        (None, Some(new)) => ty.form(new),
        (None, None) => return Here::default(),
    };
    // What only the values say may differ between the two: what was in the old one is gone then.
    if let (Some(old), Some(_), Form::Leaf) = (old, new, form)
        && let Form::Object(ty) = ty.form(old)
    {
        objects(ty, old.as_object(), None, below);
    }
    let whole = match form {
        Form::Leaf => true,
        Form::Object(_) => is_empty(old) && is_empty(new),
        Form::List(_) => is_empty(old) && is_empty(new),
    };
    match form {
        _ if whole => {}
        Form::Object(ty) => {
            objects(ty, old.and_then(Value::as_object), new.and_then(Value::as_object), below);
        }
        Form::List(items) => {
            lists(items, old.and_then(Value::as_array), new.and_then(Value::as_array), below);
        }
        Form::Leaf => {}
    }
    let swapped = matches!(form, Form::Object(_)) && old.is_some_and(|old| !old.is_null() && !old.is_object());
    Here {
        added: old.is_none(),
        removed: old.is_some() && new.is_none(),
        modified: (whole || swapped) && old.is_some() && new.is_some() && old != new,
    }
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        _ => true,
    }
}

fn objects(ty: Type<'_>, old: Option<&Map<String, Value>>, new: Option<&Map<String, Value>>, below: &mut Comparison) {
    let inner = |name: &str| ty.field(name).unwrap_or(Type::Whole);
    for (name, was) in old.into_iter().flatten() {
        let is = new.and_then(|new| new.get(name));
        if is != Some(was) {
            below.step(Element::field(name), inner(name), Some(was), is);
        }
    }
    for (name, is) in new.into_iter().flatten() {
        if !old.is_some_and(|old| old.contains_key(name)) {
            below.step(Element::field(name), inner(name), None, Some(is));
        }
    }
}

/// Items that stand twice are compared as one value.
fn lists(items: Items<'_>, old: Option<&Vec<Value>>, new: Option<&Vec<Value>>, below: &mut Comparison) {
    let mut pairs: BTreeMap<Element, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    let mut odd = false;
    let mut told = |list: Option<&'_ Vec<Value>>| -> Vec<(Element, usize)> {
        let list = list.map(Vec::as_slice).unwrap_or_default().iter().enumerate();
        let mut found = Vec::with_capacity(list.len());
        for (at, item) in list {
            match items.element(item) {
                Ok(element) => found.push((element, at)),
                Err(_) => odd = true,
            }
        }
        found
    };
    for (element, at) in told(old) {
        pairs.entry(element).or_default().0.extend(old.and_then(|old| old.get(at)));
    }
    for (element, at) in told(new) {
        pairs.entry(element).or_default().1.extend(new.and_then(|new| new.get(at)));
    }
    below.odd |= odd;
    let none = FieldSet::default;
    for (element, (was, is)) in pairs {
        match (was.as_slice(), is.as_slice()) {
            (was, is) if was.len() < 2 && is.len() < 2 => {
                below.step(element, items.item(), was.first().copied(), is.first().copied());
            }
            (was, is) if was.len() > 1 && is.len() > 1 => below.modified.add(element, was != is, none()),
            (was, is) if was.len() > 1 => {
                if let Some(is) = is.first() {
                    below.step(element.clone(), items.item(), None, Some(is));
                }
                below.removed.add(element, true, none());
            }
            (was, _) => {
                if let Some(was) = was.first() {
                    below.step(element.clone(), items.item(), Some(was), None);
                }
                below.added.add(element, true, none());
            }
        }
    }
}
