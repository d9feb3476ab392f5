//! The types of expressions in CEL, and what they may cost.
//!
//! Costs are estimated as cel-go estimates them, in units: one for each step, a tenth for each character of a text that
//! is gone through, and for each item of a list what is done with it. What a schema does not limit counts as large as a
//! request may be.

use kube_cel::cel::common::ast::{ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};

use super::structural::{Structural, Values};
use crate::cel::types::Type;

/// The size of what has no limit: a request's.
const REQUEST: u64 = 3 << 20;

/// How many items of a kind there may be.
pub(super) fn count(limit: Option<u64>, items: &Structural) -> u64 {
    limit.unwrap_or_else(|| REQUEST / smallest(items))
}

/// The fewest bytes that a value takes, with what stands between two.
fn smallest(schema: &Structural) -> u64 {
    match &*schema.type_name {
        "string" => 3 + schema.limits.min_length.unwrap_or(0),
        "object" => 3 + schema.limits.required.iter().map(|name| name.len() as u64 + 4).sum::<u64>(),
        "array" => 3,
        "boolean" => 5,
        _ => 2,
    }
}

/// The type of what a schema describes; of a whole object, where `root`.
pub(crate) fn cel_type(schema: &Structural, root: bool) -> Type<'_> {
    match Kind::of(schema, root) {
        Kind::Null => Type::Null,
        Kind::Bool => Type::Bool,
        Kind::Int => Type::Int,
        Kind::Uint => Type::Uint,
        Kind::Double => Type::Double,
        Kind::Text => Type::String,
        Kind::Bytes => Type::Bytes,
        Kind::Timestamp => Type::Timestamp,
        Kind::Duration => Type::Duration,
        Kind::List(of) => Type::list(of.map_or(Type::Dyn, |of| cel_type(of, false))),
        Kind::Map(Some(of)) => Type::map(Type::String, cel_type(of, false)),
        Kind::Object(schema, whole) => Type::Object(schema, whole),
        Kind::Map(None) | Kind::Any => Type::Dyn,
    }
}

/// The type of a field of what a schema describes; of a whole object, where `whole`.
pub(crate) fn cel_field<'a>(schema: &'a Structural, whole: bool, field: &str) -> Option<Type<'a>> {
    let found = super::cel::unescaped(field).and_then(|name| schema.properties.get_key_value(name.as_str()));
    match (found, field) {
        (Some((_, schema)), name) if !(whole && matches!(name, "metadata" | "apiVersion" | "kind")) => {
            Some(cel_type(schema, false))
        }
        (_, "apiVersion" | "kind") if whole => Some(Type::String),
        (_, "metadata") if whole => Some(Type::Dyn),
        _ => None,
    }
}

/// What a rule sees.
pub(super) struct Seen<'a> {
    pub(super) schema: &'a Structural,
    pub(super) root: bool,
    /// Whether `oldSelf` is an optional.
    pub(super) optional: bool,
}

