//! What a server answers, read: pages of lists, lines of watches, objects, failures.

use std::sync::Arc;

use arktos_core::catalog::{Kind, Written};
use arktos_core::{Object, ObjectPath, Reason, Revision, Scope, Status, TenantName};
use arktos_store::client::WatchListEvent;
use arktos_store::{Delivery, Stored};
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::unreachable;

/// The longest line of a watch, in bytes: an event holds one object, and objects have limits.
const EVENT_LENGTH_MAX: usize = 16 << 20;
/// By this annotation a bookmark says that the initial state has ended.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// How a server says whose an object is.
#[derive(Clone)]
pub(super) enum Server {
    /// Each object says it itself.
    Region,
    /// It knows no tenants: all it has is this one's.
    Plain(TenantName),
}

/// What an answer is read with.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) kind: Arc<Kind>,
    pub(super) server: Server,
}

/// A page of a list.
pub(super) struct Page {
    pub(super) revision: Revision,
    pub(super) items: Vec<Stored>,
    /// Where the next page begins; empty when this is the last.
    pub(super) next: String,
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(default)]
    metadata: ListMeta,
    /// Read one by one, so that no more than one of them is there twice.
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ListMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    next: String,
}

impl Reader {
    pub(super) fn page(&self, body: &[u8]) -> Result<Page, Status> {
        let list: List<'_> = serde_json::from_slice(body).map_err(Status::internal)?;
        let revision = Revision::parse(&list.metadata.resource_version);
        let revision = revision.ok_or_else(|| Status::internal("the list has no resourceVersion that is a number"))?;
        let items = list.items.unwrap_or_default().into_iter();
        let items = items.map(|item| self.object(item.get().as_bytes()));
        Ok(Page { revision, items: items.collect::<Result<_, _>>()?, next: list.metadata.next })
    }

    pub(super) fn event(&self, line: &[u8]) -> Result<WatchListEvent, Status> {
        if let Some(delivery) = self.written_event(line) {
            return Ok(WatchListEvent::Delivery(delivery));
        }
        let mut event: Value = serde_json::from_slice(line).map_err(Status::internal)?;
        let object = event["object"].take();
        let delivery = match event["type"].as_str() {
            Some("ADDED") => Delivery::Added(self.stored(object)?.into()),
            Some("MODIFIED") => Delivery::Modified(self.stored(object)?.into()),
            Some("DELETED") => Delivery::Deleted(self.stored(object)?.into()),
            Some("BOOKMARK") => {
                let meta = &object["metadata"];
                let revision = meta["resourceVersion"].as_str().and_then(Revision::parse);
                let revision = revision.ok_or_else(|| Status::internal("a bookmark has no resourceVersion"))?;
                if meta["annotations"][INITIAL_EVENTS_END] == "true" {
                    return Ok(WatchListEvent::InitialEnd(revision));
                }
                Delivery::Bookmark(revision)
            }
            Some("ERROR") => return Err(failure_in(object)),
            other => return Err(Status::internal(format!("the watch holds an event of type {other:?}"))),
        };
        Ok(WatchListEvent::Delivery(delivery))
    }

