//! The types of whole expressions, and what in them does not fit. Faults are cel-go's, at the places that it tells.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, ListExpr, LiteralValue, SelectExpr, operators,
};

use super::check::FAULTS_MAX;
use super::declared::{self, Overload};
use super::expand::qualified;
use super::formats;
use super::types::{Mapping, Type};
use crate::time::parse_duration;

/// The variables of a policy by name, and their types.
pub(crate) type Variables = HashMap<String, Type<'static>>;

/// What an expression may name.
#[derive(Default)]
pub(crate) struct Environment<'a> {
    names: Vec<(String, Type<'a>)>,
    /// The variables of a policy: fields of `variables`.
    variables: Option<&'a Variables>,
    /// Whether it may make objects and patches.
    patches: bool,
    /// How many regular expressions were compiled.
    patterns: Rc<Cell<usize>>,
}

impl<'a> Environment<'a> {
    /// With a name more.
    pub(crate) fn with(mut self, name: &str, of: Type<'a>) -> Self {
        self.names.push((name.to_owned(), of));
        self
    }

    /// What is known of a request that policies and webhooks are asked about.
    pub(crate) fn of_request(params: bool, authorizer: bool, patches: bool) -> Self {
        let mut environment = Self { patches, ..Self::default() }
            .with("object", Type::Dyn)
            .with("oldObject", Type::Dyn)
            .with("namespaceObject", Type::Named("kubernetes.Namespace"))
            .with("request", Type::Named("kubernetes.AdmissionRequest"));
        if params {
            environment = environment.with("params", Type::Dyn);
        }
        if authorizer {
            environment = environment
                .with("authorizer", Type::Named("kubernetes.authorization.Authorizer"))
                .with("authorizer.requestResource", Type::Named("kubernetes.authorization.ResourceCheck"));
        }
        environment
    }

    /// What a policy knows whose objects, and parameters if it has such, are of these types.
    pub(super) fn of_object(object: Type<'a>, params: Option<Type<'a>>) -> Self {
        let environment = Self::default()
            .with("object", object.clone())
            .with("oldObject", object)
            .with("namespaceObject", Type::Named("kubernetes.Namespace"))
            .with("request", Type::Named("kubernetes.AdmissionRequest"))
            .with("authorizer", Type::Named("kubernetes.authorization.Authorizer"));
        match params {
            Some(of) => environment.with("params", of),
            None => environment,
        }
    }

    /// With a count of regular expressions that goes on from expression to expression.
    pub(crate) fn counting(mut self, patterns: &Rc<Cell<usize>>) -> Self {
        self.patterns = patterns.clone();
        self
    }

    /// Reads a regular expression, unless so many were read before.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) fn read_pattern(&self, text: &str) -> Result<(), String> {
        let counted = self.patterns.get().saturating_add(1 + text.len() / 256);
        self.patterns.set(counted);
        if counted > PATTERNS_MAX { Ok(()) } else { super::patterns::compile(text).map(drop) }
    }

    /// With those variables of a policy that come before.
    pub(crate) fn with_variables(mut self, variables: &'a Variables) -> Self {
        self.variables = Some(variables);
        self.with("variables", Type::Variables)
    }

    /// What a later expression knows of a variable that comes to a type.
    pub(crate) fn as_variable(of: &Type<'_>) -> Type<'static> {
        match of {
            Type::List(of) => Type::list(Self::as_variable(of)),
            Type::Map(key, value) => Type::map(Self::as_variable(key), Self::as_variable(value)),
            Type::Null => Type::Null,
            Type::Bool => Type::Bool,
            Type::Int => Type::Int,
            Type::Uint => Type::Uint,
            Type::Double => Type::Double,
            Type::String => Type::String,
            Type::Bytes => Type::Bytes,
            Type::Timestamp => Type::Timestamp,
            Type::Duration => Type::Duration,
            _ => Type::Dyn,
        }
    }
}

/// What is known of an expression in which all fits.
pub(super) struct Checked<'a> {
    /// Its type.
    pub(super) of: Type<'a>,
    types: Mapping<'a>,
    parts: HashMap<*const IdedExpr, Type<'a>>,
    calls: HashMap<*const IdedExpr, Called>,
}

/// What a call calls.
pub(super) struct Called {
    pub(super) name: String,
    /// Whether it is called on something.
    pub(super) method: bool,
    /// The forms that may be meant. None for what is no function.
    pub(super) forms: Vec<Option<&'static Overload>>,
}

