//! `authorizer` in expressions: may whoever makes a request do something else?
//!
//! ```text
//!  authorizer.group('apps').resource('deployments').namespace('web').check('delete').allowed()
//!  authorizer.path('/metrics').check('get').reason()
//!  authorizer.serviceAccount('web', 'robot').requestResource …    authorizer.requestResource.check('approve')
//! ```
//!
//! Each step is a value of its own, which nobody sees into; only [`Authorizer::decide`] knows who may what.

use std::fmt;
use std::sync::Arc;

use kube_cel::cel::extractors::This;
use kube_cel::cel::objects::Opaque;
use kube_cel::cel::{Context, ExecutionError, ResolveResult, Value as CelValue};

/// The name that `authorizer.requestResource` becomes.
pub(super) const REQUEST_RESOURCE: &str = "@authorizer.requestResource";

/// Answers questions of rights, for who makes a request.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// May they? The reason is for people; empty where there is none.
    fn decide(&self, asked: &Question) -> (bool, String);
}

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// The service account that is meant, by namespace and name, and not who makes the request.
    pub account: Option<(String, String)>,
    /// The verb.
    pub verb: String,
    /// The path; empty for resources.
    pub path: String,
    /// The group of the resource.
    pub group: String,
    /// The resource.
    pub resource: String,
    /// The subresource; empty for none.
    pub subresource: String,
    /// The namespace; empty for none.
    pub namespace: String,
    /// The object's name; empty for none.
    pub name: String,
}

/// How far a question is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing is said yet.
    Begin,
    /// The group is.
    Group,
    /// The resource is: it can be checked.
    Resource,
    /// The path is: it can be checked.
    Path,
}

/// A question on its way.
#[derive(Debug, Clone)]
struct Asking {
    stage: Stage,
    of: Arc<dyn Authorizer>,
    question: Question,
}

impl PartialEq for Asking {
    fn eq(&self, other: &Self) -> bool {
        self.stage == other.stage && Arc::ptr_eq(&self.of, &other.of) && self.question == other.question
    }
}

impl Eq for Asking {}

impl Opaque for Asking {
    fn runtime_type_name(&self) -> &str {
        match self.stage {
            Stage::Begin => "kubernetes.authorization.Authorizer",
            Stage::Group => "kubernetes.authorization.GroupCheck",
            Stage::Resource => "kubernetes.authorization.ResourceCheck",
            Stage::Path => "kubernetes.authorization.PathCheck",
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Decided {
    allowed: bool,
    reason: String,
}

impl Opaque for Decided {
    fn runtime_type_name(&self) -> &'static str {
        "kubernetes.authorization.Decision"
    }
}

/// A value to begin or go on with.
pub(super) fn asking(of: &Arc<dyn Authorizer>, stage: Stage, question: Question) -> CelValue {
    CelValue::Opaque(Arc::new(Asking { stage, of: of.clone(), question }))
}

/// How many letters a question holds, if a value is one: each step copies them.
pub(super) fn letters(value: &CelValue) -> u64 {
    let CelValue::Opaque(opaque) = value else { return 0 };
    let Some(Asking { question, .. }) = opaque.downcast_ref::<Asking>() else { return 0 };
    let Question { account, verb, path, group, resource, subresource, namespace, name } = question;
    let account = account.as_ref().map_or(0, |(namespace, name)| namespace.len() + name.len());
    let texts = [verb, path, group, resource, subresource, namespace, name];
    (account + texts.iter().map(|text| text.len()).sum::<usize>()) as u64
}

/// Gives a context the functions of `authorizer`.
pub(super) fn add_functions(context: &mut Context<'_>) {
    type Text = Arc<String>;
    context.add_function("path", |This(this): This<CelValue>, path: Text| -> ResolveResult {
        step(&this, "path", Stage::Begin, Stage::Path, |question| question.path = text(&path))
    });
    context.add_function("group", |This(this): This<CelValue>, group: Text| -> ResolveResult {
        step(&this, "group", Stage::Begin, Stage::Group, |question| question.group = text(&group))
    });
    context.add_function(
        "serviceAccount",
        |This(this): This<CelValue>, namespace: Text, name: Text| -> ResolveResult {
            let account = Some((text(&namespace), text(&name)));
            step(&this, "serviceAccount", Stage::Begin, Stage::Begin, |question| question.account = account)
        },
    );
    context.add_function("resource", |This(this): This<CelValue>, resource: Text| -> ResolveResult {
        step(&this, "resource", Stage::Group, Stage::Resource, |question| question.resource = text(&resource))
    });
    context.add_function("subresource", |This(this): This<CelValue>, name: Text| -> ResolveResult {
        step(&this, "subresource", Stage::Resource, Stage::Resource, |question| question.subresource = text(&name))
    });
    context.add_function("namespace", |This(this): This<CelValue>, name: Text| -> ResolveResult {
        step(&this, "namespace", Stage::Resource, Stage::Resource, |question| question.namespace = text(&name))
    });
    context.add_function("name", |This(this): This<CelValue>, name: Text| -> ResolveResult {
        step(&this, "name", Stage::Resource, Stage::Resource, |question| question.name = text(&name))
    });
    // Roles are not about selectors: what may be done with one may be done without.
    for name in ["fieldSelector", "labelSelector"] {
        context.add_function(name, move |This(this): This<CelValue>, _: Text| -> ResolveResult {
            step(&this, name, Stage::Resource, Stage::Resource, |_| ())
        });
    }
    context.add_function("check", |This(this): This<CelValue>, verb: Text| -> ResolveResult { check(&this, &verb) });
    context.add_function("allowed", |This(this): This<CelValue>| -> ResolveResult {
        decided(&this, "allowed").map(|it| CelValue::Bool(it.allowed))
    });
    context.add_function("reason", |This(this): This<CelValue>| -> ResolveResult {
        decided(&this, "reason").map(|it| CelValue::String(Arc::new(it.reason.clone())))
    });
    // A question that is asked here always has an answer.
    context.add_function("errored", |This(this): This<CelValue>| -> ResolveResult {
        decided(&this, "errored").map(|_| CelValue::Bool(false))
    });
    context.add_function("error", |This(this): This<CelValue>| -> ResolveResult {
        decided(&this, "error").map(|_| CelValue::String(Arc::default()))
    });
}

fn text(text: &Arc<String>) -> String {
    text.as_ref().clone()
}

fn no_overload(function: &str) -> ExecutionError {
    ExecutionError::function_error(function, "no such overload")
}

fn seen<'a, T: Opaque>(this: &'a CelValue, function: &str) -> Result<&'a T, ExecutionError> {
    match this {
        CelValue::Opaque(opaque) => opaque.downcast_ref::<T>().ok_or_else(|| no_overload(function)),
        _ => Err(no_overload(function)),
    }
}

