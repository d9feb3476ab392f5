//! From the body of a request to an object.

use std::pin::Pin;
use std::time::Duration;

use arktos_core::media::{protobuf, yaml};
use arktos_core::schema::{self, Decoded, Schema};
use arktos_core::{Dialect, Object, Reason, Status, TypeMeta};
use arktos_store::Clock;
use bytes::{Bytes, BytesMut};
use futures::future::select;
use http_body::Body;
use http_body_util::BodyExt;
use serde_json::Value;

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
    // Go writes what HTML has a use for as escapes.
    let escaped = |text: String| {
        let text = text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
        text.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
    };
    serde_json::from_str::<serde_json::Value>(written).is_ok_and(|value| escaped(value.to_string()) == written)
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
            let found = json_type(wanted, body)?;
            check_named(call, wanted, &found, body)?;
            check_type(call, wanted, &found)?;
            schema::read_as(schema, wanted, body, dialect)
        }
        Encoding::Yaml => {
            let unreadable = |why: &dyn std::fmt::Display| unrecognized(wanted, &format!("yaml: {why}"));
            let value = yaml::parse(body).map_err(|error| unreadable(&error))?;
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
            let (found, value) = protobuf::decode(body).map_err(|error| unrecognized(wanted, &error.to_string()))?;
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
        Ok(_) => Err(unreadable_json(wanted, body, false)),
        Err(error) => Err(unreadable_json(wanted, body, error.is_eof())),
    }
}

fn unreadable_json(wanted: &TypeMeta, body: &[u8], breaks_off: bool) -> Status {
    const SHAPE: &str =
        r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    let not_an_object = |what: &str| format!("json: cannot unmarshal {what} into Go value of type {SHAPE}");
    let why = match serde_json::from_slice::<Value>(body) {
        Ok(Value::Array(_)) => not_an_object("array"),
        Ok(Value::String(_)) => not_an_object("string"),
        Ok(Value::Number(_)) => not_an_object("number"),
        Ok(Value::Bool(_)) => not_an_object("bool"),
        _ if breaks_off => "unexpected end of JSON input".to_owned(),
        _ => arktos_core::media::go_json_fault(body).unwrap_or_else(|| "invalid JSON".to_owned()),
    };
    let shown: String = if body.starts_with(b"{") {
        String::from_utf8_lossy(&body[..body.len().min(128)]).into_owned()
    } else {
        body.iter().take(64).map(|byte| format!("{byte:02x}")).collect()
    };
    unrecognized(wanted, &format!("couldn't get version/kind; json parse error: {why} ({shown})"))
}

fn unrecognized(wanted: &TypeMeta, why: &str) -> Status {
    Status::bad_request(format!("the object provided is unrecognized (must be of type {}): {why}", wanted.kind))
}

fn type_of(value: &Value) -> TypeMeta {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
    TypeMeta { api_version: text("apiVersion"), kind: text("kind") }
}

/// Whether a body is to be an object of a custom kind.
fn is_custom(call: &Call<'_>, wanted: &TypeMeta) -> bool {
    !call.kind.builtin && *wanted == *call.kind.type_meta
}

/// Objects of custom kinds say their kind: nothing else tells how to read them.
fn check_named(call: &Call<'_>, wanted: &TypeMeta, found: &TypeMeta, body: &[u8]) -> Result<(), Status> {
    if !is_custom(call, wanted) {
        return Ok(());
    }
    if found.kind.is_empty() {
        let text = String::from_utf8_lossy(body);
        let shown: String = text.chars().take(128).collect();
        return Err(unrecognized(wanted, &format!("Object 'Kind' is missing in '{text}' ({shown})")));
    }
    if found.api_version == wanted.api_version && found.kind != wanted.kind {
        let name = serde_json::from_slice::<Value>(body).ok();
        let name = name.as_ref().and_then(|body| body.pointer("/metadata/name")?.as_str()).unwrap_or("");
        let why = format!("Invalid value: {:?}: must be {}", found.kind, wanted.kind);
        let cause = crate::query::cause("FieldValueInvalid", "kind", &why);
        return Err(Status::invalid(wanted.group(), &found.kind, name, vec![cause]));
    }
    if found.api_version != wanted.api_version {
        let text = format!(
            "the API version in the data ({}) does not match the expected API version ({})",
            found.api_version, wanted.api_version
        );
        return Err(Status::bad_request(text));
    }
    Ok(())
}

/// Refuses a body that is another kind's.
fn check_type(call: &Call<'_>, wanted: &TypeMeta, found: &TypeMeta) -> Result<(), Status> {
    let same = |one: &str, other: &str| one.is_empty() || one == other;
    let versions = same(&found.api_version, &wanted.api_version) || crate::compat::reads(call, found, wanted);
    if versions && same(&found.kind, &wanted.kind) {
        return Ok(());
    }
    let catalog = call.state.kinds.builtin();
    let kind = if found.kind.is_empty() { &wanted.kind } else { &found.kind };
    let found = TypeMeta {
        api_version: if found.api_version.is_empty() { wanted.api_version.clone() } else { found.api_version.clone() },
        kind: kind.clone(),
    };
    let item = TypeMeta { kind: kind.strip_suffix("List").unwrap_or(kind).to_owned(), ..found.clone() };
    let known = catalog.schema(&found).is_some() || catalog.schema(&item).is_some();
    let (version, wanted_kind) = (found.version(), &wanted.kind);
    let why = if known {
        let group = match wanted.group() {
            "" => "core",
            group => group.split('.').next().unwrap_or(group),
        };
        format!("converting ({version}.{kind}) to ({group}.{wanted_kind}): unknown conversion")
    } else {
        format!(
            "no kind {kind:?} is registered for version {:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
            found.api_version
        )
    };
    let text = format!("{kind} in version {version:?} cannot be handled as a {wanted_kind}: {why}");
    Err(Status::bad_request(text))
}
