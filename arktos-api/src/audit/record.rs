//! One request's entries.

use std::net::IpAddr;
use std::sync::Arc;

use arktos_core::{Status, TenantName, Timestamp};
use arktos_store::Clock;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::{Response, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::Audit;
use super::policy::{Asked, Level, Said, Stage};
use crate::body::Body;
use crate::identity::Identity;
use crate::request::RequestInfo;
use crate::trace::TraceParent;

/// How much of a body is entered, in bytes. Of a longer one it is said that it was left out.
const OBJECT_MAX: usize = 1 << 20;
/// The trace that a request is part of.
const TRACE: &str = "arktos.io/trace-id";
const TRUNCATED: &str = "audit.k8s.io/truncated";
/// What is entered as the code of what nobody was there to be answered.
const GONE: u16 = 499;

/// What is known of a request so far. Written by whoever handles it.
pub(crate) struct Record {
    audit: Audit,
    clock: Arc<dyn Clock>,
    received: Timestamp,
    about: Mutex<About>,
}

#[derive(Default)]
struct About {
    /// What the policy says of it; absent until it is known what is asked.
    said: Option<Said>,
    /// The event as far as it does not depend on the stage.
    event: Map<String, Value>,
    annotations: Map<String, Value>,
    verb: String,
    decided: bool,
    /// Whether the last stage is entered.
    ended: bool,
}

/// What every request brings along.
pub(crate) struct Origin<'a> {
    pub(crate) id: &'a str,
    pub(crate) uri: &'a http::Uri,
    pub(crate) agent: Option<&'a http::HeaderValue>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) trace: Option<TraceParent>,
}

impl Record {
    pub(crate) fn begin(audit: &Audit, clock: &Arc<dyn Clock>, origin: &Origin<'_>) -> Arc<Self> {
        let mut event = Map::new();
        event.insert("auditID".to_owned(), origin.id.into());
        let uri = origin.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        event.insert("requestURI".to_owned(), uri.into());
        if let Some(agent) = origin.agent.and_then(|agent| agent.to_str().ok()) {
            event.insert("userAgent".to_owned(), agent.into());
        }
        if let Some(source) = origin.source {
            event.insert("sourceIPs".to_owned(), json!([source.to_string()]));
        }
        let mut annotations = Map::new();
        if let Some(trace) = origin.trace {
            annotations.insert(TRACE.to_owned(), format!("{:032x}", trace.trace_id).into());
        }
        let about = Mutex::new(About { event, annotations, ..About::default() });
        Arc::new(Self { audit: audit.clone(), clock: clock.clone(), received: clock.now(), about })
    }

    /// Who asks, as whom, and for what.
    pub(crate) fn asked(
        &self,
        who: &Identity,
        acts_as: &Identity,
        info: &RequestInfo,
        verb: &str,
        tenant: Option<&TenantName>,
    ) {
        let asked = match &info.resource {
            Some(resource) => Asked {
                verb,
                path: "",
                group: &resource.group,
                resource: &resource.resource,
                subresource: &resource.subresource,
                namespace: &resource.namespace,
                name: &resource.name,
            },
            None => Asked { verb, path: &info.path, ..Asked::default() },
        };
        let said = self.audit.policy.says(acts_as, &asked);
        {
            let mut about = self.about.lock();
            verb.clone_into(&mut about.verb);
            about.event.insert("level".to_owned(), said.level.name().into());
            about.event.insert("verb".to_owned(), verb.into());
            about.event.insert("user".to_owned(), user(who));
            if who != acts_as {
                about.event.insert("impersonatedUser".to_owned(), user(acts_as));
            }
            if let Some(resource) = &info.resource {
                about.event.insert("objectRef".to_owned(), reference(resource));
            }
            let of = |who: &Identity| who.tenant.as_ref().map(|tenant| Value::from(tenant.as_str()));
            let crosses = who.tenant != acts_as.tenant;
            for (key, tenant) in [
                ("arktos.io/tenant", tenant.map(|tenant| tenant.as_str().into())),
                ("arktos.io/user-tenant", of(who)),
                ("arktos.io/impersonated-user-tenant", of(acts_as).filter(|_| crosses)),
            ] {
                about.annotations.extend(tenant.map(|tenant| (key.to_owned(), tenant)));
            }
            about.said = Some(said);
        }
        self.enter(Stage::RequestReceived, None);
    }

