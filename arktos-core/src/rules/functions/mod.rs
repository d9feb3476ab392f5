//! Checks that no line of the rules files can say: functions that the files call by name.

mod access;
mod admission;
mod allocations;
mod certificates;
mod claims;
mod conditions;
mod containers;
mod devices;
mod drivers;
mod environment;
mod expressions;
mod flows;
mod job_status;
mod jobs;
mod limits;
mod mounts;
mod networking;
mod placement;
mod pod_status;
mod pod_updates;
mod pods;
mod region;
mod scaling;
mod schedules;
mod security;
mod services;
mod slices;
mod sources;
mod stateful;
mod storage;
mod urls;
mod volumes;
mod windows;
mod workloads;

use std::fmt;

pub(crate) use admission::{webhook_service_faults, webhook_url_faults};
pub(super) use certificates::decision_faults;
pub(crate) use certificates::has_certificate;
pub(super) use pod_updates::{ephemeral_kept, never_resized, resize_faults};
pub(super) use pods::namespace_finalizer_faults;
pub use services::PORTS_MAX;
pub(super) use stateful::as_of_pods;
pub(super) use workloads::shown_selector;

use super::fault::{Faults, Site};

type Run = fn(&Site<'_>, &mut Faults);

/// A function that checks a field.
#[derive(Clone, Copy)]
pub(super) struct Function {
    name: &'static str,
    run: Run,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The functions by name, a list a subject.
const LISTS: &[&[(&str, Run)]] = &[
    access::CHECKS,
    admission::CHECKS,
    allocations::CHECKS,
    certificates::CHECKS,
    claims::CHECKS,
    conditions::CHECKS,
    containers::CHECKS,
    devices::CHECKS,
    drivers::CHECKS,
    environment::CHECKS,
    expressions::CHECKS,
    flows::CHECKS,
    job_status::CHECKS,
    jobs::CHECKS,
    limits::CHECKS,
    mounts::CHECKS,
    networking::CHECKS,
    placement::CHECKS,
    pod_status::CHECKS,
    pod_updates::CHECKS,
    pods::CHECKS,
    region::CHECKS,
    scaling::CHECKS,
    schedules::CHECKS,
    security::CHECKS,
    services::CHECKS,
    slices::CHECKS,
    sources::CHECKS,
    storage::CHECKS,
    volumes::CHECKS,
    windows::CHECKS,
    workloads::CHECKS,
];

/// A function by the name that the rules files know it by.
pub(super) fn function(name: &str) -> Option<Function> {
    let mut all = LISTS.iter().flat_map(|list| list.iter());
    all.find(|(known, _)| *known == name).map(|(name, run)| Function { name, run: *run })
}

impl Function {
    /// Checks the field.
    pub(super) fn run(self, site: &Site<'_>, faults: &mut Faults) {
        (self.run)(site, faults);
    }

    /// Whether what it finds is told once, even where the rest of the object is checked twice.
    pub(super) fn is_told_once(self) -> bool {
        self.name == "generated_selector"
    }

    /// Whether the function looks at what the other checks have found.
    pub(super) fn is_last(self) -> bool {
        matches!(self.name, "mounts" | "pod_update")
    }

    /// Whether the function says which values the field may have, in place of the schema.
    pub(super) fn lists_options(self) -> bool {
        matches!(self.name, "external_policy" | "management_policy" | "preemption")
    }
}
