//! Which kinds there are, as a tenant sees them: the built-in ones, and those that its definitions define.
//!
//! A look-up reads the tenant's definitions as they are stored now, so that a kind is there as soon as its definition
//! is. What a definition is compiled to is shared by all who have the same, and so are the documents that describe a
//! set of kinds.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Weak};

use arktos_core::catalog::{Catalog, Kind};
use arktos_core::{GroupResource, Object, ObjectKey, ObjectPath, Revision, Scope, TenantName, custom};
use arktos_store::{Engine, Snapshot, Stored, Within};
use parking_lot::Mutex;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::discovery::Discovery;
use crate::forced;
use crate::kept::{self, Kept};
use crate::openapi::OpenApi;

/// How many definitions are kept as they are compiled, of one tenant and of all.
const DEFINITIONS: (usize, usize) = (2048, 8192);
/// How many sets of kinds are kept with their documents: a tenant's, as itself and as Arktos's own clients see it.
const SETS: (usize, usize) = (2, 128);

/// The tenant whose definitions can be forced on all others.
static SYSTEM: LazyLock<TenantName> = LazyLock::new(TenantName::system);

/// The resource whose objects are definitions.
pub(crate) static DEFINITION: LazyLock<GroupResource> =
    LazyLock::new(|| GroupResource::new("apiextensions.k8s.io", "customresourcedefinitions"));

/// The one place where a kind is looked up. Every look-up names the tenant.
#[derive(Clone)]
pub(crate) struct Kinds(Arc<Inner>);

struct Inner {
    engine: Engine,
    builtin: Arc<Described>,
    /// The same as Arktos's own clients know them, where they are served.
    old: Option<Arc<Described>>,
    /// Written by whoever meets a definition that is not there.
    compiled: Mutex<Compiled>,
    /// Written by whoever asks for the documents of a set that is not there.
    sets: Mutex<Sets>,
}

type Hash = [u8; 32];
/// The kinds of a set, and whether they are told to Arktos's own clients.
type Set = (Hash, bool);

/// Kinds, and the documents that tell of them.
pub(crate) struct Described {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) discovery: Discovery,
    pub(crate) openapi: Arc<OpenApi>,
}

/// What a definition defines.
pub(crate) struct Defined {
    hash: Hash,
    /// One kind a version, that of the stored version first; none where the definition is not established.
    kinds: Vec<Arc<Kind>>,
}

struct Compiled {
    /// By where definitions stand.
    kept: Kept<ObjectPath, (Revision, Arc<Defined>)>,
    by_content: HashMap<Hash, Weak<Defined>>,
}

struct Sets {
    kept: Kept<Set, Arc<Described>>,
    by_content: HashMap<Set, Weak<Described>>,
}

impl Defined {
    fn of(hash: Hash, definition: &Object) -> Self {
        Self { hash, kinds: custom::kinds_of(definition).into_iter().map(Arc::new).collect() }
    }

    /// The kind in the version that objects are stored in.
    pub(crate) fn stored(&self) -> Option<&Arc<Kind>> {
        self.kinds.first()
    }

    fn served(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.kinds.iter().filter(|kind| kind.can("get"))
    }
}

impl Kinds {
    /// `old`: whether Arktos's own clients are served as well.
    pub(crate) fn new(builtin: Arc<Catalog>, engine: Engine, address: SocketAddr, old: bool) -> Self {
        let old = old.then(|| {
            let catalog = builtin.with_old_versions();
            let discovery = Discovery::with_tenanted(catalog.clone(), address);
            Arc::new(Described { discovery, openapi: OpenApi::with_tenant(&catalog), catalog })
        });
        let builtin = Arc::new(Described {
            discovery: Discovery::new(builtin.clone(), address),
            openapi: OpenApi::of(&builtin),
            catalog: builtin,
        });
        let compiled = Compiled { kept: Kept::new(DEFINITIONS), by_content: HashMap::new() };
        let sets = Sets { kept: Kept::new(SETS), by_content: HashMap::new() };
        let (compiled, sets) = (Mutex::new(compiled), Mutex::new(sets));
        Self(Arc::new(Inner { engine, builtin, old, compiled, sets }))
    }