    /// It acts in another's name, by this right; or in its own or by the older right, where that is empty.
    pub(crate) fn constrained(&self, by: &str) {
        if !by.is_empty() {
            let metadata = json!({"impersonationConstraint": by});
            self.about.lock().event.insert("authenticationMetadata".to_owned(), metadata);
        }
    }

    /// The request may be made.
    pub(crate) fn allowed(&self) {
        self.decision("allow");
    }

    fn decision(&self, decision: &str) {
        let mut about = self.about.lock();
        if !std::mem::replace(&mut about.decided, true) {
            about.annotations.insert("authorization.k8s.io/decision".to_owned(), decision.into());
            about.annotations.insert("authorization.k8s.io/reason".to_owned(), "".into());
        }
    }

    /// What somebody on the way wants entered beside. What is entered stays, as upstream has it: a tenant names its
    /// policies and webhooks, and so what they enter, as it likes.
    pub(crate) fn annotate(&self, key: &str, value: &str) {
        self.about.lock().annotations.entry(key.to_owned()).or_insert_with(|| value.into());
    }

    fn level(&self) -> Level {
        self.about.lock().said.as_ref().map_or(Level::None, |said| said.level)
    }

    /// The body that was sent.
    pub(crate) fn sent(&self, body: &[u8]) {
        if self.level() >= Level::Request && !body.is_empty() {
            self.object("requestObject", body);
        }
    }

    fn object(&self, field: &str, body: &[u8]) {
        use arktos_core::media::{protobuf, yaml};
        if body.len() > OBJECT_MAX {
            return self.annotate(TRUNCATED, "true");
        }
        let read = || {
            if let Ok(value) = serde_json::from_slice(body) {
                return Some(value);
            }
            protobuf::decode(body).map(|(_, value)| value).ok().or_else(|| yaml::parse(body).ok())
        };
        let Some(mut value): Option<Value> = read() else { return };
        let mut about = self.about.lock();
        if about.said.as_ref().is_some_and(|said| said.omit_managed_fields) {
            drop_managed(&mut value);
        }
        about.event.insert(field.to_owned(), value);
    }

    /// The answer is there. Gives it back, with whatever must be looked at on its way out.
    pub(crate) async fn answered(
        self: Arc<Self>,
        response: Response<Body>,
        failure: Option<&Status>,
    ) -> Response<Body> {
        if self.about.lock().said.is_none() {
            // It is not even known what it was about.
            let info = RequestInfo::nothing();
            self.asked(&Identity::default(), &Identity::default(), &info, "", None);
        }
        if failure.is_some_and(|status| status.is(arktos_core::Reason::Forbidden)) {
            self.decision("forbid");
        }
        let status = outcome(response.status().as_u16(), failure);
        if self.watches() && failure.is_none() {
            return self.watched(response, status);
        }
        let response = if self.level() == Level::RequestResponse { self.seen(response).await } else { response };
        self.enter(Stage::ResponseComplete, Some(status));
        response
    }

    /// A watch is entered when it begins, and when it has ended, whoever ended it.
    fn watched(self: Arc<Self>, response: Response<Body>, status: Value) -> Response<Body> {
        self.enter(Stage::ResponseStarted, Some(status.clone()));
        let ends = Ends { record: self, status };
        let (head, body) = response.into_parts();
        let stream = body.into_data_stream().filter_map(move |frame| {
            let _ = &ends; // goes with the stream
            std::future::ready(frame.ok())
        });
        Response::from_parts(head, Body::stream(stream))
    }

