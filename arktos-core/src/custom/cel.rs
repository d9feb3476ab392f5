//! Rules in CEL (`x-kubernetes-validations`): when they hold, and what is said when they do not.

use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::Value as CelValue;
use kube_cel::cel::objects::{Key, Map as CelMap, OptionalValue};
use serde_json::{Map, Value};

use super::check::NOWHERE;
use super::items::{Before, is_kept};
use super::structural::{Structural, Values};
use crate::cel::run::{Fault, Frame, Run};
use crate::cel::tree::{Tree, within};
use crate::object::Object;
use crate::rules::fault::Faults;
use crate::schema::Path;

/// A rule, compiled.
#[derive(Debug)]
pub(super) struct Rule {
    text: String,
    message: String,
    reason: String,
    field_path: String,
    /// Whether `oldSelf` may be absent: it is an optional then.
    optional_old: bool,
    program: Option<Tree>,
    message_program: Option<Tree>,
    /// Whether it compares with what was there before.
    compares: bool,
}

/// What all rules may cost for one object.
const BUDGET: u64 = 10_000_000;

impl Rule {
    /// The rules that stand at a schema.
    pub(super) fn all(schema: &Value) -> Box<[Self]> {
        let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
        rules.into_iter().flatten().map(Self::compile).collect()
    }

    fn compile(rule: &Value) -> Self {
        let text = |field: &str| rule.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
        let program = Tree::read(&text("rule"));
        let message = text("messageExpression");
        Self {
            compares: program.as_ref().is_some_and(|program| program.has_variable("oldSelf")),
            program,
            message_program: if message.is_empty() { None } else { Tree::read(&message) },
            text: text("rule"),
            message: text("message").trim().to_owned(),
            reason: text("reason"),
            field_path: text("fieldPath"),
            optional_old: rule.get("optionalOldSelf") == Some(&Value::Bool(true)),
        }
    }

    /// What is said when it does not hold.
    fn message(&self, run: &Run<'_>, names: &Frame<'_>) -> String {
        if let Some(program) = &self.message_program
            && let Ok(CelValue::String(text)) = program.resolve(run, names)
            && !text.trim().is_empty()
            && !text.contains('\n')
        {
            return text.trim().to_owned();
        }
        if self.message.is_empty() { format!("failed rule: {}", self.text.trim()) } else { self.message.clone() }
    }

    fn run(&self, run: &Run<'_>, own: &Frame<'_>, old: Option<&CelValue>, at: &At<'_>, faults: &mut Faults) {
        let mut names = Frame::within(own);
        match old {
            Some(old) if self.optional_old => {
                names = names.with("oldSelf", optional(OptionalValue::of(old.clone())));
            }
            Some(old) => names = names.with("oldSelf", old.clone()),
            None if self.optional_old => names = names.with("oldSelf", optional(OptionalValue::none())),
            None if self.compares => return, // there is nothing to compare with
            None => {}
        }
        let held = match &self.program {
            Some(program) => program.resolve(run, &names),
            None => return at.failed(&format!("the rule does not compile evaluating rule: {}", self.text), faults),
        };
        let said = if self.message.is_empty() { &self.text } else { &self.message };
        match held {
            Ok(CelValue::Bool(true)) => {}
            Ok(CelValue::Bool(false)) => self.fail(&self.message(run, &names), at, faults),
            Ok(_) => at.invalid(&at.place(), "evaluated to non-bool", faults),
            Err(Fault::Cost) => {
                let why = "no further validation rules will be run due to call cost exceeds limit for rule";
                at.failed(&format!("'{}': {why}: {said}", Fault::Cost), faults);
                run.end();
            }
            Err(Fault::Budget) => {
                at.failed(&Fault::Budget.to_string(), faults);
                run.end();
            }
            Err(fault) => {
                let why = crate::cel::told_fault(&fault.to_string());
                at.failed(&format!("{why} evaluating rule: {said}"), faults);
            }
        }
    }

    fn fail(&self, message: &str, at: &At<'_>, faults: &mut Faults) {
        let path = format!("{}{}", at.path, self.field_path);
        let path = if path.is_empty() { NOWHERE } else { path.strip_prefix('.').unwrap_or(&path) };
        match self.reason.as_str() {
            "FieldValueForbidden" => faults.forbidden(path, message),
            "FieldValueRequired" => faults.required(path, message),
            "FieldValueDuplicate" => faults.duplicate_bare(path),
            _ => at.invalid(path, message, faults),
        }
    }
}