    /// The kinds that every tenant has, as Arktos's own clients know them, where those are served.
    pub(crate) fn old(&self) -> Option<&Arc<Catalog>> {
        self.0.old.as_ref().map(|old| &old.catalog)
    }

    /// The kinds that every tenant has.
    pub(crate) fn builtin(&self) -> &Arc<Catalog> {
        &self.0.builtin.catalog
    }

    /// The kind that a path names.
    pub(crate) fn find(&self, tenant: &TenantName, group: &str, version: &str, resource: &str) -> Option<Arc<Kind>> {
        let builtin = self.builtin();
        let old = || self.old()?.by_path(group, version, resource);
        if let Some(kind) = builtin.by_path(group, version, resource).or_else(old) {
            return Some(kind);
        }
        // Questions of rights may come without a version.
        let any = version.is_empty() || version == "*";
        let versions = builtin.group(group).filter(|_| any).map_or(&[][..], |group| &group.versions);
        if let Some(kind) = versions.iter().find_map(|one| builtin.by_path(group, &one.name, resource)) {
            return Some(kind);
        }
        let defined = self.defined(tenant, &GroupResource::new(group, resource))?;
        defined.served().find(|kind| any || kind.version == version).cloned()
    }

    /// The kind that a resource is stored as. Without a tenant, as any tenant has it.
    pub(crate) fn stored(&self, tenant: Option<&TenantName>, resource: &GroupResource) -> Option<Arc<Kind>> {
        if let Some(kind) = self.builtin().storage(resource) {
            return Some(kind);
        }
        if let Some(tenant) = tenant {
            return self.defined(tenant, resource)?.stored().cloned();
        }
        let snapshot = self.0.engine.snapshot();
        let mut named = snapshot
            .range(&DEFINITION, &Within::Everywhere, None)
            .filter(|stored| stored.path.name() == resource.as_str());
        named.find_map(|stored| self.compiled(&stored).stored().cloned())
    }

    /// Whether a definition says what the kind is, and which.
    pub(crate) fn definition_of(&self, tenant: &TenantName, kind: &Kind) -> Option<ObjectKey> {
        if kind.builtin || self.builtin().by_type(&kind.type_meta).is_some() {
            return None;
        }
        let name = kind.group_resource.as_str();
        let forced = self.forced(&self.0.engine.snapshot(), name).is_some();
        Some(definition_key(if forced { &SYSTEM } else { tenant }, name))
    }

    fn defined(&self, tenant: &TenantName, resource: &GroupResource) -> Option<Arc<Defined>> {
        if resource.group().is_empty() || resource.as_str().contains('/') {
            return None; // what a definition defines has a group
        }
        let snapshot = self.0.engine.snapshot();
        if let Some(forced) = self.forced(&snapshot, resource.as_str()) {
            return Some(forced);
        }
        let stored = snapshot.get(&definition_key(tenant, resource.as_str()))?;
        Some(self.compiled(&stored))
    }

    /// What the definition of this name that is forced on all tenants defines, where it is established.
    fn forced(&self, snapshot: &Snapshot, name: &str) -> Option<Arc<Defined>> {
        let defined = self.compiled(&forced::named(snapshot, name)?);
        defined.stored().is_some().then_some(defined)
    }

    /// What a stored definition defines.
    pub(crate) fn compiled(&self, stored: &Stored) -> Arc<Defined> {
        let tenant = stored.path.tenant();
        if let Some((revision, defined)) = self.0.compiled.lock().kept.get(tenant, &stored.path)
            && revision == stored.revision
        {
            return defined;
        }
        let definition = stored.object.decode(None).unwrap_or_default();
        let hash = content(&definition);
        let known = self.0.compiled.lock().by_content.get(&hash).and_then(Weak::upgrade);
        // Compiling takes a while, and two who do it at once do no harm.
        let defined = known.unwrap_or_else(|| Arc::new(Defined::of(hash, &definition)));
        let mut compiled = self.0.compiled.lock();
        compiled.kept.keep(tenant, stored.path.clone(), (stored.revision, defined.clone()), 1);
        kept::note(&mut compiled.by_content, hash, &defined, DEFINITIONS.1);
        defined
    }

    /// What a tenant is told of the kinds there are.
    pub(crate) fn described(&self, tenant: Option<&TenantName>) -> Arc<Described> {
        self.described_to(tenant, false)
    }

