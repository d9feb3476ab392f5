//! What apply asks of a type: is a value one whole, an object of fields with owners of their own, or a list of items.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::fields::{Element, FieldSet, Scalar};
use crate::schema::builtin::is_zero;
use crate::schema::{ListKind, Schema, Shape, Struct};

/// The type of a value.
#[derive(Clone, Copy)]
pub(super) enum Type<'a> {
    /// What a schema says; the flag says whether it is that of a type that is not built in.
    Known(&'a Schema, bool),
    /// Anything, owned as one.
    Whole,
    /// An object whose fields are each owned as one.
    Bag,
    /// Anything; of objects each field is looked at.
    Deduced,
}

/// How a value is owned.
#[derive(Clone, Copy)]
pub(super) enum Form<'a> {
    /// As one.
    Leaf,
    /// Field by field.
    Object(Type<'a>),
    /// Item by item.
    List(Items<'a>),
}

/// A list whose items are told apart.
#[derive(Clone, Copy)]
pub(super) struct Items<'a> {
    list: &'a Schema,
    items: &'a Schema,
    own: bool,
}

impl<'a> Type<'a> {
    /// The type of a whole object.
    pub(super) fn root(schema: &'a Schema) -> Self {
        Self::inside(schema, schema.as_struct().is_none_or(|object| object.own))
    }

    fn inside(schema: &'a Schema, own: bool) -> Self {
        match schema.shape {
            Shape::Any if schema.merge.atomic => Self::Whole,
            Shape::Any if own => Self::Deduced,
            Shape::Any => Self::Bag,
            _ => Self::Known(schema, own),
        }
    }

    /// How a value of this type is owned. Where the type does not say, the value does.
    pub(super) fn form(self, value: &Value) -> Form<'a> {
        match self {
            Self::Whole => Form::Leaf,
            Self::Bag | Self::Deduced if value.is_object() => Form::Object(self),
            Self::Bag | Self::Deduced => Form::Leaf,
            Self::Known(schema, own) => match &schema.shape {
                Shape::Struct(_) | Shape::Map(_) if !schema.merge.atomic => Form::Object(self),
                Shape::List(items) if schema.merge.list != ListKind::Atomic => {
                    Form::List(Items { list: schema, items, own })
                }
                _ => Form::Leaf,
            },
        }
    }

    /// The struct, when it is one.
    fn as_struct(self) -> Option<&'a Struct> {
        match self {
            Self::Known(schema, _) => schema.as_struct(),
            _ => None,
        }
    }

    /// The type of a field; `None` when there is no such field.
    pub(super) fn field(self, name: &str) -> Option<Self> {
        match self {
            Self::Whole | Self::Bag => Some(Self::Whole),
            Self::Deduced => Some(Self::Deduced),
            Self::Known(schema, own) => match &schema.shape {
                Shape::Struct(object) => {
                    let object = object.get();
                    match object.field(name) {
                        Some(field) => Some(Self::inside(&field.schema, object.own)),
                        None => object.open.then_some(Self::Deduced),
                    }
                }
                Shape::Map(values) => Some(Self::inside(values, own)),
                _ => None,
            },
        }
    }

    /// Whether a field is one that the type names, and not the entry of a map.
    pub(super) fn names(self, name: &str) -> bool {
        self.as_struct().is_some_and(|object| object.field(name).is_some())
    }

    /// The type below a step.
    fn step(self, step: &Element) -> Option<Self> {
        match (self, step) {
            (_, Element::Field(name)) => self.field(name),
            (Self::Known(schema, own), _) => schema.items().map(|items| Self::inside(items, own)),
            _ => None,
        }
    }

    /// The set with the named fields added that paths in it lead through.
    pub(super) fn with_named(self, set: &FieldSet) -> FieldSet {
        let mut whole = FieldSet::default();
        for (step, member, below) in set.steps() {
            let named = matches!(step, Element::Field(name) if !below.is_empty() && self.names(name));
            let below = match self.step(step) {
                Some(inner) => inner.with_named(below),
                None => below.clone(),
            };
            whole.add(step.clone(), member || named, below);
        }
        whole
    }

    /// Whether a set has fields of what is owned as one.
    pub(super) fn is_stale(self, set: &FieldSet) -> bool {
        set.steps().filter(|(_, _, below)| !below.is_empty()).any(|(step, _, below)| match self.step(step) {
            Some(Self::Deduced) | None => false,
            Some(inner) => inner.is_whole() || inner.is_stale(below),
        })
    }

    /// The set as it is when types that were once owned field by field are owned as one.
    pub(super) fn reconciled(self, set: &FieldSet) -> FieldSet {
        let mut whole = FieldSet::default();
        for (step, member, below) in set.steps() {
            match self.step(step) {
                _ if below.is_empty() => whole.add(step.clone(), member, FieldSet::default()),
                Some(Self::Deduced) | None => whole.add(step.clone(), member, below.clone()),
                Some(inner) if inner.is_whole() => whole.add(step.clone(), true, FieldSet::default()),
                Some(inner) => whole.add(step.clone(), member, inner.reconciled(below)),
            }
        }
        whole
    }

    /// Whether an object or a list of this type is owned as one.
    fn is_whole(self) -> bool {
        match self {
            Self::Whole => true,
            Self::Bag | Self::Deduced => false,
            Self::Known(schema, _) => match schema.shape {
                Shape::Struct(_) | Shape::Map(_) => schema.merge.atomic,
                Shape::List(_) => schema.merge.list == ListKind::Atomic,
                _ => false,
            },
        }
    }
}

