//! Get and list: which state, which objects, which page.

use std::sync::Arc;

use arktos_core::{ObjectPath, Reason, Revision, Scope, Status, StatusCause};
use arktos_store::select::{Field, FieldTest};
use arktos_store::token::{Continue, TokenError};
use arktos_store::{Selection, Snapshot, Stored, WatchError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::{Either, select};

use super::node_view;
use crate::call::{Call, read_fault};
use crate::forced;
use crate::query::{ReadOptions, VersionMatch};
use crate::table::ListMeta;

/// How long a read waits for a revision that is yet to come.
const FUTURE_WAIT: std::time::Duration = std::time::Duration::from_secs(3);

/// One object.
///
/// # Errors
/// 404; 504 for a revision that does not come.
pub(crate) async fn get(call: &Call<'_>, version: &str) -> Result<Stored, Status> {
    if let Some(stored) = node_view::get(call).await? {
        return Ok(stored);
    }
    if version.is_empty() {
        return call.found().await;
    }
    let wanted = self::version(version, Reason::InternalError)?;
    let snapshot = not_older_than(call, wanted).await?;
    let key = call.key()?;
    call.seen(&snapshot, &key).ok_or_else(|| call.not_found(&call.name))
}

/// A page of a list, not yet read: items are taken from the snapshot as they go out.
pub(crate) struct Page {
    pub(crate) snapshot: Snapshot,
    pub(crate) selection: Selection,
    /// What every tenant has, merged in; empty for most kinds.
    pub(crate) shared: Vec<Arc<Stored>>,
    /// The items are those after this path.
    pub(crate) after: Option<ObjectPath>,
    /// And up to this one.
    pub(crate) until: Option<ObjectPath>,
    /// The list's revision.
    pub(crate) revision: Revision,
    /// Where the next page begins; empty when this is the last.
    pub(crate) next: String,
    /// How many objects there are beyond this page, where that is known.
    pub(crate) remaining: Option<usize>,
}

impl Page {
    /// What is said of the page as a whole.
    pub(crate) fn meta(&self) -> ListMeta {
        ListMeta {
            revision: self.revision,
            continue_token: self.next.clone(),
            remaining: self.remaining.and_then(|count| u64::try_from(count).ok()),
        }
    }

    /// The items after a path, or from the page's beginning.
    pub(crate) fn items<'a>(&'a self, after: Option<&'a ObjectPath>) -> impl Iterator<Item = Arc<Stored>> + Send + 'a {
        let after = after.or(self.after.as_ref());
        let stored = self.snapshot.select(&self.selection, after);
        let shared = self.shared.iter().filter(move |item| after.is_none_or(|after| item.path > *after)).cloned();
        Merged { left: stored.peekable(), right: shared.peekable() }
            .take_while(|item| self.until.as_ref().is_none_or(|until| item.path <= *until))
    }
}

/// Two ordered sequences as one.
struct Merged<L: Iterator, R: Iterator> {
    left: std::iter::Peekable<L>,
    right: std::iter::Peekable<R>,
}

impl<L: Iterator<Item = Arc<Stored>>, R: Iterator<Item = Arc<Stored>>> Iterator for Merged<L, R> {
    type Item = Arc<Stored>;

    fn next(&mut self) -> Option<Arc<Stored>> {
        match (self.left.peek(), self.right.peek()) {
            (Some(left), Some(right)) if right.path < left.path => self.right.next(),
            (Some(left), Some(right)) if right.path == left.path => {
                self.left.next(); // what is forced on a tenant stands in front of what it has
                self.right.next()
            }
            (None, Some(_)) => self.right.next(),
            _ => self.left.next(),
        }
    }
}

/// What a selection sees beside what is stored for its tenant, in order.
pub(crate) fn beside(call: &Call<'_>, selection: &Selection, snapshot: &Snapshot) -> Vec<Stored> {
    let forced = forced::selected(call, selection, snapshot);
    if !forced.is_empty() {
        return forced;
    }
    if crate::compat::hides(call, &selection.resource) {
        return Vec::new();
    }
    call.state.shared.selected(selection, snapshot)
}

/// Opens a page of a list.
///
/// # Errors
/// 400 for selectors, versions and tokens that make no sense, 410 for what history does not reach, 504 for a revision
/// that does not come.
pub(crate) async fn list(call: &Call<'_>, options: &ReadOptions) -> Result<Page, Status> {
    let selection = selection(call, options)?;
    let token = match options.continue_token.as_str() {
        "" => None,
        text => Some(open(call, text, &selection)?),
    };
    let snapshot = state(call, options, token.as_ref(), &selection).await?;
    let (after, left) = token.map_or((None, None), |token| (Some(token.after), token.left));
    let mut page = Page { after, ..whole(call, snapshot, selection) };
    if options.limit > 0 && !is_whole(call, options) {
        cut(call, &mut page, options.limit, left.and_then(|left| usize::try_from(left).ok()));
    }
    Ok(page)
}

/// Whether a list is not cut into pages, whatever its limit: upstream answers who takes any state (`0`) from its cache,
/// and all at once. Events it does not cache.
fn is_whole(call: &Call<'_>, options: &ReadOptions) -> bool {
    options.version == "0" && call.kind.storage_resource.as_str() != "events"
}

/// Everything that a selection sees in one state.
pub(crate) fn whole(call: &Call<'_>, snapshot: Snapshot, selection: Selection) -> Page {
    let shared = beside(call, &selection, &snapshot).into_iter().map(Arc::new).collect();
    let revision = snapshot.revision();
    Page { snapshot, selection, shared, after: None, until: None, revision, next: String::new(), remaining: None }
}

/// Ends a page after `limit` items, with a token for the next one where there is more. `left` is how many items there
/// are from here on, if that was counted for the first page.
fn cut(call: &Call<'_>, page: &mut Page, limit: usize, left: Option<usize>) {
    let mut items = page.items(None);
    let (count, last) = items.by_ref().take(limit).fold((0, None), |(count, _), item| (count + 1, Some(item)));
    let last = last.map(|item| item.path.clone());
    let found = items.next().is_some();
    drop(items);
    let Some(last) = last.filter(|last| found || (count == limit && goes_on(call, page, last))) else { return };
    if page.selection.is_unfiltered() {
        let counted = left.and_then(|left| left.checked_sub(limit));
        page.remaining = Some(counted.unwrap_or_else(|| page.items(Some(&last)).count()));
    }
    let left = page.remaining.and_then(|left| u64::try_from(left).ok());
    let next = Continue { revision: Some(page.revision), after: last.clone(), left };
    page.next = next.seal(&call.state.config.continue_key, &page.selection);
    page.until = Some(last);
}

/// Whether there is anything after a full page, selected or not: as upstream, which has not looked at it by then.
/// Where it looks one object or one host's pods up, it knows.
fn goes_on(call: &Call<'_>, page: &Page, last: &ObjectPath) -> bool {
    let selection = &page.selection;
    let node = call.kind.field("spec.nodeName").map(Field::At);
    let looked_up = |test: &FieldTest| test.equal && (test.field == Field::Name || Some(test.field) == node);
    if selection.is_unfiltered() || selection.fields.iter().any(looked_up) {
        return false;
    }
    let all = Selection::all(selection.resource.clone(), selection.within.clone());
    let rest = whole(call, page.snapshot.clone(), all);
    rest.items(Some(last)).next().is_some()
}

/// The state that a list is made of.
async fn state(
    call: &Call<'_>,
    options: &ReadOptions,
    token: Option<&Continue>,
    selection: &Selection,
) -> Result<Snapshot, Status> {
    let engine = call.engine();
    if let Some(token) = token {
        if !options.version.is_empty() && options.version != "0" {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        let Some(revision) = token.revision else {
            return engine.latest().await.map_err(|error| read_fault(&error));
        };
        return engine.past_of(&selection.resource, revision).map_err(|error| match error {
            WatchError::Compacted { .. } => expired(call, token, selection),
            other => read_fault(&other),
        });
    }
    let wanted = match options.version.as_str() {
        "" => return engine.latest().await.map_err(|error| read_fault(&error)),
        text => version(text, Reason::BadRequest)?,
    };
    let exact = match options.version_match {
        Some(VersionMatch::Exact) => true,
        Some(VersionMatch::NotOlderThan) => false,
        None => options.limit > 0 && wanted > Revision::ZERO,
    };
    if !exact {
        return not_older_than(call, wanted).await;
    }
    if wanted > engine.snapshot().revision() {
        return Err(too_large(wanted, engine.snapshot().revision()));
    }
    engine.past_of(&selection.resource, wanted).map_err(|error| match error {
        WatchError::Compacted { .. } => Status::expired("The resourceVersion for the provided list is too old."),
        other => read_fault(&other),
    })
}

/// A state not older than a revision; a little patience for one that is yet to come.
pub(crate) async fn not_older_than(call: &Call<'_>, wanted: Revision) -> Result<Snapshot, Status> {
    let engine = call.engine();
    let coming = std::pin::pin!(engine.not_older_than(wanted));
    match select(coming, call.state.config.clock.sleep(FUTURE_WAIT)).await {
        Either::Left((snapshot, _)) => snapshot.map_err(|error| read_fault(&error)),
        Either::Right(_) => Err(too_large(wanted, engine.snapshot().revision())),
    }
}

fn too_large(wanted: Revision, current: Revision) -> Status {
    let text = format!("Timeout: Too large resource version: {wanted}, current: {current}");
    let mut status = Status::failure(Reason::Timeout, text).retry_after(1);
    status.details.get_or_insert_default().causes.push(StatusCause {
        reason: "ResourceVersionTooLarge".to_owned(),
        message: "Too large resource version".to_owned(),
        field: String::new(),
    });
    status
}

/// The revision that a client asks for. Zeros before a number say nothing here.
///
/// # Errors
/// `reason`, for what is no number, or too large a one.
pub(crate) fn version(text: &str, reason: Reason) -> Result<Revision, Status> {
    let short = text.trim_start_matches('0');
    let short = if short.is_empty() && !text.is_empty() { "0" } else { short };
    Revision::parse(short).ok_or_else(|| invalid_version(text, reason))
}

/// What a client is told of a `resourceVersion` that is none.
fn invalid_version(text: &str, reason: Reason) -> Status {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let why = if is_number { "value out of range" } else { "invalid syntax" };
    let fault = format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: {why}");
    match reason {
        Reason::InternalError => Status::unexplained(fault),
        _ => Status::failure(reason, format!("invalid resource version: {fault}")),
    }
}

/// What a list or a watch selects.
///
/// # Errors
/// 400 for fields that the kind cannot be selected by.
pub(crate) fn selection(call: &Call<'_>, options: &ReadOptions) -> Result<Selection, Status> {
    let mut selection = Selection::all(call.kind.storage_resource.clone(), call.within());
    selection.labels = options.labels.clone();
    for term in &options.fields.terms {
        let field = match term.field.as_str() {
            "metadata.name" => Field::Name,
            "metadata.namespace" if has_namespace(call) => Field::Namespace,
            name if name.starts_with("arktos.") && !call.identity.is_component() => {
                return Err(unknown_field(call, name));
            }
            name => Field::At(call.kind.field(name).ok_or_else(|| unknown_field(call, name))?),
        };
        selection.fields.push(FieldTest { field, value: term.value.clone(), equal: term.equal });
    }
    if !call.name.is_empty() {
        let test = FieldTest { field: Field::Name, value: call.name.clone().into_owned(), equal: true };
        selection.fields.push(test);
    }
    Ok(selection)
}

/// Whether the kind has fields of its own to be selected by. Upstream treats those that have not alike.
fn has_own_fields(call: &Call<'_>) -> bool {
    call.kind.fields.iter().any(|field| !field.name.is_empty() && !field.name.starts_with("arktos."))
}

fn has_namespace(call: &Call<'_>) -> bool {
    call.kind.scope == Scope::Namespace || (call.kind.builtin && !has_own_fields(call))
}

fn unknown_field(call: &Call<'_>, name: &str) -> Status {
    let (kind, version) = (&call.kind.kind, &call.kind.type_meta.api_version);
    Status::bad_request(match call.kind.group.as_str() {
        _ if !has_own_fields(call) && call.kind.builtin => {
            format!("{name:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        }
        "resource.k8s.io" => format!("field label not supported for {version}, Kind={kind}: {name}"),
        "batch" => format!("field label {name:?} not supported for {kind}"),
        _ => format!("field label not supported: {name}"),
    })
}

/// Opens a token that a client has sent.
fn open(call: &Call<'_>, token: &str, selection: &Selection) -> Result<Continue, Status> {
    Continue::open(token, &call.state.config.continue_key, selection).map_err(|error| match error {
        TokenError::OtherKey => Status::expired(
            "The provided continue parameter is too old to display a consistent list result. You must start a new \
             list without the continue parameter.",
        ),
        TokenError::Malformed => match foreign(token) {
            Some(why) => Status::bad_request(format!("invalid continue token: continue key is not valid: {why}")),
            None => Status::bad_request(format!("invalid continue token: {error}")),
        },
        other => Status::bad_request(format!("invalid continue token: {other}")),
    })
}

/// What upstream says of a token that it could not read either.
fn foreign(token: &str) -> Option<String> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let broken = token.bytes().position(|byte| !is_letter(byte));
    if let Some(at) = broken.or_else(|| (token.len() % 4 == 1).then(|| token.len() - 1)) {
        return Some(format!("illegal base64 data at input byte {at}"));
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    if let Some(fault) = arktos_core::media::go_json_fault(&bytes) {
        return Some(fault);
    }
    let said: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    match said.get("v").and_then(serde_json::Value::as_str).unwrap_or("") {
        version @ "meta.k8s.io/v1" => {
            if said.get("rv").and_then(serde_json::Value::as_i64).unwrap_or(0) == 0 {
                return Some(format!("incorrect encoded start resourceVersion (version {version})"));
            }
            let start = said.get("start").and_then(serde_json::Value::as_str).unwrap_or("");
            if start.is_empty() {
                return Some(format!("encoded start key empty (version {version})"));
            }
            start.split('/').any(|step| matches!(step, "." | "..")).then(|| start.to_owned())
        }
        version => Some(format!("server does not recognize this encoded version {version}")),
    }
}

/// 410 with a token that goes on at the newest state.
fn expired(call: &Call<'_>, token: &Continue, selection: &Selection) -> Status {
    let text = "The provided continue parameter is too old to display a consistent list result. You can start a new \
                list without the continue parameter, or use the continue token in this response to retrieve the \
                remainder of the results. Continuing with the provided token results in an inconsistent list - objects \
                that were created, modified, or deleted between the time the first chunk was returned and now may show \
                up in the list.";
    let mut status = Status::expired(text);
    status.metadata.continue_token = token.inconsistent().seal(&call.state.config.continue_key, selection);
    status
}