/// The type of an expression.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind<'a> {
    Any,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Timestamp,
    Duration,
    List(Option<&'a Structural>),
    Map(Option<&'a Structural>),
    Object(&'a Structural, bool),
}

/// An expression: its type, how large its value may be, and what it may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Typed<'a> {
    pub(super) kind: Kind<'a>,
    size: u64,
    pub(super) cost: u64,
}

impl<'a> Kind<'a> {
    fn of(schema: &'a Structural, root: bool) -> Self {
        let format = schema.limits.format.map_or("", super::format::Format::name);
        match (&*schema.type_name, format) {
            _ if schema.int_or_string => Self::Any,
            ("string", "date-time" | "datetime" | "date") => Self::Timestamp,
            ("string", "duration") => Self::Duration,
            ("string", "byte") => Self::Bytes,
            ("string", _) => Self::Text,
            ("boolean", _) => Self::Bool,
            ("integer", _) => Self::Int,
            ("number", _) => Self::Double,
            ("array", _) => Self::List(schema.items.as_deref()),
            ("object", _) => match &schema.values {
                Values::Schema(values) => Self::Map(Some(values)),
                Values::Any => Self::Map(None),
                Values::None => Self::Object(schema, root || schema.embedded),
            },
            _ => Self::Any,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Any => "dyn",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Text => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::Duration => "google.protobuf.Duration",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Object(..) => "object",
        }
    }

    fn is_any(self) -> bool {
        matches!(self, Self::Any)
    }

    /// Whether two values can be equal.
    fn meets(self, other: Self) -> bool {
        self.is_any() || other.is_any() || matches!(self, Self::Null) || matches!(other, Self::Null) || {
            self.name() == other.name()
        }
    }
}

fn typed(kind: Kind<'_>, size: u64, cost: u64) -> Typed<'_> {
    Typed { kind, size, cost }
}

/// How large a value may be: characters, items or fields.
fn size_of(schema: &Structural) -> u64 {
    match &*schema.type_name {
        "string" => schema.limits.max_length.unwrap_or(REQUEST),
        "array" => {
            let any = Structural::default();
            count(schema.limits.max_items, schema.items.as_deref().unwrap_or(&any))
        }
        "object" => match &schema.values {
            Values::Schema(values) => count(schema.limits.max_properties, values),
            Values::Any => schema.limits.max_properties.unwrap_or(REQUEST / 6),
            Values::None => 1,
        },
        _ => 1,
    }
}

/// A variable of a comprehension.
struct Bound<'a, 'b> {
    name: &'b str,
    kind: Kind<'a>,
    size: u64,
    outer: Option<&'b Bound<'a, 'b>>,
}

impl<'a> Seen<'a> {
    /// Reads an expression. The error is what cel-go would say.
    pub(super) fn compile(&self, source: &str) -> Result<Typed<'a>, String> {
        if source.len() > crate::cel::tree::LENGTH_MAX || crate::cel::depth::is_too_deep(source) {
            return Err(format!("ERROR: <input>:1:1: {}", crate::cel::depth::TOO_DEEP));
        }
        let tree = crate::cel::tree::parse(source).map_err(|errors| {
            let told: Vec<String> = errors.errors.iter().map(|error| said(source, error.pos, &error.msg)).collect();
            told.join("\n")
        })?;
        Reader { seen: self, source }.read(&tree, None)
    }
}

/// An error and where it is, as cel-go shows them.
fn said(source: &str, (line, column): (isize, isize), what: &str) -> String {
    let text = usize::try_from(line - 1).ok().and_then(|line| source.lines().nth(line)).unwrap_or("");
    let dots = ".".repeat(usize::try_from(column - 1).unwrap_or(0));
    format!("ERROR: <input>:{line}:{column}: {what}\n | {text}\n | {dots}^")
}

struct Reader<'a, 'b> {
    seen: &'b Seen<'a>,
    source: &'b str,
}

impl<'a> Reader<'a, '_> {
    /// An error at the first place where a piece of the source stands.
    fn fault(&self, piece: &str, what: &str) -> String {
        let at = self.source.find(piece).unwrap_or(0);
        let before = &self.source[..at];
        let line = before.matches('\n').count() + 1;
        let column = at - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
        let place = (isize::try_from(line).unwrap_or(1), isize::try_from(column).unwrap_or(1));
        said(self.source, place, what)
    }

    fn read(&self, expression: &IdedExpr, bound: Option<&Bound<'a, '_>>) -> Result<Typed<'a>, String> {
        Ok(match &expression.expr {
            Expr::Unspecified => typed(Kind::Any, 1, 1),
            Expr::Literal(literal) => of_literal(literal),
            Expr::Ident(name) => self.ident(name, bound)?,
            Expr::Select(select) => {
                let operand = self.read(&select.operand, bound)?;
                let found = self.select(&operand, &select.field)?;
                if select.test { typed(Kind::Bool, 1, found.cost) } else { found }
            }
            Expr::List(list) => {
                let mut cost = 10;
                for element in &list.elements {
                    cost += self.read(element, bound)?.cost;
                }
                typed(Kind::List(None), list.elements.len() as u64, cost)
            }
            Expr::Map(_) | Expr::Struct(_) => typed(Kind::Map(None), 1, 30),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, bound)?,
            Expr::Call(call) => {
                let target = call.target.as_ref().map(|target| self.read(target, bound)).transpose()?;
                let mut arguments = Vec::with_capacity(call.args.len());
                for argument in &call.args {
                    arguments.push(self.read(argument, bound)?);
                }
                self.call(&call.func_name, target, &arguments)?
            }
        })
    }

    fn ident(&self, name: &str, bound: Option<&Bound<'a, '_>>) -> Result<Typed<'a>, String> {
        let mut outer = bound;
        while let Some(bound) = outer {
            if bound.name == name {
                return Ok(typed(bound.kind, bound.size, 1));
            }
            outer = bound.outer;
        }
        let seen = self.seen;
        match name {
            "oldSelf" if seen.optional => Ok(typed(Kind::Any, size_of(seen.schema), 1)),
            "self" | "oldSelf" => Ok(typed(Kind::of(seen.schema, seen.root), size_of(seen.schema), 1)),
            // Names of types, and of groups of functions.
            "int" | "uint" | "double" | "bool" | "string" | "bytes" | "list" | "map" | "null_type" | "type"
            | "math" | "sets" | "strings" | "base64" | "optional" | "format" | "google" | "lists" | "cel"
            | "jsonpatch" | "ip" | "cidr" | "semver" | "quantity" | "url" => Ok(typed(Kind::Any, 1, 1)),
            name if name.starts_with('@') || name.starts_with("__") => Ok(typed(Kind::Any, 1, 1)),
            name => Err(self.fault(name, &format!("undeclared reference to '{name}' (in container '')"))),
        }
    }

    fn select(&self, operand: &Typed<'a>, field: &str) -> Result<Typed<'a>, String> {
        let cost = operand.cost + 1;
        let undefined = || self.fault(&format!(".{field}"), &format!("undefined field '{field}'"));
        match operand.kind {
            Kind::Any => Ok(typed(Kind::Any, REQUEST, cost)),
            Kind::Map(values) => {
                Ok(values.map_or(typed(Kind::Any, REQUEST, cost), |of| typed(Kind::of(of, false), size_of(of), cost)))
            }
            Kind::Object(schema, whole) => {
                let found =
                    super::cel::unescaped(field).and_then(|name| schema.properties.get_key_value(name.as_str()));
                match (found, field) {
                    (Some((_, schema)), name) if !(whole && matches!(name, "metadata" | "apiVersion" | "kind")) => {
                        Ok(typed(Kind::of(schema, false), size_of(schema), cost))
                    }
                    (_, "apiVersion" | "kind") if whole => Ok(typed(Kind::Text, 256, cost)),
                    (_, "metadata") if whole => Ok(typed(Kind::Any, 256, cost)),
                    _ => Err(undefined()),
                }
            }
            kind => {
                let what = format!("type '{}' does not support field selection", kind.name());
                Err(self.fault(&format!(".{field}"), &what))
            }
        }
    }

    fn comprehension(
        &self,
        comprehension: &ComprehensionExpr,
        bound: Option<&Bound<'a, '_>>,
    ) -> Result<Typed<'a>, String> {
        let range = self.read(&comprehension.iter_range, bound)?;
        let item = match range.kind {
            Kind::List(Some(items)) if comprehension.iter_var2.is_none() => (Kind::of(items, false), size_of(items)),
            Kind::Map(_) if comprehension.iter_var2.is_none() => (Kind::Text, 256),
            Kind::List(_) | Kind::Map(_) | Kind::Any | Kind::Object(..) => (Kind::Any, 256),
            kind => {
                let what = format!("expression of type '{}' cannot be range of a comprehension", kind.name());
                return Err(self.fault(".", &what));
            }
        };
        let variable = Bound { name: &comprehension.iter_var, kind: item.0, size: item.1, outer: bound };
        let second = comprehension.iter_var2.as_deref().unwrap_or("@none");
        let second = Bound { name: second, kind: Kind::Any, size: 256, outer: Some(&variable) };
        let start = self.read(&comprehension.accu_init, bound)?;
        let so_far = Bound { name: &comprehension.accu_var, kind: Kind::Any, size: range.size, outer: Some(&second) };
        let condition = self.read(&comprehension.loop_cond, Some(&so_far))?;
        let step = self.read(&comprehension.loop_step, Some(&so_far))?;
        let result = self.read(&comprehension.result, Some(&so_far))?;
        let each = step.cost.saturating_add(condition.cost);
        let cost = range.size.saturating_mul(each).saturating_add(range.cost + start.cost + result.cost);
        let kind = if matches!(result.kind, Kind::Any) { start.kind } else { result.kind };
        Ok(typed(kind, range.size, cost))
    }

    fn call(&self, name: &str, target: Option<Typed<'a>>, arguments: &[Typed<'a>]) -> Result<Typed<'a>, String> {
        let all: Vec<Typed<'a>> = target.into_iter().chain(arguments.iter().copied()).collect();
        let paid = all.iter().fold(0_u64, |sum, one| sum.saturating_add(one.cost));
        let tenth = |size: u64| size / 10 + 1;
        let first = all.first().copied().unwrap_or(typed(Kind::Any, 1, 0));
        let second = all.get(1).copied().unwrap_or(first);
        let plain = |kind: Kind<'a>, cost: u64| {
            Ok(typed(kind, first.size.saturating_add(second.size), paid.saturating_add(cost)))
        };
        match name {
            operators::CONDITIONAL => {
                let (yes, no) = (second, all.get(2).copied().unwrap_or(second));
                let kind = if yes.kind.name() == no.kind.name() { yes.kind } else { Kind::Any };
                Ok(typed(kind, yes.size.max(no.size), first.cost.saturating_add(yes.cost.max(no.cost))))
            }
            operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT => {
                for one in &all {
                    if !matches!(one.kind, Kind::Bool | Kind::Any) {
                        let what = format!("expected type 'bool' but found '{}'", one.kind.name());
                        return Err(self.fault(sign(name), &what));
                    }
                }
                plain(Kind::Bool, 0)
            }
            operators::NOT_STRICTLY_FALSE => plain(Kind::Bool, 0),
            operators::EQUALS | operators::NOT_EQUALS => {
                if !first.kind.meets(second.kind) {
                    return Err(self.overload(name, first.kind, second.kind));
                }
                plain(Kind::Bool, tenth(first.size.min(second.size)))
            }
            operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS => {
                if !compares(first.kind, second.kind) {
                    return Err(self.overload(name, first.kind, second.kind));
                }
                plain(Kind::Bool, tenth(first.size.min(second.size)))
            }
            operators::ADD | operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO => {
                let times = matches!(first.kind, Kind::Timestamp | Kind::Duration);
                if !times && !first.kind.meets(second.kind) {
                    return Err(self.overload(name, first.kind, second.kind));
                }
                let traversed = matches!(first.kind, Kind::Text | Kind::Bytes | Kind::List(_));
                let cost = if traversed { tenth(first.size.saturating_add(second.size)) } else { 1 };
                plain(if times { Kind::Any } else { first.kind }, cost)
            }
            operators::NEGATE => plain(first.kind, 1),
            operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT => {
                let found = match first.kind {
                    Kind::List(Some(of)) | Kind::Map(Some(of)) => Some(of),
                    _ => None,
                };
                let found = found.map_or((Kind::Any, REQUEST), |of| (Kind::of(of, false), size_of(of)));
                Ok(typed(if name == operators::INDEX { found.0 } else { Kind::Any }, found.1, paid + 1))
            }
            operators::IN => plain(Kind::Bool, second.size),
            _ => self.function(name, &all, paid),
        }
    }

    fn overload(&self, name: &str, one: Kind<'_>, other: Kind<'_>) -> String {
        let what = format!("found no matching overload for '{name}' applied to '({}, {})'", one.name(), other.name());
        self.fault(sign(name), &what)
    }

    fn function(&self, name: &str, all: &[Typed<'a>], paid: u64) -> Result<Typed<'a>, String> {
        if !FUNCTIONS.split(' ').any(|known| known == name) {
            return Err(self.fault(name, &format!("undeclared reference to '{name}' (in container '')")));
        }
        let size = all.first().map_or(1, |one| one.size);
        let (kind, cost) = match name {
            "size" | "indexOf" | "lastIndexOf" | "int" | "getFullYear" | "getMonth" | "getHours" | "getMinutes"
            | "getSeconds" | "getDayOfMonth" | "getDayOfWeek" | "getDayOfYear" | "getDate" | "getMilliseconds" => {
                (Kind::Int, 1)
            }
            "startsWith" | "endsWith" => (Kind::Bool, all.get(1).map_or(1, |one| one.size.min(size)) / 10 + 1),
            "contains" | "matches" => {
                let pattern = all.get(1).map_or(1, |one| one.size) / 4 + 1;
                (Kind::Bool, (size / 10 + 1).saturating_mul(pattern))
            }
            "all" | "exists" | "exists_one" | "isSorted" | "bool" | "hasValue" => (Kind::Bool, size),
            "string" | "lowerAscii" | "upperAscii" | "replace" | "trim" | "substring" | "charAt" | "join" => {
                (Kind::Text, size / 10 + 1)
            }
            "double" => (Kind::Double, 1),
            "uint" => (Kind::Uint, 1),
            "duration" => (Kind::Duration, 1),
            "timestamp" => (Kind::Timestamp, 1),
            _ => (Kind::Any, size / 10 + 1),
        };
        Ok(typed(kind, size, paid.saturating_add(cost)))
    }
}

fn of_literal(literal: &LiteralValue) -> Typed<'static> {
    let (kind, size) = match literal {
        LiteralValue::Boolean(_) => (Kind::Bool, 1),
        LiteralValue::Bytes(_) => (Kind::Bytes, 64),
        LiteralValue::Double(_) => (Kind::Double, 1),
        LiteralValue::Int(_) => (Kind::Int, 1),
        LiteralValue::Null => (Kind::Null, 1),
        LiteralValue::String(text) => (Kind::Text, text.inner().len() as u64),
        LiteralValue::UInt(_) => (Kind::Uint, 1),
    };
    typed(kind, size, 0)
}

