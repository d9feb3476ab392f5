//! Objects as tables: what `kubectl get` shows.
//!
//! The columns of a kind stand in the catalog; its printer, which fills them, in one of the modules here. A kind
//! without a printer shows its name and when it was made.

mod admission;
mod age;
mod core;
mod network;
mod partial;
mod pod;
mod region;
mod row;
mod storage;
mod workload;

use std::sync::Arc;

use arktos_core::catalog::Kind;
use arktos_core::{Dialect, Revision, Status, Timestamp, TypeMeta};
use arktos_store::Stored;
use serde_json::{Value, json};

use crate::negotiate::MetaVersion;

pub use age::human_duration;
pub use partial::write_partial;
use row::{Cells, Row};

/// What each row carries beside its cells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// The object's metadata.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

impl Include {
    /// Reads the query parameter `includeObject`.
    ///
    /// # Errors
    /// 400, when it is none of the three.
    pub fn parse(text: Option<&str>) -> Result<Self, Status> {
        match text {
            None | Some("" | "Metadata") => Ok(Self::Metadata),
            Some("Object") => Ok(Self::Object),
            Some("None") => Ok(Self::None),
            Some(other) => Err(Status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: \"{other}\": must be 'Metadata', \
                 'Object', 'None', or empty"
            ))),
        }
    }
}

/// What a list says of itself.
#[derive(Debug, Clone, Default)]
pub struct ListMeta {
    /// The revision of the state; of the object, where it is one object's table.
    pub revision: Revision,
    /// Where the next page begins; empty on the last one.
    pub continue_token: String,
    /// How many items are left after this page, where that is known.
    pub remaining: Option<u64>,
}

/// Writes an object as a whole, in the version and dialect that the client asked for.
pub type WriteObject<'a> = dyn Fn(&Stored, &mut Vec<u8>) + Send + Sync + 'a;

/// Writes tables of one kind.
#[derive(Clone)]
pub struct Table {
    columns: Arc<Value>,
    /// The kind, when its columns say themselves where their values stand.
    own: Option<Arc<Kind>>,
    shows_conditions: bool,
    /// Whether each event of a watch has the columns, as upstream's own table of that kind.
    repeats_columns: bool,
    /// Whether the first column names the tenant.
    names_tenant: bool,
    printer: Option<Printer>,
    version: MetaVersion,
    include: Include,
    dialect: Dialect,
    now: Timestamp,
}

