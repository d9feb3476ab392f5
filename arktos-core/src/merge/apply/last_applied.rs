//! From client-side to server-side apply: what `kubectl apply` noted of the configuration it applied last.

use serde_json::Value;

use super::compare::compare;
use super::track::{self, Refusal};
use super::types::Type;
use super::walk::{faults_of, fields_of};
use super::{Applied, Live, Writer};
use crate::fields::FieldSet;
use crate::media::go_escaped;
use crate::status::Status;

/// The annotation in which client-side apply keeps the last configuration.
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The manager that moves from client-side to server-side apply without conflicts.
const KUBECTL: &str = "kubectl";
/// The most that the annotations of an object may hold, in bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Applies a configuration. For kubectl, fields that still have the value it applied by itself are no conflict, and
/// the annotation is kept up to date.
pub(super) fn apply(
    writer: &Writer<'_>,
    live: Option<Live<'_>>,
    config: &Value,
    force: bool,
) -> Result<Applied, Status> {
    let kubectl = writer.manager == KUBECTL;
    let (mut applied, managed) = match track::apply(writer, live, config, force) {
        Err(Refusal::Conflicts(conflicts)) if kubectl => {
            let Some(allowed) = live.and_then(|live| still_as_applied(writer, live.object)) else {
                return Err(conflicts.refusal());
            };
            let left = conflicts.beyond(&allowed);
            if !left.0.is_empty() {
                return Err(left.refusal());
            }
            track::apply(writer, live, config, true)
        }
        result => result,
    }
    .map_err(|refusal| match refusal {
        Refusal::Conflicts(conflicts) => conflicts.refusal(),
        Refusal::Status(status) => status,
    })?;
    if kubectl {
        note(&mut applied, config);
    }
    Ok((applied, managed))
}

fn annotation(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str().filter(|text| !text.is_empty())
}

/// The fields that have the value which client-side apply gave them.
fn still_as_applied(writer: &Writer<'_>, live: &Value) -> Option<FieldSet> {
    let last: Value = serde_json::from_str(annotation(live)?).ok()?;
    if last.get("apiVersion").and_then(Value::as_str) != Some(writer.api_version) {
        return None;
    }
    let ty = Type::root(writer.schema);
    if !faults_of(ty, &last).is_empty() || !faults_of(ty, live).is_empty() {
        return None;
    }
    let changed = compare(ty, &last, live);
    let mut set = fields_of(ty, &last);
    for gone in [&changed.modified, &changed.added, &changed.removed] {
        set.remove(gone);
    }
    Some(set)
}

/// Keeps the annotation of an object that has it up to date.
fn note(applied: &mut Value, config: &Value) {
    if annotation(applied).is_none() {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = config.get_mut("metadata").and_then(|meta| meta.get_mut("annotations")) {
        annotations.as_object_mut().map(|annotations| annotations.remove(ANNOTATION));
    }
    let Some(annotations) = applied.get_mut("metadata").and_then(|meta| meta.get_mut("annotations")) else { return };
    let Some(annotations) = annotations.as_object_mut() else { return };
    let text = go_escaped(&format!("{config}\n"));
    let others: usize = annotations
        .iter()
        .filter(|(key, _)| *key != ANNOTATION)
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    let fits = others + ANNOTATION.len() + text.len() <= ANNOTATIONS_MAX;
    annotations.insert(ANNOTATION.to_owned(), Value::from(if fits { text } else { String::new() }));
}
