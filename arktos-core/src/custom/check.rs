//! What must hold of values: types, limits, lists without repetitions. (kube-openapi's validation, in its words.)

use std::cell::Cell;

use serde_json::{Map, Number, Value};

use super::cel;
use super::embedded;
use super::items::{Before, is_kept, repetitions};
use super::structural::{Limits, Structural, Values};
use crate::catalog::Kind;
use crate::object::Object;
use crate::rules::fault::Faults;
use crate::schema::Path;

/// What upstream calls a field that has no path.
pub(super) const NOWHERE: &str = "<nil>";

/// How many steps the check of an object, or of all defaults of a definition, may take: one for each value, and more
/// for what is gone through or written. Alternatives multiply what there is by what a schema says of it.
pub(super) const STEPS_MAX: usize = 10_000_000;
/// How many bytes that are written or gone through count as a step.
const BYTES: usize = 64;
/// What is said of what takes more.
const TOO_MUCH: &str = "takes too long to be checked: it is too large for what its schema says of it";

/// The steps that may be taken yet. A value that is not looked at any more has no faults: who began must ask whether
/// there was enough.
pub(super) struct Steps(Cell<usize>);

impl Default for Steps {
    fn default() -> Self {
        Self(STEPS_MAX.into())
    }
}

impl Steps {
    /// Takes some. Whether there were as many.
    fn take(&self, steps: usize) -> bool {
        self.0.set(self.0.get().saturating_sub(steps));
        self.0.get() > 0
    }

    fn are_over(&self) -> bool {
        self.0.get() == 0
    }
}

