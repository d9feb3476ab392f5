//! From the body of a request to an object.

use std::pin::Pin;
use std::time::Duration;

use arktos_core::media::{go_json_fault, go_kind, protobuf, yaml};
use arktos_core::schema::{self, Decoded, Schema};
use arktos_core::{Dialect, Object, Reason, Status, TypeMeta};
use arktos_store::Clock;
use bytes::{Bytes, BytesMut};
use futures::future::select;
use http_body::Body;
use http_body_util::BodyExt;
use serde_json::Value;

mod former;

use crate::call::Call;
use crate::negotiate::{self, Encoding};
use crate::query::FieldValidation;

/// The largest body that is read, in bytes.
pub(crate) const BODY_MAX: usize = 3 << 20;

/// How long what a body that is too large has more is read for, and forgotten.
const FORGET: Duration = Duration::from_millis(500);

/// Reads a body whole. Of one that is too large as much again is read, so that whoever writes it gets to read why it is
/// refused.
///
/// # Errors
/// 413 for a body that is too large, 400 for one that breaks off.
pub(crate) async fn bytes<B>(body: B, clock: &dyn Clock) -> Result<Bytes, Status>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut body = std::pin::pin!(body);
    if let Some(whole) = whole(body.as_mut()).await? {
        return Ok(whole);
    }
    // Whoever is cut off while it writes sees a broken connection, and not why.
    let mut left = BODY_MAX;
    let forget = std::pin::pin!(async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, bytes::Buf::remaining));
            if left == 0 {
                break;
            }
        }
    });
    select(forget, clock.sleep(FORGET)).await;
    let text = format!("Request entity too large: limit is {BODY_MAX}");
    Err(Status::failure(Reason::RequestEntityTooLarge, text))
}

/// All of a body; `None` for one that is too large.
async fn whole<B>(mut body: Pin<&mut B>) -> Result<Option<Bytes>, Status>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.size_hint().lower() > BODY_MAX as u64 {
        return Ok(None);
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::bad_request(format!("the body broke off: {}", error.into())))?;
        if let Ok(mut data) = frame.into_data() {
            let length = bytes::Buf::remaining(&data);
            let data = bytes::Buf::copy_to_bytes(&mut data, length);
            if whole.len() + data.len() > BODY_MAX {
                return Ok(None);
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(Some(whole.freeze()))
}

/// Reads a body as an object of the call's kind.
///
/// # Errors
/// 400 in upstream's words.
pub(crate) fn object(call: &Call<'_>, body: &[u8], encoding: Encoding) -> Result<Object, Status> {
    typed(call, &call.kind.schema, &call.kind.type_meta, body, encoding)
}

/// Reads a body as an object of a type.
///
/// # Errors
/// As [`object`].
pub(crate) fn typed(
    call: &Call<'_>,
    schema: &Schema,
    wanted: &TypeMeta,
    body: &[u8],
    encoding: Encoding,
) -> Result<Object, Status> {
    let decoded = read(call, schema, wanted, body, encoding)?;
    let faults = &decoded.faults;
    match call.options.field_validation {
        FieldValidation::Strict => match faults.refusal(wanted) {
            Some(refusal) => Err(refusal),
            None => Ok(decoded.object),
        },
        FieldValidation::Warn => {
            faults.list.iter().for_each(|fault| call.warn(fault.as_str()));
            Ok(decoded.object)
        }
        FieldValidation::Ignore => Ok(decoded.object),
    }
}

/// Reads a body as a new object of the call's kind, and notes in the call's options how its data is written.
///
/// # Errors
/// As [`object`].
pub(crate) fn new_object(call: &mut Call<'_>, body: &[u8], encoding: Encoding) -> Result<Object, Status> {
    let is_revision = call.kind.kind == "ControllerRevision";
    call.options.data_as_written = is_revision && encoding == Encoding::Json && !is_data_canonical(body);
    let is_job = call.kind.storage_resource.as_str() == "jobs.batch";
    let new = object(call, body, encoding)?;
    call.options.labels_of_template = is_job && !has_labels(body, encoding, &new);
    Ok(new)
}

/// Whether a body has labels of its own. Where it cannot be told, those that are the template's are taken for its.
fn has_labels(body: &[u8], encoding: Encoding, new: &Object) -> bool {
    #[derive(serde::Deserialize)]
    struct Labels {
        labels: Option<serde_json::Map<String, serde_json::Value>>,
    }
    #[derive(serde::Deserialize)]
    struct Only {
        metadata: Option<Labels>,
    }
    if encoding != Encoding::Json {
        return new.at(&["metadata", "labels"]) != new.at(&["spec", "template", "metadata", "labels"]);
    }
    let only: Only = serde_json::from_slice(body).unwrap_or(Only { metadata: None });
    only.metadata.and_then(|metadata| metadata.labels).is_some_and(|labels| !labels.is_empty())
}

/// Whether the `data` of a JSON body is written as Go writes it: its keys sorted, without spaces.
fn is_data_canonical(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Only<'a> {
        #[serde(borrow)]
        data: Option<&'a serde_json::value::RawValue>,
    }
    let Ok(Only { data: Some(data) }) = serde_json::from_slice(body) else { return true };
    let written = data.get();
    let go = |value: serde_json::Value| arktos_core::media::go_escaped(&value.to_string());
    serde_json::from_str::<serde_json::Value>(written).is_ok_and(|value| go(value) == written)
}