impl<'a> Items<'a> {
    /// The type of an item.
    pub(super) fn item(self) -> Type<'a> {
        Type::inside(self.items, self.own)
    }

    /// What tells an item apart from the others.
    ///
    /// # Errors
    /// When nothing does, with the reason.
    pub(super) fn element(self, item: &Value) -> Result<Element, String> {
        if self.list.merge.keys.is_empty() {
            return match item {
                Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
                value => Ok(Element::Item(Scalar(value.clone()))),
            };
        }
        let fields = match item {
            Value::Object(fields) => fields,
            Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
            _ => return Err("associative list with keys may not have non-map elements".to_owned()),
        };
        let keys = &self.list.merge.keys;
        let found: Vec<(Box<str>, Scalar)> = keys
            .iter()
            .filter_map(|key| {
                let default = || self.items.field(key).and_then(|schema| schema.default.as_ref());
                let value = fields.get(&**key).or_else(default)?;
                Some((key.clone(), Scalar(value.clone())))
            })
            .collect();
        if found.is_empty() {
            let keys = keys.iter().map(|key| format!("{key:?}")).collect::<Vec<_>>().join(" ");
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{keys}] (and doesn't have \
                 default values for any key fields)"
            ));
        }
        Ok(Element::key(found))
    }

    /// The items with what tells them apart; items that nothing tells apart are left out.
    pub(super) fn index(self, list: Option<&'a [Value]>) -> Vec<(Element, &'a Value)> {
        list.unwrap_or_default().iter().filter_map(|item| Some((self.element(item).ok()?, item))).collect()
    }
}

/// An object in which nothing is said: what a new one is compared with. Fields that are written even when nothing is
/// said of them are there.
#[must_use]
pub fn blank(schema: &Schema) -> &Value {
    static NOTHING: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
    match schema.as_struct().filter(|object| !object.own) {
        Some(object) => object.blank.get_or_init(|| Value::Object(blank_fields(object))),
        None => &NOTHING,
    }
}

fn blank_fields(object: &Struct) -> Map<String, Value> {
    let mut fields = Map::new();
    for field in &object.fields {
        let name = field.name.to_string();
        match (&field.schema.default, &field.absent) {
            (Some(Value::Object(default)), _) if default.is_empty() && field.schema.as_struct().is_some() => {
                fields.insert(name, blank(&field.schema).clone());
            }
            (Some(zero), Some(_)) if !field.drops_zero && is_zero(zero) => {
                fields.insert(name, zero.clone());
            }
            (_, Some(Value::Null)) => {
                fields.insert(name, Value::Null);
            }
            _ => {}
        }
    }
    fields
}
