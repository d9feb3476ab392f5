//! How many requests a second a tenant may make: what its `TenantQuota` says, and what it has asked for.
//!
//! A rate is kept by one number (the generic cell rate algorithm): the moment until which the tenant has used its
//! allowance. Each request moves it on by what one request costs; whoever would move it further ahead than the burst
//! reaches is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arktos_core::quota::Quota;
use arktos_core::{GroupResource, ObjectKey, Quantity, Reason, Status, TenantName, Timestamp};
use arktos_store::{Cursor, Delivery, Engine, Selection, Stored, WatchError, Within};
use dashmap::DashMap;

use super::Flow;
use crate::server::State;

/// The amount of a quota that says how many requests a tenant may make in a second.
const RATE: &str = "rate/requests";
/// The amount that says how many it may make at once, after it was idle. As many as in a second where it is missing.
const BURST: &str = "rate/burst";
/// When whoever may ask for nothing is told to come back.
const NEVER: Duration = Duration::from_secs(60);
/// How long what could not be read waits for another attempt.
const AGAIN: Duration = Duration::from_secs(1);
const SECOND: i128 = 1_000_000_000;

/// The rates of the tenants that have one. [`follow`] alone writes which there are.
#[derive(Default)]
pub(crate) struct Rates(DashMap<Flow, Arc<Rate>>);

/// A rate and what was asked for under it.
struct Rate {
    limit: Limit,
    /// Until when what was asked for uses the allowance, in nanoseconds. Written by each request.
    until: AtomicI64,
}

/// What a quota allows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Limit {
    /// As the quota says it.
    rate: Quantity,
    /// What one request uses, in nanoseconds; absent where nothing is allowed.
    cost: Option<i64>,
    /// How far ahead of the time requests may reach, in nanoseconds.
    reach: i64,
}

impl Limit {
    /// What a `TenantQuota` allows; absent where it says nothing about it.
    fn of(quota: &Quota<'_>) -> Option<Self> {
        let wanted = quota.wanted();
        let rate = wanted.get(RATE)?;
        let bounded = |nanos: i128| i64::try_from(nanos).unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
        let cost = (rate.nanos() > 0).then(|| bounded(SECOND * SECOND / rate.nanos()));
        let burst = wanted.get(BURST).map_or_else(|| rate.nanos() / SECOND, |burst| burst.nanos() / SECOND).max(1);
        let reach = bounded(i128::from(cost.unwrap_or(0)).saturating_mul(burst));
        Some(Self { rate: rate.clone(), cost, reach })
    }
}

impl Rate {
    fn new(limit: Limit) -> Self {
        Self { limit, until: AtomicI64::new(i64::MIN) }
    }

    /// Counts a request, or says when there will be room for it.
    fn take(&self, now: Timestamp) -> Result<(), Duration> {
        let now = now.as_micros().saturating_mul(1000);
        let Some(cost) = self.limit.cost else { return Err(NEVER) };
        let after = |until: i64| until.max(now).saturating_add(cost);
        let fits = |until| Some(after(until)).filter(|after| after - now <= self.limit.reach);
        match self.until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(until) => {
                let wait = after(until) - now - self.limit.reach;
                Err(Duration::from_nanos(u64::try_from(wait).unwrap_or(0)))
            }
        }
    }
}

impl Rates {
    /// Counts a request.
    ///
    /// # Errors
    /// 429 when the tenant has made as many as it may.
    pub(crate) fn take(&self, flow: &Flow, now: Timestamp) -> Result<(), Status> {
        let Some(rate) = self.0.get(flow).map(|rate| rate.clone()) else { return Ok(()) };
        let wait = match rate.take(now) {
            Ok(()) => return Ok(()),
            Err(wait) => wait,
        };
        let allowed = &rate.limit.rate;
        let text = format!("too many requests, please try again later: the tenant's quota is {RATE}={allowed}");
        let seconds = u32::try_from(wait.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u32::MAX).max(1);
        Err(Status::failure(Reason::TooManyRequests, text).retry_after(seconds))
    }

    /// Takes in what a quota says now; absent when it is gone. One that says what it did keeps its account.
    fn note(&self, tenant: &str, quota: Option<&Stored>) {
        let object = quota.and_then(|stored| stored.object.decode(None).ok());
        let limit = object.and_then(|object| Limit::of(&Quota::of(&object)));
        // The region's own tenant is never held up, whatever a quota of its name says.
        let Some(limit) = limit.filter(|_| tenant != TenantName::SYSTEM) else {
            self.0.remove(tenant);
            return;
        };
        if self.0.get(tenant).is_none_or(|rate| rate.limit != limit) {
            self.0.insert(tenant.into(), Arc::new(Rate::new(limit)));
        }
    }

