//! From the result of a verb to a response.

mod bookmark;
mod indent;
mod tabled;
mod whole;

use std::borrow::{Borrow, Cow};
use std::io::Write as _;
use std::sync::Arc;
use std::task::Poll;

use arktos_core::catalog::Kind;
use arktos_core::media::protobuf::{self, ProtobufError};
use arktos_core::media::to_yaml;
use arktos_core::{Dialect, Encoded, Object, ObjectPath, Revision, Status, TypeMeta, rules};
use arktos_store::tasks::give_way;
use arktos_store::{Clock, Delivery, Stored};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, Stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

pub(crate) use self::whole::{WHOLE_MAX, too_large};
use crate::body::Body;
use crate::call::Call;
use crate::compat::{self, Links};
use crate::lines::{Gathered, Lines, Said};
use crate::negotiate::{Accept, Encoding, Form, PROTOBUF, PROTOBUF_STREAM, go_name, go_type};
use crate::table::{Include, ListMeta, Table, write_partial};
use crate::verbs::read::Page;
use crate::verbs::watch::Frame;

/// How much of a list, or of a watch, is made at once, in bytes.
const CHUNK: usize = 64 << 10;

/// How a client is shown objects of a kind.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) kind: Arc<Kind>,
    pub(crate) accept: Accept,
    pub(crate) dialect: Dialect,
    /// What rows of tables carry; or why that is not known, which is said when all else is done.
    pub(crate) include: Result<Include, Status>,
    /// The links that Arktos's own clients find; absent for all others.
    pub(crate) links: Option<Links>,
    /// Whether tables name the tenant of each object: where those of all tenants are asked for.
    pub(crate) names_tenant: bool,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The annotation of the bookmark after which come changes.
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// About how many bytes stand before an object's own.
const HEAD: usize = 256;

impl View {
    /// Refuses a form that does not fit what there is to show.
    ///
    /// # Errors
    /// 400 and 406.
    fn fits(&self, list: bool) -> Result<(), Status> {
        self.fits_type(list, || go_type(&self.kind, list))
    }

    fn fits_type(&self, list: bool, type_name: impl FnOnce() -> String) -> Result<(), Status> {
        if let (Form::Table(_), Err(refused)) = (self.accept.form, &self.include) {
            return Err(refused.clone());
        }
        self.accept.form.fits(list, type_name)
    }

    /// One object.
    ///
    /// # Errors
    /// 400 and 406 for a form that does not fit it.
    pub(crate) fn object(&self, code: u16, stored: &Stored) -> Result<Response<Body>, Status> {
        self.fits(false)?;
        let mut out = Vec::with_capacity(stored.object.tail_length() + 256);
        self.write_one(&mut out, stored);
        Ok(respond(code, self.accept, out))
    }

    /// An object that is not stored: what a subresource or a review answers. Shown as it is, or its metadata alone.
    ///
    /// # Errors
    /// As [`object`](Self::object).
    pub(crate) fn value(&self, code: u16, mut object: Object) -> Result<Response<Body>, Status> {
        let types = object.type_meta();
        self.fits_type(false, || go_name(types.group(), &types.kind))?;
        if let Form::Metadata(version) = self.accept.form {
            let metadata = object.remove(&["metadata"]).unwrap_or_else(|| json!({}));
            let shown =
                json!({"kind": "PartialObjectMetadata", "apiVersion": version.api_version(), "metadata": metadata});
            return Ok(respond(code, self.accept, shown.to_string().into_bytes()));
        }
        Ok(respond(code, self.accept, serde_json::to_vec(&object.into_value()).unwrap_or_default()))
    }

