//! The `validatingadmissionpolicy-status` controller: says of each policy what in its expressions does not fit the
//! kinds that it is about.

use std::sync::Arc;

use arktos_core::catalog::Kind;
use arktos_core::cel::{TypeWarning, type_warnings};
use arktos_core::{ObjectPath, Status, TenantName, custom};
use arktos_store::client::Patch;
use arktos_store::{Client, Informer, Outcome, Query, Stored, Within};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::kinds::{CUSTOM_RESOURCE_DEFINITIONS, VALIDATING_ADMISSION_POLICIES};
use crate::reconcile::{Reconcile, queue, run, synced};
use crate::setup::Setup;
use crate::write::{found, is_terminating, unreadable};

pub(crate) struct Policies {
    client: Arc<dyn Client>,
    policies: Informer<Stored>,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let policies = setup.informer(&VALIDATING_ADMISSION_POLICIES.resource);
    let queue = queue(&setup.clock);
    let adds = queue.clone();
    policies.handle(move |event| {
        adds.add(event.path().clone());
    });
    let informers = vec![synced(&policies)];
    run(Policies { client: setup.client.clone(), policies }, queue, setup.options.workers, informers)
}

impl Reconcile for Policies {
    type Key = ObjectPath;
    const NAME: &'static str = "validatingadmissionpolicy-status";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        let Some(stored) = self.policies.store().get(path) else { return Ok(Outcome::Done) };
        let policy = stored.object.decode(Some(stored.revision)).map_err(unreadable)?;
        let number = |path: &[&str]| policy.at(path).and_then(Value::as_i64).unwrap_or(0);
        let generation = number(&["metadata", "generation"]);
        if generation <= number(&["status", "observedGeneration"]) {
            return Ok(Outcome::Done);
        }
        let warnings = type_warnings(&policy, &self.kinds(path).await?);
        let told = |told: TypeWarning| json!({"fieldRef": told.field, "warning": told.warning});
        let mut checking = json!({});
        if !warnings.is_empty() {
            checking["expressionWarnings"] = warnings.into_iter().map(told).collect();
        }
        let config = json!({
            "apiVersion": VALIDATING_ADMISSION_POLICIES.type_meta.api_version,
            "kind": VALIDATING_ADMISSION_POLICIES.type_meta.kind,
            "metadata": {"name": path.name()},
            "status": {"observedGeneration": generation, "typeChecking": checking},
        });
        let patch = Patch::Apply { config, manager: Self::NAME.to_owned(), force: true };
        let key = VALIDATING_ADMISSION_POLICIES.key(path);
        match found(self.client.patch(&key, Some("status"), patch).await) {
            Err(status) if !is_terminating(&status) => Err(status),
            _ => Ok(Outcome::Done),
        }
    }
}

impl Policies {
    /// The kinds that the policy's tenant has defined.
    async fn kinds(&self, path: &ObjectPath) -> Result<Vec<Kind>, Status> {
        let Ok(tenant) = TenantName::new(path.tenant()) else { return Ok(Vec::new()) };
        let query = Query::all(CUSTOM_RESOURCE_DEFINITIONS.resource.clone(), Within::Tenant(tenant));
        let mut kinds = Vec::new();
        for stored in &self.client.list(&query).await?.items {
            let definition = stored.object.decode(Some(stored.revision)).map_err(unreadable)?;
            kinds.extend(custom::kinds_of(&definition));
        }
        Ok(kinds)
    }
}
