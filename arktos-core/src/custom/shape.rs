//! What patches, apply and OpenAPI see of a structural schema.

use super::structural::{Structural, Values};
use crate::schema::{self, Field, Merge, Schema, Shape, Struct, StructRef};
use std::sync::Arc;

/// The schema of a whole object, without the name of its type.
pub(crate) fn shape_of(schema: &Structural) -> Struct {
    object(schema, true)
}

fn object(schema: &Structural, whole: bool) -> Struct {
    let own = ["apiVersion", "kind", "metadata"];
    let named = schema.properties.iter().filter(|(name, _)| !whole || !own.contains(&&***name));
    let mut fields: Vec<Field> = named.map(|(name, schema)| Field::optional(name, of(schema))).collect();
    if whole {
        fields.push(Field::optional("apiVersion", Schema::of(Shape::String)));
        fields.push(Field::optional("kind", Schema::of(Shape::String)));
        let meta = schema::builtin("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        fields.extend(meta.map(|meta| Field::optional("metadata", meta)));
    }
    Struct::new("", fields, schema.preserve)
}

fn of(schema: &Structural) -> Schema {
    let merge = Merge { list: schema.list, keys: schema.keys.clone(), atomic: schema.atomic, ..Merge::default() };
    let shape = if schema.int_or_string {
        Shape::IntOrString
    } else {
        match (&*schema.type_name, &*schema.limits.format_name) {
            ("boolean", _) => Shape::Boolean,
            ("integer", "int32") => Shape::Int32,
            ("integer", _) => Shape::Int64,
            ("number", _) => Shape::Number,
            ("string", _) => Shape::String,
            ("array", _) => match &schema.items {
                Some(items) => Shape::List(Box::new(of(items))),
                None => Shape::List(Box::new(Schema::of(Shape::Any))),
            },
            ("object", _) => match &schema.values {
                Values::Schema(values) => Shape::Map(Box::new(of(values))),
                Values::Any => Shape::Map(Box::new(Schema::of(Shape::Any))),
                Values::None if schema.properties.is_empty() && schema.preserve && !schema.embedded => Shape::Any,
                Values::None => Shape::Struct(StructRef::Own(Arc::new(object(schema, schema.embedded)))),
            },
            _ => Shape::Any,
        }
    };
    Schema { shape, default: schema.default.clone(), options: Box::default(), merge }
}
