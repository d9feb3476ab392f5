//! Pods use the secrets that their account lists, and no others, where the account asks for that; those that mirror
//! what a host runs by itself have neither. (ServiceAccount)

use std::collections::HashSet;

use arktos_core::{GroupResource, Object, Status};
use serde_json::Value;

use super::node_restriction::has_secret;
use super::{Review, service_account};
use crate::call::Call;
use crate::verbs::modify::Part;

/// What an account asks for it with.
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
/// Where a pod has its containers.
const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Judges a new pod, and containers that come to one later.
///
/// # Errors
/// 403 for a secret that the account does not list, and where the account is gone.
pub(super) fn validate(call: &Call<'_>, review: &Review<'_>) -> Result<(), Status> {
    let Some(pod) = review.new else { return Ok(()) };
    let whole = match review.part {
        Part::Whole if review.old.is_none() => true,
        Part::Other("ephemeralcontainers") => false,
        _ => return Ok(()),
    };
    let (mut used, mut pulled) = (Vec::new(), Vec::new());
    for field in LISTS.into_iter().filter(|field| whole || *field == "ephemeralContainers") {
        of_containers(pod, field, &mut used);
    }
    if whole {
        of_volumes(pod, &mut used);
        let pulls = list(pod.at(&["spec", "imagePullSecrets"])).enumerate();
        pulled.extend(pulls.filter_map(|(at, pull)| Some((format!("imagePullSecrets[{at}]"), pull["name"].as_str()?))));
    }
    if service_account::is_mirror(pod) {
        return mirrors(pod, !(used.is_empty() && pulled.is_empty()));
    }
    if used.is_empty() && pulled.is_empty() {
        return Ok(()); // as most are: the account need not be read
    }
    let name = pod.str_at(&["spec", "serviceAccountName"]);
    let account = service_account::account(call, pod, name)?;
    if !matches!(account.str_at(&["metadata", "annotations", ENFORCE]), "1" | "t" | "T" | "true" | "TRUE" | "True") {
        return Ok(());
    }
    let listed = |field: &str| -> HashSet<&str> {
        list(account.at(&[field])).filter_map(|listed| listed["name"].as_str()).collect()
    };
    let (mounted, pulls) = (listed("secrets"), listed("imagePullSecrets"));
    let used = used.into_iter().find(|(_, secret)| !mounted.contains(secret));
    let strange = used.or_else(|| pulled.into_iter().find(|(_, secret)| !pulls.contains(secret)));
    let Some((place, secret)) = strange else { return Ok(()) };
    let why = format!("spec.{place} uses the secret {secret:?}, which the service account {name:?} does not list");
    Err(Status::forbidden(&GroupResource::core("pods"), pod.name(), why))
}

/// Whoever says of a pod that it is a mirror gives it no account, so that no account limits it: then it has nothing of
/// one either. (Tokens, no pod without an account may ask for.)
fn mirrors(pod: &Object, has_secrets: bool) -> Result<(), Status> {
    let why = if !pod.str_at(&["spec", "serviceAccountName"]).is_empty() {
        "a mirror pod may not reference service accounts"
    } else if has_secrets || list(pod.at(&["spec", "volumes"])).any(has_secret) {
        "a mirror pod may not reference secrets"
    } else {
        return Ok(());
    };
    Err(Status::forbidden(&GroupResource::core("pods"), pod.name(), why))
}

/// The secrets that containers have in their environment, and where.
fn of_containers<'a>(pod: &'a Object, field: &str, used: &mut Vec<(String, &'a str)>) {
    for (at, container) in list(pod.at(&["spec", field])).enumerate() {
        for (index, variable) in list(container.get("env")).enumerate() {
            let secret = variable["valueFrom"]["secretKeyRef"]["name"].as_str();
            used.extend(secret.map(|secret| (format!("{field}[{at}].env[{index}]"), secret)));
        }
        for (index, source) in list(container.get("envFrom")).enumerate() {
            let secret = source["secretRef"]["name"].as_str();
            used.extend(secret.map(|secret| (format!("{field}[{at}].envFrom[{index}]"), secret)));
        }
    }
}

/// The secrets that are mounted, and where.
fn of_volumes<'a>(pod: &'a Object, used: &mut Vec<(String, &'a str)>) {
    for (at, volume) in list(pod.at(&["spec", "volumes"])).enumerate() {
        let parts = list(volume["projected"].get("sources")).map(|source| &source["secret"]["name"]);
        let secrets = parts.chain([&volume["secret"]["secretName"]]).filter_map(Value::as_str);
        used.extend(secrets.map(|secret| (format!("volumes[{at}]"), secret)));
    }
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}
