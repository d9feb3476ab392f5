//! Webhooks, the tenant's own: asked about a write over HTTPS, before it is valid and may be changed, and after.
//! (MutatingAdmissionWebhook, ValidatingAdmissionWebhook)
//!
//! This crate opens no sockets: whoever owns the server hands it a [`Caller`](crate::config::Caller).

use std::ops::Deref;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arktos_core::cel::CONDITIONS_BUDGET;
use arktos_core::{GroupResource, Object, Reason, Status, merge};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{Either, select};
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use super::again::Again;
use super::declared::{Configuration, Webhook};
use super::decoded::One;
use super::policies::{GROUP, is_exempt, read};
use super::request::{Request, Target};
use super::service::{self, Place};
use super::{Review, list};
use crate::call::Call;
use crate::config::WebhookTarget;

/// How long a webhook has that does not say.
const TIMEOUT: i64 = 10;
/// How many webhooks one request may be shown to: each is sent all of it.
const ASKED_MAX: usize = 100;
/// How much one webhook may want entered in the audit log, in bytes; what is more is left out.
const NOTES_MAX: usize = 16 << 10;
/// How many of those that judge are asked at once.
const AT_ONCE: usize = 16;

/// What a webhook answers.
struct Answer {
    allowed: bool,
    /// Why not, as it said it.
    status: Value,
    /// A JSON patch.
    patch: Option<Value>,
    warnings: Vec<String>,
    /// What it wants entered in the audit log.
    notes: Vec<(String, String)>,
}

/// The resources of configurations: of webhooks that may change what they are asked about, and of those that judge it.
pub(super) static MUTATING: LazyLock<GroupResource> =
    LazyLock::new(|| GroupResource::new(GROUP, "mutatingwebhookconfigurations"));
pub(super) static VALIDATING: LazyLock<GroupResource> =
    LazyLock::new(|| GroupResource::new(GROUP, "validatingwebhookconfigurations"));

/// A webhook whose rules are about a request.
pub(super) struct Hook {
    configuration: Arc<One<Configuration>>,
    at: usize,
}

impl Deref for Hook {
    type Target = Webhook;

    fn deref(&self) -> &Webhook {
        &self.configuration.webhooks[self.at]
    }
}

/// The webhooks of the tenant's configurations whose rules are about a request, by the configurations' names.
fn webhooks(target: &Target<'_>, configurations: &GroupResource) -> Vec<Hook> {
    let call = target.call;
    if is_exempt(&call.kind.storage_resource) {
        return Vec::new();
    }
    let mut hooks = Vec::new();
    for configuration in list::<Configuration>(call, configurations, "").iter() {
        for (at, webhook) in configuration.webhooks.iter().enumerate() {
            if target.matches(&webhook.rules, webhook.match_policy != "Exact") {
                hooks.push(Hook { configuration: configuration.clone(), at });
            }
        }
    }
    hooks
}

/// Those that may change a write.
pub(super) fn changing(target: &Target<'_>) -> Vec<Hook> {
    webhooks(target, &MUTATING)
}

/// Whether a webhook, whose rules are about the request, is to be asked.
///
/// # Errors
/// 403 where its conditions cannot be told and it must not be passed over; 400 for a dry run that it is not fit for.
fn is_asked(request: &Request<'_>, webhook: &Webhook) -> Result<bool, Status> {
    let name = &webhook.name;
    let forbidden = |why: &str| Status::forbidden(&request.call.kind.group_resource, &request.name, why);
    let fits = || -> Result<bool, String> {
        Ok(request.in_namespaces(&webhook.namespace_selector)? && request.is_object(&webhook.object_selector)?)
    };
    if !fits().map_err(|why| forbidden(&why))? {
        return Ok(false);
    }
    if !webhook.match_conditions.is_empty() {
        let mut names = request.names();
        names.set("namespaceObject", &Value::Null);
        names.set_budget(CONDITIONS_BUDGET);
        match request.call.state.expressions.of(request.call).all_hold(&webhook.match_conditions, &names) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(_) if webhook.failure_policy == "Ignore" => return Ok(false),
            Err(why) => return Err(forbidden(&why)),
        }
    }
    let spares_dry_runs = matches!(webhook.side_effects.as_str(), "None" | "NoneOnDryRun");
    if request.call.options.dry_run && !spares_dry_runs {
        return Err(Status::bad_request(format!("admission webhook {name:?} does not support dry run")));
    }
    Ok(true)
}