/// Whether one value can be less than the other.
fn compares(one: Kind<'_>, other: Kind<'_>) -> bool {
    let number = |kind: Kind<'_>| matches!(kind, Kind::Int | Kind::Uint | Kind::Double);
    let ordered = !matches!(one, Kind::Null | Kind::List(_) | Kind::Map(_) | Kind::Object(..));
    one.is_any() || other.is_any() || number(one) && number(other) || ordered && one.name() == other.name()
}

/// An operator as it is written.
fn sign(name: &str) -> &str {
    name.trim_matches('_').trim_start_matches('@')
}

/// The functions there are: those of CEL, and of the Kubernetes libraries. What is called `math.abs` is `abs` here.
const FUNCTIONS: &str = "\
    abs add asApproximateFloat asInteger bitAnd bitNot bitOr bitShiftLeft bitShiftRight bitXor byte bytes ceil \
    charAt cidr compareTo contains containsCIDR containsIP date datetime decode distinct double duration dyn \
    encode endsWith equivalent escapeKey family find findAll first flatten floor format getDate getDayOfMonth \
    getDayOfWeek getDayOfYear getEscapedPath getFullYear getHost getHostname getHours getMilliseconds \
    getMinutes getMonth getPort getQuery getScheme getSeconds greatest hasValue indexOf int intersects ip \
    isCIDR isCanonical isFinite isGlobalUnicast isGreaterThan isIP isInf isInteger isLessThan \
    isLinkLocalMulticast isLinkLocalUnicast isLoopback isNaN isQuantity isSemver isSorted isURL isUnspecified \
    join labelValue last lastIndexOf least lowerAscii major masked matches max min minor named none of or \
    orValue patch prefixLength qualifiedName quantity quote range replace reverse round semver sign size slice \
    sort split sqrt startsWith string sub substring sum timestamp trim trunc type uint upperAscii uri url uuid \
    validate value unwrap unwrapOpt dns1123Label dns1123Subdomain dns1035Label dns1123LabelPrefix \
    dns1123SubdomainPrefix dns1035LabelPrefix @sortByAssociatedKeys cel.@mapInsert";