impl<'a> Checked<'a> {
    /// The type of a part.
    pub(super) fn type_of(&self, part: &IdedExpr) -> Type<'a> {
        self.parts.get(&std::ptr::from_ref(part)).map_or(Type::Dyn, |of| self.types.known(of, true))
    }

    /// What a part calls.
    pub(super) fn call(&self, part: &IdedExpr) -> Option<&Called> {
        self.calls.get(&std::ptr::from_ref(part))
    }
}

/// What is known of an expression, or what is wrong with it: the part, and why.
pub(super) fn check<'a>(tree: &IdedExpr, environment: &Environment<'a>) -> Result<Checked<'a>, Vec<(u64, String)>> {
    let mut checker = Checker {
        environment,
        scope: Vec::new(),
        types: Mapping::default(),
        faults: Vec::new(),
        literals: Vec::new(),
        alike: Vec::new(),
        formats: 0,
        parts: HashMap::new(),
        calls: HashMap::new(),
    };
    let found = checker.read(tree);
    if checker.faults.is_empty() {
        // Only what is well typed is looked at as closely as this.
        checker.faults.append(&mut checker.literals);
        for parts in std::mem::take(&mut checker.alike) {
            checker.alike(&parts);
        }
    }
    if !checker.faults.is_empty() {
        return Err(checker.faults);
    }
    let Checker { types, parts, calls, .. } = checker;
    Ok(Checked { of: types.known(&found, true), types, parts, calls })
}