/// Asks the webhooks that may change an object.
///
/// # Errors
/// What a webhook answers, and 500 for one that cannot be asked and must be.
pub(super) async fn mutate(
    call: &Call<'_>,
    review: &Review<'_>,
    webhooks: &[Hook],
    object: &mut Object,
    again: &mut Again<usize>,
) -> Result<(), Status> {
    let as_it_is = |object: &Object| Request::of(call, &Review { new: Some(object), ..*review });
    let (mut request, mut asked) = (None, 0);
    for (at, webhook) in webhooks.iter().enumerate() {
        if !again.asks(&at) {
            continue;
        }
        let request = match &mut request {
            Some(request) => request,
            none => none.insert(as_it_is(object)?),
        };
        if !is_asked(request, webhook)? {
            continue;
        }
        asked += 1;
        not_too_many(request, asked)?;
        if let Some(answer) = ask(request, webhook).await?
            && let Some(patch) = answer.patch.filter(|patch| *patch != json!([]))
        {
            let mut value = request.new.clone().map(Object::into_value).unwrap_or_default();
            merge::json_patch(&mut value, patch).map_err(|status| failed(webhook, &status.message))?;
            let changed = read(call, value, object)?;
            if changed.fields != object.fields {
                again.change();
            }
            *object = changed;
            *request = as_it_is(object)?;
        }
        if webhook.reinvocation_policy == "IfNeeded" {
            again.ask(at);
        }
    }
    again.end(&object.fields);
    Ok(())
}

/// Asks the webhooks of some configurations about a request, all at once. They change nothing; it is made only where
/// the rules of one are about it.
///
/// # Errors
/// As [`mutate`].
pub(super) async fn judge<'a>(
    target: &Target<'a>,
    configurations: &GroupResource,
    request: impl FnOnce() -> Result<Request<'a>, Status>,
) -> Result<(), Status> {
    let webhooks = webhooks(target, configurations);
    if webhooks.is_empty() {
        return Ok(());
    }
    let (request, mut asked) = (&request()?, Vec::new());
    for webhook in &webhooks {
        if is_asked(request, webhook)? {
            asked.push(ask(request, webhook).boxed());
        }
    }
    not_too_many(request, asked.len())?;
    // Each is sent all of the object: not of all at once.
    let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    answers.into_iter().try_for_each(|answer| answer.map(drop))
}

/// Refuses a request that would be shown to too many webhooks.
fn not_too_many(request: &Request<'_>, asked: usize) -> Result<(), Status> {
    if asked <= ASKED_MAX {
        return Ok(());
    }
    let why = format!("more than {ASKED_MAX} admission webhooks are to be asked about it");
    Err(Status::forbidden(&request.call.kind.group_resource, &request.name, why))
}

fn failed(webhook: &Webhook, why: &str) -> Status {
    Status::internal(format!("failed calling webhook {:?}: {why}", webhook.name))
}

/// Asks one webhook; absent when it cannot be asked and need not be.
async fn ask(request: &Request<'_>, webhook: &Webhook) -> Result<Option<Answer>, Status> {
    let name = &webhook.name;
    let answer = match reviewed(request, webhook).await {
        Ok(answer) => answer,
        Err(_) if webhook.failure_policy == "Ignore" => return Ok(None),
        Err(why) => return Err(failed(webhook, &why)),
    };
    answer.warnings.iter().for_each(|warning| request.call.warn(warning.as_str()));
    answer.notes.iter().for_each(|(key, value)| request.call.annotate(&format!("{name}/{key}"), value));
    if answer.allowed { Ok(Some(answer)) } else { Err(denied(name, &answer.status)) }
}

/// The refusal of a webhook, in its words.
fn denied(name: &str, status: &Value) -> Status {
    let text = |field: &str| status[field].as_str().filter(|text| !text.is_empty());
    let head = format!("admission webhook {name:?} denied the request");
    let message = match text("message").or(text("reason")) {
        Some(why) => format!("{head}: {why}"),
        None => format!("{head} without explanation"),
    };
    let mut refusal = Status::failure(Reason::BadRequest, message);
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    refusal.code = code.filter(|code| (400..600).contains(code)).unwrap_or(400);
    refusal.reason = serde_json::from_value(status["reason"].clone()).ok();
    refusal.details = serde_json::from_value(status["details"].clone()).ok();
    refusal
}

/// Sends the review and reads the answer.
async fn reviewed(request: &Request<'_>, webhook: &Webhook) -> Result<Answer, String> {
    let config = &request.call.state.config;
    let mut versions = webhook.admission_review_versions.iter();
    let version = versions.find(|version| matches!(version.as_str(), "v1" | "v1beta1"));
    let version =
        format!("admission.k8s.io/{}", version.ok_or("it speaks no version of AdmissionReview that is known here")?);
    let uid = config.random.uid();
    let seconds = webhook.timeout_seconds.unwrap_or(TIMEOUT).clamp(1, 30);
    let uncalled = |why: String| format!("failed to call webhook: {why}");
    let target = target(request, webhook, Duration::from_secs(seconds.unsigned_abs())).map_err(uncalled)?;
    let caller = config.webhooks.as_ref().ok_or("this server is not set up to call webhooks")?;
    let said = request.said(&uid).to_string();
    let said = said.strip_suffix('}').unwrap_or_default();
    let objects = request.told_of_objects();
    let review =
        format!("{{\"apiVersion\":\"{version}\",\"kind\":\"AdmissionReview\",\"request\":{said},{objects}}}}}");
    let called = caller.call(&target, Bytes::from(review));
    let bytes = match select(called, config.clock.sleep(target.timeout)).await {
        Either::Left((answer, _)) => answer.map_err(uncalled)?,
        Either::Right(_) => return Err(uncalled(format!("Post \"{}\": context deadline exceeded", target.url))),
    };
    answer(&bytes, &version, &uid).map_err(|why| format!("received invalid webhook response: {why}"))
}

