//! The types of expressions: what they are called, and which may stand for which.

use std::fmt::Write as _;

use crate::custom::Structural;

/// How deep types are told apart: what is inside deeper ones is of any type.
const DEPTH_MAX: usize = 10;

/// How many comparisons of types one expression may take: a few for each of its parts, were it of any use.
const STEPS_MAX: usize = 1_000_000;

/// The type of a value.
#[derive(Debug, Clone)]
pub(crate) enum Type<'a> {
    /// One that only evaluation tells.
    Dyn,
    /// That of an expression in which a fault was found.
    Error,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    /// That of types.
    Kind,
    List(Box<Type<'a>>),
    Map(Box<Type<'a>>, Box<Type<'a>>),
    Optional(Box<Type<'a>>),
    /// One that is yet to be found out.
    Param(usize),
    /// One that has a name.
    Named(&'static str),
    /// What a schema describes; `true` for a whole object, or an embedded one.
    Object(&'a Structural, bool),
    /// What the variables of a policy are fields of.
    Variables,
}

impl<'a> Type<'a> {
    pub(crate) fn list(of: Self) -> Self {
        Self::List(Box::new(of.shallow(1)))
    }

    pub(crate) fn map(key: Self, value: Self) -> Self {
        Self::Map(Box::new(key.shallow(1)), Box::new(value.shallow(1)))
    }

    pub(crate) fn optional(of: Self) -> Self {
        Self::Optional(Box::new(of.shallow(1)))
    }

    fn shallow(self, depth: usize) -> Self {
        if self.depth() + depth > DEPTH_MAX { Self::Dyn } else { self }
    }

    fn depth(&self) -> usize {
        match self {
            Self::List(of) | Self::Optional(of) => of.depth() + 1,
            Self::Map(key, value) => key.depth().max(value.depth()) + 1,
            _ => 0,
        }
    }

    /// Reads a type; `A` and `B` are parameters 0 and 1.
    pub(super) fn parse(text: &'static str) -> Type<'static> {
        let inner = |begin: &str| text.strip_prefix(begin).and_then(|rest| rest.strip_suffix(')'));
        if let Some(of) = inner("list(") {
            return Type::list(Type::parse(of));
        }
        if let Some(of) = inner("optional(") {
            return Type::optional(Type::parse(of));
        }
        if let Some(parts) = inner("map(") {
            let (key, value) = parts.split_once(',').unwrap_or((parts, "dyn"));
            return Type::map(Type::parse(key), Type::parse(value));
        }
        match text {
            "dyn" => Type::Dyn,
            "null" => Type::Null,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "timestamp" => Type::Timestamp,
            "duration" => Type::Duration,
            "A" => Type::Param(0),
            "B" => Type::Param(1),
            kind if kind.starts_with("type") => Type::Kind,
            name => Type::Named(name),
        }
    }

    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// Whether two types are the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(a), Self::List(b)) | (Self::Optional(a), Self::Optional(b)) => a.is(b),
            (Self::Map(a, b), Self::Map(c, d)) => a.is(c) && b.is(d),
            (Self::Param(a), Self::Param(b)) => a == b,
            (Self::Named(a), Self::Named(b)) => a == b,
            (Self::Object(a, _), Self::Object(b, _)) => std::ptr::eq(*a, *b),
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }

    /// Whether `null` may stand for a value of the type.
    fn may_be_null(&self) -> bool {
        matches!(
            self,
            Self::Null
                | Self::Timestamp
                | Self::Duration
                | Self::Optional(_)
                | Self::Named(_)
                | Self::Object(..)
                | Self::Variables
        )
    }

    /// Whether a type says as much as another, or less.
    fn says_no_more_than(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dyn | Self::Param(_), _) => true,
            (_, Self::Dyn | Self::Param(_)) => false,
            (Self::List(a), Self::List(b)) | (Self::Optional(a), Self::Optional(b)) => a.says_no_more_than(b),
            (Self::Map(a, b), Self::Map(c, d)) => a.says_no_more_than(c) && b.says_no_more_than(d),
            (a, b) => a.is(b),
        }
    }

    /// Of two types the one that says less.
    pub(super) fn general(one: Self, other: Self) -> Self {
        if one.says_no_more_than(&other) { one } else { other }
    }

    /// The same type with other parameters.
    pub(super) fn with(&self, params: &impl Fn(usize) -> Self) -> Self {
        match self {
            Self::Param(param) => params(*param),
            Self::List(of) => Self::list(of.with(params)),
            Self::Optional(of) => Self::optional(of.with(params)),
            Self::Map(key, value) => Self::map(key.with(params), value.with(params)),
            other => other.clone(),
        }
    }

    /// As what an expression should come to is told.
    pub(crate) fn name(&self) -> String {
        self.shown(false)
    }

    /// As faults of expressions show it.
    pub(crate) fn told(&self) -> String {
        self.shown(true)
    }

    fn shown(&self, short: bool) -> String {
        let mut text = String::new();
        self.write(&mut text, short);
        text
    }

    fn write(&self, to: &mut String, short: bool) {
        let (name, parts): (&str, Vec<&Self>) = match self {
            Self::Dyn => ("dyn", vec![]),
            Self::Error => ("!error!", vec![]),
            Self::Null => (if short { "null" } else { "null_type" }, vec![]),
            Self::Bool => ("bool", vec![]),
            Self::Int => ("int", vec![]),
            Self::Uint => ("uint", vec![]),
            Self::Double => ("double", vec![]),
            Self::String => ("string", vec![]),
            Self::Bytes => ("bytes", vec![]),
            Self::Timestamp => (if short { "timestamp" } else { "google.protobuf.Timestamp" }, vec![]),
            Self::Duration => (if short { "duration" } else { "google.protobuf.Duration" }, vec![]),
            Self::Kind => ("type", vec![]),
            Self::List(of) => ("list", vec![of]),
            Self::Map(key, value) => ("map", vec![key, value]),
            Self::Optional(of) => ("optional_type", vec![of]),
            Self::Param(_) => ("dyn", vec![]),
            Self::Named(name) => (name, vec![]),
            Self::Object(..) => ("object", vec![]),
            Self::Variables => ("kubernetes.variables", vec![]),
        };
        to.push_str(name);
        for (at, part) in parts.iter().enumerate() {
            let _ = to.write_str(if at == 0 { "(" } else { ", " });
            part.write(to, short);
        }
        if !parts.is_empty() {
            to.push(')');
        }
    }
}

/// What has been found out of types that are yet to be found out.
#[derive(Default)]
pub(super) struct Mapping<'a> {
    found: Vec<Option<Type<'a>>>,
    /// What was known before, newest last: what turns out not to fit is taken back.
    before: Vec<(usize, Option<Type<'a>>)>,
    /// How many types were compared.
    steps: usize,
}

impl<'a> Mapping<'a> {
    pub(super) fn fresh(&mut self) -> Type<'a> {
        self.found.push(None);
        Type::Param(self.found.len() - 1)
    }

    fn learn(&mut self, param: usize, new: Type<'a>) {
        let old = self.found[param].replace(new);
        self.before.push((param, old));
    }

    /// The type as far as it is known; what is not becomes `Dyn` where `whole`.
    pub(super) fn known(&self, of: &Type<'a>, whole: bool) -> Type<'a> {
        self.known_within(of, whole, DEPTH_MAX)
    }

    /// Types can be found one in the other, so that each level doubles what they are when written out: that ends at a
    /// depth.
    fn known_within(&self, of: &Type<'a>, whole: bool, left: usize) -> Type<'a> {
        match of {
            Type::Param(param) => match &self.found[*param] {
                Some(found) => self.known_within(found, whole, left),
                None if whole => Type::Dyn,
                None => Type::Param(*param),
            },
            Type::List(_) | Type::Optional(_) | Type::Map(..) if left == 0 => Type::Dyn,
            Type::List(of) => Type::list(self.known_within(of, whole, left - 1)),
            Type::Optional(of) => Type::optional(self.known_within(of, whole, left - 1)),
            Type::Map(key, value) => {
                Type::map(self.known_within(key, whole, left - 1), self.known_within(value, whole, left - 1))
            }
            other => other.clone(),
        }
    }

    /// Whether a type names a parameter, itself or by what is found of others.
    fn names(&self, of: &Type<'a>, param: usize) -> bool {
        let (mut open, mut seen) = (vec![of], vec![false; self.found.len()]);
        while let Some(next) = open.pop() {
            match next {
                Type::Param(own) if *own == param => return true,
                Type::Param(own) if std::mem::replace(&mut seen[*own], true) => {}
                Type::Param(own) => open.extend(self.found[*own].as_ref()),
                Type::List(of) | Type::Optional(of) => open.push(of),
                Type::Map(key, value) => open.extend([&**key, &**value]),
                _ => {}
            }
        }
        false
    }

    /// Whether values of types may stand where others are wanted; what that tells of types is kept if they all may.
    pub(super) fn fit(&mut self, given: &[Type<'a>], wanted: &[Type<'a>]) -> bool {
        let start = self.before.len();
        let fits = given.len() == wanted.len() && given.iter().zip(wanted).all(|(one, other)| self.fits(one, other));
        if !fits {
            while self.before.len() > start {
                if let Some((param, old)) = self.before.pop() {
                    self.found[param] = old;
                }
            }
        }
        fits
    }

    fn fits(&mut self, one: &Type<'a>, other: &Type<'a>) -> bool {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return true; // only evaluation tells
        }
        if let Type::Param(param) = other {
            let (fits, known) = self.stands_for(one, *param);
            if fits {
                return true;
            }
            if known {
                return false;
            }
        }
        if let Type::Param(param) = one {
            return self.stands_for(other, *param).0;
        }
        match (one, other) {
            (one, other) if one.is_dyn() || other.is_dyn() => true,
            (Type::Null, other) => other.may_be_null(),
            (one, Type::Null) => one.may_be_null(),
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => self.fits(a, b),
            (Type::Map(a, b), Type::Map(c, d)) => self.fits(a, c) && self.fits(b, d),
            (one, other) => one.is(other),
        }
    }

    /// Whether a type may stand for a parameter, and whether one was known before.
    fn stands_for(&mut self, of: &Type<'a>, param: usize) -> (bool, bool) {
        if matches!(of, Type::Param(own) if *own == param) {
            return (true, true);
        }
        if let Some(known) = self.found[param].clone() {
            if of.is(&known) {
                return (true, true);
            }
            if self.fits(of, &known) {
                let new = Type::general(of.clone(), known);
                if !self.names(&new, param) {
                    self.learn(param, new);
                }
                return (true, true);
            }
            return (false, true);
        }
        if self.names(of, param) {
            return (false, false);
        }
        self.learn(param, of.clone());
        (true, false)
    }
}