    /// A scale: not stored, and yet to be had as a table, or its metadata alone.
    ///
    /// # Errors
    /// As [`object`](Self::object).
    pub(crate) fn scale(&self, code: u16, object: Object) -> Result<Response<Body>, Status> {
        let types = Arc::new(object.type_meta());
        let encoded = Encoded::encode(&types, &object, &[]);
        let (Ok(encoded), Form::Table(version) | Form::Metadata(version)) = (encoded, self.accept.form) else {
            return self.value(code, object);
        };
        self.fits(false)?;
        let revision = Revision::parse(object.str_at(&["metadata", "resourceVersion"])).unwrap_or_default();
        let path = ObjectPath::new("", object.namespace(), object.name());
        let stored = Stored { path, revision, object: encoded };
        let mut out = Vec::new();
        if matches!(self.accept.form, Form::Metadata(_)) {
            write_partial(&mut out, &stored, version, self.dialect);
            return Ok(respond(code, self.accept, out));
        }
        let table = Table::of_scales(version, self.included(), self.dialect, self.clock.now());
        table.write(&mut out, [&stored], &ListMeta { revision, ..ListMeta::default() }, &|stored, out| {
            stored.object.write(out, Some(&types), "", stored.revision, self.dialect);
        });
        Ok(respond(code, self.accept, out))
    }

    fn write_one(&self, out: &mut Vec<u8>, stored: &Stored) {
        match self.accept.form {
            Form::Object => self.write(out, stored, true),
            Form::Metadata(version) | Form::MetadataList(version) => {
                write_partial(out, &self.for_metadata(stored), version, self.dialect);
            }
            Form::Table(version) => {
                let meta = ListMeta { revision: stored.revision, ..ListMeta::default() };
                let shown = self.tabled(stored);
                self.table(version).write(out, [&*shown], &meta, &|stored, out| self.write(out, stored, true));
            }
        }
    }