type Printer = fn(&Row<'_>) -> Cells;

impl Table {
    /// A writer of tables. Ages are counted up to `now`.
    #[must_use]
    pub fn new(kind: &Arc<Kind>, version: MetaVersion, include: Include, dialect: Dialect, now: Timestamp) -> Self {
        let printer = match (kind.storage_resource.as_str(), kind.columns.len()) {
            ("tenants", 4) => Some(core::tenant_of_arktos as Printer),
            (resource, _) => printer(resource),
        };
        let printer = printer.filter(|_| kind.builtin && !kind.columns.is_empty());
        let shows_conditions = kind.storage_resource.as_str() == "pods";
        let repeats_columns = kind.builtin && kind.storage_resource.as_str() == "apiservices.apiregistration.k8s.io";
        let own = (!kind.builtin && !kind.columns.is_empty()).then(|| kind.clone());
        let (columns, names_tenant) = (Arc::new(columns(kind)), false);
        Self { own, columns, shows_conditions, repeats_columns, names_tenant, printer, version, include, dialect, now }
    }

    /// The same writer for objects of all tenants: the first column names the tenant of each.
    #[must_use]
    pub fn of_all_tenants(mut self) -> Self {
        let about = "Tenant of the object.";
        let column = json!({"name": "Tenant", "type": "string", "format": "", "description": about, "priority": 0});
        if let Value::Array(columns) = Arc::make_mut(&mut self.columns) {
            columns.insert(0, column);
        }
        self.names_tenant = true;
        self
    }

    /// A writer of tables of scales, which are no kind of their own.
    #[must_use]
    pub fn of_scales(version: MetaVersion, include: Include, dialect: Dialect, now: Timestamp) -> Self {
        let column = |name: &str, type_name: &str| json!({"name": name, "type": type_name, "format": "", "description": "", "priority": 0});
        let columns = json!([
            column("Name", "string"),
            column("Desired", "integer"),
            column("Available", "integer"),
            column("Age", "string"),
        ]);
        let printer: Printer = workload::scale;
        let (columns, printer) = (Arc::new(columns), Some(printer));
        let (own, shows_conditions, repeats_columns, names_tenant) = (None, false, false, false);
        Self { columns, own, shows_conditions, repeats_columns, names_tenant, printer, version, include, dialect, now }
    }

    /// The same writer, at another moment: for a watch, whose events come one after the other.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        Self { now, ..self.clone() }
    }

    /// A whole table: a page of a list, or one object.
    pub fn write<'a>(
        &self,
        out: &mut Vec<u8>,
        items: impl IntoIterator<Item = &'a Stored>,
        meta: &ListMeta,
        object: &WriteObject<'_>,
    ) {
        self.open(out, true);
        let mut rows = 0;
        for stored in items {
            self.row(out, rows, stored, object);
            rows += 1;
        }
        self.close(out, rows, meta);
    }

    /// The table of one event of a watch. Only the `first` of a stream has the columns.
    pub fn write_event(&self, out: &mut Vec<u8>, stored: &Stored, first: bool, object: &WriteObject<'_>) {
        self.open(out, first);
        self.row(out, 0, stored, object);
        self.close(out, 1, &ListMeta { revision: stored.revision, ..ListMeta::default() });
    }

    /// The beginning of a table whose rows are written one by one.
    pub fn open(&self, out: &mut Vec<u8>, columns: bool) {
        let api_version = self.version.api_version();
        out.extend_from_slice(
            format!(r#"{{"kind":"Table","apiVersion":"{api_version}","columnDefinitions":"#).as_bytes(),
        );
        let columns = if columns || self.repeats_columns { &*self.columns } else { &Value::Null };
        out.extend_from_slice(columns.to_string().as_bytes());
        out.extend_from_slice(br#","rows":"#);
    }

    /// One row; `index` counts them from 0.
    pub fn row(&self, out: &mut Vec<u8>, index: usize, stored: &Stored, object: &WriteObject<'_>) {
        out.push(if index == 0 { b'[' } else { b',' });
        self.cells(out, &Row::new(stored, self.now), stored.path.tenant());
        match self.include {
            Include::None => out.extend_from_slice(b"null"),
            Include::Metadata => write_partial(out, stored, self.version, self.dialect),
            Include::Object => object(stored, out),
        }
        out.push(b'}');
    }

    /// The table of a bookmark: a row of an object that has no more than this metadata, which has a revision.
    pub fn write_bookmark(
        &self,
        out: &mut Vec<u8>,
        columns: bool,
        (revision, metadata): (Revision, &Value),
        kind: &TypeMeta,
    ) {
        self.open(out, columns);
        out.push(b'[');
        self.cells(out, &Row::of(json!({"metadata": {"name": ""}}), self.now), "");
        // Whoever wants no objects is told where the first ones end all the same.
        let types = match self.include {
            Include::None if metadata.get("annotations").is_none() => None,
            Include::None | Include::Metadata => Some(&partial_type(self.version)),
            Include::Object => Some(kind),
        };
        let object = types.map_or(
            Value::Null,
            |types| json!({"kind": types.kind, "apiVersion": types.api_version, "metadata": metadata}),
        );
        out.extend_from_slice(object.to_string().as_bytes());
        out.push(b'}');
        self.close(out, 1, &ListMeta { revision, ..ListMeta::default() });
    }

    /// The beginning of a row, up to its object.
    fn cells(&self, out: &mut Vec<u8>, row: &Row<'_>, tenant: &str) {
        let mut cells: Cells = match (self.printer, &self.own) {
            (Some(printer), _) => printer(row),
            (None, Some(kind)) => kind.columns.iter().map(|column| row.cell(column)).collect(),
            (None, None) => vec![row.name(), Value::from(row.text("/metadata/creationTimestamp"))],
        };
        if self.names_tenant {
            cells.insert(0, Value::from(tenant));
        }
        out.extend_from_slice(br#"{"cells":"#);
        out.extend_from_slice(Value::Array(cells).to_string().as_bytes());
        if self.shows_conditions {
            pod::write_conditions(row, out);
        }
        out.extend_from_slice(br#","object":"#);
    }

    /// The end of a table of so many rows.
    pub fn close(&self, out: &mut Vec<u8>, rows: usize, meta: &ListMeta) {
        let prints = self.printer.is_some() || self.own.is_some();
        out.extend_from_slice(match rows {
            0 if prints => b"[]".as_slice(),
            0 => b"null",
            _ => b"]",
        });
        // A dry run has no revision.
        let unstored = meta.revision == Revision::ZERO;
        let mut metadata = if unstored { json!({}) } else { json!({"resourceVersion": meta.revision.to_string()}) };
        if !meta.continue_token.is_empty() {
            metadata["continue"] = Value::from(meta.continue_token.as_str());
        }
        if let Some(remaining) = meta.remaining {
            metadata["remainingItemCount"] = Value::from(remaining);
        }
        out.extend_from_slice(format!(r#","metadata":{metadata}}}"#).as_bytes());
    }
}

/// What the rows of a kind's table are sorted by before their names; absent for those that come by name alone.
pub(crate) fn sorted(kind: &Kind) -> Option<fn(&Stored) -> i64> {
    let is_sorted = kind.storage_resource.as_str() == "flowschemas.flowcontrol.apiserver.k8s.io";
    is_sorted.then_some(admission::precedence as fn(&Stored) -> i64)
}

/// The columns of a kind, as a table defines them.
fn columns(kind: &Kind) -> Value {
    if kind.columns.is_empty() {
        return json!([
            {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
            {"name": "Created At", "type": "date", "format": "", "description": "", "priority": 0},
        ]);
    }
    let columns = kind.columns.iter().map(|column| {
        json!({
            "name": column.name, "type": column.type_name, "format": column.format,
            "description": column.about, "priority": column.priority,
        })
    });
    columns.collect()
}

/// The type of objects of which only the metadata is shown.
fn partial_type(version: MetaVersion) -> TypeMeta {
    TypeMeta { api_version: version.api_version().to_owned(), kind: "PartialObjectMetadata".to_owned() }
}

/// The printer of a resource, by the name it is stored under. It prints the stored version.
fn printer(resource: &str) -> Option<Printer> {
    let printer: Printer = match resource {
        "pods" => pod::pod,
        "podtemplates" => workload::pod_template,
        "replicationcontrollers" | "replicasets.apps" => workload::replica_set,
        "deployments.apps" => workload::deployment,
        "statefulsets.apps" => workload::stateful_set,
        "daemonsets.apps" => workload::daemon_set,
        "controllerrevisions.apps" => workload::controller_revision,
        "jobs.batch" => workload::job,
        "cronjobs.batch" => workload::cron_job,
        "horizontalpodautoscalers.autoscaling" => workload::autoscaler,
        "poddisruptionbudgets.policy" => workload::disruption_budget,
        "componentstatuses" => core::component_status,
        "configmaps" => core::config_map,
        "events" => core::event,
        "namespaces" | "tenants" => core::with_phase,
        "tenantpartitions.region.arktos.io" | "resourcemanagers.region.arktos.io" => region::member,
        "tenantplacements.region.arktos.io" => region::placement,
        "tenantquotas.region.arktos.io" => region::quota,
        "nodes" => core::node,
        "resourcequotas" => core::resource_quota,
        "secrets" => core::secret,
        "serviceaccounts" | "deviceclasses.resource.k8s.io" | "resourceclaimtemplates.resource.k8s.io" => {
            core::with_age
        }
        "leases.coordination.k8s.io" => core::lease,
        "priorityclasses.scheduling.k8s.io" => core::priority_class,
        "runtimeclasses.node.k8s.io" => core::runtime_class,
        "resourceclaims.resource.k8s.io" => core::resource_claim,
        "resourceslices.resource.k8s.io" => core::resource_slice,
        "endpoints" => network::endpoints,
        "endpointslices.discovery.k8s.io" => network::endpoint_slice,
        "services" => network::service,
        "ingresses.networking.k8s.io" => network::ingress,
        "ingressclasses.networking.k8s.io" => network::ingress_class,
        "networkpolicies.networking.k8s.io" => network::network_policy,
        "ipaddresses.networking.k8s.io" => network::ip_address,
        "servicecidrs.networking.k8s.io" => network::service_cidr,
        "persistentvolumes" => storage::volume,
        "persistentvolumeclaims" => storage::volume_claim,
        "storageclasses.storage.k8s.io" => storage::storage_class,
        "csidrivers.storage.k8s.io" => storage::csi_driver,
        "csinodes.storage.k8s.io" => storage::csi_node,
        "volumeattachments.storage.k8s.io" => storage::volume_attachment,
        "volumeattributesclasses.storage.k8s.io" => storage::volume_attributes_class,
        "clusterrolebindings.rbac.authorization.k8s.io" | "rolebindings.rbac.authorization.k8s.io" => {
            admission::role_binding
        }
        "certificatesigningrequests.certificates.k8s.io" => admission::signing_request,
        "mutatingwebhookconfigurations.admissionregistration.k8s.io"
        | "validatingwebhookconfigurations.admissionregistration.k8s.io" => admission::webhooks,
        "validatingadmissionpolicies.admissionregistration.k8s.io" => admission::validating_policy,
        "mutatingadmissionpolicies.admissionregistration.k8s.io" => admission::mutating_policy,
        "validatingadmissionpolicybindings.admissionregistration.k8s.io"
        | "mutatingadmissionpolicybindings.admissionregistration.k8s.io" => admission::policy_binding,
        "apiservices.apiregistration.k8s.io" => admission::api_service,
        "flowschemas.flowcontrol.apiserver.k8s.io" => admission::flow_schema,
        "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io" => admission::priority_level,
        _ => return None,
    };
    Some(printer)
}

#[cfg(test)]
mod tests;
