//! Between the versions of a custom kind whose definition says that a webhook converts: asked over HTTPS, for as many
//! objects at once as are at hand.
//!
//! What comes out is encoded as the version that was asked for, so that whoever shows it finds nothing left to convert.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::catalog::Kind;
use arktos_core::custom::{self, Hook};
use arktos_core::{Object, Status, TenantName};
use arktos_store::{Clock, Delivery, Engine, Random, Stored};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::{Either, select};
use futures::stream::{self, Stream, StreamExt};
use serde_json::{Value, json};

use crate::admission::service::{self, Place};
use crate::call::Call;
use crate::config::{Caller, WebhookTarget};
use crate::reply::{WHOLE_MAX, too_large};
use crate::verbs::watch::Frame;

/// How long the webhook has.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How many objects are sent at once, at most, and of how many bytes, but for one that has more: an answer that is
/// larger than a request may be is not read.
const AT_ONCE: usize = 500;
const BYTES_AT_ONCE: usize = 1 << 20;

/// Converts objects of one kind of one tenant.
pub(crate) struct Converter {
    /// The version that objects are to have.
    kind: Arc<Kind>,
    hook: Arc<Hook>,
    /// Whose definition says so: a service that converts is in that tenant.
    tenant: Option<TenantName>,
    engine: Engine,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    caller: Option<Arc<dyn Caller>>,
}

impl Converter {
    /// To the version of a kind; absent where no webhook has a say in it.
    pub(crate) fn to(call: &Call<'_>, kind: &Arc<Kind>) -> Option<Self> {
        let hook = kind.own.as_ref()?.conversion.clone()?;
        let config = &call.state.config;
        let whose =
            |tenant: &TenantName| TenantName::new(call.state.kinds.definition_of(tenant, kind)?.path.tenant()).ok();
        Some(Self {
            kind: kind.clone(),
            hook,
            tenant: call.tenant.as_ref().and_then(whose),
            engine: config.engine.clone(),
            clock: config.clock.clone(),
            random: config.random.clone(),
            caller: config.webhooks.clone(),
        })
    }

    fn is_other(&self, stored: &Stored) -> bool {
        **stored.object.header().type_meta() != *self.kind.type_meta
    }

    /// What is stored, in the version asked for.
    pub(crate) async fn stored(&self, mut items: Vec<Stored>) -> Result<Vec<Stored>, Status> {
        let others: Vec<usize> =
            (0..items.len()).filter(|at| items.get(*at).is_some_and(|one| self.is_other(one))).collect();
        let mut made = 0;
        for places in chunks(&items, &others) {
            let found = places.iter().filter_map(|at| items.get(*at));
            let objects: Result<Vec<Object>, _> = found.map(|item| item.object.decode(Some(item.revision))).collect();
            let converted = self.objects(objects.map_err(Status::internal)?).await?;
            for (at, object) in places.iter().zip(converted) {
                let encoded = self.kind.encode(&object).map_err(Status::internal)?;
                made += encoded.tail_length();
                if made > WHOLE_MAX {
                    return Err(too_large());
                }
                if let Some(item) = items.get_mut(*at) {
                    item.object = encoded;
                }
            }
        }
        Ok(items)
    }

    /// Objects that may be of several versions, in the one that is asked for, in the same order.
    async fn objects(&self, mut objects: Vec<Object>) -> Result<Vec<Object>, Status> {
        // Upstream asks once for each version that there is.
        while let Some(first) = objects.iter().find(|object| object.type_meta() != *self.kind.type_meta) {
            let version = first.type_meta();
            let places: Vec<usize> =
                objects.iter().enumerate().filter(|(_, one)| one.type_meta() == version).map(|(at, _)| at).collect();
            let sent: Vec<Object> = places.iter().filter_map(|at| objects.get(*at)).cloned().collect();
            let converted = self.ask(&sent).await.map_err(|why| {
                let kind = &version.kind;
                Status::unexplained(format!("conversion webhook for {}, Kind={kind} {why}", version.api_version))
            })?;
            for (at, object) in places.into_iter().zip(converted) {
                if let Some(place) = objects.get_mut(at) {
                    *place = object;
                }
            }
        }
        Ok(objects)
    }

    async fn ask(&self, sent: &[Object]) -> Result<Vec<Object>, String> {
        let failed = |why: String| format!("failed: {why}");
        let version = self.hook.review_versions.iter().find(|version| matches!(version.as_str(), "v1" | "v1beta1"));
        let version = version.ok_or("speaks no version of ConversionReview that is known here")?;
        let version = format!("apiextensions.k8s.io/{version}");
        let uid = self.random.uid();
        let wanted = &self.kind.type_meta.api_version;
        let bodies: Vec<Value> = sent.iter().map(|object| object.clone().into_value()).collect();
        let request = json!({"uid": uid, "desiredAPIVersion": wanted, "objects": bodies});
        let review = json!({"kind": "ConversionReview", "apiVersion": version, "request": request});
        let target = self.target().map_err(failed)?;
        let caller = self.caller.as_ref().ok_or("failed: this server is not set up to call webhooks")?;
        let called = caller.call(&target, Bytes::from(review.to_string()));
        let bytes = match select(called, self.clock.sleep(target.timeout)).await {
            Either::Left((answer, _)) => answer.map_err(failed)?,
            Either::Right(_) => return Err(format!("failed: Post \"{}\": context deadline exceeded", target.url)),
        };
        let found = answered(&bytes, &version, &uid).map_err(failed)?;
        if found.len() != sent.len() {
            return Err(format!("returned {} objects, expected {}", found.len(), sent.len()));
        }
        found.into_iter().zip(sent).enumerate().map(|(at, (found, sent))| self.taken(at, found, sent)).collect()
    }