    /// The same, as Arktos's own clients are told it where `old` (and where they are served).
    pub(crate) fn described_to(&self, tenant: Option<&TenantName>, old: bool) -> Arc<Described> {
        let old = self.0.old.as_ref().filter(|_| old);
        let builtin = old.unwrap_or(&self.0.builtin);
        let Some(tenant) = tenant else { return builtin.clone() };
        let snapshot = self.0.engine.snapshot();
        let defined = self.all(&snapshot, tenant);
        if defined.is_empty() {
            return builtin.clone();
        }
        let mut hash = Sha256::new();
        defined.iter().for_each(|defined| hash.update(defined.hash));
        let hash: Hash = hash.finalize().into();
        let set = (hash, old.is_some());
        let shared = {
            let mut sets = self.0.sets.lock();
            if let Some(known) = sets.kept.get(tenant.as_str(), &set) {
                return known;
            }
            sets.by_content.get(&set).and_then(Weak::upgrade)
        };
        let described = shared.unwrap_or_else(|| Arc::new(self.describe(builtin, &defined)));
        let mut sets = self.0.sets.lock();
        sets.kept.keep(tenant.as_str(), set, described.clone(), 1);
        kept::note(&mut sets.by_content, set, &described, SETS.1);
        described
    }

    /// The kinds that the objects of one can be spoken of as: its versions, under all its names.
    pub(crate) fn versions(&self, tenant: Option<&TenantName>, kind: &Kind) -> Vec<Arc<Kind>> {
        let of = |other: &&Arc<Kind>| other.storage_resource == kind.storage_resource;
        if self.builtin().storage(&kind.storage_resource).is_some() {
            return self.builtin().kinds().filter(of).cloned().collect();
        }
        let defined = tenant.and_then(|tenant| self.defined(tenant, &kind.storage_resource));
        defined.iter().flat_map(|defined| defined.served()).filter(of).cloned().collect()
    }

    fn all(&self, snapshot: &Snapshot, tenant: &TenantName) -> Vec<Arc<Defined>> {
        let of = |tenant: &TenantName| Within::Tenant(tenant.clone());
        let (own, system) = (of(tenant), of(&SYSTEM));
        let own = snapshot
            .range(&DEFINITION, &own, None)
            .filter(|stored| self.forced(snapshot, stored.path.name()).is_none())
            .map(|stored| self.compiled(&stored));
        let forced = snapshot.range(&DEFINITION, &system, None).filter(|stored| forced::is_forced(stored));
        let all = own.chain(forced.map(|stored| self.compiled(&stored)));
        all.filter(|defined| defined.served().next().is_some()).collect()
    }

    fn describe(&self, base: &Described, defined: &[Arc<Defined>]) -> Described {
        let builtin = &base.catalog;
        let served = defined.iter().flat_map(|defined| defined.served());
        let mut kinds: Vec<&Arc<Kind>> = served.filter(|kind| builtin.by_type(&kind.type_meta).is_none()).collect();
        // The best version of a group comes first.
        kinds.sort_by_cached_key(|kind| {
            let version = std::cmp::Reverse(custom::version_order(&kind.version));
            (kind.group.clone(), version, kind.resource.clone())
        });
        let catalog = Arc::new(Catalog::new(builtin.kinds().chain(kinds).cloned()));
        Described {
            discovery: base.discovery.of(catalog.clone()),
            openapi: OpenApi::beside(&base.openapi, &catalog),
            catalog,
        }
    }
}

/// The key of a definition.
pub(crate) fn definition_key(tenant: &TenantName, name: &str) -> ObjectKey {
    ObjectKey::tenant_scoped(DEFINITION.clone(), tenant, name)
}

/// A hash of all that decides what a definition defines, whoever it belongs to.
fn content(definition: &Object) -> Hash {
    let status = |field: &str| definition.at(&["status", field]).cloned();
    let what = json!([
        definition.at(&["spec"]),
        status("acceptedNames"),
        status("storedVersions"),
        custom::is_established(definition),
        definition.notes,
    ]);
    Sha256::digest(what.to_string()).into()
}

/// Where objects of a kind are, for those who look after all kinds.
pub(crate) fn place(kind: &Kind) -> (GroupResource, String, Scope) {
    (kind.storage_resource.clone(), kind.kind.clone(), kind.scope)
}
