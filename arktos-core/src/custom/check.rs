//! What must hold of values: types, limits, lists without repetitions. (kube-openapi's validation, in its words.)

use serde_json::{Map, Number, Value};

use super::cel;
use super::structural::{Limits, Structural, Values};
use crate::catalog::Kind;
use crate::object::Object;
use crate::rules::fault::Faults;
use crate::schema::ListKind;

/// What upstream calls a field that has no path.
pub(super) const NOWHERE: &str = "<nil>";

/// The faults of an object of a custom kind. What an update leaves as it was is not held against it.
pub(crate) fn validate(schema: &Structural, kind: &Kind, object: &Object, old: Option<&Object>, faults: &mut Faults) {
    let whole = Value::Object(object.fields.clone());
    let before = old.map(|old| Value::Object(old.fields.clone()));
    let begin = faults.0.len();
    value(schema, &whole, before.as_ref(), "", faults);
    embedded_types(schema, &whole, "", faults);
    if let Some(scale) = kind.own.as_ref().and_then(|own| own.scale.as_ref()) {
        scale.validate(&whole, faults);
    }
    let mut repeated = Faults::default();
    repetitions(schema, &whole, "", &mut repeated);
    if !repeated.0.is_empty() {
        let mut had = Faults::default();
        if let Some(before) = &before {
            repetitions(schema, before, "", &mut had);
        }
        if had.0.is_empty() {
            faults.extend(repeated);
        }
    }
    if !schema.ruled {
        return;
    }
    let blocks = [
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    ];
    if faults.0[begin..].iter().any(|fault| blocks.contains(&fault.reason.as_str())) {
        let why = "some validation rules were not checked because the object was invalid; correct the existing errors \
                   to complete validation";
        faults.invalid(NOWHERE, &Value::Null, why);
        return;
    }
    cel::validate(schema, &whole, before.as_ref(), faults);
}