    fn target(&self) -> Result<WebhookTarget, String> {
        let client = &self.hook.client;
        let ca_bundle = STANDARD.decode(client["caBundle"].as_str().unwrap_or_default()).unwrap_or_default();
        if let Some(url) = client["url"].as_str() {
            return Ok(WebhookTarget { url: url.to_owned(), address: None, ca_bundle, timeout: TIMEOUT });
        }
        let Place { url, address } = service::locate(&self.engine.snapshot(), self.tenant.as_ref(), &client["service"]);
        let address = address.map_err(|why| format!("Post {url:?}: {why}"))?;
        Ok(WebhookTarget { url, address, ca_bundle, timeout: TIMEOUT })
    }

    /// What a webhook has made of an object, with its metadata as it was but for labels and annotations.
    fn taken(&self, at: usize, found: Value, sent: &Object) -> Result<Object, String> {
        let wrong = |why: String| format!("returned invalid converted object at index {at}: {why}");
        let mut found = Object::from_value(found).ok_or_else(|| wrong("it is no object".to_owned()))?;
        let (wanted, is) = (&*self.kind.type_meta, found.type_meta());
        if is.api_version != wanted.api_version {
            let (wanted, is) = (&wanted.api_version, &is.api_version);
            return Err(wrong(format!("invalid groupVersion (expected {wanted}, received {is})")));
        }
        if is.kind != wanted.kind {
            return Err(wrong(format!("invalid kind (expected {}, received {})", wanted.kind, is.kind)));
        }
        let same = |field: &str| found.str_at(&["metadata", field]) == sent.str_at(&["metadata", field]);
        for field in ["name", "namespace", "uid"] {
            if !same(field) {
                let (is, was) = (found.str_at(&["metadata", field]), sent.str_at(&["metadata", field]));
                return Err(format!(
                    "returned invalid metadata in object at index {at}: metadata.{field}: must have the same {field}: \
                     {is:?} != {was:?}"
                ));
            }
        }
        let mut metadata = sent.at(&["metadata"]).cloned().unwrap_or_else(|| json!({}));
        for field in ["labels", "annotations"] {
            let Some(map) = metadata.as_object_mut() else { continue };
            let said = found.at(&["metadata", field]).filter(|said| !said.is_null()).cloned();
            if said.as_ref().is_some_and(|said| !is_text_map(said)) {
                return Err(format!(
                    "returned invalid metadata in object at index {at}: metadata.{field}: is no map of text"
                ));
            }
            match said {
                Some(said) => map.insert(field.to_owned(), said),
                None => map.remove(field),
            };
        }
        found.set(&["metadata"], metadata);
        found.notes.clone_from(&sent.notes);
        found.managed.clone_from(&sent.managed);
        custom::received(&self.kind, &mut found);
        Ok(found)
    }

    /// A watch in the version asked for. One that cannot be had ends the watch.
    pub(crate) fn watch(
        self,
        frames: impl Stream<Item = Frame> + Send + 'static,
    ) -> impl Stream<Item = Frame> + Send + 'static {
        let state = Some((self, Box::pin(frames)));
        stream::unfold(state, |state| async move {
            let (converter, mut frames) = state?;
            let frame = frames.next().await?;
            match converter.frame(frame).await {
                Ok(frame) => Some((frame, Some((converter, frames)))),
                Err(status) => Some((Frame::Fault(Box::new(status)), None)),
            }
        })
    }

    async fn frame(&self, frame: Frame) -> Result<Frame, Status> {
        let Frame::Delivery(delivery) = frame else { return Ok(frame) };
        let other = delivery.stored().filter(|stored| self.is_other(stored)).cloned();
        let shown = match other {
            Some(stored) => self.stored(vec![stored]).await?.pop(),
            None => None,
        };
        let Some(shown) = shown.map(Arc::new) else { return Ok(Frame::Delivery(delivery)) };
        Ok(Frame::Delivery(match delivery {
            Delivery::Added(_) => Delivery::Added(shown),
            Delivery::Modified(_) => Delivery::Modified(shown),
            Delivery::Deleted(_) => Delivery::Deleted(shown),
            bookmark @ Delivery::Bookmark(_) => bookmark,
        }))
    }
}