    /// An event of an object that a server of the region has written: nothing of it is decoded.
    fn written_event(&self, line: &[u8]) -> Option<Delivery> {
        let line = line.strip_prefix(br#"{"type":""#)?;
        let quote = line.iter().position(|byte| *byte == b'"')?;
        let (event, rest) = line.split_at(quote);
        let stored = || self.written(rest.strip_prefix(br#"","object":"#)?.strip_suffix(b"}")?);
        Some(match event {
            b"ADDED" => Delivery::Added(stored()?.into()),
            b"MODIFIED" => Delivery::Modified(stored()?.into()),
            b"DELETED" => Delivery::Deleted(stored()?.into()),
            _ => return None,
        })
    }

    /// An object as a server of the region has written it; none where it is written otherwise.
    fn written(&self, text: &[u8]) -> Option<Stored> {
        let Server::Region = self.server else { return None };
        let Written { path, revision, object } = self.kind.take_written(text)?;
        Some(Stored { path, revision, object })
    }

    /// An object, however it is written.
    pub(super) fn object(&self, text: &[u8]) -> Result<Stored, Status> {
        match self.written(text.trim_ascii_end()) {
            Some(stored) => Ok(stored),
            None => self.stored(serde_json::from_slice(text).map_err(Status::internal)?),
        }
    }

    /// An object as it is stored: the tenant, the notes and the revision are taken out of its metadata.
    fn stored(&self, value: Value) -> Result<Stored, Status> {
        let mut object = Object::from_value(value).ok_or_else(|| Status::internal("not an object"))?;
        let meta = object.meta_mut();
        let tenant = meta.remove("tenant");
        let notes = meta.remove("arktosNotes");
        let revision = meta.remove("resourceVersion");
        let revision = revision.as_ref().and_then(Value::as_str).and_then(Revision::parse).unwrap_or_default();
        let tenant = match &self.server {
            Server::Region => tenant.as_ref().and_then(Value::as_str).unwrap_or(""),
            Server::Plain(_) if self.kind.scope == Scope::Region => "",
            Server::Plain(tenant) => tenant.as_str(),
        };
        if let (Server::Region, Some(notes)) = (&self.server, notes) {
            object.notes = serde_json::from_value(notes).map_err(Status::internal)?;
        }
        let (namespace, name) = (object.namespace(), object.name());
        if [tenant, namespace, name].iter().any(|part| part.contains('/')) {
            return Err(Status::internal("an object's name has a slash in it"));
        }
        let path = ObjectPath::new(tenant, namespace, name);
        let object = self.kind.encode(&object).map_err(Status::internal)?;
        Ok(Stored { path, revision, object })
    }
}

/// The lines of a streamed response.
pub(super) struct Lines {
    body: Incoming,
    pending: BytesMut,
    base: Arc<str>,
    ended: bool,
}

impl Lines {
    pub(super) fn new(body: Incoming, base: Arc<str>) -> Self {
        Self { body, pending: BytesMut::new(), base, ended: false }
    }

    /// The next line; none, and for ever none, after the last and after a failure. A line that breaks off is one.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        let mut searched = 0;
        while !self.ended {
            if let Some(at) = self.pending[searched..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.pending.split_to(searched + at + 1);
                line.truncate(searched + at);
                searched = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Some(Ok(line.freeze()));
            }
            searched = self.pending.len();
            if searched > EVENT_LENGTH_MAX {
                return self.fail(format!("an event of the watch is longer than {EVENT_LENGTH_MAX} bytes: refused"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.pending.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return self.fail(format!("the watch broke off: {error}")),
                None if self.pending.has_remaining() => {
                    return self.fail("the watch ended in the middle of an event".to_owned());
                }
                None => self.ended = true,
            }
        }
        None
    }

    fn fail(&mut self, why: String) -> Option<Result<Bytes, Status>> {
        self.ended = true;
        Some(Err(unreachable(&self.base, &why)))
    }
}

/// What a server says when it refuses: its Status where there is one, and what the code and headers say in any case.
pub(super) fn failure(base: &str, code: StatusCode, headers: &HeaderMap, body: &[u8]) -> Status {
    let mut status = serde_json::from_slice::<Status>(body).unwrap_or_else(|_| {
        let text = format!("{base} answered {code} without a Status");
        Status::failure(reason(code.as_u16()), text)
    });
    status.reason.get_or_insert(reason(code.as_u16()));
    status.code = code.as_u16();
    let told = headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    match told {
        Some(seconds) if status.details.as_ref().is_none_or(|details| details.retry_after_seconds == 0) => {
            status.retry_after(seconds)
        }
        _ => status,
    }
}

/// The Status in an event of type ERROR.
fn failure_in(object: Value) -> Status {
    let text = object.to_string();
    let mut status: Status = match serde_json::from_value(object) {
        Ok(status) => status,
        Err(_) => return Status::internal(format!("the watch failed: {text}")),
    };
    let code = status.code;
    status.reason.get_or_insert(reason(code));
    status
}

fn reason(code: u16) -> Reason {
    match code {
        400 => Reason::BadRequest,
        401 => Reason::Unauthorized,
        403 => Reason::Forbidden,
        404 => Reason::NotFound,
        405 => Reason::MethodNotAllowed,
        406 => Reason::NotAcceptable,
        409 => Reason::Conflict,
        410 => Reason::Expired,
        413 => Reason::RequestEntityTooLarge,
        415 => Reason::UnsupportedMediaType,
        422 => Reason::Invalid,
        429 => Reason::TooManyRequests,
        501 => Reason::NotImplemented,
        502 | 503 => Reason::ServiceUnavailable,
        504 => Reason::Timeout,
        _ => Reason::InternalError,
    }
}