fn step(this: &CelValue, function: &str, from: Stage, to: Stage, say: impl FnOnce(&mut Question)) -> ResolveResult {
    let mut asking = seen::<Asking>(this, function)?.clone();
    if asking.stage != from {
        return Err(no_overload(function));
    }
    say(&mut asking.question);
    asking.stage = to;
    Ok(CelValue::Opaque(Arc::new(asking)))
}

fn check(this: &CelValue, verb: &Arc<String>) -> ResolveResult {
    let asking = seen::<Asking>(this, "check")?;
    if !matches!(asking.stage, Stage::Resource | Stage::Path) {
        return Err(no_overload("check"));
    }
    let question = Question { verb: text(verb), ..asking.question.clone() };
    let (allowed, reason) = asking.of.decide(&question);
    Ok(CelValue::Opaque(Arc::new(Decided { allowed, reason })))
}

fn decided<'a>(this: &'a CelValue, function: &str) -> Result<&'a Decided, ExecutionError> {
    seen::<Decided>(this, function)
}

#[cfg(test)]
mod tests {
    use super::super::{Expression, Scope};
    use super::*;
    use serde_json::{Value, json};

    /// Allows what is asked with the verb `get`, and says what was asked.
    #[derive(Debug)]
    struct Echo;

    impl Authorizer for Echo {
        fn decide(&self, asked: &Question) -> (bool, String) {
            let Question { account, verb, path, group, resource, subresource, namespace, name } = asked;
            let whom = account.as_ref().map(|(space, name)| format!("{space}/{name} ")).unwrap_or_default();
            let what = format!("{whom}{verb} {path}{group}/{resource}/{subresource} {namespace}/{name}");
            (verb == "get", what)
        }
    }

    fn comes_to(source: &str) -> Result<Value, String> {
        let mut scope = Scope::default();
        let request = Question { group: "apps".to_owned(), resource: "deployments".to_owned(), ..Question::default() };
        scope.set_authorizer(Arc::new(Echo), request);
        Expression::compile(source, &["authorizer"])
            .map_err(|error| error.to_string())?
            .evaluate(&scope)
            .map_err(|why| why.to_string())
    }

    #[test]
    fn a_question_is_put_together_step_by_step() {
        let all = "authorizer.group('g').resource('r').subresource('s').namespace('n').name('o').labelSelector('a=b').\
                   fieldSelector('a=b').check('get')";
        for (source, value) in [
            (format!("{all}.allowed()"), json!(true)),
            (format!("{all}.reason()"), json!("get g/r/s n/o")),
            (format!("{all}.errored() || {all}.error() != ''"), json!(false)),
            ("authorizer.path('/x').check('post').allowed()".to_owned(), json!(false)),
            ("authorizer.path('/x').check('post').reason()".to_owned(), json!("post /x// /")),
            ("authorizer.requestResource.check('approve').reason()".to_owned(), json!("approve apps/deployments/ /")),
            (
                "authorizer.serviceAccount('a', 'b').group('').resource('pods').check('get').reason()".to_owned(),
                json!("a/b get /pods/ /"),
            ),
        ] {
            assert_eq!(comes_to(&source), Ok(value), "{source}");
        }
    }

    #[test]
    fn what_is_no_question_is_an_error_and_questions_have_a_price() {
        for source in [
            "authorizer.resource('pods').check('get').allowed()",
            "authorizer.group('').check('get').allowed()",
            "authorizer.check('get').allowed()",
            "authorizer.path('/x').name('a').check('get').allowed()",
            "authorizer.path('/x').allowed()",
            "'text'.check('get').allowed()",
        ] {
            assert!(comes_to(source).expect_err(source).contains("no such overload"), "{source}");
        }
        let loops = "[1, 2, 3].all(a, authorizer.path('/x').check('get').allowed())";
        assert!(comes_to(loops).expect_err("too many").contains("cost limit exceeded"));
        assert!(comes_to("authorizer").expect_err("has no form").contains("JSON"));
    }
}
