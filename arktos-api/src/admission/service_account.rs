//! Pods act as service accounts. (ServiceAccount)

use arktos_core::{GroupResource, Object, ObjectKey, Status};
use serde_json::{Value, json};

use crate::call::Call;

const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Marks pods that mirror what a host runs by itself.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Gives a pod its account, the account's pull secrets, and a volume with the account's token.
///
/// # Errors
/// 403 when the account is not there.
pub(super) fn pod(call: &Call<'_>, pod: &mut Object) -> Result<(), Status> {
    if is_mirror(pod) {
        return Ok(());
    }
    let name = match pod.str_at(&["spec", "serviceAccountName"]) {
        "" => "default".to_owned(),
        name => name.to_owned(),
    };
    pod.set(&["spec", "serviceAccountName"], name.as_str());
    pod.set(&["spec", "serviceAccount"], name.as_str());
    let account = account(call, pod, &name)?;
    let automount = [pod.at(&["spec", "automountServiceAccountToken"]), account.at(&["automountServiceAccountToken"])]
        .into_iter()
        .flatten()
        .find_map(Value::as_bool)
        .unwrap_or(true);
    if automount {
        mount(call, pod);
    }
    let pulls = pod.at(&["spec", "imagePullSecrets"]).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if let (false, Some(secrets)) = (pulls, account.at(&["imagePullSecrets"])) {
        pod.set(&["spec", "imagePullSecrets"], secrets.clone());
    }
    Ok(())
}

/// Whether a pod stands for one that a host runs by itself.
pub(super) fn is_mirror(pod: &Object) -> bool {
    pod.at(&["metadata", "annotations", MIRROR]).is_some()
}

/// The account that a pod names.
///
/// # Errors
/// 403 when it is not there.
pub(super) fn account(call: &Call<'_>, pod: &Object, name: &str) -> Result<Object, Status> {
    let resource = GroupResource::core("serviceaccounts");
    let missing = || {
        let why =
            format!("error looking up service account {}/{name}: serviceaccount {name:?} not found", call.namespace);
        Status::forbidden(&GroupResource::core("pods"), pod.name(), why)
    };
    if name.contains('/') {
        return Err(missing());
    }
    let key = ObjectKey::namespaced(resource, call.one_tenant()?, &call.namespace, name);
    let stored = call.state.config.engine.snapshot().get(&key).ok_or_else(missing)?;
    stored.object.decode(None).map_err(Status::internal)
}

/// Mounts the token where nothing is mounted already.
fn mount(call: &Call<'_>, pod: &mut Object) {
    let volume = format!("kube-api-access-{}", call.state.config.random.suffix());
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        let Some(containers) = pod.map_mut(&["spec"]).get_mut(list).and_then(Value::as_array_mut) else { continue };
        for container in containers.iter_mut().filter_map(Value::as_object_mut) {
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            if mounts.is_null() {
                *mounts = json!([]);
            }
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if !mounts.iter().any(|mount| mount["mountPath"] == MOUNT) {
                mounts.push(json!({"name": volume, "readOnly": true, "mountPath": MOUNT}));
                mounted = true;
            }
        }
    }
    if !mounted {
        return;
    }
    let volumes = pod.map_mut(&["spec"]).entry("volumes").or_insert_with(|| json!([]));
    if volumes.is_null() {
        *volumes = json!([]);
    }
    if let Some(volumes) = volumes.as_array_mut() {
        volumes.push(token_volume(&volume));
    }
}

fn token_volume(name: &str) -> Value {
    let ca = json!({"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]});
    let namespace = json!({"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}});
    json!({
        "name": name,
        "projected": {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": ca},
                {"downwardAPI": {"items": [namespace]}},
            ],
        },
    })
}
