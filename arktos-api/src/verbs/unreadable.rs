//! What is said of a patch whose outcome cannot be read.

use arktos_core::media::go_printed;
use arktos_core::schema::is_named_text;
use arktos_core::{Object, Status, StatusCause, TypeMeta};
use arktos_store::client::Patch;
use serde_json::Value;

use crate::call::Call;
use crate::input;
use crate::query::cause;

/// A patch that made something, and the text of it that a refusal shows.
pub(super) struct Outcome<'a> {
    pub(super) patch: &'a Patch,
    /// What the patch made, whole.
    pub(super) whole: &'a dyn Fn() -> Result<Value, Status>,
}

impl Outcome<'_> {
    /// 422: what the patch made (or, of a strategic one, the patch), and why that cannot be read.
    pub(super) fn refusal(&self, why: &str) -> Status {
        let shown = match self.patch {
            Patch::Strategic(patch) => go_printed(patch),
            _ => match (self.whole)() {
                Ok(whole) => whole.to_string(),
                Err(refusal) => return refusal,
            },
        };
        let why = format!("Invalid value: {shown:?}: {why}");
        Status::invalid("", "", "", vec![cause("FieldValueInvalid", "patch", &why)])
    }

    /// As [`Self::refusal`], of a body's refusal: without the kind it names first, and in the words of the reader that
    /// has read it.
    pub(super) fn refused(&self, types: &TypeMeta, refusal: &Status) -> Status {
        let named = format!("cannot be handled as a {}: ", types.kind);
        let why = refusal.message.split_once(&named).map_or(refusal.message.as_str(), |(_, why)| why);
        match self.patch {
            Patch::Strategic(_) => self.refusal(&restored(why)),
            _ => self.refusal(why),
        }
    }

    /// Refuses what says that it is of another kind. A strategic patch changes a value of the kind, whatever it says.
    ///
    /// # Errors
    /// 422.
    pub(super) fn check_kind(&self, call: &Call<'_>, old: &Object, made: &Value) -> Result<(), Status> {
        if matches!(self.patch, Patch::Strategic(_)) {
            return Ok(());
        }
        let other = |field: &str| made.get(field).is_some_and(|value| !value.is_string() && !value.is_null());
        if !made.is_object() || other("apiVersion") || other("kind") {
            return Err(self.refusal(&input::no_type(made)));
        }
        let said = input::type_of(made);
        let wanted = &*call.kind.type_meta;
        if call.kind.builtin {
            return input::unlike(call, wanted, &said).map_or(Ok(()), |why| Err(self.refusal(&why)));
        }
        if said.kind.is_empty() {
            let text = (self.whole)()?.to_string();
            return Err(self.refusal(&format!("Object 'Kind' is missing in '{text}'")));
        }
        let named = made.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
        if said.api_version.is_empty() || named != old.name() {
            return Ok(());
        }
        let differs = |field: &str, said: &str, wanted: &str| {
            let why = format!("Invalid value: {said:?}: must be {wanted}");
            (said != wanted).then(|| cause("FieldValueInvalid", field, &why))
        };
        let causes: Vec<StatusCause> =
            [differs("kind", &said.kind, &wanted.kind), differs("apiVersion", &said.api_version, &wanted.api_version)]
                .into_iter()
                .flatten()
                .collect();
        if causes.is_empty() { Ok(()) } else { Err(Status::invalid(said.group(), &said.kind, named, causes)) }
    }
}

/// What the reader of strategic patches, and of what an apply has made, says where that of bodies says this.
pub(super) fn restored(why: &str) -> String {
    let told = || {
        let (found, rest) = why.strip_prefix("json: cannot unmarshal ")?.split_once(" into Go ")?;
        let (_, wanted) = rest.rsplit_once(" of type ")?;
        let (sort, is_float) = match found.split_once(' ') {
            Some((sort, number)) => (sort, number.contains(['.', 'e', 'E'])),
            None => (found, false),
        };
        let found = match sort {
            "number" if is_float => "float64",
            "number" => "int64",
            "array" => "slice",
            "object" => "map",
            other => other,
        };
        Some(match wanted {
            "intstr.IntOrString" => format!("json: cannot unmarshal {sort} into Go value of type int32"),
            _ if wanted.starts_with("[]") => format!("cannot restore slice from {found}"),
            _ if wanted.starts_with("map[") || wanted == "v1.ResourceList" => {
                format!("cannot restore map from {found}")
            }
            _ if is_named_text(wanted) && found == "int64" => format!("cannot convert int64 to {wanted}"),
            _ if is_named_text(wanted) => "unrecognized type: string".to_owned(),
            _ if wanted.contains('.') => format!("cannot restore struct from: {found}"),
            "string" if found == "int64" => "cannot convert int64 to string".to_owned(),
            "bool" | "string" => format!("unrecognized type: {wanted}"),
            _ if matches!(found, "int64" | "float64") => format!("cannot convert {found} to {wanted}"),
            _ => format!("unrecognized type: {wanted}"),
        })
    };
    let is_decoded = why.starts_with("illegal base64 data");
    told().unwrap_or_else(|| if is_decoded { format!("error decoding from json: {why}") } else { why.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_of_strategic_patches_has_words_of_its_own() {
        let field = "Go struct field DeploymentSpec.spec.replicas of type";
        for (found, wanted, told) in [
            ("string", "int32", "unrecognized type: int32"),
            ("bool", "string", "unrecognized type: string"),
            ("number", "string", "cannot convert int64 to string"),
            ("number 1.5", "int32", "cannot convert float64 to int32"),
            ("number", "bool", "unrecognized type: bool"),
            ("array", "v1.DeploymentSpec", "cannot restore struct from: slice"),
            ("array", "map[string]string", "cannot restore map from slice"),
            ("object", "[]v1.Container", "cannot restore slice from map"),
            ("array", "v1.ResourceList", "cannot restore map from slice"),
            ("array", "v1.PathType", "unrecognized type: string"),
            ("number", "v2.MetricTargetType", "cannot convert int64 to v2.MetricTargetType"),
        ] {
            assert_eq!(restored(&format!("json: cannot unmarshal {found} into {field} {wanted}")), told);
        }
        assert_eq!(restored("quantities must match"), "quantities must match");
        let bytes = "illegal base64 data at input byte 0";
        assert_eq!(restored(bytes), format!("error decoding from json: {bytes}"));
    }
}