    /// The object whose metadata is shown alone: as it is stored, without what only a version's whole objects have. The
    /// metadata of a custom kind is the same in all its versions: its defaults are not made for it.
    fn for_metadata<'a>(&self, stored: &'a Stored) -> Cow<'a, Stored> {
        if !self.kind.builtin {
            return Cow::Borrowed(stored);
        }
        let object = rules::convert::for_metadata(&self.kind, &stored.object);
        let encoded = object.and_then(|object| self.kind.encode(&object).ok());
        encoded.map_or(Cow::Borrowed(stored), |object| {
            Cow::Owned(Stored { path: stored.path.clone(), revision: stored.revision, object })
        })
    }

    /// Writes an object in the version asked for, with its type or, in lists of built-in kinds, without.
    fn write(&self, out: &mut Vec<u8>, stored: &Stored, typed: bool) {
        let types = typed.then_some(&*self.kind.type_meta);
        if stored.revision == Revision::ZERO {
            return self.write_unstored(out, stored, typed); // a dry run has no revision
        }
        let converted = self.converted(stored);
        let object = &converted.as_ref().unwrap_or(stored).object;
        out.reserve(HEAD + object.tail_length());
        object.head(out, types, stored.path.tenant(), stored.revision, self.dialect);
        if self.links.is_some() {
            compat::write_meta(out, &self.kind, stored);
        }
        object.write_tail(out);
    }

    fn write_unstored(&self, out: &mut Vec<u8>, stored: &Stored, typed: bool) {
        let shown = self.converted(stored);
        let Ok(mut object) = shown.as_ref().unwrap_or(stored).object.decode(None) else { return };
        if typed {
            object.set(&["apiVersion"], self.kind.type_meta.api_version.as_str());
        } else {
            object.fields.retain(|field, _| !matches!(field.as_str(), "apiVersion" | "kind"));
        }
        if self.dialect != Dialect::Plain && !stored.path.tenant().is_empty() {
            object.set(&["metadata", "tenant"], stored.path.tenant());
        }
        if self.links.is_some() {
            object.set(&["metadata", "selfLink"], compat::self_link(&self.kind, stored));
            object.set(&["metadata", "hashKey"], compat::hash_key(object.uid()));
        }
        out.extend_from_slice(&serde_json::to_vec(&object.into_value()).unwrap_or_default());
    }

    /// The object in the version asked for; absent when it is stored in that one.
    fn converted(&self, stored: &Stored) -> Option<Stored> {
        if self.kind.shows_as_stored(&stored.object) {
            return None;
        }
        let object = stored.object.decode(None).ok()?;
        let shown = rules::convert::from_storage(&self.kind, object);
        let object = self.kind.encode(&shown).ok()?;
        Some(Stored { path: stored.path.clone(), revision: stored.revision, object })
    }

    /// A page of a list, made as it goes out.
    ///
    /// # Errors
    /// 400 and 406 for a form that does not fit it.
    pub(crate) async fn list(&self, page: Page, call: &Call<'_>) -> Result<Response<Body>, Status> {
        self.fits(true)?;
        if self.accept.encoding == Encoding::Protobuf {
            return Ok(self.in_protobuf(page.items(None), &page.meta()).await);
        }
        if let (Form::Table(_), Some(sorted)) = (self.accept.form, crate::table::sorted(&self.kind)) {
            let mut items: Vec<Stored> = page.items(None).map(Arc::unwrap_or_clone).collect();
            items.sort_by_cached_key(sorted);
            return self.items(&items, &page.meta()).await;
        }
        if self.is_partial() && page.items(None).next().is_none() {
            return self.items(&[], &page.meta()).await;
        }
        let mut writer = ListWriter { view: self.clone(), page, last: None, rows: 0, part: Part::Head, table: None };
        let mut first = Vec::with_capacity(CHUNK);
        if !writer.fill(&mut first) {
            return Ok(respond(200, self.accept, first));
        }
        if self.accept.encoding != Encoding::Json || self.accept.pretty {
            while writer.fill(&mut first) {
                if first.len() > WHOLE_MAX {
                    return Err(too_large());
                }
                give_way().await;
            }
            return Ok(respond(200, self.accept, first));
        }
        let pieces = call.state.turns.pieces(call.identity);
        let rest = stream::unfold((writer, pieces), |(mut writer, pieces)| async move {
            if writer.part == Part::Done {
                return None;
            }
            if let Some(pieces) = &pieces {
                pieces.next().await;
            }
            let mut chunk = Vec::with_capacity(CHUNK + 4096);
            writer.fill(&mut chunk);
            Some((Bytes::from(chunk), (writer, pieces)))
        });
        let body = Body::stream(stream::once(async move { Bytes::from(first) }).chain(rest));
        Ok(with_type(200, Encoding::Json.content_type(), body))
    }

    /// A list of objects that are at hand.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub(crate) async fn items(&self, items: &[Stored], meta: &ListMeta) -> Result<Response<Body>, Status> {
        self.fits(true)?;
        let mut out = Vec::new();
        if let Form::Table(version) = self.accept.form {
            let shown: Vec<Stored> = items.iter().map(|stored| self.tabled(stored).into_owned()).collect();
            self.table(version).write(&mut out, &shown, meta, &|stored, out| self.write(out, stored, true));
            return Ok(respond(200, self.accept, out));
        }
        if self.accept.encoding == Encoding::Protobuf {
            return Ok(self.in_protobuf(items.iter(), meta).await);
        }
        self.open(&mut out, meta);
        if items.is_empty() && self.is_partial() {
            // Upstream has no list where there is nothing to list.
            out.pop();
            out.extend_from_slice(b"null}");
            return Ok(respond(200, self.accept, out));
        }
        for (at, item) in items.iter().enumerate() {
            self.item(&mut out, item, at);
        }
        out.extend_from_slice(b"]}");
        Ok(respond(200, self.accept, out))
    }

    /// A list in protobuf, which says how long it is before it begins.
    async fn in_protobuf(&self, items: impl Iterator<Item: Borrow<Stored>> + Send, meta: &ListMeta) -> Response<Body> {
        match self.written_in_protobuf(items, meta).await {
            Ok(bytes) => with_type(200, PROTOBUF, Body::full(bytes)),
            Err(error) => status(&Status::internal(error.to_string()), Accept::JSON),
        }
    }

    async fn written_in_protobuf(
        &self,
        items: impl Iterator<Item: Borrow<Stored>> + Send,
        meta: &ListMeta,
    ) -> Result<Vec<u8>, ProtobufError> {
        let mut list = protobuf::ListWriter::new(self.list_types(), &self.list_meta(meta))?;
        let (mut text, mut made) = (Vec::new(), 0);
        for item in items {
            if made >= CHUNK {
                made = 0;
                give_way().await;
            }
            text.clear();
            self.item(&mut text, item.borrow(), 0);
            made += text.len();
            list.push(&serde_json::from_slice(&text).unwrap_or_default())?;
        }
        Ok(list.finish())
    }

    fn is_partial(&self) -> bool {
        matches!(self.accept.form, Form::Metadata(_) | Form::MetadataList(_))
    }

    fn list_types(&self) -> TypeMeta {
        match self.accept.form {
            Form::Metadata(version) | Form::MetadataList(version) => {
                TypeMeta { api_version: version.api_version().to_owned(), kind: "PartialObjectMetadataList".to_owned() }
            }
            _ => TypeMeta { api_version: self.kind.type_meta.api_version.clone(), kind: self.kind.list_kind.clone() },
        }
    }

    fn list_meta(&self, meta: &ListMeta) -> Value {
        let mut metadata = json!({});
        if meta.revision != Revision::ZERO {
            metadata["resourceVersion"] = Value::from(meta.revision.to_string()); // what is made has none
        }
        if let Some(links) = &self.links {
            metadata["selfLink"] = Value::from(&*links.list);
        }
        // Lists of custom kinds say so when there is no next page.
        if !meta.continue_token.is_empty() || !self.kind.builtin && matches!(self.accept.form, Form::Object) {
            metadata["continue"] = Value::from(meta.continue_token.as_str());
        }
        if let Some(remaining) = meta.remaining {
            metadata["remainingItemCount"] = Value::from(remaining);
        }
        metadata
    }

    fn open(&self, out: &mut Vec<u8>, meta: &ListMeta) {
        let (TypeMeta { api_version, kind }, metadata) = (self.list_types(), self.list_meta(meta));
        let head = format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{metadata},"items":["#);
        out.extend_from_slice(head.as_bytes());
    }

    fn item(&self, out: &mut Vec<u8>, stored: &Stored, at: usize) {
        if at > 0 {
            out.push(b',');
        }
        match self.accept.form {
            Form::Metadata(_) | Form::MetadataList(_) => self.write_one(out, stored),
            _ => self.write(out, stored, !self.kind.builtin),
        }
    }

    /// A watch: one line an event. Those that are there already are sent as one piece, up to a size.
    pub(crate) fn watch(
        &self,
        frames: impl Stream<Item = Frame> + Send + Unpin + 'static,
        lines: &Arc<Lines>,
    ) -> Response<Body> {
        let (view, mut frames, lines) = (self.clone(), frames.fuse(), lines.clone());
        let mut first = true;
        let pieces = stream::poll_fn(move |context| {
            let mut out = Gathered::default();
            while out.len() < CHUNK && !out.ends_group() {
                let frame = match frames.poll_next_unpin(context) {
                    Poll::Ready(Some(frame)) => frame,
                    Poll::Ready(None) if out.len() == 0 => return Poll::Ready(None),
                    Poll::Pending if out.len() == 0 => return Poll::Pending,
                    Poll::Ready(None) | Poll::Pending => break,
                };
                view.frame(&mut out, &frame, &mut first, &lines);
            }
            Poll::Ready(Some(lines.piece(out)))
        });
        let in_protobuf = self.accept.encoding == Encoding::Protobuf;
        let content_type = if in_protobuf { PROTOBUF_STREAM } else { Encoding::Json.content_type() };
        with_type(200, content_type, Body::stream(pieces))
    }

    fn frame(&self, out: &mut Gathered, frame: &Frame, first: &mut bool, lines: &Lines) {
        let (event, stored) = match frame {
            Frame::Delivery(Delivery::Added(stored)) => ("ADDED", stored),
            Frame::Delivery(Delivery::Modified(stored)) => ("MODIFIED", stored),
            Frame::Delivery(Delivery::Deleted(stored)) => ("DELETED", stored),
            Frame::Delivery(Delivery::Bookmark(revision)) => {
                return self.line(out.own(), |out| self.bookmark(out, *revision, false, first));
            }
            Frame::InitialEnd(revision) => {
                return self.line(out.own(), |out| self.bookmark(out, *revision, true, first));
            }
            Frame::Fault(status) => {
                return self.line(out.own(), |out| {
                    out.extend_from_slice(br#"{"type":"ERROR","object":"#);
                    out.extend_from_slice(&serde_json::to_vec(status).unwrap_or_default());
                    out.extend_from_slice(b"}\n");
                });
            }
        };
        let mut write = |out: &mut Vec<u8>| self.line(out, |out| self.event(out, event, stored, first));
        // A table says how old an object is, and links are not for everybody.
        if self.links.is_some() || matches!(self.accept.form, Form::Table(_)) {
            return write(out.own());
        }
        let Self { kind, accept, dialect, .. } = self;
        lines.write(out, Said { event, stored, kind, accept: *accept, dialect: *dialect }, write);
    }

    /// Writes a line of a watch, in the encoding asked for.
    fn line(&self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let begin = out.len();
        write(out);
        if self.accept.encoding == Encoding::Protobuf {
            let event = event_in_protobuf(out.get(begin..).unwrap_or_default());
            out.truncate(begin);
            out.extend_from_slice(&event);
        }
    }

    fn event(&self, out: &mut Vec<u8>, event: &str, stored: &Stored, first: &mut bool) {
        for part in [r#"{"type":""#, event, r#"","object":"#] {
            out.extend_from_slice(part.as_bytes());
        }
        match self.accept.form {
            Form::Table(version) => {
                let table = self.table(version);
                let columns = std::mem::take(first);
                let shown = self.tabled(stored);
                table.write_event(out, &shown, columns, &|stored, out| self.write(out, stored, true));
            }
            _ => self.write_one(out, stored),
        }
        out.extend_from_slice(b"}\n");
    }

    fn bookmark(&self, out: &mut Vec<u8>, revision: Revision, initial_end: bool, first: &mut bool) {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_end {
            metadata["annotations"] = json!({ INITIAL_END: "true" });
        }
        let (kind, api_version) = match self.accept.form {
            Form::Metadata(version) | Form::MetadataList(version) => ("PartialObjectMetadata", version.api_version()),
            Form::Table(version) => {
                out.extend_from_slice(br#"{"type":"BOOKMARK","object":"#);
                let columns = std::mem::take(first);
                self.table(version).write_bookmark(out, columns, (revision, &metadata), &self.kind.type_meta);
                return out.extend_from_slice(b"}\n");
            }
            Form::Object => {
                let _ = writeln!(out, r#"{{"type":"BOOKMARK","object":{}}}"#, bookmark::of(&self.kind, metadata));
                return;
            }
        };
        let object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        let _ = writeln!(out, r#"{{"type":"BOOKMARK","object":{object}}}"#);
    }
}

/// Makes a list piece by piece, from one snapshot, holding no more than one piece.
struct ListWriter {
    view: View,
    page: Page,
    last: Option<ObjectPath>,
    rows: usize,
    part: Part,
    table: Option<Table>,
}

#[derive(PartialEq, Eq)]
enum Part {
    Head,
    Items,
    Done,
}

impl ListWriter {
    /// Adds a piece. Whether there is more.
    fn fill(&mut self, out: &mut Vec<u8>) -> bool {
        let begin = out.len();
        if self.part == Part::Head {
            self.head(out);
            self.part = Part::Items;
        }
        let mut last = None;
        for stored in self.page.items(self.last.as_ref()) {
            match &self.table {
                Some(table) => {
                    let shown = self.view.tabled(&stored);
                    table.row(out, self.rows, &shown, &|stored, out| self.view.write(out, stored, true));
                }
                None => self.view.item(out, &stored, self.rows),
            }
            self.rows += 1;
            if out.len() - begin >= CHUNK {
                last = Some(stored.path.clone());
                break;
            }
        }
        if last.is_some() {
            self.last = last;
            return true;
        }
        match &self.table {
            Some(table) => table.close(out, self.rows, &self.page.meta()),
            None => out.extend_from_slice(b"]}"),
        }
        self.part = Part::Done;
        false
    }

    fn head(&mut self, out: &mut Vec<u8>) {
        match self.view.accept.form {
            Form::Table(version) => {
                let table = self.view.table(version);
                table.open(out, true);
                self.table = Some(table);
            }
            _ => self.view.open(out, &self.page.meta()),
        }
    }
}

/// A response of JSON bytes, in the encoding that the client wants.
pub(crate) fn respond(code: u16, accept: Accept, bytes: Vec<u8>) -> Response<Body> {
    if accept.encoding == Encoding::Json && !accept.pretty {
        return with_type(code, Encoding::Json.content_type(), Body::full(bytes));
    }
    if accept.encoding == Encoding::Json {
        return with_type(code, Encoding::Json.content_type(), Body::full(indent::indented(&bytes)));
    }
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let (encoding, bytes) = match accept.encoding {
        Encoding::Yaml => (Encoding::Yaml, to_yaml(&value).into_bytes()),
        Encoding::Protobuf => match in_protobuf(&value) {
            Some(bytes) => (Encoding::Protobuf, bytes),
            None => (Encoding::Json, bytes),
        },
        Encoding::Json => (Encoding::Json, bytes),
    };
    with_type(code, encoding.content_type(), Body::full(bytes))
}

fn in_protobuf(value: &Value) -> Option<Vec<u8>> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
    let types = TypeMeta { api_version: text("apiVersion"), kind: text("kind") };
    protobuf::encode(&types, value).ok()
}

/// An event of a watch, as its line in JSON says it. What has no message is an error to who watches.
fn event_in_protobuf(line: &[u8]) -> Vec<u8> {
    let event: Value = serde_json::from_slice(line).unwrap_or_default();
    match event.get("object").and_then(in_protobuf) {
        Some(object) => protobuf::watch_event(event.get("type").and_then(Value::as_str).unwrap_or_default(), &object),
        None => {
            let fault = Status::internal("the object cannot be written as protobuf");
            let fault = serde_json::to_value(fault).ok().as_ref().and_then(in_protobuf);
            protobuf::watch_event("ERROR", &fault.unwrap_or_default())
        }
    }
}

/// A failure, or the success of a deletion.
pub(crate) fn status(status: &Status, accept: Accept) -> Response<Body> {
    let code = if status.code == 0 { 200 } else { status.code };
    let mut response = respond(code, accept, serde_json::to_vec(status).unwrap_or_default());
    let wait = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if wait > 0 && matches!(code, 429 | 500 | 503 | 504) {
        response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(wait));
    }
    response
}

/// Success, and nothing to say.
pub(crate) fn nothing() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Plain text.
pub(crate) fn text(code: u16, text: impl Into<String>) -> Response<Body> {
    let mut response = with_type(code, "text/plain; charset=utf-8", Body::full(text.into()));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn with_type(code: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}