    /// The answer, entered; of one that is too long for that, no more is read than shows that.
    async fn seen(&self, response: Response<Body>) -> Response<Body> {
        if response.body().size_hint().exact().is_some_and(|length| length > OBJECT_MAX as u64) {
            self.annotate(TRUNCATED, "true");
            return response;
        }
        let (head, mut body) = response.into_parts();
        let (mut begin, mut length) = (Vec::new(), 0);
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                length += data.len();
                begin.push(data);
            }
            if length > OBJECT_MAX {
                self.annotate(TRUNCATED, "true");
                let rest = body.into_data_stream().filter_map(|data| std::future::ready(data.ok()));
                return Response::from_parts(head, Body::stream(stream::iter(begin).chain(rest)));
            }
        }
        let mut whole = Vec::with_capacity(length);
        begin.iter().for_each(|data| whole.extend_from_slice(data));
        let bytes = Bytes::from(whole);
        let typed = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if typed.is_some_and(|kind| kind.contains("json") || kind.contains("protobuf")) {
            self.object("responseObject", &bytes);
        }
        Response::from_parts(head, Body::full(bytes))
    }

    /// Whether a watch is asked for.
    pub(crate) fn watches(&self) -> bool {
        self.about.lock().verb == "watch"
    }

    /// The answer has begun, and goes on.
    pub(crate) fn started(&self, status: Value) {
        self.enter(Stage::ResponseStarted, Some(status));
    }

    /// All was answered.
    pub(crate) fn completed(&self, status: Value) {
        self.enter(Stage::ResponseComplete, Some(status));
    }

    fn enter(&self, stage: Stage, status: Option<Value>) {
        let mut about = self.about.lock();
        about.ended |= stage == Stage::ResponseComplete;
        let Some(said) = about.said.as_ref() else { return };
        if said.level == Level::None || said.omit_stages.contains(&stage) {
            return;
        }
        let mut event = about.event.clone();
        event.insert("kind".to_owned(), "Event".into());
        event.insert("apiVersion".to_owned(), "audit.k8s.io/v1".into());
        event.insert("stage".to_owned(), stage.name().into());
        event.insert("requestReceivedTimestamp".to_owned(), self.received.to_micro_string().into());
        event.insert("stageTimestamp".to_owned(), self.clock.now().to_micro_string().into());
        if let Some(status) = status {
            event.insert("responseStatus".to_owned(), status);
        }
        if !about.annotations.is_empty() {
            event.insert("annotations".to_owned(), Value::Object(about.annotations.clone()));
        }
        drop(about);
        if let Ok(line) = serde_json::to_vec(&event) {
            self.audit.sink.take(line.into());
        }
    }
}

impl Drop for Record {
    /// Whoever goes away before it is answered may have had done what was asked for: nothing is left out by that.
    fn drop(&mut self) {
        if !self.about.get_mut().ended {
            let mut outcome = outcome(GONE, None);
            outcome["status"] = "Failure".into();
            outcome["message"] = "the client went away before it was answered".into();
            self.enter(Stage::ResponseComplete, Some(outcome));
        }
    }
}

/// Enters the end of a watch when it is dropped.
struct Ends {
    record: Arc<Record>,
    status: Value,
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.record.enter(Stage::ResponseComplete, Some(self.status.take()));
    }
}

pub(crate) fn outcome(code: u16, failure: Option<&Status>) -> Value {
    let mut outcome = json!({"metadata": {}, "code": code});
    let Some(failure) = failure else { return outcome };
    outcome["status"] = failure.status.as_str().into();
    outcome["message"] = failure.message.as_str().into();
    if let Ok(Value::String(reason)) = serde_json::to_value(failure.reason) {
        outcome["reason"] = reason.into();
    }
    if let Some(details) = failure.details.as_ref().and_then(|details| serde_json::to_value(details).ok()) {
        outcome["details"] = details;
    }
    outcome
}

fn user(who: &Identity) -> Value {
    let mut user = json!({});
    for (field, value) in [("username", &who.user), ("uid", &who.uid)] {
        if !value.is_empty() {
            user[field] = value.as_str().into();
        }
    }
    if !who.groups.is_empty() {
        user["groups"] = json!(who.groups);
    }
    if !who.extra.is_empty() {
        user["extra"] = json!(who.extra);
    }
    user
}

fn reference(resource: &crate::request::ResourceInfo) -> Value {
    let mut reference = Map::new();
    for (field, value) in [
        ("resource", &resource.resource),
        ("namespace", &resource.namespace),
        ("name", &resource.name),
        ("apiGroup", &resource.group),
        ("apiVersion", &resource.version),
        ("subresource", &resource.subresource),
    ] {
        if !value.is_empty() {
            reference.insert(field.to_owned(), value.as_str().into());
        }
    }
    Value::Object(reference)
}

fn drop_managed(value: &mut Value) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    if let Some(items) = value.get_mut("items").and_then(Value::as_array_mut) {
        items.iter_mut().for_each(drop_managed);
    }
}