/// The faults of an object of a custom kind. What an update leaves as it was is not held against it.
pub(crate) fn validate(schema: &Structural, kind: &Kind, object: &Object, old: Option<&Object>, faults: &mut Faults) {
    let whole = Value::Object(object.fields.clone());
    let before = old.map(|old| Value::Object(old.fields.clone()));
    let begin = faults.0.len();
    let steps = Steps::default();
    value(schema, &whole, before.as_ref(), &Path::Root, &steps, faults);
    if steps.are_over() {
        return faults.invalid(NOWHERE, &Value::Null, TOO_MUCH);
    }
    embedded::types(schema, &whole, &Path::Root, faults);
    if let Some(scale) = kind.own.as_ref().and_then(|own| own.scale.as_ref()) {
        scale.validate(&whole, faults);
    }
    let mut repeated = Faults::default();
    repetitions(schema, &whole, &Path::Root, &mut repeated);
    if !repeated.0.is_empty() {
        let mut had = Faults::default();
        if let Some(before) = &before {
            repetitions(schema, before, &Path::Root, &mut had);
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
pub(super) fn default_faults(schema: &Structural, default: &Value, at: &str, steps: &Steps, faults: &mut Faults) {
    let mut found = Faults::default();
    value(schema, default, None, &Path::Root, steps, &mut found);
    if steps.are_over() {
        return faults.invalid_bare(at, TOO_MUCH);
    }
    embedded::default_types(schema, default, &mut found);
    for mut fault in found.0 {
        fault.field = match fault.field.as_str() {
            "" | NOWHERE => at.to_owned(),
            item if item.starts_with('[') => format!("{at}{item}"),
            below => format!("{at}.{below}"),
        };
        faults.0.push(fault);
    }
}

fn value(schema: &Structural, value: &Value, old: Option<&Value>, path: &Path<'_>, steps: &Steps, faults: &mut Faults) {
    if old.is_some_and(|old| is_kept(schema, old, value)) {
        return;
    }
    checked(schema, value, old, path, steps, faults);
}

/// As [`value`], whether or not an update has left the value as it was.
fn checked(
    schema: &Structural,
    value: &Value,
    old: Option<&Value>,
    path: &Path<'_>,
    steps: &Steps,
    faults: &mut Faults,
) {
    if !steps.take(1) || faults.is_full() {
        return;
    }
    type_fault(schema, value, path, faults);
    let limits = &schema.limits;
    options(limits, value, path, steps, faults);
    if value.is_null() {
        return;
    }
    match value {
        Value::String(text) => string(limits, text, path, steps, faults),
        Value::Number(given) => number(schema, given, path, faults),
        Value::Array(list) => array(schema, list, old, path, steps, faults),
        Value::Object(map) => object(schema, map, old, path, steps, faults),
        _ => {}
    }
    alternatives(limits, value, old, path, steps, faults);
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

/// Whether a number is whole, but for what is lost when it is computed.
fn is_nearly_whole(number: f64) -> bool {
    let whole = number.round();
    let bounded = number.abs() <= 9_007_199_254_740_991.0;
    bounded && (number - whole).abs() <= 1e-9 * whole.abs()
}

fn is_whole(number: &Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0 && number.abs() < 9e15)
}

fn type_fault(schema: &Structural, value: &Value, path: &Path<'_>, faults: &mut Faults) {
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
        let at = path.to_string();
        faults.wrong_type(&at, &found.into(), &format!("{at} in body must be of type {wanted}: \"{found}\""));
    }
}

fn options(limits: &Limits, value: &Value, path: &Path<'_>, steps: &Steps, faults: &mut Faults) {
    if limits.options.allow(value) || !steps.take(limits.options.list().len()) {
        return;
    }
    let options: Vec<String> = limits
        .options
        .list()
        .iter()
        .map(|option| option.as_str().map_or_else(|| option.to_string(), str::to_owned))
        .collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let shown = if value.is_null() { Value::from("null") } else { value.clone() };
    faults.not_supported(&path.to_string(), &shown, &options);
}

fn string(limits: &Limits, text: &str, path: &Path<'_>, steps: &Steps, faults: &mut Faults) {
    let pattern = limits.pattern.as_ref();
    if !steps.take(text.len() / BYTES + pattern.map_or(0, |pattern| pattern.steps(text))) {
        return;
    }
    let length = text.chars().count() as u64;
    // Of length and pattern, upstream tells the first that does not fit.
    if let Some(most) = limits.max_length.filter(|most| length > *most) {
        faults.too_long(&path.to_string(), usize::try_from(most).unwrap_or(usize::MAX));
    } else if let Some(least) = limits.min_length.filter(|least| length < *least) {
        let at = path.to_string();
        faults.invalid(&at, &text.into(), &format!("{at} in body should be at least {least} chars long"));
    } else if let Some(pattern) = pattern.filter(|pattern| !pattern.fits(text)) {
        let at = path.to_string();
        faults.invalid(&at, &text.into(), &format!("{at} in body should match '{}'", pattern.text()));
    }
    if let Some(format) = limits.format.filter(|format| !format.fits(text)) {
        let (name, at, shown) = (format.name(), path.to_string(), Value::from(text));
        faults.wrong_type(&at, &shown, &format!("{at} in body must be of type {name}: {shown}"));
    }
}

fn number(schema: &Structural, given: &Number, path: &Path<'_>, faults: &mut Faults) {
    let limits = &schema.limits;
    let (shown, float) = (Value::Number(given.clone()), given.as_f64().unwrap_or(f64::NAN));
    let fits = match (&*schema.type_name, &*limits.format_name) {
        ("integer", "int32") => is_whole(given) && float >= f64::from(i32::MIN) && float <= f64::from(i32::MAX),
        ("integer", _) => is_whole(given) && given.as_u64().is_none_or(|number| i64::try_from(number).is_ok()),
        ("number", "float") => float.abs() <= f64::from(f32::MAX),
        _ => true,
    };
    if !fits {
        let format = match &*limits.format_name {
            width @ ("int32" | "int64" | "float" | "double") => format!("with format {width}"),
            _ => "(default format)".to_owned(),
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
            faults.invalid(&path.to_string(), &factor.into(), &why);
        } else if whole % factor != 0 {
            faults.invalid(&path.to_string(), &shown, &format!("{path} in body should be a multiple of {factor}"));
        }
    } else if let Some(factor) = limits.multiple_of
        && !is_nearly_whole(if factor < 1.0 { 1.0 / factor * float } else { float / factor })
    {
        faults.invalid(&path.to_string(), &shown, &format!("{path} in body should be a multiple of {factor}"));
    }
    // Whole numbers are compared with the whole parts of limits.
    let limit = |limit: f64| if given.is_f64() { limit } else { limit.trunc() };
    if let Some((most, exclusive)) = limits.maximum.map(|(most, exclusive)| (limit(most), exclusive))
        && (float > most || exclusive && float >= most)
    {
        let or_equal = if exclusive { "" } else { " or equal to" };
        faults.invalid(&path.to_string(), &shown, &format!("{path} in body should be less than{or_equal} {most}"));
    }
    if let Some((least, exclusive)) = limits.minimum.map(|(least, exclusive)| (limit(least), exclusive))
        && (float < least || exclusive && float <= least)
    {
        let or_equal = if exclusive { "" } else { " or equal to" };
        faults.invalid(&path.to_string(), &shown, &format!("{path} in body should be greater than{or_equal} {least}"));
    }
}

fn array(
    schema: &Structural,
    list: &[Value],
    old: Option<&Value>,
    path: &Path<'_>,
    steps: &Steps,
    faults: &mut Faults,
) {
    let (limits, length) = (&schema.limits, list.len() as u64);
    if let Some(least) = limits.min_items.filter(|least| length < *least) {
        let at = path.to_string();
        faults.invalid(&at, &length.into(), &format!("{at} in body should have at least {least} items"));
    }
    if let Some(most) = limits.max_items.filter(|most| length > *most) {
        faults.too_many(&path.to_string(), length, most);
    }
    let Some(items) = &schema.items else { return };
    let before = Before::of(schema, old);
    for (index, item) in list.iter().enumerate() {
        value(items, item, before.item(item), &Path::Item(path, index), steps, faults);
    }
}

fn object(
    schema: &Structural,
    map: &Map<String, Value>,
    old: Option<&Value>,
    path: &Path<'_>,
    steps: &Steps,
    faults: &mut Faults,
) {
    let (limits, length) = (&schema.limits, map.len() as u64);
    if let Some(least) = limits.min_properties.filter(|least| length < *least) {
        let at = path.to_string();
        faults.invalid(&at, &length.into(), &format!("{at} in body should have at least {least} properties"));
    }
    if let Some(most) = limits.max_properties.filter(|most| length > *most) {
        faults.too_many(&path.to_string(), length, most);
    }
    if !steps.take(limits.required.len()) {
        return;
    }
    for name in limits.required.iter().filter(|name| !map.contains_key(&***name)) {
        if faults.is_full() {
            return;
        }
        faults.required(&Path::Field(path, name).to_string(), "");
    }
    for (name, field) in map {
        if let Some(known) = schema.field(name) {
            let old = old.and_then(|old| old.get(name));
            value(known, field, old, &Path::Field(path, name), steps, faults);
        }
    }
}

/// `allOf`, `anyOf`, `oneOf` and `not`.
fn alternatives(
    limits: &Limits,
    given: &Value,
    old: Option<&Value>,
    path: &Path<'_>,
    steps: &Steps,
    faults: &mut Faults,
) {
    let of = |schema: &Structural| {
        let mut found = Faults::default();
        checked(schema, given, old, path, steps, &mut found);
        steps.take(found.0.iter().map(|fault| 16 + (fault.message.len() + fault.field.len()) / BYTES).sum());
        found
    };
    let nowhere = |faults: &mut Faults, what: &str| {
        faults.invalid(NOWHERE, &"".into(), &format!("\"{path}\" must {what}"));
    };
    // How many of them the value fits, and what the one that comes nearest says that it lacks.
    let tried = |schemas: &[Structural]| {
        let (mut valid, mut nearest) = (0, None::<Faults>);
        for schema in schemas {
            let found = of(schema);
            if found.0.is_empty() {
                valid += 1;
            } else if nearest.as_ref().is_none_or(|nearest| found.0.len() < nearest.0.len()) {
                nearest = Some(found);
            }
        }
        (valid, nearest.unwrap_or_default())
    };
    if !limits.any_of.is_empty() {
        let (valid, nearest) = tried(&limits.any_of);
        if valid == 0 {
            nowhere(faults, "validate at least one schema (anyOf)");
            faults.extend(nearest);
        }
    }
    if !limits.one_of.is_empty() {
        match tried(&limits.one_of) {
            (1, _) => {}
            (0, nearest) => {
                nowhere(faults, "validate one and only one schema (oneOf). Found none valid");
                faults.extend(nearest);
            }
            (valid, _) => {
                let what = format!("validate one and only one schema (oneOf). Found {valid} valid alternatives");
                nowhere(faults, &what);
            }
        }
    }
    if !limits.all_of.is_empty() {
        let mut valid = 0;
        for schema in &limits.all_of {
            let found = of(schema);
            valid += usize::from(found.0.is_empty());
            faults.extend(found);
        }
        if valid < limits.all_of.len() {
            let none = if valid == 0 { ". None validated" } else { "" };
            nowhere(faults, &format!("validate all the schemas (allOf){none}"));
        }
    }
    if let Some(not) = &limits.not
        && of(not).0.is_empty()
    {
        nowhere(faults, "not validate the schema (not)");
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
    fn what_a_schema_does_not_name_counts_as_changed() {
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "required": ["r"],
            "properties": {"n": {"type": "integer"}}});
        let wanted = ["a.r: Required value"];
        let was = |value: Value| told(&open, value.clone(), Some(value));
        assert_eq!(was(json!({"x": 1})), wanted);
        assert_eq!(was(json!({"n": 1})), Vec::<String>::new());
        assert_eq!(was(json!({})), Vec::<String>::new());
    }

    #[test]
    fn a_reserved_word_names_a_field_after_a_dot() {
        let rule = json!([{"rule": "self.namespace == 'x' && has(self.__namespace__) && self.for > 1"}]);
        let fields = json!({"namespace": {"type": "string"}, "for": {"type": "integer"}});
        let schema = json!({"type": "object", "properties": fields, "x-kubernetes-validations": rule});
        assert_eq!(told(&schema, json!({"namespace": "x", "for": 2}), None), Vec::<String>::new());
        assert_eq!(told(&schema, json!({"namespace": "y", "for": 2}), None).len(), 1);
    }

    #[test]
    fn values_of_maps_are_named_by_their_keys_in_brackets() {
        let rule = json!([{"rule": "self != oldSelf"}]);
        let field = json!({"type": "string", "x-kubernetes-validations": rule});
        let item = json!({"type": "object", "properties": {"field": field}});
        let map = json!({"type": "object", "additionalProperties": item});
        let value = json!({"foo": {"field": "x"}});
        assert_eq!(
            told(&map, value.clone(), Some(value)),
            ["a[foo].field: Invalid value: \"x\": failed rule: self != oldSelf"]
        );
        let set = json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}});
        let sets = json!({"type": "object", "additionalProperties": set});
        assert_eq!(told(&sets, json!({"x": [1, 1]}), None), ["a[x][1]: Duplicate value: 1"]);
        let embedded = json!({"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true});
        let objects = json!({"type": "object", "additionalProperties": embedded});
        assert_eq!(told(&objects, json!({"x": {"apiVersion": "v1"}}), None), ["a[x].kind: Required value"]);
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

    #[test]
    fn sets_and_maps_are_told_apart_by_what_they_hold() {
        let set = json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}});
        assert_eq!(told(&set, json!([1, 2, 1, 2]), None), ["a[2]: Duplicate value: 1", "a[3]: Duplicate value: 2"]);
        let many: Vec<u32> = (0..40_000).collect();
        assert_eq!(told(&set, json!(many), None), Vec::<String>::new());
        let key = json!({"type": "integer", "default": 0});
        let map = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "l"],
        "items": {"type": "object", "properties": {"k": key, "l": key, "n": {"type": "integer", "maximum": 5}}}});
        let twice = json!([{"k": 1}, {"k": 1, "l": 2}, {"k": 1, "n": 3}, {"l": 2, "k": 1}, {}, {}]);
        let wanted = [
            "a[2]: Duplicate value: {\"k\":1}",
            "a[3]: Duplicate value: {\"k\":1,\"l\":2}",
            "a[5]: Duplicate value: {}",
        ];
        assert_eq!(told(&map, twice, None), wanted);
        let of = |last: u32| {
            Value::from(
                (0..20_000).map(|k| json!({"k": k, "n": if k == 19_999 { last } else { 9 }})).collect::<Vec<_>>(),
            )
        };
        assert_eq!(told(&map, of(1), Some(of(9))), Vec::<String>::new());
        assert_eq!(told(&map, of(8), Some(of(9))).len(), 1);
    }

    #[test]
    fn a_value_is_one_of_those_there_are_however_many() {
        let options =
            |count: u32| json!({"type": "array", "items": {"type": "integer", "enum": (0..count).collect::<Vec<_>>()}});
        for count in [3, 100, 100_000] {
            assert_eq!(told(&options(count), json!([0, count - 1]), None), Vec::<String>::new(), "{count}");
            let refused = told(&options(count), json!([count]), None);
            assert!(refused[0].starts_with(&format!("a[0]: Unsupported value: {count}: supported values: \"0\"")));
        }
        // Only as many lists are written as are told.
        let told = told(&options(100_000), json!(vec![-1; 3000]), None);
        assert!(told.len() < 10, "{}", told.len());
    }

    #[test]
    fn what_a_schema_says_is_not_multiplied_by_what_there_is() {
        let ints = |count: u32| json!((0..count).collect::<Vec<_>>());
        let branch = json!({"maximum": -1});
        let any =
            |count: usize, of: &Value| json!({"type": "array", "items": {"type": "integer", "anyOf": vec![of; count]}});
        let over = |schema: &Value, value: Value| told(schema, value, None).iter().any(|told| told.contains(TOO_MUCH));
        assert!(over(&any(5000, &branch), ints(5000)));
        assert!(!over(&any(5, &json!({"minimum": 0})), ints(20_000)));
        let text = |count: usize| json!({"type": "string", "anyOf": vec![json!({"pattern": "^x"}); count]});
        assert!(over(&text(30_000), json!("y".repeat(1 << 20))), "nor are copies of it made without end");
        let long = json!({"type": "string", "pattern": "^.{1,250}$"});
        assert!(!over(&long, json!("x".repeat(100_000))));
        // A key of a megabyte is not written once for each of the items below it.
        let items = json!({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}});
        let told = told(&items, json!({"k".repeat(1 << 20): vec![1; 100_000]}), None);
        assert!(told.len() < 5, "{}", told.len());
    }
}
