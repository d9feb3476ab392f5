//! Which of several processes of one role works: one at a time, by a Lease, as client-go's leader election has it.
//!
//! ```text
//!   standing by ── the lease is free, or was not renewed for its duration ──► leading (one more transition)
//!        ▲                                                                       │
//!        └── the work is ended first ◄── it could not be renewed in time, or is another's
//! ```
//!
//! Whoever leads stops working before anybody else may begin: it gives up after [`Timing::renew_within`], which is less
//! than the [`Timing::duration`] that the others wait. Clocks are not compared: a candidate waits by its own clock from
//! when it saw the lease change. A process that is held up for longer than that does not know that it no longer leads;
//! what it then writes is refused where writes carry their [`Term`] (a scheduler's bindings do).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::typed::{KindOf, Lease, MicroTime};
use arktos_core::{ObjectKey, ObjectPath, Reason, Revision, Status, Timestamp};
use arktos_store::tasks::Stopping;
use arktos_store::{Client, Clock, Random, Stored};
use async_trait::async_trait;
use futures::future::{Either, select};

/// How long things take. client-go's defaults (15 s, 10 s, 2 s) let everybody wait for up to 19 s after a leader's
/// death; with these the work goes on within [`Timing::takeover`], 8 s. They outlast the two seconds or so in which
/// etcd chooses a leader of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// How long a lease holds that is not renewed, in whole seconds. Default: 6 s.
    pub duration: Duration,
    /// How long a leader tries to renew before it stops. Default: 4 s.
    pub renew_within: Duration,
    /// How often it renews, and others look; these up to twice as seldom. Default: 1 s.
    pub period: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { duration: seconds(6), renew_within: seconds(4), period: seconds(1) }
    }
}

impl Timing {
    /// How long after a leader's death another one leads, at most: a candidate has seen the last renewal two periods
    /// after it was made, and waits for the duration from then on.
    #[must_use]
    pub fn takeover(&self) -> Duration {
        self.duration + self.period * 2
    }

    /// Whether one leads at a time with these, and goes on leading: by client-go's rules.
    ///
    /// # Errors
    /// A sentence that says which of them cannot be.
    pub fn check(&self) -> Result<(), String> {
        let Self { duration, renew_within, period } = self;
        if duration.is_zero() || duration.subsec_nanos() != 0 || i32::try_from(duration.as_secs()).is_err() {
            return Err(format!("the lease duration, {duration:?}, must be of whole seconds, at least one"));
        }
        if duration <= renew_within {
            return Err(format!("the lease duration, {duration:?}, must exceed the renew deadline, {renew_within:?}"));
        }
        if period.is_zero() || *renew_within <= period.mul_f64(1.2) {
            return Err(format!(
                "the renew deadline, {renew_within:?}, must exceed 1.2 × the retry period, {period:?}"
            ));
        }
        Ok(())
    }
}

/// The time from one election to the next, as writes name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The lease's name, in the namespace `kube-system` of the tenant `system`.
    pub lease: String,
    /// Who leads.
    pub holder: String,
    /// How often the lease had changed hands by then.
    pub transitions: i32,
}

/// `lease/transitions/holder`, as a binding's annotation has it.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.lease, self.transitions, self.holder)
    }
}

/// What a leader does.
#[async_trait]
pub trait Office: Send {
    /// Begins to work.
    fn begin(&mut self, term: &Term);

    /// Ends the work; nothing of it goes on when this returns.
    async fn end(&mut self);
}

/// A candidate for a lease.
pub struct Election {
    client: Arc<dyn Client>,
    key: ObjectKey,
    identity: String,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    timing: Timing,
    /// The state of the lease that was seen last, and when.
    seen: Option<(Revision, Timestamp)>,
    /// How long another one's lease holds yet, as it was when it was looked at.
    left: Option<Duration>,
}

impl Election {
    /// A candidate for the lease `name`. No other process may have the same `identity`.
    #[must_use]
    pub fn new(
        client: Arc<dyn Client>,
        name: &str,
        identity: String,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        timing: Timing,
    ) -> Self {
        let key = ObjectKey { resource: Lease::resource(), path: ObjectPath::new("system", "kube-system", name) };
        Self { client, key, identity, clock, random, timing, seen: None, left: None }
    }

    /// Stands for election and works whenever it leads, until its owner wants it to end. Then the lease is given up, so
    /// that another one need not wait.
    pub async fn run(mut self, mut office: impl Office, stopping: Stopping) {
        let mut stopped = Box::pin(stopping.wanted());
        loop {
            let term = match select(Box::pin(self.win()), stopped).await {
                Either::Left((term, rest)) => {
                    stopped = rest;
                    term
                }
                Either::Right(_) => return,
            };
            tracing::info!(lease = term.lease, identity = self.identity, term.transitions, "leads from now on");
            office.begin(&term);
            let outcome = select(Box::pin(self.keep(&term)), stopped).await;
            office.end().await;
            match outcome {
                Either::Left(((), rest)) => {
                    tracing::warn!(lease = term.lease, identity = self.identity, "leads no longer");
                    stopped = rest;
                }
                Either::Right(_) => return self.give_up(&term).await,
            }
        }
    }

