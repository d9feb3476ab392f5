//! How many pods each replica set of a deployment is to have. Nothing here writes: numbers in, numbers out.

use std::cmp::Reverse;

use arktos_core::typed::{Deployment, IntOrString};

use super::set::{DESIRED, MAX, Set, available, replicas};

/// What a deployment asks for, with percentages made numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// How many pods.
    pub(super) replicas: i32,
    /// How many there may be beyond that while rolling.
    pub(super) max_surge: i32,
    /// How many of them may be missing while rolling.
    pub(super) max_unavailable: i32,
    /// Whether a new template is rolled out pod by pod; otherwise all old pods go first.
    pub(super) rolling: bool,
}

impl Bounds {
    pub(super) fn of(deployment: &Deployment) -> Self {
        let replicas = deployment.spec.replicas.unwrap_or(1);
        if deployment.spec.strategy.kind == "Recreate" {
            return Self { replicas, max_surge: 0, max_unavailable: 0, rolling: false };
        }
        let rolling = deployment.spec.strategy.rolling_update.clone().unwrap_or_default();
        let quarter = || IntOrString::Text("25%".to_owned());
        let scaled = |bound: Option<IntOrString>, up| bound.unwrap_or_else(quarter).scaled(replicas, up).unwrap_or(0);
        let max_surge = scaled(rolling.max_surge, true);
        let mut max_unavailable = scaled(rolling.max_unavailable, false);
        if max_surge == 0 && max_unavailable == 0 {
            max_unavailable = 1; // otherwise nothing could ever move
        }
        Self { replicas, max_surge, max_unavailable: max_unavailable.min(replicas), rolling: true }
    }

    /// How many pods there may be at most.
    pub(super) fn most(&self) -> i32 {
        self.replicas.saturating_add(self.max_surge)
    }
}

/// How many pods the replica set of the newest template is to have now; `all` are all replica sets, it included where
/// it is there already.
pub(super) fn new_size(bounds: Bounds, new: i32, all: &[&Set]) -> i32 {
    if !bounds.rolling {
        return bounds.replicas;
    }
    if new > bounds.replicas {
        return bounds.replicas;
    }
    let room = bounds.most().saturating_sub(replicas(all.iter().copied()));
    if room <= 0 { new } else { new + room.min(bounds.replicas - new) }
}

/// How far each old replica set is to shrink: first what is not available anyway, then as much as may be missing. Old
/// replica sets come oldest first.
pub(super) fn shrink_old(bounds: Bounds, new: &Set, old: &[&Set]) -> Vec<i32> {
    let mut sizes: Vec<i32> = old.iter().map(|set| set.replicas()).collect();
    let least = bounds.replicas - bounds.max_unavailable;
    let missing = new.replicas().saturating_sub(new.available());
    let all = sizes.iter().fold(new.replicas(), |sum, size| sum.saturating_add(*size));
    let mut may_go = all.saturating_sub(least).saturating_sub(missing);
    if may_go <= 0 {
        return sizes;
    }
    for (size, set) in sizes.iter_mut().zip(old) {
        let unhealthy = size.saturating_sub(set.available()).clamp(0, may_go);
        *size -= unhealthy;
        may_go -= unhealthy;
    }
    let mut spare = new.available().saturating_add(available(old.iter().copied())).saturating_sub(least).max(0);
    for size in &mut sizes {
        let goes = (*size).min(spare);
        *size -= goes;
        spare -= goes;
    }
    sizes
}

/// Sizes for all replica sets (`old`, then `new`) when the deployment itself was scaled, maybe in the middle of a
/// roll-out: the one that is active gets all; several share in proportion. `None`: nothing to do.
pub(super) fn scale(bounds: Bounds, status_replicas: i32, new: Option<&Set>, old: &[&Set]) -> Vec<(usize, i32)> {
    let all: Vec<&Set> = old.iter().copied().chain(new).collect();
    let active: Vec<usize> = (0..all.len()).filter(|at| all[*at].replicas() > 0).collect();
    match active.as_slice() {
        [] => {
            let latest = (0..old.len()).max_by_key(|at| old[*at].created());
            let target = if new.is_some() { Some(old.len()) } else { latest };
            return target.map(|at| (at, bounds.replicas)).into_iter().collect();
        }
        [only] => return vec![(*only, bounds.replicas)],
        _ => {}
    }
    if new.is_some_and(|new| is_saturated(bounds, new)) {
        return active.into_iter().filter(|at| *at < old.len()).map(|at| (at, 0)).collect();
    }
    if bounds.rolling { proportional(bounds, status_replicas, &all, active) } else { Vec::new() }
}

/// Whether the newest replica set has taken over.
fn is_saturated(bounds: Bounds, new: &Set) -> bool {
    new.replicas() == bounds.replicas
        && new.number(DESIRED) == Some(bounds.replicas)
        && new.available() == bounds.replicas
}

fn proportional(bounds: Bounds, status_replicas: i32, all: &[&Set], mut active: Vec<usize>) -> Vec<(usize, i32)> {
    let total = active.iter().fold(0, |sum: i32, at| sum.saturating_add(all[*at].replicas()));
    let allowed = if bounds.replicas > 0 { bounds.most() } else { 0 };
    let to_add = allowed - total;
    if to_add >= 0 {
        active.sort_by_key(|at| (Reverse(all[*at].replicas()), Reverse(all[*at].created())));
    } else {
        active.sort_by_key(|at| (Reverse(all[*at].replicas()), all[*at].created()));
    }
    let mut added = 0;
    let mut sizes: Vec<(usize, i32)> = Vec::new();
    for at in active {
        let share = if to_add == 0 { 0 } else { share(bounds, status_replicas, all[at], to_add, added) };
        added = added.saturating_add(share);
        sizes.push((at, all[at].replicas().saturating_add(share)));
    }
    if let Some((_, first)) = sizes.first_mut() {
        *first = first.saturating_add(to_add.saturating_sub(added)).max(0);
    }
    sizes
}

/// A replica set's part of what is added or taken away.
fn share(bounds: Bounds, status_replicas: i32, set: &Set, to_add: i32, added: i32) -> i32 {
    let size = set.replicas();
    if bounds.replicas == 0 {
        return -size;
    }
    let most_before = set.number(MAX).filter(|most| *most > 0).unwrap_or(status_replicas).max(1);
    let scaled = f64::from(size) * f64::from(bounds.most()) / f64::from(most_before);
    #[allow(clippy::cast_possible_truncation)] // within the bounds of two counts of pods
    let fraction = (scaled.round() as i32).saturating_sub(size);
    let left = to_add.saturating_sub(added);
    if to_add > 0 { fraction.min(left) } else { fraction.max(left) }
}
