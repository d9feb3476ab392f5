//! Admission: what is added to a write, and what refuses it, beyond the rules of its kind.
//!
//! Plugins run by upstream's names, in upstream's order.

mod again;
mod certificate_requests;
mod certificates;
mod declared;
pub(crate) mod decoded;
mod defaults;
mod devices;
pub(crate) mod expressions;
mod life;
mod limits;
mod mutations;
pub(crate) mod node_restriction;
mod own_secrets;
mod parameters;
mod pod_security;
mod pods;
mod policies;
mod priority;
pub(crate) mod quota;
mod request;
mod rights;
mod room;
mod runtime_class;
pub(crate) mod service;
mod service_account;
pub(crate) mod topology;
mod volumes;
mod webhooks;

use std::ops::ControlFlow;
use std::sync::Arc;

use again::Again;
use arktos_core::{GroupResource, Object, Status, TenantName};
use arktos_store::{Snapshot, Within};
use decoded::{Declared, List};
use request::{Request, Target};

use crate::authorize::escalation;
use crate::call::Call;
use crate::identity::COMPONENTS;
use crate::server::State;
use crate::verbs::managers;
use crate::verbs::modify::Part;

pub(crate) use defaults::namespace_label;
pub(crate) use life::{delete, guard_place, lives, refusal};

/// Before a create: plugins that change the object or stand against it.
///
/// # Errors
/// 403 and what else a plugin answers.
pub(crate) async fn create(call: &Call<'_>, object: &mut Object) -> Result<(), Status> {
    node_restriction::write(call, Part::Whole, None, Some(object))?;
    let plugins = &call.state.config.admission;
    match call.kind.storage_resource.as_str() {
        "pods" => {
            if plugins.runs("ServiceAccount") {
                service_account::pod(call, object)?;
            }
            if plugins.runs("Priority") {
                priority::pod(call, object)?;
            }
            if plugins.runs("DefaultTolerationSeconds") {
                pods::default_tolerations(object);
            }
            if plugins.runs("LimitRanger") {
                limits::fill_in(call, object)?;
            }
            topology::pod(call, object);
            if plugins.runs("RuntimeClass") {
                runtime_class::pod(call, object)?;
            }
        }
        "nodes" if plugins.runs("TaintNodesByCondition") => defaults::node_taint(object),
        "persistentvolumeclaims" => {
            if plugins.runs("DefaultStorageClass") {
                defaults::storage_class(call, object);
            }
            if plugins.runs("StorageObjectInUseProtection") {
                defaults::finalizer(object, "kubernetes.io/pvc-protection");
            }
        }
        "persistentvolumes" if plugins.runs("StorageObjectInUseProtection") => {
            defaults::finalizer(object, "kubernetes.io/pv-protection");
        }
        "volumeattributesclasses.storage.k8s.io" if plugins.runs("StorageObjectInUseProtection") => {
            defaults::finalizer(object, "kubernetes.io/vac-protection");
        }
        "ingresses.networking.k8s.io" if plugins.runs("DefaultIngressClass") => defaults::ingress_class(call, object),
        "priorityclasses.scheduling.k8s.io" if plugins.runs("Priority") => priority::class(call, object, true)?,
        "namespaces" => defaults::namespace_label(object),
        "tenants" => {
            life::tenant_name(object)?;
            defaults::tenant_finalizer(object);
        }
        _ => {}
    }
    mutate(call, &Review { part: Part::Whole, old: None, new: None }, object).await?;
    // What policies and webhooks have made of it counts: with them, nobody gets more than without.
    if call.kind.storage_resource.as_str() == certificates::RESOURCE {
        defaults::requester(call, object);
    }
    escalation::check(call, None, object)
}

