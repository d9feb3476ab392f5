//! Authorization: the boundary between tenants first, then the RBAC rules of the tenant that is asked.

mod components;
pub(crate) mod escalation;
mod nodes;
mod rbac;
pub(crate) mod static_roles;

use arktos_core::{GroupResource, Scope, Status, TenantName};
use arktos_store::Engine;

use crate::identity::{Identity, MASTERS};
use crate::kinds::Kinds;
use crate::request::ResourceInfo;

pub(crate) use nodes::Nodes;
pub(crate) use rbac::{Rules, null_is_empty};

/// What is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attributes<'a> {
    /// The verb; for paths, the method in lower case.
    pub(crate) verb: &'a str,
    /// The tenant; absent stands for all of them.
    pub(crate) tenant: Option<&'a TenantName>,
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// The node whose objects alone are asked for, by a field selector.
    pub(crate) node: &'a str,
    /// The path; empty for resources.
    pub(crate) path: &'a str,
}

impl<'a> Attributes<'a> {
    /// What is asked of a resource, in no tenant yet.
    pub(crate) fn on(verb: &'a str, asked: &'a ResourceInfo) -> Self {
        let ResourceInfo { group, version, resource, subresource, namespace, name, node, .. } = asked;
        Self { verb, tenant: None, group, version, resource, subresource, namespace, name, node, path: "" }
    }
}

/// The answer to a question of rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// They may, for this reason (empty for those who may everything).
    Allow(String),
    /// No rule says they may; empty, or what a node would need beside rules, and which roles are not there.
    NoOpinion(String),
    /// They may not, whatever the rules say, for this reason.
    Deny(String),
}

/// Answers questions of rights from the objects in the store.
pub(crate) struct Authorizer {
    kinds: Kinds,
    rules: Rules,
    nodes: Nodes,
    /// Whether what a cluster role binding of `system` gives holds in all tenants, as Arktos has it.
    across: bool,
}

impl Authorizer {
    pub(crate) fn new(engine: Engine, kinds: Kinds, nodes: Nodes, across: bool) -> Self {
        Self { kinds, rules: Rules::new(engine), nodes, across }
    }

    /// The rules of a tenant.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// May they?
    pub(crate) fn decide(&self, identity: &Identity, asked: &Attributes<'_>) -> Decision {
        if let Some(denied) = self.boundary(identity, asked) {
            return match self.granted(identity, asked).or_else(|| self.of_system(identity, asked)) {
                Some(reason) => Decision::Allow(reason),
                None => self.walled(identity, asked, denied),
            };
        }
        if identity.is_in(MASTERS) {
            return Decision::Allow(String::new());
        }
        let Some(tenant) = asked.tenant.or(identity.tenant.as_ref()) else { return Decision::NoOpinion(String::new()) };
        let lost = match self.rules.allowing(identity, tenant, asked) {
            Ok(reason) => return Decision::Allow(reason),
            Err(lost) => lost,
        };
        if let Some(reason) = self.of_system(identity, asked) {
            return Decision::Allow(reason);
        }
        match self.as_node(identity, asked) {
            Some(Ok(())) => Decision::Allow(String::new()),
            Some(Err(why)) if lost.is_empty() => Decision::NoOpinion(why),
            Some(Err(why)) => Decision::NoOpinion(format!("{why}\n{lost}")),
            None => Decision::NoOpinion(lost),
        }
    }

    /// What a node may because of the pods that are bound to it; absent for anybody else, and where that says nothing.
    fn as_node(&self, identity: &Identity, asked: &Attributes<'_>) -> Option<Result<(), String>> {
        let node = identity.node()?;
        if node.is_empty() {
            return Some(Err(format!("unknown node for user {:?}", identity.user)));
        }
        self.nodes.judge(node, asked.tenant.filter(|_| asked.path.is_empty())?, asked)
    }

    /// What `system` gives its own users in all tenants: what its bindings say of a namespace is about its own.
    fn of_system(&self, identity: &Identity, asked: &Attributes<'_>) -> Option<String> {
        let concerns = self.across && identity.is_system() && asked.path.is_empty();
        let everywhere = Attributes { namespace: "", ..*asked };
        concerns.then(|| self.rules.allowing(identity, &TenantName::system(), &everywhere).ok()).flatten()
    }

    /// What the wall denies. Who has no right to it in their own tenant either is told no more than that.
    fn walled(&self, identity: &Identity, asked: &Attributes<'_>, why: String) -> Decision {
        let own = identity.tenant.as_ref().filter(|own| asked.tenant == Some(*own));
        let may = |own| identity.is_in(MASTERS) || self.rules.allowing(identity, own, asked).is_ok();
        if own.is_some_and(|own| !may(own)) { Decision::NoOpinion(String::new()) } else { Decision::Deny(why) }
    }

