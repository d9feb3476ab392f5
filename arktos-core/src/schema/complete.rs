//! One walk over a value: what is unknown goes, types are checked, zero values are dropped and absent ones added as a
//! round trip through the upstream types would, and defaults are set.

use std::fmt;

use base64::Engine as _;
use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::builtin::is_zero;
use super::json::FAULTS_MAX;
use super::model::{Field, Schema, Shape, Struct};
use super::moment;
use crate::media::go_kind;
use crate::quantity::Quantity;
use crate::rules::table;
use crate::time::Timestamp;

/// Which fields of `metadata` beyond plain Kubernetes are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extra {
    /// None.
    None,
    /// What Arktos shows.
    Tenant,
    /// What the region's components see as well.
    All,
}

impl Extra {
    /// Whether a field that the schema does not name is known after all.
    pub(super) fn knows(self, of: &Struct, field: &str) -> bool {
        of.short_name() == "ObjectMeta"
            && match field {
                "tenant" | "hashKey" => self != Self::None,
                "arktosNotes" => self == Self::All,
                _ => false,
            }
    }
}

/// Where a value stands, linked to where its parent stands.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    /// The object itself.
    Root,
    /// A field of what stands at the parent.
    Field(&'a Path<'a>, &'a str),
    /// A value of the map at the parent.
    Key(&'a Path<'a>, &'a str),
    /// The same, as checks name it.
    Entry(&'a Path<'a>, &'a str),
    /// An item of the list at the parent.
    Item(&'a Path<'a>, usize),
    /// The embedded struct (or none) that a field of what stands at the parent is in: only the Go decoder names it.
    Embedded(&'a Path<'a>, &'a str),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Embedded(parent, _) => parent.fmt(f),
            Self::Field(parent, name) | Self::Key(parent, name) if parent.is_root() => f.write_str(name),
            Self::Field(parent, name) | Self::Key(parent, name) => write!(f, "{parent}.{name}"),
            Self::Entry(parent, name) => write!(f, "{parent}[{name}]"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl Path<'_> {
    /// Whether the path is that of the whole object.
    pub(crate) fn is_root(&self) -> bool {
        match self {
            Self::Root => true,
            Self::Embedded(parent, _) => parent.is_root(),
            Self::Field(..) | Self::Key(..) | Self::Entry(..) | Self::Item(..) => false,
        }
    }

    fn steps(&self) -> Vec<Step> {
        let (parent, step) = match self {
            Self::Root => return Vec::new(),
            Self::Embedded(parent, _) => return parent.steps(),
            Self::Field(parent, name) | Self::Key(parent, name) | Self::Entry(parent, name) => {
                (parent, Step::Field((*name).to_owned()))
            }
            Self::Item(parent, index) => (parent, Step::Item(*index)),
        };
        let mut steps = parent.steps();
        steps.push(step);
        steps
    }

    /// The path without the indices of lists and the keys of maps, as the Go decoder prints it.
    fn plain(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Embedded(parent, "") | Self::Item(parent, _) | Self::Key(parent, _) | Self::Entry(parent, _) => {
                parent.plain()
            }
            Self::Field(parent, name) | Self::Embedded(parent, name) => match parent.plain() {
                parent if parent.is_empty() => (*name).to_owned(),
                parent => format!("{parent}.{name}"),
            },
        }
    }
}

/// The walk, and the unknown fields it has met.
pub(super) struct Complete {
    extra: Extra,
    unknown: Vec<(Vec<Step>, String)>,
}

/// One step of a path, ordered as a tree with sorted names is read.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Field(String),
    Item(usize),
}

/// What is being read, for messages: the object type and field that a value belongs to.
#[derive(Clone, Copy)]
struct At<'a> {
    path: &'a Path<'a>,
    owner: &'a Struct,
    field: &'a Field,
}

impl Complete {
    pub(super) fn new(extra: Extra) -> Self {
        Self { extra, unknown: Vec::new() }
    }

    /// The unknown fields, in the API's words, in the order in which the tree is read: a map's names are sorted.
    pub(super) fn into_faults(self) -> Vec<String> {
        let mut unknown = self.unknown;
        unknown.sort();
        unknown.into_iter().map(|(_, fault)| fault).collect()
    }

    /// Walks a whole object. The error is a type fault, in the Go decoder's words.
    pub(super) fn root(&mut self, schema: &Schema, value: &mut Value) -> Result<(), String> {
        match (schema.as_struct(), value) {
            (Some(object), Value::Object(map)) => self.object(object, map, &Path::Root),
            (None, Value::Object(_)) => Ok(()),
            (Some(object), value) => {
                Err(format!("json: cannot unmarshal {} into Go value of type {}", go_kind(value), go_struct(object)))
            }
            (None, value) => Err(format!(
                "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                go_kind(value)
            )),
        }
    }

    fn object(&mut self, object: &Struct, map: &mut Map<String, Value>, path: &Path<'_>) -> Result<(), String> {
        // Types have many fields and objects few: what is there is looked up in the type, and not the other way round.
        let (mut dropped, mut unknown) = (SmallVec::<[&Field; 8]>::new(), false);
        for (name, value) in map.iter_mut() {
            match object.field(name) {
                Some(field) if self.drop_field(object, field, value, path)? => dropped.push(field),
                // What is not kept must be of its type all the same.
                Some(field) if table::of(object).drops(&field.name) => {
                    let path = Path::Field(path, &field.name);
                    self.inner(&field.schema, value, At { path: &path, owner: object, field })?;
                }
                Some(_) => {}
                None => unknown = true,
            }
        }
        for field in dropped {
            map.remove(&*field.name);
        }
        if unknown && !object.open {
            self.unknown(object, map, path);
        }
        table::of(object).set_defaults(map);
        for field in &object.fields {
            if let Some(absent) = &field.absent
                && !map.contains_key(&*field.name)
            {
                map.insert(field.name.to_string(), absent.clone());
            }
        }
        for (name, value) in map.iter_mut() {
            let Some(field) = object.field(name) else { continue };
            if field.holds_its_own {
                self.its_own(object, value, &Path::Field(path, &field.name))?;
            } else if field.schema.holds_more() {
                let path = Path::Embedded(path, field.embedded);
                let path = Path::Field(&path, &field.name);
                self.inner(&field.schema, value, At { path: &path, owner: object, field })?;
            }
        }
        Ok(())
    }

    /// Checks a field's own type; says whether it is as good as absent.
    fn drop_field(
        &mut self,
        owner: &Struct,
        field: &Field,
        value: &mut Value,
        path: &Path<'_>,
    ) -> Result<bool, String> {
        if value.is_null() {
            return Ok(true);
        }
        let path = Path::Embedded(path, field.embedded);
        let path = Path::Field(&path, &field.name);
        scalar(&field.schema, value, At { path: &path, owner, field })?;
        Ok(match &field.schema.shape {
            _ if owner.own => false,
            Shape::Bytes if !field.required => is_zero(value),
            Shape::List(_) | Shape::Map(_) => {
                let droppable = field.absent.as_ref().is_none_or(Value::is_null);
                // There and empty, `managedFields` asks for forgetting all managers.
                let asks = &*field.name == "managedFields" && value.is_array();
                droppable && is_zero(value) && !asks && !table::of(owner).keeps_empty.contains(&&*field.name)
            }
            // What is written anyway when it is absent may be absent until defaults are set. A number or a truth that
            // stands for something else than its absence stays.
            _ => {
                let stands_for_absence = |absent: &Value| !absent.is_null() && (value.is_string() || is_zero(absent));
                is_zero(value) && (field.drops_zero || field.absent.as_ref().is_some_and(stands_for_absence))
            }
        })
    }

    /// Drops the fields that the type does not have.
    fn unknown(&mut self, object: &Struct, map: &mut Map<String, Value>, path: &Path<'_>) {
        let unknown: Vec<String> = map
            .keys()
            .filter(|name| object.field(name).is_none() && !self.extra.knows(object, name))
            .cloned()
            .collect();
        for name in unknown {
            if self.unknown.len() < FAULTS_MAX {
                let at = Path::Field(path, &name);
                self.unknown.push((at.steps(), format!("unknown field \"{at}\"")));
            }
            map.remove(&name);
        }
    }

    /// Walks what is inside a value whose own type is known to fit.
    fn inner(&mut self, schema: &Schema, value: &mut Value, at: At<'_>) -> Result<(), String> {
        match (&schema.shape, value) {
            (Shape::Struct(object), Value::Object(map)) => self.object(object.get(), map, at.path),
            (Shape::List(items), Value::Array(list)) => {
                for (index, item) in list.iter_mut().enumerate() {
                    let path = Path::Item(at.path, index);
                    self.element(items, item, At { path: &path, ..at })?;
                }
                Ok(())
            }
            (Shape::Map(values), Value::Object(map)) => {
                for (name, item) in map.iter_mut() {
                    let path = Path::Key(at.path, name);
                    // The Go decoder names the map's field, not the key, in its messages.
                    scalar(values, item, at)?;
                    fill_null(values, item);
                    if matches!(values.shape, Shape::Quantity) {
                        round_amount(item);
                    }
                    self.inner(values, item, At { path: &path, ..at })?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Walks objects of the type that the field belongs to. Upstream reads them apart: what is unknown goes without a
    /// word.
    fn its_own(&self, owner: &Struct, value: &mut Value, path: &Path<'_>) -> Result<(), String> {
        let mut apart = Self::new(self.extra);
        match value {
            Value::Object(map) => apart.object(owner, map, path),
            Value::Array(items) => {
                items.iter_mut().filter_map(Value::as_object_mut).try_for_each(|map| apart.object(owner, map, path))
            }
            _ => Ok(()),
        }
    }

    fn element(&mut self, schema: &Schema, value: &mut Value, at: At<'_>) -> Result<(), String> {
        scalar(schema, value, at)?;
        fill_null(schema, value);
        self.inner(schema, value, at)
    }
}

/// Amounts of resources are whole thousandths.
fn round_amount(amount: &mut Value) {
    if let Some(quantity) = amount.as_str().and_then(|text| Quantity::parse(text).ok()) {
        let rounded = quantity.rounded_to_milli();
        if rounded != quantity {
            *amount = Value::from(rounded.to_string());
        }
    }
}

/// A `null` item is the zero value of the item's type.
fn fill_null(schema: &Schema, value: &mut Value) {
    if value.is_null() {
        *value = match schema.shape {
            Shape::String | Shape::Bytes => Value::from(""),
            Shape::Boolean => Value::from(false),
            Shape::Int32 | Shape::Int64 | Shape::Number => Value::from(0),
            Shape::Struct(_) => Value::Object(Map::new()),
            Shape::Quantity => Value::from("0"),
            _ => Value::Null,
        };
    }
}

/// Checks a value's own type (what is inside it is left alone) and writes it in its one form.
fn scalar(schema: &Schema, value: &mut Value, at: At<'_>) -> Result<(), String> {
    let fits = match (&schema.shape, &*value) {
        (_, Value::Null)
        | (Shape::Any, _)
        | (Shape::Boolean, Value::Bool(_))
        | (Shape::Number, Value::Number(_))
        | (Shape::String, Value::String(_))
        | (Shape::IntOrString, Value::String(_))
        | (Shape::List(_), Value::Array(_))
        | (Shape::Map(_) | Shape::Struct(_), Value::Object(_)) => true,
        (Shape::Int32 | Shape::IntOrString, Value::Number(number)) => {
            number.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
        }
        (Shape::Int64, Value::Number(number)) => number.is_i64(),
        _ => return special(schema, value, at),
    };
    if fits { Ok(()) } else { Err(mismatch(schema, value, at)) }
}

/// Values that are written as text, yet are more than text.
fn special(schema: &Schema, value: &mut Value, at: At<'_>) -> Result<(), String> {
    match (&schema.shape, &*value) {
        (Shape::Quantity, _) => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let quantity = Quantity::parse(text.trim()).map_err(|error| error.to_string())?;
            *value = Value::from(quantity.to_string());
            Ok(())
        }
        (Shape::Time | Shape::MicroTime, Value::String(text)) => {
            let micros = matches!(schema.shape, Shape::MicroTime);
            if let Some(fault) = moment::fault(text, micros) {
                return Err(fault);
            }
            let moment = Timestamp::parse(text).ok_or_else(|| format!("parsing time \"{text}\": day out of range"))?;
            *value = Value::from(if micros { moment.to_micro_string() } else { moment.to_string() });
            Ok(())
        }
        (Shape::Bytes, Value::String(text)) => match crate::media::go_base64_fault(text) {
            Some(at) => Err(format!("illegal base64 data at input byte {at}")),
            None => Ok(()),
        },
        // A list of numbers is as good as the text that stands for them.
        (Shape::Bytes, Value::Array(numbers)) => {
            let byte = |number: &Value| number.as_u64().and_then(|number| u8::try_from(number).ok());
            match numbers.iter().map(byte).collect::<Option<Vec<u8>>>() {
                Some(bytes) => {
                    *value = Value::from(base64::engine::general_purpose::STANDARD.encode(bytes));
                    Ok(())
                }
                None if at.owner.own => Err(mismatch(schema, value, at)),
                None => Err(no_byte(numbers.iter().find(|&number| byte(number).is_none()), at)),
            }
        }
        _ => Err(mismatch(schema, value, at)),
    }
}

/// What is said of an item of a list that is to be one of bytes.
fn no_byte(item: Option<&Value>, at: At<'_>) -> String {
    let what = match item.unwrap_or(&Value::Null) {
        number if number.is_number() => format!("number {}", digits(number)),
        other => go_kind(other).to_owned(),
    };
    let (owner, path) = (at.owner.short_name(), at.path.plain());
    format!("json: cannot unmarshal {what} into Go struct field {owner}.{path} of type uint8")
}

fn mismatch(schema: &Schema, value: &Value, at: At<'_>) -> String {
    if at.owner.own {
        return format!("{} in body must be of type {}: \"{}\"", at.path, json_type(schema), go_kind(value));
    }
    let go_type = match &schema.shape {
        Shape::String if !at.field.go_type.is_empty() => at.field.go_type.to_owned(),
        Shape::List(items) if !at.field.go_type.is_empty() && matches!(items.shape, Shape::String) => {
            let of_map = matches!(at.field.schema.shape, Shape::Map(_));
            format!("{}{}", if of_map { "" } else { "[]" }, at.field.go_type)
        }
        Shape::Map(values) if !at.field.go_type.is_empty() && matches!(values.shape, Shape::List(_)) => {
            format!("map[string]{}", at.field.go_type)
        }
        // Moments, and what is a number or a text, are read as the simpler type that they are made of.
        Shape::Time | Shape::MicroTime => "string".to_owned(),
        Shape::IntOrString => "int32".to_owned(),
        Shape::Map(values) if matches!(values.shape, Shape::Quantity) && at.owner.name.contains(".api.core.") => {
            "v1.ResourceList".to_owned()
        }
        Shape::Map(values) if at.owner.name.contains(".api.resource.") && &*at.field.name != "matchLabels" => {
            let key = match (at.owner.short_name(), &*at.field.name) {
                (_, "counters") => "string",
                (_, "nodeAllocatableResourceMappings") => "v1.ResourceName",
                _ => "v1.QualifiedName",
            };
            format!("map[{key}]{}", go_type(values))
        }
        _ => go_type(schema),
    };
    let what = match &schema.shape {
        Shape::Int32 | Shape::Int64 | Shape::IntOrString if value.is_number() => format!("number {}", digits(value)),
        _ => go_kind(value).to_owned(),
    };
    let path = at.path.plain();
    format!("json: cannot unmarshal {what} into Go struct field {}.{path} of type {go_type}", at.owner.short_name())
}

/// A number as it was most likely written: whole ones that need more than 64 bits are kept as doubles.
fn digits(number: &Value) -> String {
    match number.as_f64() {
        Some(double) if number.is_f64() && double.fract() == 0.0 && (1e19..1e40).contains(&double.abs()) => {
            format!("{double:.0}")
        }
        _ => number.to_string(),
    }
}

/// A type as schemas name it.
fn json_type(schema: &Schema) -> &'static str {
    match &schema.shape {
        Shape::Boolean => "boolean",
        Shape::Int32 | Shape::Int64 => "integer",
        Shape::Number => "number",
        Shape::List(_) => "array",
        Shape::Any | Shape::Map(_) | Shape::Struct(_) => "object",
        Shape::IntOrString => "integer or string",
        Shape::String | Shape::Bytes | Shape::Time | Shape::MicroTime | Shape::Quantity => "string",
    }
}

fn go_struct(object: &Struct) -> String {
    let mut parts = object.name.rsplit('.');
    let (name, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{package}.{name}")
}

fn go_type(schema: &Schema) -> String {
    match &schema.shape {
        Shape::Any => "map[string]interface {}".to_owned(),
        Shape::Boolean => "bool".to_owned(),
        Shape::Int32 => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Number => "float64".to_owned(),
        Shape::String => "string".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        // A time is read from a text.
        Shape::Time | Shape::MicroTime => "string".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::IntOrString => "intstr.IntOrString".to_owned(),
        Shape::List(items) => format!("[]{}", go_type(items)),
        Shape::Map(values) if matches!(values.shape, Shape::Quantity) => "v1.ResourceList".to_owned(),
        Shape::Map(values) => format!("map[string]{}", go_type(values)),
        Shape::Struct(object) => go_struct(object.get()),
    }
}