fn answer(bytes: &[u8], version: &str, uid: &str) -> Result<Answer, String> {
    let review: Value = serde_json::from_slice(bytes).map_err(|error| format!("the answer is not JSON: {error}"))?;
    let response =
        review.get("response").filter(|response| response.is_object()).ok_or("webhook response was absent")?;
    if review["apiVersion"] != version || review["kind"] != "AdmissionReview" {
        let found = format!("{}, Kind={}", review["apiVersion"], review["kind"]);
        return Err(format!("expected webhook response of {version}, Kind=AdmissionReview, got {found}"));
    }
    if response["uid"] != uid {
        return Err(format!("expected response.uid={uid:?}, got {}", response["uid"]));
    }
    let patch = match response["patch"].as_str().filter(|patch| !patch.is_empty()) {
        Some(_) if response["patchType"] != "JSONPatch" => {
            return Err(format!("unsupported patch type {}", response["patchType"]));
        }
        Some(patch) => {
            let patch = STANDARD.decode(patch).map_err(|error| format!("the patch is no base64: {error}"))?;
            Some(serde_json::from_slice(&patch).map_err(|error| format!("the patch is no JSON: {error}"))?)
        }
        None => None,
    };
    let warnings = response["warnings"].as_array().into_iter().flatten();
    let notes = response["auditAnnotations"].as_object().into_iter().flatten();
    let notes = notes.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    let mut length = 0;
    let notes = notes.take_while(|(key, value)| {
        length += key.len() + value.len();
        length <= NOTES_MAX
    });
    Ok(Answer {
        notes: notes.collect(),
        allowed: response["allowed"] == true,
        status: response["status"].clone(),
        patch,
        warnings: warnings.filter_map(|warning| warning.as_str().map(str::to_owned)).collect(),
    })
}

/// A webhook's URL, with how long it has.
fn in_time(url: &str, timeout: Duration) -> String {
    format!("{url}?timeout={}s", timeout.as_secs())
}

/// Where a webhook is.
fn target(request: &Request<'_>, webhook: &Webhook, timeout: Duration) -> Result<WebhookTarget, String> {
    let client = &webhook.client_config;
    let ca_bundle = STANDARD.decode(&client.ca_bundle).unwrap_or_default();
    if let Some(url) = &client.url {
        return Ok(WebhookTarget { url: in_time(url, timeout), address: None, ca_bundle, timeout });
    }
    let snapshot = request.call.state.config.engine.snapshot();
    let Place { url, address } = service::locate(&snapshot, request.call.tenant.as_ref(), &client.service);
    let url = in_time(&url, timeout);
    let address = address.map_err(|why| format!("Post {url:?}: {why}"))?;
    Ok(WebhookTarget { url, address, ca_bundle, timeout })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_only_when_it_is_to_the_question() {
        let read = |value: Value| answer(value.to_string().as_bytes(), "admission.k8s.io/v1", "u-1");
        let with = |response: Value| {
            let version = "admission.k8s.io/v1";
            json!({"apiVersion": version, "kind": "AdmissionReview", "response": response})
        };
        let fine = read(with(json!({"uid": "u-1", "allowed": true, "warnings": ["w"]}))).expect("an answer");
        assert!(fine.allowed && fine.warnings == ["w"] && fine.patch.is_none());
        let notes: serde_json::Map<String, Value> =
            (0..100).map(|at| (format!("{at}"), Value::from("x".repeat(1000)))).collect();
        let noisy = read(with(json!({"uid": "u-1", "allowed": true, "auditAnnotations": notes}))).expect("an answer");
        assert_eq!(noisy.notes.len(), 16, "it says no more than that");
        let patch = STANDARD.encode(r#"[{"op":"add","path":"/x","value":1}]"#);
        let patched = read(with(json!({"uid": "u-1", "allowed": true, "patchType": "JSONPatch", "patch": patch})));
        assert!(patched.expect("an answer").patch.is_some());
        for bad in [
            json!({"response": {"uid": "u-1", "allowed": true}}),
            with(json!({"uid": "other", "allowed": true})),
            with(json!({"uid": "u-1", "allowed": true, "patch": patch})),
            with(json!({"uid": "u-1", "allowed": true, "patchType": "JSONPatch", "patch": "%"})),
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
        assert!(answer(b"no", "admission.k8s.io/v1", "u-1").is_err());
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_webhook_and_is_always_one() {
        let refusal = denied("v.example.com", &json!({"message": "not today", "code": 418, "reason": "Teapot"}));
        assert_eq!(refusal.code, 418);
        assert_eq!(refusal.message, "admission webhook \"v.example.com\" denied the request: not today");
        let refusal = denied("v.example.com", &json!({"code": 200, "status": "Success"}));
        assert_eq!((refusal.code, refusal.status.as_str()), (400, "Failure"));
        assert_eq!(refusal.message, "admission webhook \"v.example.com\" denied the request without explanation");
        assert!(!matches!(refusal.reason, Some(Reason::AlreadyExists)));
    }
}