    /// The wall between tenants, and around what belongs to the region.
    fn boundary(&self, identity: &Identity, asked: &Attributes<'_>) -> Option<String> {
        if identity.is_system() {
            return self.looks_across(identity, asked);
        }
        let Some(own) = &identity.tenant else {
            return asked.path.is_empty().then(|| "the user belongs to no tenant".to_owned());
        };
        if !asked.path.is_empty() && asked.tenant.is_none() {
            return None;
        }
        if asked.tenant != Some(own) {
            let tenant = asked.tenant.map_or(TenantName::ALL, TenantName::as_str);
            return Some(format!("the user belongs to tenant {own:?}, not to {tenant:?}"));
        }
        if !asked.path.is_empty() {
            return None;
        }
        // How much it may have, a tenant may know.
        let own_quota = asked.group == "region.arktos.io"
            && (asked.resource, asked.verb, asked.subresource) == ("tenantquotas", "get", "")
            && asked.name == own.as_str();
        (!own_quota && self.is_of_the_region(own, asked))
            .then(|| "it belongs to the region and not to a tenant".to_owned())
    }

    /// What a tenant's own bindings give to another tenant's user, whom they name as such. Never what is the region's.
    fn granted(&self, identity: &Identity, asked: &Attributes<'_>) -> Option<String> {
        let tenant = asked.tenant.filter(|tenant| identity.tenant.as_ref() != Some(tenant))?;
        if identity.is_system() || (asked.path.is_empty() && self.is_of_the_region(tenant, asked)) {
            return None;
        }
        let allowed = self.rules.allowing(identity, tenant, asked).ok();
        allowed.or_else(|| self.rules.welcoming(identity, tenant, asked))
    }

    fn is_of_the_region(&self, tenant: &TenantName, asked: &Attributes<'_>) -> bool {
        let kind = self.kinds.find(tenant, asked.group, asked.version, asked.resource);
        kind.is_some_and(|kind| kind.scope == Scope::Region)
    }

    /// Users of `system` see other tenants as its rules allow, one at a time. All of them at once are seen by the
    /// region's administrators and components alone: a rule for secrets is not meant as one for everybody's.
    fn looks_across(&self, identity: &Identity, asked: &Attributes<'_>) -> Option<String> {
        if identity.is_component() || !asked.path.is_empty() || asked.tenant.is_some() {
            return None;
        }
        let kind = self.kinds.find(&TenantName::system(), asked.group, asked.version, asked.resource)?;
        (kind.scope != Scope::Region).then(|| "only the region's administrators look across all tenants".to_owned())
    }

    /// 403 unless they may.
    ///
    /// # Errors
    /// 403 in upstream's words; with the tenant, where the wall between tenants is what stands in the way.
    pub(crate) fn check(&self, identity: &Identity, asked: &Attributes<'_>) -> Result<(), Status> {
        match self.decide(identity, asked) {
            Decision::Allow(_) => Ok(()),
            Decision::NoOpinion(why) if why.is_empty() => Err(denied(identity, asked, "")),
            Decision::NoOpinion(why) => Err(denied(identity, asked, &format!(": {why}"))),
            Decision::Deny(why) => {
                let crosses = asked.tenant != identity.tenant.as_ref();
                let tenant = asked.tenant.map_or(TenantName::ALL, TenantName::as_str);
                let place = if crosses { format!(" in the tenant {tenant:?}") } else { String::new() };
                Err(denied(identity, asked, &format!("{place}: {why}")))
            }
        }
    }
}

/// 403 for what somebody may not, with what else is said of it.
pub(crate) fn denied(identity: &Identity, asked: &Attributes<'_>, more: &str) -> Status {
    let (user, verb) = (&identity.user, asked.verb);
    if !asked.path.is_empty() {
        let text = format!("forbidden: User {user:?} cannot {verb} path {:?}{more}", asked.path);
        let mut status = Status::failure(arktos_core::Reason::Forbidden, text);
        status.details = Some(arktos_core::status::StatusDetails::default());
        return status;
    }
    let mut resource = asked.resource.to_owned();
    if !asked.subresource.is_empty() {
        resource = format!("{resource}/{}", asked.subresource);
    }
    let place = if asked.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", asked.namespace)
    };
    let why = format!("User {user:?} cannot {verb} resource {resource:?} in API group {:?} {place}{more}", asked.group);
    Status::forbidden(&GroupResource::new(asked.group, asked.resource), asked.name, why)
}