/// The places of objects, as many together as are sent at once.
fn chunks(items: &[Stored], places: &[usize]) -> Vec<Vec<usize>> {
    let mut chunks: Vec<Vec<usize>> = Vec::new();
    let mut bytes = usize::MAX;
    for place in places {
        let more = items.get(*place).map_or(0, |item| item.object.tail_length());
        bytes = bytes.saturating_add(more);
        match chunks.last_mut() {
            Some(last) if last.len() < AT_ONCE && bytes <= BYTES_AT_ONCE => last.push(*place),
            _ => {
                chunks.push(vec![*place]);
                bytes = more;
            }
        }
    }
    chunks
}

fn is_text_map(value: &Value) -> bool {
    value.as_object().is_some_and(|map| map.values().all(Value::is_string))
}

/// The objects of an answer.
fn answered(bytes: &[u8], version: &str, uid: &str) -> Result<Vec<Value>, String> {
    let mut review: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("the answer is not JSON: {error}"))?;
    if review["apiVersion"] != version || review["kind"] != "ConversionReview" {
        return Err(format!(
            "expected webhook response of {version}, Kind=ConversionReview, got {}, Kind={}",
            review["apiVersion"], review["kind"]
        ));
    }
    let response = &mut review["response"];
    if !response.is_object() {
        return Err("no response provided".to_owned());
    }
    if response["uid"] != uid {
        return Err(format!("expected response.uid={uid:?}, got {}", response["uid"]));
    }
    if response["result"]["status"] != "Success" {
        let said = |field: &str| response["result"][field].as_str().filter(|text| !text.is_empty());
        return Err(said("message")
            .or(said("reason"))
            .unwrap_or("response.result.status was not 'Success'")
            .to_owned());
    }
    match response["convertedObjects"].take() {
        Value::Array(objects) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// What is stored, in the version of a call.
///
/// # Errors
/// 500 in the words of the webhook, or of why it could not be asked.
pub(crate) async fn shown(call: &Call<'_>, stored: Stored) -> Result<Stored, Status> {
    one(Converter::to(call, &call.kind), stored).await
}

/// What is stored, in the version that is written.
///
/// # Errors
/// As [`shown`].
pub(crate) async fn as_stored(call: &Call<'_>, stored: Stored) -> Result<Stored, Status> {
    one(Converter::to(call, &call.stored_kind()), stored).await
}

async fn one(converter: Option<Converter>, stored: Stored) -> Result<Stored, Status> {
    let Some(converter) = converter else { return Ok(stored) };
    let found = converter.stored(vec![stored.clone()]).await?;
    Ok(found.into_iter().next().unwrap_or(stored))
}

/// An object that is about to be written, in the version that is stored; absent where no webhook has a say in it.
///
/// # Errors
/// As [`shown`].
pub(crate) async fn to_stored(call: &Call<'_>, object: &Object) -> Result<Option<Object>, Status> {
    let kind = call.stored_kind();
    if kind.version == call.kind.version {
        return Ok(None);
    }
    let Some(converter) = Converter::to(call, &kind) else { return Ok(None) };
    Ok(converter.objects(vec![object.clone()]).await?.into_iter().next())
}

/// What is about to be stored, with the values noted beside it of the fields by which objects are selected in other
/// versions than the stored one. `object` is what it is in the version of the call.
///
/// What is being deleted stays as it was noted: it must be able to go where nobody converts any more.
///
/// # Errors
/// As [`shown`].
pub(crate) async fn with_fields<'a>(
    call: &Call<'_>,
    stored: &Arc<Kind>,
    object: &Object,
    written: Cow<'a, Object>,
) -> Result<Cow<'a, Object>, Status> {
    let converts = stored.own.as_ref().is_some_and(|own| own.conversion.is_some());
    if !converts || object.at(&["metadata", "deletionTimestamp"]).is_some() {
        return Ok(written);
    }
    let versions = call.state.kinds.versions(call.tenant.as_ref(), stored);
    let mut forms = Vec::new();
    for kind in versions.into_iter().filter(|kind| stored.notes_fields_of(&kind.version)) {
        if kind.version == call.kind.version {
            forms.push((kind, object.clone()));
        } else if let Some(converter) = Converter::to(call, &kind) {
            let form = converter.objects(vec![written.clone().into_owned()]).await?.pop();
            forms.extend(form.map(|form| (kind, form)));
        }
    }
    if forms.is_empty() {
        return Ok(written);
    }
    let mut written = written.into_owned();
    stored.note_fields(&mut written, &forms);
    Ok(Cow::Owned(written))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_only_when_it_is_to_the_question_and_says_success() {
        let read = |value: Value| answered(value.to_string().as_bytes(), "apiextensions.k8s.io/v1", "u-1");
        let with = |response: Value| json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response});
        let success = json!({"status": "Success"});
        let fine = with(json!({"uid": "u-1", "result": success, "convertedObjects": [{}]}));
        assert_eq!(read(fine).map(|found| found.len()), Ok(1));
        let said = with(json!({"uid": "u-1", "result": {"status": "Failure", "message": "not today"}}));
        assert_eq!(read(said), Err("not today".to_owned()));
        for bad in [
            with(json!({"uid": "other", "result": success})),
            with(json!({"uid": "u-1"})),
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview"}),
            json!({"response": {"uid": "u-1", "result": success}}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
        assert!(answered(b"no", "apiextensions.k8s.io/v1", "u-1").is_err());
    }
}
