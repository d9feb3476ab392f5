//! Reviews: questions about identities and rights. They are answered and not stored.

use arktos_core::{FieldSelector, LabelSelector, Object, Scope, Status, TenantName};
use serde_json::{Value, json};

mod valid;

use crate::authorize::{Attributes, Decision};
use crate::call::Call;
use crate::config::ApiConfig;
use crate::identity::Identity;
use crate::verbs::create::in_namespace;
use crate::verbs::managers;
use crate::verbs::modify::Part;

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// Whether the kind is a review.
pub(crate) fn answers(call: &Call<'_>) -> bool {
    matches!(call.kind.group.as_str(), AUTHENTICATION | AUTHORIZATION)
}

/// Answers a review.
///
/// # Errors
/// 422 for questions that make no sense.
pub(crate) async fn answer(call: &Call<'_>, mut review: Object) -> Result<Object, Status> {
    review.fields.insert("apiVersion".to_owned(), Value::from(call.kind.type_meta.api_version.as_str()));
    review.fields.insert("kind".to_owned(), Value::from(call.kind.type_meta.kind.as_str()));
    review.map_mut(&["metadata"]);
    if call.kind.scope == Scope::Namespace {
        in_namespace(call, review.str_at(&["metadata", "namespace"]))?;
    } else {
        review.remove(&["metadata", "namespace"]);
    }
    match call.kind.resource.as_str() {
        "selfsubjectreviews" => Ok(who_am_i(call, &review)),
        "tokenreviews" => token(call, review).await,
        "selfsubjectaccessreviews" => {
            valid::check(AUTHORIZATION, &review, false, None)?;
            let decision = decide(call, call.identity, &review);
            Ok(decided(review, &decision))
        }
        "subjectaccessreviews" => subject(call, review),
        "localsubjectaccessreviews" => local(call, review),
        "selfsubjectrulesreviews" => rules(call, &review),
        _ => Err(crate::request::not_found()),
    }
}

/// As [`answer`], and says whose the question's fields are.
///
/// # Errors
/// As [`answer`].
pub(crate) async fn answer_noted(call: &Call<'_>, mut review: Object) -> Result<Object, Status> {
    let managed = managers::noted(call, Part::Whole, None, &mut review)?;
    let mut answer = answer(call, review).await?;
    let answers_anew = matches!(call.kind.resource.as_str(), "selfsubjectreviews" | "selfsubjectrulesreviews");
    if let Some(managed) = managed.filter(|_| !answers_anew) {
        answer.set(&["metadata", "managedFields"], managed.tree());
    }
    Ok(answer)
}

fn user_info(identity: &Identity) -> Value {
    let mut info = json!({"username": identity.user});
    if !identity.uid.is_empty() {
        info["uid"] = Value::from(identity.uid.as_str());
    }
    if !identity.groups.is_empty() {
        info["groups"] = json!(identity.groups);
    }
    if !identity.extra.is_empty() {
        info["extra"] = json!(identity.extra);
    }
    info
}

fn who_am_i(call: &Call<'_>, review: &Object) -> Object {
    let mut answer = anew(review);
    answer.set(&["metadata", "creationTimestamp"], call.state.config.clock.now().to_string());
    answer.fields.insert("status".to_owned(), json!({"userInfo": user_info(call.identity)}));
    answer
}

/// An answer that has nothing of the question but its kind.
fn anew(review: &Object) -> Object {
    let mut answer = Object::default();
    for field in ["apiVersion", "kind"] {
        answer.fields.insert(field.to_owned(), review.str_at(&[field]).into());
    }
    answer.fields.insert("metadata".to_owned(), json!({}));
    answer
}

async fn token(call: &Call<'_>, mut review: Object) -> Result<Object, Status> {
    let token = review.str_at(&["spec", "token"]).to_owned();
    let token = token.as_str();
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let config = &call.state.config;
    let audiences = review.at(&["spec", "audiences"]).and_then(Value::as_array).into_iter().flatten();
    let audiences: Vec<String> = audiences.filter_map(|one| one.as_str().map(str::to_owned)).collect();
    let known = match config.tokens.find(token) {
        Some(identity) if crate::authenticate::counts(config, identity) => {
            own(config, &audiences).map(|audiences| (identity.clone(), audiences)).ok_or(None)
        }
        Some(_) => Err(None),
        None => match crate::tokens::check::check(config, token, &audiences) {
            Ok(checked) => Ok((checked.identity, checked.audiences)),
            Err(refused) => elsewhere(config, token, &audiences).await.ok_or(Some(refused)),
        },
    };
    // An answer names a user and not whose: it is about users of the tenant that is asked, whoever asks. Another
    // tenant's would be taken for its own of that name; and is not its to know.
    let shown = |tenant: Option<&TenantName>| tenant.is_some() && tenant == call.tenant.as_ref();
    let status = match known {
        Ok((identity, audiences)) if shown(identity.tenant.as_ref()) => {
            json!({"authenticated": true, "user": user_info(&identity), "audiences": audiences})
        }
        Err(Some(refused)) if refused.tenant.is_some() && shown(refused.tenant.as_ref()) => {
            json!({"user": {}, "error": format!("[invalid bearer token, {}]", refused.why)})
        }
        _ => json!({"user": {}, "error": "invalid bearer token"}),
    };
    review.fields.insert("status".to_owned(), status);
    Ok(review)
}