/// What the tenant's own policies and webhooks change of an object on its way. They are shown who managed what before;
/// what is noted of this write, they cannot change.
async fn mutate(call: &Call<'_>, review: &Review<'_>, object: &mut Object) -> Result<(), Status> {
    if notes_deletion(call, review) {
        return Ok(());
    }
    let plugins = &call.state.config.admission;
    let operation = if review.old.is_some() { "UPDATE" } else { "CREATE" };
    let target = Target::of(call, operation, review.part, object.name());
    let by_policies = if plugins.runs("MutatingAdmissionPolicy") { mutations::bound(&target) } else { Vec::new() };
    let by_webhooks = if plugins.runs("MutatingAdmissionWebhook") { webhooks::changing(&target) } else { Vec::new() };
    if by_policies.is_empty() && by_webhooks.is_empty() {
        return Ok(());
    }
    if let Some(old) = review.old {
        managers::set(object, old.managed.clone());
        object.gather();
    }
    let (mut policies, mut webhooks) = (Again::new(), Again::new());
    for second in [false, true] {
        if second {
            if !policies.changed() && !webhooks.changed() {
                break;
            }
            policies.begin(&object.fields);
        }
        if !by_policies.is_empty() {
            mutations::mutate(call, review, &by_policies, object, &mut policies)?;
        }
        if second {
            webhooks.begin(&object.fields);
        }
        if !by_webhooks.is_empty() {
            webhooks::mutate(call, review, &by_webhooks, object, &mut webhooks).await?;
        }
    }
    Ok(())
}

/// Before an update.
///
/// # Errors
/// As [`create`].
pub(crate) async fn update(call: &Call<'_>, part: Part<'_>, old: &Object, new: &mut Object) -> Result<(), Status> {
    node_restriction::write(call, part, Some(old), Some(new))?;
    if part == Part::Status && call.kind.storage_resource.as_str() == "persistentvolumes" {
        defaults::phase_time(call, old, new);
    }
    if part != Part::Whole && call.kind.storage_resource.as_str() == certificates::RESOURCE {
        certificates::condition_times(call, old, new);
    }
    let resized = part == Part::Other("resize") && old.str_at(&["metadata", "deletionTimestamp"]).is_empty();
    if resized && call.kind.storage_resource.as_str() == "pods" && call.state.config.admission.runs("LimitRanger") {
        limits::fill_in(call, new)?;
    }
    if part != Part::Whole {
        return mutate(call, &Review { part, old: Some(old), new: None }, new).await;
    }
    match call.kind.storage_resource.as_str() {
        "namespaces" => defaults::namespace_label(new),
        "priorityclasses.scheduling.k8s.io" if call.state.config.admission.runs("Priority") => {
            priority::class(call, new, false)?;
        }
        "pods" => {
            if call.state.config.admission.runs("Priority") {
                priority::keep(old, new);
            }
            if call.state.config.admission.runs("DefaultTolerationSeconds") {
                pods::default_tolerations(new);
            }
        }
        _ => {}
    }
    mutate(call, &Review { part, old: Some(old), new: None }, new).await?;
    escalation::check(call, Some(old), new)
}

/// A write that is about to be made, for plugins that only judge it.
#[derive(Clone, Copy)]
pub(crate) struct Review<'a> {
    /// Which part of the object it changes.
    pub(crate) part: Part<'a>,
    /// What there was; absent for a creation.
    pub(crate) old: Option<&'a Object>,
    /// What there will be, valid; absent for a deletion.
    pub(crate) new: Option<&'a Object>,
}

impl Review<'_> {
    fn operation(&self) -> &'static str {
        match (self.old, self.new) {
            (None, _) => "CREATE",
            (Some(_), Some(_)) => "UPDATE",
            (Some(_), None) => "DELETE",
        }
    }

    /// The name of the object, also where the call does not know it yet.
    fn name(&self) -> &str {
        self.new.or(self.old).map_or("", Object::name)
    }
}

