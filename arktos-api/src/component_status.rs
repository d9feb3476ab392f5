//! Component statuses: how what serves the API is doing, made when somebody asks and kept nowhere. Deprecated upstream.

use arktos_core::{GroupResource, Object, ObjectPath, Revision, Status};
use arktos_store::Stored;
use serde_json::json;

use crate::call::Call;
use crate::health;
use crate::query::ReadOptions;
use crate::verbs::read;

/// What is there to be asked after: the store, under the name that monitors know. Controllers and schedulers run where
/// the API does not see them.
const STORE: &str = "etcd-0";

/// Whether a call is about them.
pub(crate) fn are_asked(call: &Call<'_>) -> bool {
    call.kind.builtin && call.kind.storage_resource.as_str() == "componentstatuses"
}

/// One of them.
///
/// # Errors
/// 404.
pub(crate) fn get(call: &Call<'_>) -> Result<Stored, Status> {
    if call.name != STORE {
        return Err(Status::not_found(&GroupResource::core("componentstatus"), &call.name));
    }
    store(call)
}

/// Those that are selected.
///
/// # Errors
/// 400 for a selector of what they do not have.
pub(crate) fn list(call: &Call<'_>, options: &ReadOptions) -> Result<Vec<Stored>, Status> {
    let selection = read::selection(call, options)?;
    let all = std::iter::once(store(call)?);
    Ok(all.filter(|one| selection.matches(&one.path, &one.object)).collect())
}

fn store(call: &Call<'_>) -> Result<Stored, Status> {
    let mut object = Object::new(&call.kind.type_meta, STORE);
    let healthy = if health::is_store_well(call.state) {
        json!({"type": "Healthy", "status": "True", "message": "ok"})
    } else {
        json!({"type": "Healthy", "status": "False", "error": "the store has failed"})
    };
    object.fields.insert("conditions".to_owned(), json!([healthy]));
    let object = call.kind.encode(&object).map_err(Status::internal)?;
    let tenant = call.tenant.as_ref().map_or("", |tenant| tenant.as_str());
    Ok(Stored { path: ObjectPath::new(tenant, "", STORE), revision: Revision::ZERO, object })
}
