//! Reviews: questions about identities and rights. They are answered and not stored.

use arktos_core::{Object, Status, TenantName};
use serde_json::{Value, json};

mod valid;

use crate::authorize::{Attributes, Decision};
use crate::call::Call;
use crate::config::ApiConfig;
use crate::identity::Identity;
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
    match call.kind.resource.as_str() {
        "selfsubjectreviews" => who_am_i(call, review),
        "tokenreviews" => token(call, review).await,
        "selfsubjectaccessreviews" => {
            valid::check(AUTHORIZATION, &review, false, None)?;
            let decision = decide(call, call.identity, &review);
            Ok(decided(review, &decision))
        }
        "subjectaccessreviews" => subject(call, review),
        "localsubjectaccessreviews" => local(call, review),
        "selfsubjectrulesreviews" => rules(call, review),
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
    if let Some(managed) = managed {
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

fn who_am_i(call: &Call<'_>, mut review: Object) -> Result<Object, Status> {
    review.set(&["metadata", "creationTimestamp"], call.state.config.clock.now().to_string());
    review.fields.insert("status".to_owned(), json!({"userInfo": user_info(call.identity)}));
    Ok(review)
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
    let (known, audiences) = match config.tokens.find(token) {
        Some(identity) if crate::authenticate::counts(config, identity) => (Ok(identity.clone()), Vec::new()),
        Some(_) => (Err("of a tenant that is gone".to_owned()), Vec::new()),
        None => match crate::tokens::check::check(config, token, &audiences) {
            Ok(checked) => (Ok(checked.identity), checked.audiences),
            Err(why) => match elsewhere(config, token, audiences).await {
                Some((identity, audiences)) => (Ok(identity), audiences),
                None => (Err(why), Vec::new()),
            },
        },
    };
    // What belongs to another tenant is not this tenant's to know.
    let known = known.and_then(|known| {
        let shown = call.identity.is_system() || known.tenant == call.identity.tenant;
        if shown { Ok(known) } else { Err("unknown".to_owned()) }
    });
    let status = match known {
        Ok(identity) if audiences.is_empty() => json!({"authenticated": true, "user": user_info(&identity)}),
        Ok(identity) => json!({"authenticated": true, "user": user_info(&identity), "audiences": audiences}),
        Err(why) => {
            let why = if why.starts_with(crate::tokens::check::OTHER_AUDIENCES) { why.as_str() } else { "unknown" };
            json!({"user": {}, "error": format!("[invalid bearer token, {why}]")})
        }
    };
    review.fields.insert("status".to_owned(), status);
    Ok(review)
}

/// Whose a token is that others vouch for, and which of the audiences it is for: such tokens are for this server.
async fn elsewhere(config: &ApiConfig, token: &str, audiences: Vec<String>) -> Option<(Identity, Vec<String>)> {
    let all = audiences.is_empty();
    let audiences: Vec<String> = audiences.into_iter().filter(|audience| *audience == config.issuer).collect();
    if !all && audiences.is_empty() {
        return None;
    }
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
    let status = match decision {
        Decision::Allow(reason) if reason.is_empty() => json!({"allowed": true}),
        Decision::Allow(reason) => json!({"allowed": true, "reason": reason}),
        Decision::NoOpinion(reason) if reason.is_empty() => json!({"allowed": false}),
        Decision::NoOpinion(reason) => json!({"allowed": false, "reason": reason}),
        Decision::Deny(reason) => json!({"allowed": false, "denied": true, "reason": reason}),
    };
    review.fields.insert("status".to_owned(), status);
    review
}

fn rules(call: &Call<'_>, mut review: Object) -> Result<Object, Status> {
    let namespace = review.str_at(&["spec", "namespace"]).to_owned();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let mut rules = call.state.authorizer.rules().of(call.identity, call.one_tenant()?, &namespace);
    // Those who may everything may it in their own tenant, or everywhere.
    let at_home = call.identity.is_system() || call.tenant == call.identity.tenant;
    if at_home && call.identity.is_in(crate::identity::MASTERS) {
        let all = || vec!["*".to_owned()];
        rules.push(crate::authorize::Rule { verbs: all(), api_groups: all(), resources: all(), ..Default::default() });
        rules.push(crate::authorize::Rule { verbs: all(), non_resource_urls: all(), ..Default::default() });
    }
    let (paths, resources): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| !rule.non_resource_urls.is_empty());
    review.fields.insert("spec".to_owned(), json!({}));
    let status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
    review.fields.insert("status".to_owned(), status);
    Ok(review)
}