/// After validation: plugins that judge the write as it is going to be.
///
/// # Errors
/// 403 and what else a plugin answers.
pub(crate) async fn validate(call: &Call<'_>, review: &Review<'_>) -> Result<(), Status> {
    let plugins = &call.state.config.admission;
    if let (Part::Whole, Some(new)) = (review.part, review.new) {
        room::check(call, review.old, new)?;
    }
    parameters::validate(call, review)?;
    if plugins.runs("LimitRanger") {
        limits::validate(call, review)?;
    }
    volumes::validate(call, review)?;
    if devices::concerns(call) {
        devices::validate(call, review)?;
    }
    if plugins.runs("ServiceAccount") && call.kind.storage_resource.as_str() == "pods" {
        own_secrets::validate(call, review)?;
    }
    if plugins.runs("PodSecurity") {
        pod_security::validate(call, review)?;
    }
    if plugins.runs("PersistentVolumeClaimResize") {
        volumes::validate_growth(call, review)?;
    }
    if call.kind.storage_resource.as_str() == certificates::RESOURCE {
        certificates::validate(call, review)?;
    }
    let new_pod = review.new.filter(|_| review.old.is_none() && call.kind.storage_resource.as_str() == "pods");
    if let Some(pod) = new_pod.filter(|_| plugins.runs("RuntimeClass")) {
        runtime_class::validate(call, pod)?;
    }
    if notes_deletion(call, review) {
        return Ok(());
    }
    let target = Target::of(call, review.operation(), review.part, review.name());
    if plugins.runs("ValidatingAdmissionPolicy") {
        policies::judge(&target, || Request::of(call, review))?;
    }
    if plugins.runs("ValidatingAdmissionWebhook") {
        webhooks::judge(&target, &webhooks::VALIDATING, || Request::of(call, review)).await?;
    }
    Ok(())
}

/// Whether the region's components say of a namespace that is being deleted how far that is, or let it go. What a
/// tenant refuses of its deletion is said there, so that is not the tenant's to refuse.
fn notes_deletion(call: &Call<'_>, review: &Review<'_>) -> bool {
    call.kind.storage_resource.as_str() == "namespaces"
        && matches!(review.part, Part::Status | Part::Other("finalize"))
        && (call.identity.is_system() && call.identity.is_in(COMPONENTS))
        && review.old.is_some_and(|old| !old.str_at(&["metadata", "deletionTimestamp"]).is_empty())
}

/// Before anybody is reached through a subresource: the tenant's webhooks and policies, which are shown the options of
/// a kind with which that is asked for.
///
/// # Errors
/// As [`validate`].
pub(crate) async fn connect(call: &Call<'_>, subresource: &str, options: (&'static str, Object)) -> Result<(), Status> {
    let plugins = &call.state.config.admission;
    let target = Target::of(call, "CONNECT", Part::Other(subresource), &call.name);
    let request = || Request::connection(call, subresource, options.clone());
    if plugins.runs("MutatingAdmissionWebhook") {
        webhooks::judge(&target, &webhooks::MUTATING, request).await?;
    }
    if plugins.runs("ValidatingAdmissionPolicy") {
        policies::judge(&target, request)?;
    }
    if plugins.runs("ValidatingAdmissionWebhook") {
        webhooks::judge(&target, &webhooks::VALIDATING, request).await?;
    }
    Ok(())
}

/// Whether the tenant has anything that is to be asked before an object is deleted.
pub(crate) fn reviews_deletions(state: &State, snapshot: &Snapshot, tenant: &TenantName) -> bool {
    let plugins = &state.config.admission;
    let within = Within::Tenant(tenant.clone());
    let any = |resource: &GroupResource| snapshot.walk(resource, &within, None, |_| ControlFlow::Break(())).is_break();
    (plugins.runs("ValidatingAdmissionPolicy") && any(&policies::VALIDATING.1))
        || (plugins.runs("ValidatingAdmissionWebhook") && any(&webhooks::VALIDATING))
}

/// What the call's tenant has of a kind, now.
fn list<T: Declared>(call: &Call<'_>, resource: &GroupResource, namespace: &str) -> Arc<List<T>> {
    let Some(tenant) = &call.tenant else { return Arc::default() };
    call.state.decoded.list(&call.state.config.engine.snapshot(), resource, tenant, namespace)
}