    /// Takes in all quotas that there are, and follows them from there.
    async fn begin(&self, engine: &Engine, quotas: &GroupResource) -> Result<Cursor, WatchError> {
        let snapshot = engine.latest().await?;
        self.0.retain(|tenant, _| snapshot.get(&ObjectKey::region_scoped(quotas.clone(), tenant)).is_some());
        for stored in snapshot.range(quotas, &Within::Everywhere, None) {
            self.note(stored.path.name(), Some(&stored));
        }
        engine.watch(Selection::all(quotas.clone(), Within::Everywhere), snapshot.revision())
    }
}

/// Follows the quotas of tenants until the store is closed, so that requests need not look for them.
pub(crate) async fn follow(state: &State) {
    let (rates, engine) = (&state.rates, &state.config.engine);
    let quotas = GroupResource::new("region.arktos.io", "tenantquotas");
    loop {
        let Ok(mut cursor) = rates.begin(engine, &quotas).await else {
            state.config.clock.sleep(AGAIN).await;
            continue;
        };
        loop {
            match cursor.next().await {
                Ok(Delivery::Added(stored) | Delivery::Modified(stored)) => {
                    rates.note(stored.path.name(), Some(&stored));
                }
                Ok(Delivery::Deleted(stored)) => rates.note(stored.path.name(), None),
                Ok(Delivery::Bookmark(_)) => {}
                Err(WatchError::Closed) => return,
                Err(_) => break, // history has moved on without it: begin anew
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arktos_core::Object;
    use serde_json::{Value, json};

    fn limit(hard: Value) -> Option<Limit> {
        let quota = Object::from_value(json!({"metadata": {"name": "acme"}, "spec": {"hard": hard}})).expect("a quota");
        Limit::of(&Quota::of(&quota))
    }

    fn rate(hard: Value) -> Rate {
        Rate::new(limit(hard).expect("a rate"))
    }

    /// How many of so many requests at one moment go through.
    fn through(rate: &Rate, millis: i64, requests: usize) -> usize {
        let now = Timestamp::from_micros(1_800_000_000_000_000 + millis * 1000);
        (0..requests).filter(|_| rate.take(now).is_ok()).count()
    }

    #[test]
    fn so_many_go_through_at_once_and_then_so_many_a_second() {
        let rate = rate(json!({RATE: "5", BURST: "20"}));
        assert_eq!(through(&rate, 0, 100), 20);
        assert_eq!(through(&rate, 199, 100), 0);
        assert_eq!(through(&rate, 200, 100), 1);
        assert_eq!(through(&rate, 1200, 100), 5);
        // Who was idle has no more than the burst.
        assert_eq!(through(&rate, 3_600_000, 100), 20);
    }

    #[test]
    fn any_amount_is_a_rate() {
        assert_eq!(through(&rate(json!({RATE: "3"})), 0, 100), 3, "without a burst: what a second brings");
        let slow = rate(json!({RATE: "500m"}));
        assert_eq!((through(&slow, 0, 9), through(&slow, 1999, 9), through(&slow, 2000, 9)), (1, 0, 1));
        assert_eq!(through(&rate(json!({RATE: "0", BURST: "7"})), 0, 9), 0);
        assert_eq!(through(&rate(json!({RATE: "9223372036854775807"})), 0, 9), 9);
        // One in thirty years, and no end of them at once: as many as moments can be counted ahead.
        assert_eq!(through(&rate(json!({RATE: "1n", BURST: "9223372036854775807"})), 0, 9), 2);
        assert!(limit(json!({BURST: "7"})).is_none() && limit(json!({"pods": "7"})).is_none());
    }

    #[test]
    fn who_is_refused_is_told_when_there_is_room() {
        let rate = rate(json!({RATE: "100m"}));
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        assert_eq!(rate.take(now), Ok(()));
        let wait = rate.take(now.later(Duration::from_millis(2500))).expect_err("too soon");
        assert_eq!(wait, Duration::from_millis(7500));
        assert_eq!(rate.take(now.later(Duration::from_millis(10_000))), Ok(()));
    }
}
