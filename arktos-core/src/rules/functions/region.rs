//! The directory of the region.

use serde_json::Value;

use super::Run;
use crate::rules::fault::{Faults, Site};

pub(super) const CHECKS: &[(&str, Run)] = &[("gone_for_good", gone_for_good), ("placement_epoch", placement_epoch)];

/// What a removed partition had claimed was given away, and nobody could tell its objects from those of another one.
fn gone_for_good(site: &Site<'_>, faults: &mut Faults) {
    let was = site.old.and_then(Value::as_str);
    if site.updates && was == Some("Removed") && site.value_text() != "Removed" {
        let why = "what was removed never comes back: take another name";
        faults.invalid(&site.path(), site.value.unwrap_or(&Value::Null), why);
    }
}

/// By its epoch anybody can tell which of two placements is the newer one.
fn placement_epoch(site: &Site<'_>, faults: &mut Faults) {
    let Some(old) = site.old.filter(|_| site.updates) else { return };
    let of = |spec: Option<&Value>| {
        let spec = spec.unwrap_or(&Value::Null);
        (spec["partition"].as_str().unwrap_or_default().to_owned(), spec["epoch"].as_i64().unwrap_or(0))
    };
    let ((before, old_epoch), (after, new_epoch)) = (of(Some(old)), of(site.value));
    let grows = if before == after { new_epoch >= old_epoch } else { new_epoch > old_epoch };
    if !grows {
        let why = "must grow with every change of the partition, and never goes back";
        faults.invalid(&format!("{}.epoch", site.path()), &Value::from(new_epoch), why);
    }
}