/// Reads the body of a deletion.
///
/// # Errors
/// 400 in upstream's words.
pub(crate) fn delete_options(body: &[u8], encoding: Encoding) -> Result<Object, Status> {
    let refused = |why: String| Status::bad_request(why);
    let value = match encoding {
        Encoding::Json => serde_json::from_slice(body).map_err(|_| {
            let fault = go_json_fault(body).unwrap_or_else(|| "invalid JSON".to_owned());
            refused(format!("couldn't get version/kind; json parse error: {fault}"))
        })?,
        Encoding::Yaml => yaml::parse(body).map_err(|fault| refused(fault.to_string()))?,
        Encoding::Protobuf => protobuf::decode(body).map_err(|fault| refused(fault.to_string()))?.1,
    };
    let value = if value.is_null() { Value::Object(serde_json::Map::new()) } else { value };
    let other = |field: &str| value.get(field).is_some_and(|value| !value.is_string() && !value.is_null());
    if !value.is_object() || other("apiVersion") || other("kind") {
        return Err(refused(no_type(&value)));
    }
    let TypeMeta { api_version, kind } = type_of(&value);
    if !kind.is_empty() && kind != "DeleteOptions" {
        let version = if api_version.is_empty() { "meta.k8s.io/v1" } else { &api_version };
        return Err(refused(if EVERYWHERE.contains(&kind.as_str()) && version == "v1" {
            format!("converting (v1.{kind}) to (v1.DeleteOptions): unknown conversion")
        } else {
            format!(
                "no kind {kind:?} is registered for version {version:?} in scheme \
                 \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\""
            )
        }));
    }
    let types = TypeMeta { api_version: "v1".to_owned(), kind: "DeleteOptions".to_owned() };
    let options = schema::builtin("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
        .ok_or_else(|| Status::internal("DeleteOptions are not known"))?;
    // Kinds say their version in many ways here, and all mean the same.
    let decoded = schema::decode_as(&options, &types, value, Dialect::Arktos).map_err(|refusal| {
        let why = refusal.message.split_once("cannot be handled as a DeleteOptions: ");
        refused(why.map_or(refusal.message.as_str(), |(_, why)| why).to_owned())
    })?;
    Ok(decoded.object)
}

fn read(
    call: &Call<'_>,
    schema: &Schema,
    wanted: &TypeMeta,
    body: &[u8],
    encoding: Encoding,
) -> Result<Decoded, Status> {
    // Metadata may say the tenant on every path; only Arktos's own paths show it.
    let dialect = if call.identity.is_component() { Dialect::Region } else { Dialect::Arktos };
    match encoding {
        Encoding::Protobuf if is_custom(call, wanted) => {
            Err(negotiate::unknown_format(&[negotiate::JSON, negotiate::YAML]))
        }
        Encoding::Json => {
            // Nothing is an object with nothing in it.
            let body = if !is_custom(call, wanted) && body.trim_ascii() == b"null" { b"{}" } else { body };
            let found = json_type(wanted, body)?;
            check_named(call, wanted, &found, body)?;
            check_type(call, wanted, &found)?;
            schema::read_as(schema, wanted, body, dialect)
        }
        Encoding::Yaml => {
            let unreadable = |why: &dyn std::fmt::Display| {
                let why = why.to_string();
                unrecognized(wanted, why.strip_prefix("error converting YAML to JSON: ").unwrap_or(&why), body)
            };
            let value = match yaml::parse(body).map_err(|error| unreadable(&error))? {
                Value::Null => Value::Object(serde_json::Map::new()),
                value @ Value::Object(_) => value,
                other => return Err(unrecognized(wanted, &no_type(&other), body)),
            };
            check_named(call, wanted, &type_of(&value), value.to_string().as_bytes())?;
            check_type(call, wanted, &type_of(&value))?;
            let mut decoded = schema::decode_as(schema, wanted, value, dialect)?;
            if call.options.field_validation != FieldValidation::Ignore {
                let mut repeated = yaml::repeated_keys(body).map_err(|error| unreadable(&error))?;
                // A refusal says of all of them at once where they come from, and warnings do not.
                if call.options.field_validation == FieldValidation::Strict && !repeated.is_empty() {
                    repeated = vec![format!("yaml: unmarshal errors:\n  {}", repeated.join("\n  "))];
                }
                decoded.faults.list.splice(0..0, repeated);
            }
            Ok(decoded)
        }
        Encoding::Protobuf => {
            let (found, value) =
                protobuf::decode(body).map_err(|error| unrecognized(wanted, &error.to_string(), body))?;
            check_type(call, wanted, &found)?;
            schema::decode_as(schema, wanted, value, dialect)
        }
    }
}

/// `apiVersion` and `kind` of a JSON body; empty where it does not say.
fn json_type(wanted: &TypeMeta, body: &[u8]) -> Result<TypeMeta, Status> {
    #[derive(serde::Deserialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Only<'a> {
        #[serde(borrow)]
        api_version: Option<std::borrow::Cow<'a, str>>,
        #[serde(borrow)]
        kind: Option<std::borrow::Cow<'a, str>>,
    }
    let is_object = body.iter().find(|byte| !byte.is_ascii_whitespace()).is_none_or(|byte| *byte == b'{');
    match serde_json::from_slice::<Only<'_>>(body) {
        Ok(only) if is_object => Ok(TypeMeta {
            api_version: only.api_version.unwrap_or_default().into_owned(),
            kind: only.kind.unwrap_or_default().into_owned(),
        }),
        _ => match serde_json::from_slice::<Value>(body) {
            // What stands twice is told later; the last one counts.
            Ok(value) if value.is_object() && [value.get("apiVersion"), value.get("kind")].iter().all(is_text) => {
                Ok(type_of(&value))
            }
            _ => Err(unreadable_json(wanted, body)),
        },
    }
}

