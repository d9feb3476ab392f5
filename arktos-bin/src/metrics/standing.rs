//! How a process stands with others, looked up when somebody reads the metrics: whether it leads, whom it hears of,
//! until when its certificates are valid, and the hosts that it simulates.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arktos_store::aggregate::Aggregate;
use parking_lot::Mutex;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::scrape::gauge;

/// Says until when a certificate is valid, in seconds since 1970.
type Ends = Arc<dyn Fn() -> Option<i64> + Send + Sync>;

/// What is looked up. Written by roles as they start, and by elections.
#[derive(Default)]
pub(super) struct Standing {
    /// Whether this process holds a lease, by role and lease.
    pub(super) leads: Mutex<BTreeMap<(String, String), bool>>,
    /// What is merged from other roles, by the role here and what it is of.
    pub(super) views: Mutex<BTreeMap<(String, String), Aggregate>>,
    pub(super) certificates: Mutex<BTreeMap<String, Ends>>,
    /// How many hosts are simulated, and whether their resource manager answers them, by its name.
    pub(super) hosts: Mutex<BTreeMap<String, (usize, Arc<AtomicBool>)>>,
}

impl Standing {
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let leads = self.leads.lock().clone();
        if !leads.is_empty() {
            let about = "Whether this process leads, of those of its role: whether what the lease is for runs here";
            let mut all = encoder.encode_descriptor("leader_election_master_status", about, None, MetricType::Gauge)?;
            for ((role, name), leads) in &leads {
                gauge(&mut all, &[("role", role), ("name", name)], u64::from(*leads))?;
            }
        }
        let views = self.views.lock().clone();
        if !views.is_empty() {
            let about = "Whether what is shown of another role is complete and current: 0 while it does not answer";
            let mut all = encoder.encode_descriptor("arktos_source_current", about, None, MetricType::Gauge)?;
            for ((role, resource), aggregate) in &views {
                for (source, progress) in aggregate.progress() {
                    let labels = [("role", &**role), ("resource", &**resource), ("source", &*source)];
                    gauge(&mut all, &labels, u64::from(progress.synced && progress.current))?;
                }
            }
        }
        let certificates = self.certificates.lock().clone();
        if !certificates.is_empty() {
            let name = "arktos_certificate_not_after_seconds";
            let about = "Until when a certificate of this process is valid, in seconds since 1970";
            let mut all = encoder.encode_descriptor(name, about, None, MetricType::Gauge)?;
            for (name, ends) in &certificates {
                if let Some(ends) = ends() {
                    ConstGauge::new(ends).encode(all.encode_family(&[("certificate", &**name)])?)?;
                }
            }
        }
        let hosts = self.hosts.lock().clone();
        if !hosts.is_empty() {
            let about = "Hosts that this process simulates";
            let mut all = encoder.encode_descriptor("arktos_hollow_hosts", about, None, MetricType::Gauge)?;
            for (manager, (count, _)) in &hosts {
                gauge(&mut all, &[("resource_manager", manager)], *count as u64)?;
            }
            let name = "arktos_resource_manager_answers";
            let about = "Whether the resource manager of the simulated hosts answers them";
            let mut all = encoder.encode_descriptor(name, about, None, MetricType::Gauge)?;
            for (manager, (_, answers)) in &hosts {
                gauge(&mut all, &[("resource_manager", manager)], u64::from(answers.load(Ordering::Relaxed)))?;
            }
        }
        Ok(())
    }
}