/// Which of the audiences that are asked about this server is: all tokens but those of service accounts are for it
/// alone.
fn own(config: &ApiConfig, audiences: &[String]) -> Option<Vec<String>> {
    let is_own = audiences.is_empty() || audiences.contains(&config.issuer);
    is_own.then(|| vec![config.issuer.clone()])
}

/// Whose a token is that others vouch for, and which of the audiences it is for.
async fn elsewhere(config: &ApiConfig, token: &str, audiences: &[String]) -> Option<(Identity, Vec<String>)> {
    let audiences = own(config, audiences)?;
    let identity = crate::authenticate::elsewhere(config, token).await?;
    crate::authenticate::counts(config, &identity).then_some((identity, audiences))
}

fn subject(call: &Call<'_>, review: Object) -> Result<Object, Status> {
    valid::check(AUTHORIZATION, &review, true, None)?;
    let decision = decide(call, &asked_about(call, &review), &review);
    Ok(decided(review, &decision))
}

fn local(call: &Call<'_>, mut review: Object) -> Result<Object, Status> {
    valid::check(AUTHORIZATION, &review, true, Some(&call.namespace))?;
    review.set(&["metadata", "namespace"], call.namespace.as_ref());
    let decision = decide(call, &asked_about(call, &review), &review);
    Ok(decided(review, &decision))
}

fn asked_about(call: &Call<'_>, review: &Object) -> Identity {
    let list = |value: Option<&Value>| -> Vec<String> {
        let values = value.and_then(Value::as_array).into_iter().flatten();
        values.filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    let user = review.str_at(&["spec", "user"]);
    let groups = list(review.at(&["spec", "groups"]));
    let tenant = call.tenant.clone();
    Identity { user: user.to_owned(), groups, tenant, ..Identity::default() }
}

fn decide(call: &Call<'_>, identity: &Identity, review: &Object) -> Decision {
    let tenant: Option<&TenantName> = call.tenant.as_ref();
    let text = |path: &[&str]| review.str_at(path).to_owned();
    let path = text(&["spec", "nonResourceAttributes", "path"]);
    let of = |field: &str| text(&["spec", "resourceAttributes", field]);
    if review.at(&["spec", "nonResourceAttributes"]).is_some() {
        let verb = text(&["spec", "nonResourceAttributes", "verb"]);
        let asked = Attributes { verb: &verb, path: &path, tenant, ..Attributes::default() };
        return call.state.authorizer.decide(identity, &asked);
    }
    let (verb, group, version, resource) = (of("verb"), of("group"), of("version"), of("resource"));
    let (subresource, namespace, name) = (of("subresource"), of("namespace"), of("name"));
    let asked = Attributes {
        verb: &verb,
        tenant,
        group: &group,
        version: &version,
        resource: &resource,
        subresource: &subresource,
        namespace: &namespace,
        name: &name,
        ..Attributes::default()
    };
    call.state.authorizer.decide(identity, &asked)
}

fn decided(mut review: Object, decision: &Decision) -> Object {
    let mut status = match decision {
        Decision::Allow(reason) if reason.is_empty() => json!({"allowed": true}),
        Decision::Allow(reason) => json!({"allowed": true, "reason": reason}),
        Decision::NoOpinion(reason) if reason.is_empty() => json!({"allowed": false}),
        Decision::NoOpinion(reason) => json!({"allowed": false, "reason": reason}),
        Decision::Deny(reason) => json!({"allowed": false, "denied": true, "reason": reason}),
    };
    if let Some(unread) = unread(&review) {
        status["evaluationError"] = unread.into();
    }
    review.fields.insert("status".to_owned(), status);
    review
}

/// Which selectors of a question cannot be read, or in part: the rest counts.
fn unread(review: &Object) -> Option<String> {
    let mut all = Vec::new();
    for name in ["fieldSelector", "labelSelector"] {
        let Some(selector) = review.at(&["spec", "resourceAttributes", name]) else { continue };
        let raw = selector["rawSelector"].as_str().unwrap_or_default();
        let terms = selector["requirements"].as_array().map_or(&[][..], Vec::as_slice);
        let reads = |term: &Value| {
            let count = term["values"].as_array().map_or(0, Vec::len);
            match term["operator"].as_str().unwrap_or_default() {
                "In" | "NotIn" => name == "labelSelector" || count == 1,
                "Exists" | "DoesNotExist" => name == "labelSelector",
                _ => false,
            }
        };
        let read = terms.iter().filter(|term| reads(term)).count();
        let fine = match (raw, name) {
            ("", _) => read == terms.len(),
            (raw, "fieldSelector") => FieldSelector::parse(raw).is_ok(),
            (raw, _) => LabelSelector::parse(raw).is_ok(),
        };
        if !fine {
            let partly = if read > 0 { "partially " } else { "" };
            all.push(format!("spec.resourceAttributes.{name} {partly}ignored due to parse error"));
        }
    }
    (!all.is_empty()).then(|| all.join("; "))
}

fn rules(call: &Call<'_>, review: &Object) -> Result<Object, Status> {
    let namespace = review.str_at(&["spec", "namespace"]).to_owned();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let (rules, lost) = call.state.authorizer.rules().of(call.identity, call.one_tenant()?, &namespace);
    let (paths, resources): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| !rule.non_resource_urls.is_empty());
    let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
    if let Some(lost) = lost {
        status["evaluationError"] = lost.into();
    }
    let mut answer = anew(review);
    answer.fields.insert("spec".to_owned(), json!({}));
    answer.fields.insert("status".to_owned(), status);
    Ok(answer)
}