/// The value that a rule is about.
struct At<'a> {
    path: &'a Path<'a>,
    value: &'a Value,
}

impl At<'_> {
    fn place(&self) -> String {
        if self.path.is_root() { NOWHERE.to_owned() } else { self.path.to_string() }
    }

    /// A rule that could not be asked: of the value, its type is told.
    fn failed(&self, why: &str, faults: &mut Faults) {
        faults.invalid(&self.place(), &super::check::type_of(self.value).into(), why);
    }

    /// Objects and lists are not shown: they may be long.
    fn invalid(&self, path: &str, why: &str, faults: &mut Faults) {
        if self.value.is_object() || self.value.is_array() {
            faults.invalid_bare(path, why);
        } else {
            faults.invalid(path, self.value, why);
        }
    }
}

fn optional(value: OptionalValue) -> CelValue {
    CelValue::Opaque(Arc::new(value))
}

/// Checks the rules of a whole object. Where an update has left a value as it was, only rules that compare are asked.
pub(super) fn validate(schema: &Structural, whole: &Value, old: Option<&Value>, faults: &mut Faults) {
    ask(schema, whole, old, false, faults);
}

/// What the rules that are not asked of what an update has left as it was would say of it.
pub(crate) fn kept_faults(schema: &Structural, old: &Object, new: &Object) -> Vec<String> {
    if !schema.ruled {
        return Vec::new();
    }
    let whole = |object: &Object| Value::Object(object.fields.clone());
    let mut faults = Faults::default();
    ask(schema, &whole(new), Some(&whole(old)), true, &mut faults);
    faults.0.into_iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect()
}

/// Of a whole object, an update leaves no more as it was than its parts: its version is new.
fn ask(schema: &Structural, whole: &Value, old: Option<&Value>, kept: bool, faults: &mut Faults) {
    let (seen, before) = (root(whole), old.map(root));
    let was = Was { value: before.as_ref(), same: false };
    within(BUDGET, |run| Asking { run, kept }.walk(schema, &seen, was, &Path::Root, faults));
}

/// Of metadata, rules see the name alone.
fn root(whole: &Value) -> Value {
    let Value::Object(fields) = whole else { return whole.clone() };
    let mut fields = fields.clone();
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        metadata.retain(|name, _| matches!(name.as_str(), "name" | "generateName"));
    }
    Value::Object(fields)
}

/// What a value was before an update, where that can be told, and whether it is the same.
#[derive(Clone, Copy)]
struct Was<'a> {
    value: Option<&'a Value>,
    same: bool,
}

impl<'a> Was<'a> {
    /// Of a part of which nobody can tell what it was, as of the whole.
    fn of(schema: &Structural, old: Option<&'a Value>, new: &Value, whole: bool) -> Self {
        Self { value: old, same: old.map_or(whole, |old| is_kept(schema, old, new)) }
    }
}

/// How rules are asked.
struct Asking<'r, 'a> {
    run: &'r Run<'a>,
    /// Whether those are asked that are not asked otherwise: of what is as it was.
    kept: bool,
}

impl Asking<'_, '_> {
    fn walk(&self, schema: &Structural, value: &Value, was: Was<'_>, path: &Path<'_>, faults: &mut Faults) {
        let run = self.run;
        if !schema.ruled || run.is_over() || faults.is_full() {
            return;
        }
        let is_asked = |rule: &&Rule| (was.same && !rule.compares) == self.kept;
        let asked: Vec<&Rule> = schema.rules.iter().filter(is_asked).collect();
        let nothing = value.is_null() && schema.nullable;
        if !asked.is_empty() && !nothing {
            let at = At { path, value };
            let own = Frame::default().with("self", to_cel(schema, value, path.is_root()));
            let old = was.value.map(|old| to_cel(schema, old, path.is_root()));
            for rule in asked {
                rule.run(run, &own, old.as_ref(), &at, faults);
                if run.is_over() {
                    return;
                }
            }
        }
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let Some(field) = schema.field(name) else { continue };
                    let old = was.value.and_then(|old| old.get(name));
                    let part = Was::of(field, old, value, was.same);
                    self.walk(field, value, part, &schema.place_of(path, name), faults);
                }
            }
            Value::Array(list) => {
                let Some(items) = &schema.items else { return };
                let before = Before::of(schema, was.value);
                for (index, item) in list.iter().enumerate() {
                    let part = Was::of(items, before.item(item), item, was.same);
                    self.walk(items, item, part, &Path::Item(path, index), faults);
                }
            }
            _ => {}
        }
    }
}

/// Words that cannot stand as a field's name.
const RESERVED: [&str; 19] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
];

fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || matches!(name, "void" | "while")
}

/// A field's name as rules write it.
pub(super) fn escaped(name: &str) -> String {
    if is_reserved(name) {
        return format!("__{name}__");
    }
    let escaped = name.replace("__", "__underscores__");
    escaped.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}

/// The field that rules write so, if any is.
pub(super) fn unescaped(field: &str) -> Option<String> {
    const PARTS: [(&str, &str); 4] =
        [("__underscores__", "__"), ("__dot__", "."), ("__dash__", "-"), ("__slash__", "/")];
    let word = field.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
    if let Some(word) = word.filter(|word| escaped(word) == field) {
        return Some(word.to_owned());
    }
    let (mut name, mut rest) = (String::with_capacity(field.len()), field);
    while let Some(at) = rest.find("__") {
        let (before, from) = rest.split_at(at);
        let (written, meant) = PARTS.iter().find(|(written, _)| from.starts_with(written))?;
        name.extend([before, meant]);
        rest = &from[written.len()..];
    }
    name.push_str(rest);
    // After a dot, a word that is reserved can stand as it is.
    (escaped(&name) == field || is_reserved(field)).then_some(name)
}

fn text(text: &str) -> CelValue {
    CelValue::String(Arc::new(text.to_owned()))
}

/// A value as rules see it.
fn to_cel(schema: &Structural, value: &Value, root: bool) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(flag) => CelValue::Bool(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            _ if &*schema.type_name == "number" => CelValue::Float(number.as_f64().unwrap_or_default()),
            (Some(number), _) => CelValue::Int(number),
            (None, Some(number)) => CelValue::UInt(number),
            (None, None) => CelValue::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(string) => text_to_cel(schema, string),
        Value::Array(list) => {
            let any = Structural::default();
            let items = schema.items.as_deref().unwrap_or(&any);
            CelValue::List(Arc::new(list.iter().map(|item| to_cel(items, item, false)).collect()))
        }
        Value::Object(map) => CelValue::Map(CelMap { map: Arc::new(fields_to_cel(schema, map, root)) }),
    }
}

fn fields_to_cel(schema: &Structural, map: &Map<String, Value>, root: bool) -> HashMap<Key, CelValue> {
    let any = Structural::default();
    let is_map = schema.values.is_map();
    let mut fields = HashMap::with_capacity(map.len());
    for (name, value) in map {
        let object = root || schema.embedded;
        let known = schema.field(name).or_else(|| {
            let named = object && matches!(name.as_str(), "apiVersion" | "kind" | "metadata");
            (named || matches!(schema.values, Values::Any)).then_some(&any)
        });
        // What the schema does not name, rules do not see.
        let Some(known) = known else { continue };
        let (key, value) = (if is_map { name.clone() } else { escaped(name) }, to_cel(known, value, false));
        if !is_map && is_reserved(name) {
            fields.insert(Key::String(Arc::new(name.clone())), value.clone());
        }
        fields.insert(Key::String(Arc::new(key)), value);
    }
    fields
}

fn text_to_cel(schema: &Structural, string: &str) -> CelValue {
    use base64::Engine as _;
    if schema.int_or_string {
        return text(string);
    }
    match &*schema.limits.format_name {
        "date-time" => chrono::DateTime::parse_from_rfc3339(string).map_or_else(|_| text(string), CelValue::Timestamp),
        "date" => {
            let moment = chrono::DateTime::parse_from_rfc3339(&format!("{string}T00:00:00Z"));
            moment.map_or_else(|_| text(string), CelValue::Timestamp)
        }
        "byte" => base64::engine::general_purpose::STANDARD
            .decode(string)
            .map_or_else(|_| text(string), |bytes| CelValue::Bytes(Arc::new(bytes))),
        "duration" => duration(string).map_or_else(|| text(string), CelValue::Duration),
        _ => text(string),
    }
}

/// A duration as Go writes it.
fn duration(text: &str) -> Option<chrono::Duration> {
    let (negative, mut rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let mut nanoseconds = 0.0;
    while !rest.is_empty() && rest != "0" {
        let number = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (value, after) = rest.split_at(number);
        let unit = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let each = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        nanoseconds += value.parse::<f64>().ok()? * each;
        rest = after;
    }
    // Within what 64 bits hold, as upstream has it.
    #[allow(clippy::cast_possible_truncation)]
    (nanoseconds < 9.2e18)
        .then(|| chrono::Duration::nanoseconds(if negative { -nanoseconds } else { nanoseconds } as i64))
}