    async fn win(&mut self) -> Term {
        loop {
            match self.stand().await {
                Ok(Some(term)) => return term,
                Ok(None) => {}
                Err(status) => tracing::debug!(lease = %self.key, %status, "cannot stand for election now"),
            }
            // Candidates that look at the same moment would only get in each other's way.
            let jitter = self.random.next() % 1000;
            let pause = self.timing.period.mul_f64(1.0 + jitter as f64 / 1000.0);
            self.clock.sleep(self.left.take().map_or(pause, |left| left.min(pause))).await;
        }
    }

    /// Takes the lease if it is to be had.
    async fn stand(&mut self) -> Result<Option<Term>, Status> {
        let now = self.clock.now();
        let stored = match self.client.get(&self.key).await {
            Ok(stored) => stored,
            Err(status) if status.is(Reason::NotFound) => {
                let mut lease = Lease::named(self.key.path.name());
                lease.metadata.namespace = self.key.path.namespace().to_owned();
                self.take(&mut lease, now);
                let (tenant, namespace, _) = self.key.path.parts();
                let made = self.client.create(&self.key.resource, tenant, namespace, lease.to_object()).await;
                return if made.as_ref().is_err_and(|status| status.is(Reason::AlreadyExists)) {
                    Ok(None)
                } else {
                    made.map(|_| Some(self.term(0)))
                };
            }
            Err(status) => return Err(status),
        };
        let mut lease = read(&stored)?;
        if !self.is_free(&lease, stored.revision, now) {
            return Ok(None);
        }
        let transitions = lease.spec.lease_transitions.unwrap_or(0).saturating_add(1);
        lease.spec.lease_transitions = Some(transitions);
        self.take(&mut lease, now);
        match self.client.update(&self.key, None, lease.to_object()).await {
            Ok(_) => Ok(Some(self.term(transitions))),
            Err(status) if status.is(Reason::Conflict) => Ok(None), // somebody was faster
            Err(status) => Err(status),
        }
    }

    fn is_free(&mut self, lease: &Lease, revision: Revision, now: Timestamp) -> bool {
        if lease.spec.holder_identity.as_deref().is_none_or(|holder| holder.is_empty() || holder == self.identity) {
            return true; // nobody's, or our own from a term that has ended
        }
        let since = match self.seen {
            Some((seen, since)) if seen == revision => since,
            _ => {
                self.seen = Some((revision, now));
                now
            }
        };
        let told = lease.spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let holds = told.map_or(self.timing.duration, Duration::from_secs);
        self.left = holds.checked_sub(now.since(since)).filter(|left| !left.is_zero());
        self.left.is_none()
    }

    fn take(&self, lease: &mut Lease, now: Timestamp) {
        let seconds = i32::try_from(self.timing.duration.as_secs()).unwrap_or(i32::MAX);
        lease.spec.holder_identity = Some(self.identity.clone());
        lease.spec.lease_duration_seconds = Some(seconds);
        lease.spec.acquire_time = Some(MicroTime(now));
        lease.spec.renew_time = Some(MicroTime(now));
        lease.spec.lease_transitions.get_or_insert(0);
    }

    fn term(&self, transitions: i32) -> Term {
        Term { lease: self.key.path.name().to_owned(), holder: self.identity.clone(), transitions }
    }

    /// Renews the lease; completes when it is lost.
    async fn keep(&self, term: &Term) {
        let mut renewed = self.clock.now();
        loop {
            self.clock.sleep(self.timing.period).await;
            let asked = self.clock.now();
            let left = self.timing.renew_within.saturating_sub(asked.since(renewed));
            let renewal = select(Box::pin(self.renew(term, |_| {})), self.clock.sleep(left)).await;
            match renewal {
                Either::Left((Ok(true), _)) => renewed = asked,
                Either::Left((Ok(false), _)) => return,
                Either::Left((Err(status), _)) => {
                    tracing::debug!(lease = %self.key, %status, "a lease was not renewed");
                    if self.clock.now().since(renewed) >= self.timing.renew_within {
                        return;
                    }
                }
                Either::Right(_) => return,
            }
        }
    }

    /// Renews the lease of a term, with a change. Says whether it was still of that term.
    async fn renew(&self, term: &Term, change: impl FnOnce(&mut Lease)) -> Result<bool, Status> {
        let mut lease = read(&self.client.get(&self.key).await?)?;
        let same = lease.spec.lease_transitions == Some(term.transitions);
        if !same || lease.spec.holder_identity.as_ref() != Some(&self.identity) {
            return Ok(false);
        }
        lease.spec.renew_time = Some(MicroTime(self.clock.now()));
        change(&mut lease);
        self.client.update(&self.key, None, lease.to_object()).await.map(|_| true)
    }

    async fn give_up(&self, term: &Term) {
        let free = |lease: &mut Lease| lease.spec.holder_identity = Some(String::new());
        if let Err(status) = self.renew(term, free).await {
            tracing::debug!(lease = %self.key, %status, "a lease was not given up, and runs out");
        }
    }
}

/// A lease with the revision it was read at, so that a write of it fails when another one came in between.
fn read(stored: &Stored) -> Result<Lease, Status> {
    let mut lease: Lease = stored.object.parse().map_err(Status::internal)?;
    lease.metadata.resource_version = stored.revision.to_string();
    Ok(lease)
}