#[allow(clippy::ref_option)] // as an iterator hands it
fn is_text(value: &Option<&Value>) -> bool {
    value.is_none_or(|value| value.is_string() || value.is_null())
}

/// Why a value that is no object has neither version nor kind.
pub(crate) fn no_version(value: &Value) -> String {
    const SHAPE: &str =
        r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    let found = go_kind(value);
    format!("couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go value of type {SHAPE}")
}

fn unreadable_json(wanted: &TypeMeta, body: &[u8]) -> Status {
    let why = match serde_json::from_slice::<Value>(body) {
        Ok(value) => no_type(&value),
        Err(_) => {
            let fault = go_json_fault(body).unwrap_or_else(|| "invalid JSON".to_owned());
            format!("couldn't get version/kind; json parse error: {fault}")
        }
    };
    unrecognized(wanted, &why, body)
}

/// Why a value does not say version and kind.
pub(crate) fn no_type(value: &Value) -> String {
    let Value::Object(fields) = value else { return no_version(value) };
    let other = |field: &&str| fields.get(*field).is_some_and(|value| !value.is_string() && !value.is_null());
    let field = ["apiVersion", "kind"].into_iter().find(other).unwrap_or_default();
    format!(
        "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go struct field .{field} of type \
         string",
        go_kind(fields.get(field).unwrap_or(&Value::Null))
    )
}

/// The beginning of a body, as a refusal shows it: as text where it is an object, and else in hexadecimal.
fn shown(body: &[u8]) -> String {
    const MOST: usize = 30;
    let start = &body[..body.len().min(MOST)];
    let more = if body.len() > MOST { " ..." } else { "" };
    match start {
        [] => "<empty>".to_owned(),
        [b'{', ..] => format!("{}{more}", String::from_utf8_lossy(start)),
        _ => start.iter().map(|byte| format!("{byte:02x}")).chain([more.to_owned()]).collect(),
    }
}

fn unrecognized(wanted: &TypeMeta, why: &str, body: &[u8]) -> Status {
    let shown = shown(body);
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {why} ({shown})",
        wanted.kind
    ))
}

/// What a body says that it is; empty where it does not.
pub(crate) fn type_of(value: &Value) -> TypeMeta {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
    TypeMeta { api_version: text("apiVersion"), kind: text("kind") }
}

/// Whether a body is to be an object of a custom kind.
fn is_custom(call: &Call<'_>, wanted: &TypeMeta) -> bool {
    !call.kind.builtin && *wanted == *call.kind.type_meta
}