/// Checks a default, which stands for a value at no path.
pub(super) fn default_faults(schema: &Structural, default: &Value, at: &str, faults: &mut Faults) {
    let mut found = Faults::default();
    value(schema, default, None, "", &mut found);
    for mut fault in found.0 {
        fault.field = match fault.field.as_str() {
            "" | NOWHERE => at.to_owned(),
            below => format!("{at}.{below}"),
        };
        faults.0.push(fault);
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn value(schema: &Structural, value: &Value, old: Option<&Value>, path: &str, faults: &mut Faults) {
    if old == Some(value) {
        return;
    }
    type_fault(schema, value, path, faults);
    let limits = &schema.limits;
    options(limits, value, path, faults);
    if value.is_null() {
        return;
    }
    match value {
        Value::String(text) => string(limits, text, path, faults),
        Value::Number(given) => number(schema, given, path, faults),
        Value::Array(list) => array(schema, list, old, path, faults),
        Value::Object(map) => object(schema, map, old, path, faults),
        _ => {}
    }
    alternatives(limits, value, old, path, faults);
}

/// The type of a value, as schemas name it.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_whole(number: &Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0 && number.abs() < 9e15)
}

fn type_fault(schema: &Structural, value: &Value, path: &str, faults: &mut Faults) {
    let wanted = if schema.int_or_string { "integer,string" } else { &*schema.type_name };
    let fits = match (wanted, value) {
        ("", _) => true,
        (_, Value::Null) => schema.nullable,
        ("integer", Value::Number(number)) => is_whole(number),
        ("number", Value::Number(_)) => true,
        ("integer,string", Value::Number(number)) => is_whole(number),
        ("integer,string", Value::String(_)) => true,
        (wanted, value) => wanted == type_of(value),
    };
    if !fits {
        let found = type_of(value);
        faults.wrong_type(path, &found.into(), &format!("{path} in body must be of type {wanted}: \"{found}\""));
    }
}

fn options(limits: &Limits, value: &Value, path: &str, faults: &mut Faults) {
    if limits.options.is_empty() || limits.options.contains(value) {
        return;
    }
    let options: Vec<String> =
        limits.options.iter().map(|option| option.as_str().map_or_else(|| option.to_string(), str::to_owned)).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let shown = if value.is_null() { Value::from("null") } else { value.clone() };
    faults.not_supported(path, &shown, &options);
}

fn string(limits: &Limits, text: &str, path: &str, faults: &mut Faults) {
    let shown = Value::from(text);
    let length = text.chars().count() as u64;
    // Of length and pattern, upstream tells the first that does not fit.
    if let Some(most) = limits.max_length.filter(|most| length > *most) {
        faults.too_long(path, usize::try_from(most).unwrap_or(usize::MAX));
    } else if let Some(least) = limits.min_length.filter(|least| length < *least) {
        faults.invalid(path, &shown, &format!("{path} in body should be at least {least} chars long"));
    } else if let Some((pattern, regex)) = &limits.pattern
        && !regex.as_ref().is_some_and(|regex| regex.is_match(text))
    {
        faults.invalid(path, &shown, &format!("{path} in body should match '{pattern}'"));
    }
    if let Some(format) = limits.format.filter(|format| !format.fits(text)) {
        let name = format.name();
        faults.wrong_type(path, &shown, &format!("{path} in body must be of type {name}: {shown}"));
    }
}

fn number(schema: &Structural, given: &Number, path: &str, faults: &mut Faults) {
    let limits = &schema.limits;
    let (shown, float) = (Value::Number(given.clone()), given.as_f64().unwrap_or(f64::NAN));
    let fits = match (&*schema.type_name, &*limits.width) {
        ("integer", "int32") => is_whole(given) && float >= f64::from(i32::MIN) && float <= f64::from(i32::MAX),
        ("integer", _) => is_whole(given) && given.as_u64().is_none_or(|number| i64::try_from(number).is_ok()),
        ("number", "float") => float.abs() <= f64::from(f32::MAX),
        _ => true,
    };
    if !fits {
        let format = match &*limits.width {
            "" => "(default format)".to_owned(),
            width => format!("with format {width}"),
        };
        let why = format!("Checked value must be of type {} {format} in {path}", schema.type_name);
        faults.invalid(NOWHERE, &"".into(), &why);
    }
    // Of a whole number, upstream takes the whole part of the factor.
    if let (Some(factor), Some(whole)) = (limits.multiple_of, given.as_i64()) {
        #[allow(clippy::cast_possible_truncation)]
        let factor = factor as i64;
        if factor <= 0 {
            let why = format!("factor MultipleOf declared for {path} must be positive: {factor}");
            faults.invalid(path, &factor.into(), &why);
        } else if whole % factor != 0 {
            faults.invalid(path, &shown, &format!("{path} in body should be a multiple of {factor}"));
        }
    } else if let Some(factor) = limits.multiple_of
        && ((float / factor).round() * factor - float).abs() > f64::EPSILON * float.abs().max(1.0)
    {
        faults.invalid(path, &shown, &format!("{path} in body should be a multiple of {factor}"));
    }
    // Whole numbers are compared with the whole parts of limits.
    let limit = |limit: f64| if given.is_f64() { limit } else { limit.trunc() };
    if let Some((most, exclusive)) = limits.maximum.map(|(most, exclusive)| (limit(most), exclusive))
        && (float > most || exclusive && float >= most)
    {
        let or_equal = if exclusive { "" } else { " or equal to" };
        faults.invalid(path, &shown, &format!("{path} in body should be less than{or_equal} {most}"));
    }
    if let Some((least, exclusive)) = limits.minimum.map(|(least, exclusive)| (limit(least), exclusive))
        && (float < least || exclusive && float <= least)
    {
        let or_equal = if exclusive { "" } else { " or equal to" };
        faults.invalid(path, &shown, &format!("{path} in body should be greater than{or_equal} {least}"));
    }
}

fn array(schema: &Structural, list: &[Value], old: Option<&Value>, path: &str, faults: &mut Faults) {
    let (limits, length) = (&schema.limits, list.len() as u64);
    if let Some(least) = limits.min_items.filter(|least| length < *least) {
        faults.invalid(path, &length.into(), &format!("{path} in body should have at least {least} items"));
    }
    if let Some(most) = limits.max_items.filter(|most| length > *most) {
        faults.too_many(path, length, most);
    }
    let Some(items) = &schema.items else { return };
    let before = Before::of(schema, old);
    for (index, item) in list.iter().enumerate() {
        value(items, item, before.item(item), &format!("{path}[{index}]"), faults);
    }
}

/// The items of a list before an update, where they can be told apart.
pub(super) struct Before<'a> {
    keys: &'a [Box<str>],
    list: &'a [Value],
}

