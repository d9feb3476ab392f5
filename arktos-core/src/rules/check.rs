//! Checks of fields, as the rules files name them.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::addresses::{canonical_cidr_faults, cidr_faults, ip_faults};
use super::fault::{Faults, Site};
use super::functions;
use super::table::{When, parse_when};
use crate::name::{label_fault, label_faults, path_segment_faults, subdomain_fault, subdomain_faults};
use crate::selector::{label_key_fault, label_value_fault};

/// Something that must hold for a field.
#[derive(Debug)]
pub(super) enum Check {
    /// It is there, and not empty; with what is said when it is not.
    Required(Option<&'static str>),
    /// It is there, even if empty; with what is said when it is not.
    Present(Option<&'static str>),
    /// It is not there.
    Forbidden(&'static str),
    /// It is one of these, listed in this order.
    Options(Vec<String>),
    /// As `Options`, and an empty text is none of them.
    FullOptions(Vec<String>),
    /// It is at least this.
    Min(i64),
    /// It is at most this.
    Max(i64),
    /// It is from the first to the second.
    Range(i64, i64),
    /// It is greater than zero; with what is said when it is not.
    Positive(&'static str),
    /// It has no more bytes than this.
    Length(usize),
    /// It has no more items than this.
    Most(u64),
    /// It is from the first to the second, said in other words.
    Within(i64, i64),
    /// Its items are of these.
    ItemOptions(Vec<String>),
    /// Its form is that of a name.
    Form(fn(&str) -> Vec<String>),
    /// As `Form`, and it is not empty either.
    FullForm(fn(&str) -> Vec<String>),
    /// As `Form`, and where it is there, it is not empty.
    SetForm(fn(&str) -> Vec<String>),
    /// It is the number or the name of a port.
    Port,
    /// As `Port`, and where it is not there, it is port 0, which is none.
    FullPort,
    /// Nothing: another rule says which values there are, so the schema's list does not count.
    Open,
    /// Its values are amounts that are not negative.
    Amounts,
    /// It does not change once it is set.
    Fixed(&'static str),
    /// Its keys are labels and its values theirs.
    Labels,
    /// It does not change.
    Immutable,
    /// Its items, or this field of them, differ from one another.
    Unique(Option<&'static str>),
    /// What a function says.
    By(functions::Function),
    /// Another check, on a condition.
    On(When, Box<Check>),
}

/// A check from a rule; `None` when nobody understands it.
pub(super) fn parse(word: &'static str, rest: &'static str) -> Option<Check> {
    if let Some((rest, when)) = rest.split_once("?? ") {
        return Some(Check::On(parse_when(when.trim())?, Box::new(parse(word, rest.trim())?)));
    }
    let number = || rest.parse::<i64>().ok();
    Some(match word {
        "required" => Check::Required((!rest.is_empty()).then_some(rest)),
        "present" => Check::Present((!rest.is_empty()).then_some(rest)),
        "forbidden" => Check::Forbidden(rest),
        "options" => Check::Options(serde_json::from_str(rest).ok()?),
        "options!" => Check::FullOptions(serde_json::from_str(rest).ok()?),
        "min" => Check::Min(number()?),
        "max" => Check::Max(number()?),
        "range" => {
            let (low, high) = rest.split_once(' ')?;
            Check::Range(low.parse().ok()?, high.parse().ok()?)
        }
        "positive" => Check::Positive(if rest.is_empty() { "must be greater than 0" } else { rest }),
        "most" => Check::Most(rest.parse().ok()?),
        "length" => Check::Length(usize::try_from(number()?).ok()?),
        "within" => {
            let (low, high) = rest.split_once(' ')?;
            Check::Within(low.parse().ok()?, high.parse().ok()?)
        }
        "item-options" => Check::ItemOptions(serde_json::from_str(rest).ok()?),
        "open" => Check::Open,
        "port" => Check::Port,
        "port!" => Check::FullPort,
        "amounts" => Check::Amounts,
        "fixed" => Check::Fixed(rest),
        "labels" => Check::Labels,
        "immutable" => Check::Immutable,
        "unique" => Check::Unique((!rest.is_empty()).then_some(rest)),
        "check" => Check::By(functions::function(rest)?),
        form => match (form.strip_suffix('!'), form.strip_suffix('?')) {
            (Some(form), _) => Check::FullForm(form_of(form)?),
            (_, Some(form)) => Check::SetForm(form_of(form)?),
            _ => Check::Form(form_of(form)?),
        },
    })
}

fn form_of(word: &str) -> Option<fn(&str) -> Vec<String>> {
    Some(match word {
        "label" => label_faults,
        "subdomain" => subdomain_faults,
        "config-key" => config_key_faults,
        "descending" => descending_faults,
        "label1035" => |text| label_1035_fault(text).into_iter().collect(),
        "segment" => path_segment_faults,
        "qualified" => qualified_name_faults,
        "label-value" => |text| label_value_fault(text).into_iter().collect(),
        "ip" => ip_faults,
        "absolute" => {
            |text| (!text.starts_with('/')).then(|| "must be an absolute path".to_owned()).into_iter().collect()
        }
        "port-name" => port_name_faults,
        "cidr" => cidr_faults,
        "canonical-cidr" => canonical_cidr_faults,
        "no-dots" => |text| label_fault(text).into_iter().collect(),
        "no-steps-up" => steps_up_faults,
        "domain-path" => domain_path_faults,
        "env-name" => env_name_faults,
        _ => return None,
    })
}

/// Why a text is not a qualified name (`[prefix/]name`): an empty name has two faults.
#[must_use]
pub fn qualified_name_faults(text: &str) -> Vec<String> {
    let Some(fault) = label_key_fault(text) else { return Vec::new() };
    let second = (fault == "name part must be non-empty").then(|| label_key_fault("!")).flatten();
    std::iter::once(fault).chain(second).collect()
}

/// Why a text is not a DNS label of RFC 1035, which services have for names.
pub(crate) fn label_1035_fault(text: &str) -> Option<String> {
    if text.len() > crate::name::LABEL_LENGTH_MAX {
        return Some(format!("must be no more than {} characters", crate::name::LABEL_LENGTH_MAX));
    }
    (label_fault(text).is_some() || !text.starts_with(|first: char| first.is_ascii_lowercase())).then(|| {
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, \
         and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
         '[a-z]([-a-z0-9]*[a-z0-9])?')"
            .to_owned()
    })
}

/// Paths must not lead out of where they start.
pub(super) fn steps_up_faults(text: &str) -> Vec<String> {
    let up = text.split(['/', '\\']).any(|part| part == "..");
    up.then(|| "must not contain '..'".to_owned()).into_iter().collect()
}

/// A path that leads down from where it starts.
pub(super) fn descending_faults(text: &str) -> Vec<String> {
    let absolute = text.starts_with('/').then(|| "must be a relative path".to_owned());
    absolute.into_iter().chain(steps_up_faults(text)).collect()
}

/// Why a text is not the key of a config map or a secret.
pub(super) fn config_key_faults(key: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if key.len() > 253 {
        faults.push("must be no more than 253 characters".to_owned());
    }
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        faults.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
             'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                .to_owned(),
        );
    }
    if key == "." || key == ".." {
        faults.push(format!("must not be '{key}'"));
    } else if key.starts_with("..") {
        faults.push("must not start with '..'".to_owned());
    }
    faults
}

pub(super) fn env_name_faults(text: &str) -> Vec<String> {
    let printable = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'=';
    (!text.bytes().all(printable))
        .then(|| {
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
                .to_owned()
        })
        .into_iter()
        .collect()
}

fn domain_path_faults(text: &str) -> Vec<String> {
    match text.split_once('/') {
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => subdomain_fault(domain).into_iter().collect(),
        _ => vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned()],
    }
}

/// Why a value is not the number or the name of a port.
pub(crate) fn port_faults(value: &Value) -> Vec<String> {
    match value {
        Value::Number(number) if !number.as_i64().is_some_and(|number| (1..=65535).contains(&number)) => {
            vec!["must be between 1 and 65535, inclusive".to_owned()]
        }
        Value::String(name) => port_name_faults(name),
        _ => Vec::new(),
    }
}

/// Why a text is not the name of a port (RFC 6335).
pub(super) fn port_name_faults(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let mut faults = Vec::new();
    if text.len() > 15 {
        faults.push("must be no more than 15 characters".to_owned());
    }
    if !bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-') || text.is_empty()
    {
        faults.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !bytes.iter().any(u8::is_ascii_lowercase) {
        faults.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        faults.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        faults.push("must not begin or end with a hyphen".to_owned());
    }
    faults
}

/// The faults of a map of labels.
pub(super) fn check_labels(faults: &mut Faults, path: &str, labels: &Map<String, Value>) {
    for (key, value) in labels {
        for fault in qualified_name_faults(key) {
            faults.invalid(path, &Value::from(key.as_str()), &fault);
        }
        if let Some(fault) = label_value_fault(value.as_str().unwrap_or_default()) {
            faults.invalid(path, value, &fault);
        }
    }
}

impl Check {
    /// Whether the check says which values there are, in place of the schema.
    pub(super) fn lists_options(&self) -> bool {
        match self {
            Self::Open | Self::Options(_) | Self::FullOptions(_) | Self::ItemOptions(_) => true,
            Self::By(function) => function.lists_options(),
            Self::On(_, check) => check.lists_options(),
            _ => false,
        }
    }

    /// Whether what it finds is told once, even where the rest of the object is checked twice.
    pub(super) fn is_told_once(&self) -> bool {
        match self {
            Self::By(function) => function.is_told_once(),
            Self::On(_, check) => check.is_told_once(),
            _ => false,
        }
    }

    /// Whether the check looks at what the others have found, and comes after them.
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Self::By(function) if function.is_last())
    }

    /// Checks a field.
    pub(super) fn run(&self, site: &Site<'_>, faults: &mut Faults) {
        let absent = site.value.is_none_or(|value| value.is_null() || super::fault::is_empty(value));
        match self {
            Self::On(when, check) => {
                if when.holds(site.map) {
                    check.run(site, faults);
                }
            }
            Self::Required(detail) if absent => faults.required(&site.path(), detail.unwrap_or_default()),
            Self::Present(detail) if site.value.is_none_or(Value::is_null) => {
                faults.required(&site.path(), detail.unwrap_or_default());
            }
            Self::Forbidden(detail) if !absent => faults.forbidden(&site.path(), detail),
            Self::FullPort => Self::Port.value(site, site.value.unwrap_or(&Value::from(0)), faults),
            Self::Immutable => immutable(site, faults),
            Self::Fixed(why) => fixed(site, why, faults),
            Self::FullForm(form) => {
                let text = site.value.and_then(Value::as_str).unwrap_or_default();
                for fault in form(text) {
                    faults.invalid(&site.path(), &Value::from(text), &fault);
                }
            }
            Self::By(function) => function.run(site, faults),
            _ => {
                if let Some(value) = site.value.filter(|value| !value.is_null()) {
                    self.value(site, value, faults);
                }
            }
        }
    }

    fn value(&self, site: &Site<'_>, value: &Value, faults: &mut Faults) {
        // An empty text is as good as none, but not as an item of a list.
        let item = site.field.ends_with(']');
        let mut invalid = |why: &str| faults.invalid(&site.path(), value, why);
        match (self, value) {
            (Self::Min(low), Value::Number(number)) if number.as_i64() < Some(*low) => {
                invalid(&format!("must be greater than or equal to {low}"));
            }
            (Self::Max(high), Value::Number(number)) if number.as_i64() > Some(*high) => {
                invalid(&format!("must be less than or equal to {high}"));
            }
            (Self::Range(low, high), Value::Number(number)) if !is_within(number, *low, *high) => {
                invalid(&format!("must be between {low} and {high}, inclusive"));
            }
            (Self::Within(low, high), Value::Number(number)) if !is_within(number, *low, *high) => {
                invalid(&format!("must be in the range {low}-{high}"));
            }
            (Self::Port, value) => {
                for fault in port_faults(value) {
                    invalid(&fault);
                }
            }
            (Self::Amounts, Value::Object(amounts)) => {
                for (name, amount) in amounts {
                    if amount.as_str().is_some_and(|text| text.starts_with('-')) {
                        let path = format!("{}[{name}]", site.path());
                        faults.invalid(&path, amount, "must be greater than or equal to 0");
                    }
                }
            }
            (Self::ItemOptions(options), Value::Array(items)) => {
                let known: Vec<&str> = options.iter().map(String::as_str).collect();
                for item in items.iter().filter(|item| !known.contains(&item.as_str().unwrap_or_default())) {
                    faults.not_supported(&site.path(), item, &known);
                }
            }
            (Self::Positive(why), Value::Number(number)) if number.as_i64() <= Some(0) => invalid(why),
            (Self::Length(most), Value::String(text)) if text.len() > *most => faults.too_long(&site.path(), *most),
            (Self::Most(most), Value::Array(items)) if items.len() as u64 > *most => {
                faults.too_many(&site.path(), items.len() as u64, *most);
            }
            (Self::Form(form), Value::String(text)) if item || !text.is_empty() => {
                for fault in form(text) {
                    invalid(&fault);
                }
            }
            (Self::SetForm(form), Value::String(text)) => {
                for fault in form(text) {
                    invalid(&fault);
                }
            }
            (Self::Options(options) | Self::FullOptions(options), Value::String(text)) if !options.contains(text) => {
                let options: Vec<&str> = options.iter().map(String::as_str).collect();
                faults.not_supported(&site.path(), value, &options);
            }
            (Self::Labels, Value::Object(labels)) => check_labels(faults, &site.path(), labels),
            (Self::Unique(field), Value::Array(items)) => unique(site, items, *field, faults),
            _ => {}
        }
    }
}

fn is_within(number: &serde_json::Number, low: i64, high: i64) -> bool {
    number.as_i64().is_some_and(|number| (low..=high).contains(&number))
}

fn immutable(site: &Site<'_>, faults: &mut Faults) {
    if !site.updates {
        return;
    }
    let old = site.old.filter(|value| !value.is_null());
    let new = site.value.filter(|value| !value.is_null());
    if old == new {
        return;
    }
    match new {
        Some(selector)
            if (site.field.ends_with("selector") || site.field == "nodeTopology") && selector.is_object() =>
        {
            let shown = functions::shown_selector(selector);
            faults.invalid_text(&site.path(), &shown, "field is immutable");
        }
        new => {
            // A text that is gone is empty, as upstream has it.
            let gone = if old.is_some_and(Value::is_string) { Value::from("") } else { Value::Null };
            faults.invalid(&site.path(), new.unwrap_or(&gone), "field is immutable");
        }
    }
}

/// What was set stays; what was not may be set.
fn fixed(site: &Site<'_>, why: &str, faults: &mut Faults) {
    if site.updates
        && let Some(old) = site.old.filter(|old| !super::fault::is_empty(old))
        && site.value != Some(old)
    {
        faults.forbidden(&site.path(), why);
    }
}

fn unique(site: &Site<'_>, items: &[Value], field: Option<&str>, faults: &mut Faults) {
    let mut seen: HashSet<&Value> = HashSet::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let value = match field {
            Some(field) => item.get(field),
            None => Some(item),
        };
        let Some(value) = value.filter(|value| !super::fault::is_empty(value)) else { continue };
        if !seen.insert(value) {
            let path = site.path();
            let field = field.map_or_else(String::new, |field| format!(".{field}"));
            faults.duplicate(&format!("{path}[{index}]{field}"), value);
        }
    }
}