/// Objects of custom kinds say their kind: nothing else tells how to read them. Of others, a version has at most one
/// `/`.
fn check_named(call: &Call<'_>, wanted: &TypeMeta, found: &TypeMeta, body: &[u8]) -> Result<(), Status> {
    if !is_custom(call, wanted) {
        if found.api_version.matches('/').count() < 2 {
            return Ok(());
        }
        return Err(unrecognized(wanted, &format!("unexpected GroupVersion string: {}", found.api_version), body));
    }
    if found.kind.is_empty() {
        let text = String::from_utf8_lossy(body);
        return Err(unrecognized(wanted, &format!("Object 'Kind' is missing in '{text}'"), body));
    }
    if found.api_version == wanted.api_version && found.kind != wanted.kind {
        let name = serde_json::from_slice::<Value>(body).ok();
        let name = name.as_ref().and_then(|body| body.pointer("/metadata/name")?.as_str()).unwrap_or("");
        let why = format!("Invalid value: {:?}: must be {}", found.kind, wanted.kind);
        let cause = crate::query::cause("FieldValueInvalid", "kind", &why);
        return Err(Status::invalid(wanted.group(), &found.kind, name, vec![cause]));
    }
    if found.api_version != wanted.api_version {
        return Err(other_version(wanted, found));
    }
    Ok(())
}

fn other_version(wanted: &TypeMeta, found: &TypeMeta) -> Status {
    Status::bad_request(format!(
        "the API version in the data ({}) does not match the expected API version ({})",
        found.api_version, wanted.api_version
    ))
}

/// Refuses a body that is another kind's.
fn check_type(call: &Call<'_>, wanted: &TypeMeta, found: &TypeMeta) -> Result<(), Status> {
    let Some(why) = unlike(call, wanted, found) else { return Ok(()) };
    if former::is_other_version(call, wanted, found) {
        return Err(other_version(wanted, found));
    }
    let kind = if found.kind.is_empty() { &wanted.kind } else { &found.kind };
    let version = if found.api_version.is_empty() { wanted.version() } else { found.version() };
    let text = format!("{kind} in version {version:?} cannot be handled as a {}: {why}", wanted.kind);
    Err(Status::bad_request(text))
}

/// Why a type cannot be read as another one; absent where it can.
pub(crate) fn unlike(call: &Call<'_>, wanted: &TypeMeta, found: &TypeMeta) -> Option<String> {
    let same = |one: &str, other: &str| one.is_empty() || one == other;
    // An eviction may be of the version that it had before: `kubectl drain` of old.
    let before = wanted.kind == "Eviction" && found.api_version == "policy/v1beta1";
    let versions = same(&found.api_version, &wanted.api_version) || before;
    if versions && same(&found.kind, &wanted.kind) {
        return None;
    }
    let catalog = call.state.kinds.builtin();
    let kind = if found.kind.is_empty() { &wanted.kind } else { &found.kind };
    let found = TypeMeta {
        api_version: if found.api_version.is_empty() { wanted.api_version.clone() } else { found.api_version.clone() },
        kind: kind.clone(),
    };
    let item = TypeMeta { kind: kind.strip_suffix("List").unwrap_or(kind).to_owned(), ..found.clone() };
    let known = catalog.schema(&found).is_some() || catalog.schema(&item).is_some();
    let scheme = scheme_of(wanted.group());
    let known = known && (scheme == scheme_of(found.group()) || is_everywhere(&found));
    Some(if known {
        // Named is the group that upstream's own type is of: all events are of the core.
        let kept = catalog.by_type(wanted);
        let group = match kept.as_ref().map_or(wanted.group(), |kind| kind.storage_resource.group()) {
            "" => "core",
            group => group.split('.').next().unwrap_or(group),
        };
        format!("converting ({}.{kind}) to ({group}.{}): unknown conversion", found.version(), wanted.kind)
    } else {
        format!("no kind {kind:?} is registered for version {:?} in scheme {scheme:?}", found.api_version)
    })
}

/// Where upstream gathers the types that it reads beside those of a group.
fn scheme_of(group: &str) -> &'static str {
    match group {
        "apiextensions.k8s.io" => "k8s.io/apiextensions-apiserver/pkg/apiserver/apiserver.go:55",
        "apiregistration.k8s.io" => "k8s.io/kube-aggregator/pkg/apiserver/scheme/scheme.go:28",
        _ => "pkg/api/legacyscheme/scheme.go:30",
    }
}

/// What upstream's reader knows beside the types of every group.
const EVERYWHERE: [&str; 5] = ["Status", "APIVersions", "APIGroupList", "APIGroup", "APIResourceList"];

fn is_everywhere(types: &TypeMeta) -> bool {
    types.api_version == "v1" && EVERYWHERE.contains(&types.kind.as_str())
}