impl<'a> Before<'a> {
    pub(super) fn of(schema: &'a Structural, old: Option<&'a Value>) -> Self {
        let list = old.and_then(Value::as_array).filter(|_| schema.list == ListKind::Map);
        Self { keys: &schema.keys, list: list.map_or(&[], Vec::as_slice) }
    }

    /// The item that had the same keys.
    pub(super) fn item(&self, item: &Value) -> Option<&'a Value> {
        let same = |other: &&Value| self.keys.iter().all(|key| other.get(&**key) == item.get(&**key));
        self.list.iter().find(same)
    }
}

fn object(schema: &Structural, map: &Map<String, Value>, old: Option<&Value>, path: &str, faults: &mut Faults) {
    let (limits, length) = (&schema.limits, map.len() as u64);
    if let Some(least) = limits.min_properties.filter(|least| length < *least) {
        faults.invalid(path, &length.into(), &format!("{path} in body should have at least {least} properties"));
    }
    if let Some(most) = limits.max_properties.filter(|most| length > *most) {
        faults.too_many(path, length, most);
    }
    for name in limits.required.iter().filter(|name| !map.contains_key(&***name)) {
        faults.required(&joined(path, name), "");
    }
    for (name, field) in map {
        if let Some(known) = schema.field(name) {
            let old = old.and_then(|old| old.get(name));
            value(known, field, old, &joined(path, name), faults);
        }
    }
}

/// `allOf`, `anyOf`, `oneOf` and `not`.
fn alternatives(limits: &Limits, given: &Value, old: Option<&Value>, path: &str, faults: &mut Faults) {
    let of = |schema: &Structural| {
        let mut found = Faults::default();
        value(schema, given, old, path, &mut found);
        found
    };
    let nowhere = |faults: &mut Faults, what: &str| {
        faults.invalid(NOWHERE, &"".into(), &format!("\"{path}\" must {what}"));
    };
    let fail = |faults: &mut Faults, all: Vec<Faults>| {
        // The alternative that comes nearest says what it lacks.
        if let Some(nearest) = all.into_iter().min_by_key(|found| found.0.len()) {
            faults.extend(nearest);
        }
    };
    if !limits.any_of.is_empty() {
        let all: Vec<Faults> = limits.any_of.iter().map(of).collect();
        if all.iter().all(|found| !found.0.is_empty()) {
            nowhere(faults, "validate at least one schema (anyOf)");
            fail(faults, all);
        }
    }
    if !limits.one_of.is_empty() {
        let all: Vec<Faults> = limits.one_of.iter().map(of).collect();
        match all.iter().filter(|found| found.0.is_empty()).count() {
            1 => {}
            0 => {
                nowhere(faults, "validate one and only one schema (oneOf). Found none valid");
                fail(faults, all);
            }
            valid => {
                let what = format!("validate one and only one schema (oneOf). Found {valid} valid alternatives");
                nowhere(faults, &what);
            }
        }
    }
    if !limits.all_of.is_empty() {
        let all: Vec<Faults> = limits.all_of.iter().map(of).collect();
        let valid = all.iter().filter(|found| found.0.is_empty()).count();
        if valid < all.len() {
            let none = if valid == 0 { ". None validated" } else { "" };
            all.into_iter().for_each(|found| faults.extend(found));
            nowhere(faults, &format!("validate all the schemas (allOf){none}"));
        }
    }
    if let Some(not) = &limits.not
        && of(not).0.is_empty()
    {
        nowhere(faults, "not validate the schema (not)");
    }
}