struct Checker<'a, 'b> {
    environment: &'b Environment<'a>,
    /// The names that comprehensions have brought, the innermost last.
    scope: Vec<(String, Type<'a>)>,
    types: Mapping<'a>,
    faults: Vec<(u64, String)>,
    /// Texts that do not say what the function they are given to reads.
    literals: Vec<(u64, String)>,
    /// The items of lists, and the keys and values of maps: each of these must be of one type.
    alike: Vec<Vec<(u64, Type<'a>)>>,
    /// Within how many arguments of `format` this is: lists may be of several types there.
    formats: usize,
    /// The types of the parts read so far.
    parts: HashMap<*const IdedExpr, Type<'a>>,
    calls: HashMap<*const IdedExpr, Called>,
}

/// How many regular expressions of one object are compiled to see whether they can be; long ones count as several.
const PATTERNS_MAX: usize = 100;

impl<'a> Checker<'a, '_> {
    fn fault(&mut self, at: u64, why: String) -> Type<'a> {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push((at, why));
        }
        Type::Error
    }

    fn undeclared(&mut self, at: u64, name: &str) -> Type<'a> {
        self.fault(at, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn mismatch(&mut self, at: u64, wanted: &Type<'a>, found: &Type<'a>) -> Type<'a> {
        let (wanted, found) = (self.types.known(wanted, true), self.types.known(found, true));
        self.fault(at, format!("expected type '{}' but found '{}'", wanted.told(), found.told()))
    }

    fn read(&mut self, tree: &IdedExpr) -> Type<'a> {
        let found = self.of_part(tree);
        self.parts.insert(tree, found.clone());
        found
    }

    fn of_part(&mut self, tree: &IdedExpr) -> Type<'a> {
        match &tree.expr {
            Expr::Unspecified => Type::Dyn,
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Type::Bool,
                LiteralValue::Bytes(_) => Type::Bytes,
                LiteralValue::Double(_) => Type::Double,
                LiteralValue::Int(_) => Type::Int,
                LiteralValue::Null => Type::Null,
                LiteralValue::String(_) => Type::String,
                LiteralValue::UInt(_) => Type::Uint,
            },
            Expr::Ident(name) => self.look_up(name).unwrap_or_else(|| self.undeclared(tree.id, name)),
            Expr::Select(select) => self.select(tree.id, select),
            Expr::Call(call) => self.call(tree, call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(&map.entries),
            Expr::Struct(message) => self.message(tree.id, &message.type_name, &message.entries),
            Expr::Comprehension(all) => self.comprehension(all),
        }
    }

    fn look_up(&self, name: &str) -> Option<Type<'a>> {
        const KINDS: [&str; 11] =
            ["bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "string", "type", "uint"];
        let name = name.trim_start_matches('.');
        let of = |names: &[(String, Type<'a>)]| {
            names.iter().rev().find(|(known, _)| known == name).map(|(_, of)| of.clone())
        };
        of(&self.scope).or_else(|| of(&self.environment.names)).or_else(|| KINDS.contains(&name).then_some(Type::Kind))
    }

    fn select(&mut self, id: u64, select: &SelectExpr) -> Type<'a> {
        if !select.test
            && let Some(whole) = qualified(&select.operand).map(|begin| format!("{begin}.{}", select.field))
            && let Some(known) = self.look_up(&whole)
        {
            return known;
        }
        let operand = self.read(&select.operand);
        let found = self.field(id, operand, &select.field);
        if select.test { Type::Bool } else { found }
    }

    fn field(&mut self, id: u64, operand: Type<'a>, field: &str) -> Type<'a> {
        let operand = self.types.known(&operand, false);
        let (optional, target) = match operand {
            Type::Optional(of) => (true, *of),
            other => (false, other),
        };
        let found = match &target {
            Type::Dyn | Type::Error => Type::Dyn,
            Type::Param(_) => {
                self.types.fit(&[Type::Dyn], std::slice::from_ref(&target));
                Type::Dyn
            }
            Type::Map(_, value) => (**value).clone(),
            Type::Named(name) if name.starts_with("Object") => Type::Dyn,
            Type::Named(name) => match declared::field(name, field) {
                Some(found) => found.clone(),
                None if declared::has_fields(name) => return self.fault(id, format!("undefined field '{field}'")),
                // Upstream knows the one sort by its name alone, and the other as a value without fields.
                None if !name.starts_with("net.") => {
                    return self.fault(id, format!("unexpected failed resolution of '{name}'"));
                }
                None => return self.fault(id, format!("type '{name}' does not support field selection")),
            },
            Type::Variables => match self.environment.variables.and_then(|variables| variables.get(field)) {
                Some(found) => found.clone(),
                None => return self.fault(id, format!("undefined field '{field}'")),
            },
            Type::Object(schema, whole) => match crate::custom::cel_field(schema, *whole, field) {
                Some(found) => found,
                None => return self.fault(id, format!("undefined field '{field}'")),
            },
            other => {
                let why = format!("type '{}' does not support field selection", other.told());
                self.fault(id, why);
                return Type::Dyn;
            }
        };
        if optional { Type::optional(found) } else { found }
    }

    fn call(&mut self, tree: &IdedExpr, call: &CallExpr) -> Type<'a> {
        let (id, name) = (tree.id, call.func_name.as_str());
        if name == operators::OPT_SELECT {
            self.calls.insert(tree, Called { name: name.to_owned(), method: false, forms: vec![None] });
            return self.optional_field(id, call);
        }
        let formats = usize::from(name == "format" && call.target.is_some());
        self.formats += formats;
        let arguments: Vec<Type<'a>> = call.args.iter().map(|argument| self.read(argument)).collect();
        self.formats -= formats;
        let Some(target) = &call.target else {
            return match declared::overloads(name) {
                Some(forms) => self.resolve(tree, name, forms, None, arguments, call),
                None => self.undeclared(id, name),
            };
        };
        if let Some(begin) = qualified(target)
            && (begin != "jsonpatch" || self.environment.patches)
            && let Some(forms) = declared::overloads(&format!("{begin}.{name}"))
        {
            return self.resolve(tree, &format!("{begin}.{name}"), forms, None, arguments, call);
        }
        let target = self.read(target);
        match declared::overloads(name) {
            Some(forms) => self.resolve(tree, name, forms, Some(target), arguments, call),
            None => self.undeclared(id, name),
        }
    }

    /// `a.?b` is an optional, whatever `a` is.
    fn optional_field(&mut self, id: u64, call: &CallExpr) -> Type<'a> {
        let [operand, field] = call.args.as_slice() else { return Type::optional(Type::Dyn) };
        let Expr::Literal(LiteralValue::String(field)) = &field.expr else { return Type::optional(Type::Dyn) };
        let operand = self.read(operand);
        match self.field(id, operand, field.inner()) {
            Type::Optional(of) => Type::Optional(of),
            found => Type::optional(found),
        }
    }

    fn resolve(
        &mut self,
        tree: &IdedExpr,
        name: &str,
        forms: &'static [Overload],
        target: Option<Type<'a>>,
        arguments: Vec<Type<'a>>,
        call: &CallExpr,
    ) -> Type<'a> {
        let method = target.is_some();
        let mut called = Called { name: name.to_owned(), method, forms: Vec::new() };
        if matches!(name, operators::LOGICAL_AND | operators::LOGICAL_OR) {
            for (argument, found) in call.args.iter().zip(&arguments) {
                if !self.types.fit(std::slice::from_ref(found), &[Type::Bool]) {
                    self.mismatch(argument.id, &Type::Bool, found);
                }
            }
            called.forms.push(None);
            self.calls.insert(tree, called);
            return Type::Bool;
        }
        let given: Vec<Type<'a>> = target.into_iter().chain(arguments).collect();
        let mut result: Option<Type<'a>> = None;
        for form in forms.iter().filter(|form| form.method == method && form.arguments.len() == given.len()) {
            let fresh = [self.types.fresh(), self.types.fresh()];
            let own = |of: &Type<'a>| -> Type<'a> { of.with(&|param| fresh[param].clone()) };
            let wanted: Vec<Type<'a>> = form.arguments.iter().map(own).collect();
            if !self.types.fit(&given, &wanted) {
                continue;
            }
            called.forms.push(Some(form));
            let found = self.types.known(&own(&form.result), false);
            result = Some(match result {
                None => found,
                Some(known) if known.is_dyn() || known.is(&found) => known,
                Some(_) => Type::Dyn,
            });
        }
        if let Some(result) = result {
            self.literal(tree.id, name, method, call);
            self.calls.insert(tree, called);
            return result;
        }
        let shown: Vec<String> = given.iter().map(|one| self.types.known(one, true).told()).collect();
        let shown = match shown.split_first() {
            Some((target, rest)) if method => format!("{target}.({})", rest.join(", ")),
            _ => format!("({})", shown.join(", ")),
        };
        self.fault(tree.id, format!("found no matching overload for '{name}' applied to '{shown}'"))
    }

    /// Texts that are there to be read are read.
    fn literal(&mut self, id: u64, name: &str, method: bool, call: &CallExpr) {
        if let ("format", Some(target), [values]) = (name, &call.target, call.args.as_slice())
            && let (Expr::Literal(LiteralValue::String(format)), Expr::List(values)) = (&target.expr, &values.expr)
        {
            let type_of = |part: &IdedExpr| {
                let of = self.parts.get(&std::ptr::from_ref(part));
                of.map_or(Type::Dyn, |of| self.types.known(of, true))
            };
            let found = formats::fault(format.inner(), &values.elements, &type_of);
            self.literals.extend(found.map(|(part, why)| (part.unwrap_or(id), why)));
            return;
        }
        let at = usize::from(name == "matches" && !method);
        let Some(argument) = call.args.get(at) else { return };
        if let Expr::Literal(LiteralValue::Int(seconds)) = &argument.expr {
            const MOMENTS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
            if name == "duration" || name == "timestamp" && !MOMENTS.contains(seconds.inner()) {
                self.literals.push((argument.id, format!("invalid {name} argument")));
            }
            return;
        }
        let Expr::Literal(LiteralValue::String(text)) = &argument.expr else { return };
        let text = text.inner();
        let fine = match name {
            "matches" => self.environment.read_pattern(text).is_ok(),
            "duration" if call.args.len() == 1 => parse_duration(text).is_ok(),
            "timestamp" if call.args.len() == 1 => chrono::DateTime::parse_from_rfc3339(text).is_ok(),
            _ => true,
        };
        if !fine {
            self.literals.push((argument.id, format!("invalid {name} argument")));
        }
    }

    fn join(&mut self, known: Option<Type<'a>>, found: Type<'a>) -> Type<'a> {
        let Some(known) = known else { return found };
        if self.types.fit(std::slice::from_ref(&known), std::slice::from_ref(&found)) {
            return Type::general(known, found);
        }
        Type::Dyn
    }

    /// Says of the first part that is not of the type of those before it what was expected.
    fn alike(&mut self, parts: &[(u64, Type<'a>)]) {
        let mut parts = parts.iter().map(|(at, of)| (*at, self.types.known(of, true)));
        let Some((_, first)) = parts.next() else { return };
        if let Some((at, other)) = parts.find(|(_, other)| !first.is(other))
            && self.faults.len() < FAULTS_MAX
        {
            self.faults.push((at, format!("expected type '{}' but found '{}'", first.told(), other.told())));
        }
    }

    /// Parts that must be of one type, unless this is within what is formatted.
    fn be_alike(&mut self, parts: Vec<(u64, Type<'a>)>) {
        if self.formats == 0 && parts.len() > 1 {
            self.alike.push(parts);
        }
    }

    fn list(&mut self, list: &ListExpr) -> Type<'a> {
        let mut of = None;
        let mut parts = Vec::with_capacity(list.elements.len());
        for (index, element) in list.elements.iter().enumerate() {
            let mut found = self.read(element);
            if list.optional_indices.contains(&index) {
                found = self.within_optional(element.id, found);
            }
            parts.push((element.id, found.clone()));
            of = Some(self.join(of, found));
        }
        self.be_alike(parts);
        Type::list(of.unwrap_or_else(|| self.types.fresh()))
    }

    /// What may be left out is an optional.
    fn within_optional(&mut self, at: u64, found: Type<'a>) -> Type<'a> {
        match found {
            Type::Optional(inner) => *inner,
            Type::Dyn | Type::Error | Type::Param(_) => found,
            other => self.mismatch(at, &Type::optional(other.clone()), &other),
        }
    }

    fn map(&mut self, entries: &[IdedEntryExpr]) -> Type<'a> {
        let (mut keys, mut values) = (None, None);
        let (mut key_parts, mut value_parts) = (Vec::new(), Vec::new());
        for entry in entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
            let key = self.read(&entry.key);
            key_parts.push((entry.key.id, key.clone()));
            keys = Some(self.join(keys, key));
            let mut value = self.read(&entry.value);
            if entry.optional {
                value = self.within_optional(entry.value.id, value);
            }
            value_parts.push((entry.value.id, value.clone()));
            values = Some(self.join(values, value));
        }
        self.be_alike(key_parts);
        self.be_alike(value_parts);
        let key = keys.unwrap_or_else(|| self.types.fresh());
        Type::map(key, values.unwrap_or_else(|| self.types.fresh()))
    }

    /// An object, or a step of a patch, as policies that change something make them.
    fn message(&mut self, id: u64, name: &str, entries: &[IdedEntryExpr]) -> Type<'a> {
        let name = name.trim_start_matches('.');
        let patch = name == "JSONPatch";
        if !self.environment.patches || !(patch || name == "Object" || name.starts_with("Object.")) {
            return self.undeclared(id, name);
        }
        for entry in entries {
            let EntryExpr::StructField(field) = &entry.expr else { continue };
            let found = self.read(&field.value);
            if !patch {
                continue;
            }
            let wanted = match field.field.as_str() {
                "op" | "path" | "from" => Type::String,
                "value" => Type::Dyn,
                other => {
                    let found = self.types.known(&found, true).told();
                    let why = format!("expected type of field '{other}' is '' but provided type is '{found}'");
                    self.fault(entry.id, why);
                    continue;
                }
            };
            if !self.types.fit(std::slice::from_ref(&found), std::slice::from_ref(&wanted)) {
                let found = self.types.known(&found, true).told();
                let why = format!(
                    "expected type of field '{}' is '{}' but provided type is '{found}'",
                    field.field,
                    wanted.told()
                );
                self.fault(entry.id, why);
            }
        }
        Type::Named(if patch {
            "JSONPatch"
        } else if name == "Object" {
            "Object"
        } else {
            "Object.field"
        })
    }

    fn comprehension(&mut self, all: &ComprehensionExpr) -> Type<'a> {
        let range = self.read(&all.iter_range);
        let so_far = self.read(&all.accu_init);
        let range = self.types.known(&range, false);
        let two = all.iter_var2.is_some();
        let (first, second) = match range {
            Type::List(of) if two => (Type::Int, *of),
            Type::List(of) => (*of, Type::Dyn),
            Type::Map(key, value) => (*key, *value),
            Type::Dyn | Type::Error => (Type::Dyn, Type::Dyn),
            Type::Param(_) => {
                self.types.fit(&[Type::Dyn], std::slice::from_ref(&range));
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let why = format!(
                    "expression of type '{}' cannot be range of a comprehension (must be list, map, or dynamic)",
                    other.told()
                );
                self.fault(all.iter_range.id, why);
                (Type::Error, Type::Error)
            }
        };
        let before = self.scope.len();
        self.scope.push((all.accu_var.clone(), so_far.clone()));
        self.scope.push((all.iter_var.clone(), first));
        self.scope.extend(all.iter_var2.clone().map(|name| (name, second)));
        let condition = self.read(&all.loop_cond);
        self.expect(all.loop_cond.id, &condition, &Type::Bool);
        let step = self.read(&all.loop_step);
        self.expect(all.loop_step.id, &step, &so_far);
        self.scope.truncate(before + 1);
        let result = self.read(&all.result);
        self.scope.truncate(before);
        self.types.known(&result, false)
    }

    fn expect(&mut self, at: u64, found: &Type<'a>, wanted: &Type<'a>) {
        if !self.types.fit(std::slice::from_ref(wanted), std::slice::from_ref(found)) {
            self.mismatch(at, wanted, found);
        }
    }
}