/// Objects that are embedded say what they are.
fn embedded_types(schema: &Structural, value: &Value, path: &str, faults: &mut Faults) {
    match value {
        Value::Object(map) => {
            if schema.embedded && !path.is_empty() {
                for name in ["apiVersion", "kind"] {
                    let path = joined(path, name);
                    match map.get(name).and_then(Value::as_str) {
                        None => faults.required(&path, ""),
                        Some("") => faults.invalid(&path, &"".into(), "must not be empty"),
                        Some(said) if name == "apiVersion" && said.matches('/').count() > 1 => {
                            faults.invalid(&path, &said.into(), &format!("unexpected GroupVersion string: {said}"));
                        }
                        Some(_) => {}
                    }
                }
            }
            for (name, value) in map {
                if let Some(field) = schema.field(name) {
                    embedded_types(field, value, &joined(path, name), faults);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            for (index, item) in list.iter().enumerate() {
                embedded_types(items, item, &format!("{path}[{index}]"), faults);
            }
        }
        _ => {}
    }
}

/// Sets and maps that are written as lists have each item once.
fn repetitions(schema: &Structural, value: &Value, path: &str, faults: &mut Faults) {
    match value {
        Value::Object(map) => {
            let below = schema.children().next().is_some();
            for (name, value) in map.iter().filter(|_| below) {
                if let Some(field) = schema.field(name) {
                    repetitions(field, value, &joined(path, name), faults);
                }
            }
        }
        Value::Array(list) => {
            let mut seen: Vec<Value> = Vec::new();
            for (index, item) in list.iter().enumerate() {
                if schema.list == ListKind::Map && !item.is_object() && !item.is_null() {
                    let why = "must be an object for an array of list-type map";
                    faults.invalid(&format!("{path}[{index}]"), item, why);
                    continue;
                }
                let told = match schema.list {
                    ListKind::Set => item.clone(),
                    ListKind::Map => {
                        let key = |key: &str| Some((key.to_owned(), item.get(key)?.clone()));
                        Value::Object(schema.keys.iter().filter_map(|name| key(name)).collect())
                    }
                    ListKind::Atomic => continue,
                };
                if seen.contains(&told) {
                    faults.duplicate(&format!("{path}[{index}]"), &told);
                } else {
                    seen.push(told);
                }
            }
            let Some(items) = &schema.items else { return };
            for (index, item) in list.iter().enumerate() {
                repetitions(items, item, &format!("{path}[{index}]"), faults);
            }
        }
        _ => {}
    }
}

impl Values {
    /// Whether there are values at all.
    pub(super) fn is_map(&self) -> bool {
        !matches!(self, Self::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Scope;
    use serde_json::json;

    /// What is said of `a` when it is written, over another value where there was one.
    fn told(schema: &Value, new: Value, old: Option<Value>) -> Vec<String> {
        let whole = json!({"type": "object", "properties": {"a": schema}});
        let kind = Kind::custom("example.org", "v1", "Thing", "things", Scope::Tenant).with_schema(&whole);
        let object = |a: Value| Object::from_value(json!({"metadata": {"name": "x"}, "a": a})).expect("an object");
        let (new, old, mut faults) = (object(new), old.map(object), Faults::default());
        let schema = Structural::compile(&whole);
        validate(&schema, &kind.expect("a structural schema"), &new, old.as_ref(), &mut faults);
        faults.0.into_iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect()
    }

    #[test]
    fn what_was_there_before_is_not_held_against_an_update() {
        let text =
            json!({"type": "object", "properties": {"x": {"type": "string", "maxLength": 2}, "y": {"type": "string"}}});
        let old = json!({"x": "long"});
        assert_eq!(told(&text, json!({"x": "long", "y": "new"}), Some(old.clone())), Vec::<String>::new());
        let fault = ["a.x: Too long: may not be more than 2 bytes"];
        assert_eq!(told(&text, json!({"x": "longer"}), Some(old.clone())), fault);
        assert_eq!(told(&text, old, None), fault);
        let items = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": {"type": "object", "required": ["k"], "properties": {
            "k": {"type": "string"}, "n": {"type": "integer", "maximum": 5},
        }}});
        let (bad, moved) = (json!([{"k": "a", "n": 9}]), json!([{"k": "b", "n": 1}, {"k": "a", "n": 9}]));
        assert_eq!(told(&items, moved.clone(), Some(bad)), Vec::<String>::new());
        assert_eq!(
            told(&items, moved, None),
            ["a[1].n: Invalid value: 9: a[1].n in body should be less than or equal to 5"]
        );
    }

    #[test]
    fn rules_compare_with_what_was_there_when_it_was_there() {
        let rules = |rule: Value| json!({"type": "integer", "x-kubernetes-validations": [rule]});
        let grows = rules(json!({"rule": "self >= oldSelf", "message": "may not shrink"}));
        assert_eq!(told(&grows, json!(1), None), Vec::<String>::new());
        assert_eq!(told(&grows, json!(2), Some(json!(1))), Vec::<String>::new());
        assert_eq!(told(&grows, json!(1), Some(json!(2))), ["a: Invalid value: 1: may not shrink"]);
        let starts = rules(json!({"rule": "oldSelf.hasValue() || self == 1", "optionalOldSelf": true}));
        assert_eq!(told(&starts, json!(1), None), Vec::<String>::new());
        assert_eq!(told(&starts, json!(5), Some(json!(4))), Vec::<String>::new());
        assert_eq!(told(&starts, json!(2), None).len(), 1);
        let small = rules(json!({"rule": "self < 3"}));
        assert_eq!(told(&small, json!(9), Some(json!(9))), Vec::<String>::new());
        assert_eq!(told(&small, json!(8), Some(json!(9))), ["a: Invalid value: 8: failed rule: self < 3"]);
    }

    #[test]
    fn rules_see_values_as_their_schema_means_them() {
        let object = |rule: &str| {
            json!({"type": "object", "x-kubernetes-validations": [{ "rule": rule }], "properties": {
                "my_name": {"type": "string"},
                "a-b": {"type": "integer"},
                "when": {"type": "string", "format": "date-time"},
                "for": {"type": "string", "format": "duration"},
                "port": {"x-kubernetes-int-or-string": true},
                "tags": {"type": "object", "additionalProperties": {"type": "string"}},
                "list": {"type": "array", "items": {"type": "string"}, "maxItems": 5},
            }})
        };
        let value = json!({"my_name": "äx", "a-b": 3, "when": "2020-01-01T00:00:00Z", "for": "1h", "port": "http",
            "tags": {"x-y": "z"}, "list": ["a", "b"]});
        for rule in [
            "self.my_name == 'äx' && size(self.my_name) == 2",
            "self.a__dash__b == 3",
            "self.when < timestamp('2021-01-01T00:00:00Z')",
            "self.__for__ > duration('30m')",
            "type(self.port) == string",
            "self.tags['x-y'] == 'z'",
            "self.list.exists(x, x == 'b') && self.list.all(x, x.matches('^[ab]$'))",
            "has(self.tags) && !has(self.tags.none)",
            "isQuantity('1Gi') && quantity('1Gi').isGreaterThan(quantity('1Mi'))",
        ] {
            assert_eq!(told(&object(rule), value.clone(), None), Vec::<String>::new(), "{rule}");
        }
        assert_eq!(
            told(&object("self.list.size() == 3"), value, None),
            ["a: Invalid value: failed rule: self.list.size() == 3"]
        );
    }

    #[test]
    fn rules_wait_until_types_fit() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}},
            "x-kubernetes-validations": [{"rule": "self.n > 1"}]});
        let told = told(&schema, json!({"n": "x"}), None);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[1].starts_with("<nil>: Invalid value: null: some validation rules were not checked"));
    }
}
