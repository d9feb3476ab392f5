//! Whether the caller of an open watch may still have it.
//!
//! A watch lasts longer than the right to it may: roles change, tokens end, tenants go. So it is asked again, every so
//! often, what was asked when the watch was opened.
//!
//! Where nothing has changed since that decides it, the answer is the last one. Else the question goes through roles
//! and bindings: once for all watches that ask the same, and in turns between tenants. A watch waits for its answer
//! and tells nothing meanwhile.

mod changed;

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arktos_core::{Reason, Revision, Status, TenantName, Timestamp};
use arktos_store::Engine;
use arktos_store::tasks::give_way;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::HeaderMap;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::authenticate::{self, unauthorized};
use crate::authorize::{Attributes, Authorizer};
use crate::config::ApiConfig;
use crate::fairness::{Asks, Fairness, Flow, Turns};
use crate::identity::Identity;
use crate::impersonate;
use crate::request::ResourceInfo;
use crate::tokens::{self, Life};
use changed::Changed;

/// How many answers are kept.
const ANSWERS_MAX: usize = 1 << 14;
/// How many questions are answered at a time, of all tenants. Of one tenant, one is.
const AT_ONCE: u32 = 4;
/// What takes so long to answer is followed by a rest of the same tenant,
const SLOW: Duration = Duration::from_millis(1);
/// so many times as long.
const REST: u32 = 3;

/// Who sent a request, in whose name, so that it can be asked again.
#[derive(Clone)]
pub(crate) struct Credentials {
    /// As authenticated, before impersonation.
    identity: Identity,
    /// The token, when it is a service account's: it may end at any time.
    token: Option<String>,
    /// The headers that say in whose name.
    acts_as: HeaderMap,
}

impl Credentials {
    /// What of a request says who sent it.
    pub(crate) fn of(config: &ApiConfig, identity: &Identity, headers: &HeaderMap) -> Self {
        // Tokens that others judge have names as well, and may name whom they like.
        let of_account = |token: &&str| {
            identity.extra.contains_key(tokens::CREDENTIAL)
                && tokens::check::claimed_tenant(token).is_some()
                && config.tokens.find(token).is_none()
        };
        let token = authenticate::bearer(headers).filter(of_account).map(str::to_owned);
        let acts_as = headers.iter().filter(|(name, _)| name.as_str().starts_with("impersonate-"));
        let acts_as = acts_as.map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { identity: identity.clone(), token, acts_as }
    }

    /// What is to be entered of a token that is used after its time, though it still counts.
    pub(crate) fn stale(&self, now: Timestamp) -> Option<String> {
        tokens::check::stale(self.token.as_ref()?, now)
    }

    /// Whether nothing can end them: those of the region's own components, in their own name.
    pub(crate) fn last(&self) -> bool {
        self.identity.is_component() && self.token.is_none() && self.acts_as.is_empty()
    }

    /// Whose they are.
    ///
    /// # Errors
    /// 401 when the token has ended, or something that it is bound to.
    fn alive(&self, config: &ApiConfig) -> Result<Identity, Status> {
        match &self.token {
            Some(token) => Ok(tokens::check::check(config, token, &[]).map_err(|_| unauthorized())?.identity),
            None => Ok(self.identity.clone()),
        }
    }

    /// Who acts.
    ///
    /// # Errors
    /// 401 when the credential has ended, 403 when who has it may not act in the other's name.
    fn who(&self, config: &ApiConfig, authorizer: &Authorizer, asked: &Attributes<'_>) -> Result<Identity, Status> {
        let identity = self.alive(config)?;
        if !authenticate::counts(config, &identity) {
            return Err(unauthorized());
        }
        let asked = Attributes { tenant: self.identity.tenant.as_ref(), ..*asked };
        Ok(impersonate::acting(authorizer, None, identity, &self.acts_as, Some(&asked))?.identity)
    }
}

/// What all watches share that are asked about again.
pub(crate) struct Standings {
    changed: Changed,
    turns: Turns,
    /// The last answers, each with the revision that [`Changed`] had: it holds for as long as that is the same. Written
    /// by whoever finds one.
    answers: Mutex<HashMap<Digested, (Revision, Answer)>>,
    /// How often roles and bindings were gone through.
    #[cfg(test)]
    asked: std::sync::atomic::AtomicUsize,
}

/// Who asks what, in a few bytes.
type Digested = [u8; 32];

/// Whether it is allowed still.
type Answer = Result<(), Status>;

impl Standings {
    pub(crate) fn new(config: &ApiConfig) -> Self {
        // A watch waits for its turn for as long as it is open, and there are only so many of a tenant.
        let fairness = Fairness {
            seats: AT_ONCE,
            seats_at_least: 1,
            seats_per_tenant: 1,
            queue_per_tenant: u32::MAX,
            queue: u32::MAX,
            longest_wait: Duration::from_secs(3600),
            ..config.fairness
        };
        let (changed, turns) = (Changed::new(config.engine.clone()), Turns::new(fairness, config.clock.clone()));
        let answers = Mutex::default();
        Self {
            changed,
            turns,
            answers,
            #[cfg(test)]
            asked: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    fn known(&self, asked: &Digested, last: Option<Revision>) -> Option<Answer> {
        let answers = self.answers.lock();
        answers.get(asked).filter(|(at, _)| Some(*at) == last).map(|(_, answer)| answer.clone())
    }

    fn keep(&self, asked: Digested, last: Revision, answer: Answer) {
        let mut answers = self.answers.lock();
        if answers.len() >= ANSWERS_MAX {
            answers.clear();
        }
        answers.insert(asked, (last, answer));
    }
}

/// The question that was answered with yes when a watch was opened, and whether it still is.
pub(crate) struct Standing {
    question: Arc<Question>,
    /// Up to where it is known to be answered with yes.
    last: Option<Revision>,
    /// The answer that is waited for.
    asking: Option<BoxFuture<'static, (Option<Revision>, Answer)>>,
}

struct Question {
    config: Arc<ApiConfig>,
    authorizer: Arc<Authorizer>,
    standings: Arc<Standings>,
    credentials: Credentials,
    /// Whose turn it takes.
    flow: Option<Flow>,
    /// The tenant of whoever it acts as, as it was then.
    home: Option<Life>,
    /// The tenants in which rights decide.
    decide: Vec<TenantName>,
    /// Whether it is a node that asks: what that may depends on its pods, too.
    is_node: bool,
    tenant: Option<TenantName>,
    verb: &'static str,
    resource: ResourceInfo,
    digested: Digested,
}

impl Standing {
    /// The question, to be asked again.
    pub(crate) fn new(
        (config, authorizer, standings): (Arc<ApiConfig>, Arc<Authorizer>, Arc<Standings>),
        (credentials, acts_as, flow): (Credentials, &Identity, Option<Flow>),
        tenant: Option<TenantName>,
        verb: &'static str,
        resource: ResourceInfo,
    ) -> Self {
        let home = home(&config.engine, acts_as);
        let decide = [&credentials.identity.tenant, &acts_as.tenant, &tenant].into_iter().flatten().cloned();
        let decide = decide.chain([TenantName::system()]).collect();
        let is_node = credentials.identity.node().or(acts_as.node()).is_some();
        let Credentials { identity, token, acts_as } = &credentials;
        let all = format!("{:?}", (identity, token, acts_as, &home, &tenant, verb, &resource));
        let digested = Sha256::digest(all).into();
        let question = Question {
            config,
            authorizer,
            standings,
            credentials,
            flow,
            home,
            decide,
            is_node,
            tenant,
            verb,
            resource,
            digested,
        };
        Self { question: Arc::new(question), last: None, asking: None }
    }

    /// Whether an answer is waited for.
    pub(crate) fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// Asks again, or for the answer that is waited for.
    ///
    /// # Errors
    /// 401 when the credential has ended or its tenant is gone, 403 when who has it may no longer watch.
    pub(crate) fn poll_ask(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        if self.asking.is_none() {
            let question = &self.question;
            question.credentials.alive(&question.config)?;
            let last = question.last();
            if last.is_some() && last == self.last {
                return Poll::Ready(Ok(()));
            }
            self.asking = Some(question.clone().answer().boxed());
        }
        let Some(asking) = &mut self.asking else { return Poll::Ready(Ok(())) };
        let (last, answer) = ready!(asking.poll_unpin(context));
        (self.asking, self.last) = (None, last);
        Poll::Ready(answer)
    }
}

impl Question {
    /// The last change of what decides the answer, where it is known, and decides it alone.
    fn last(&self) -> Option<Revision> {
        if self.is_node { None } else { self.standings.changed.last(self.decide.iter()) }
    }

    /// The answer, and the last change when it was found.
    async fn answer(self: Arc<Self>) -> (Option<Revision>, Answer) {
        let standings = &self.standings;
        let mut last = self.last();
        if let Some(known) = standings.known(&self.digested, last) {
            return (last, known);
        }
        let Some(flow) = &self.flow else { return (last, self.ask()) };
        let permit = match standings.turns.take(flow, 1, Asks::default()).await {
            Ok(permit) => permit,
            Err(refused) => return (None, Err(refused)),
        };
        // Meanwhile another watch may have asked the same.
        last = self.last();
        if let Some(known) = standings.known(&self.digested, last) {
            return (last, known);
        }
        give_way().await;
        let clock = &self.config.clock;
        let begun = clock.now();
        // What is read below is not older than the change: else a later look would take it for known.
        last = last.filter(|last| self.config.engine.snapshot().revision() >= *last);
        let answer = self.ask();
        // Whether a token counts is found out each time.
        let by_rights = answer.as_ref().err().is_none_or(|status| status.is(Reason::Forbidden));
        if let Some(last) = last.filter(|_| by_rights) {
            standings.keep(self.digested, last, answer.clone());
        }
        let took = clock.now().since(begun);
        if took >= SLOW {
            clock.sleep(took * REST).await;
        }
        drop(permit);
        (last, answer)
    }

    /// Goes through roles and bindings.
    fn ask(&self) -> Result<(), Status> {
        #[cfg(test)]
        self.standings.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let ResourceInfo { group, version, namespace, resource, name, subresource, node, .. } = &self.resource;
        let (verb, tenant, path) = (self.verb, self.tenant.as_ref(), "");
        let asked = Attributes { verb, tenant, group, version, resource, subresource, namespace, name, node, path };
        let who = self.credentials.who(&self.config, &self.authorizer, &asked)?;
        if home(&self.config.engine, &who) != self.home {
            return Err(unauthorized());
        }
        self.authorizer.check(&who, &asked)
    }
}

fn home(engine: &Engine, identity: &Identity) -> Option<Life> {
    tokens::life(engine, identity.tenant.clone()?)
}

#[cfg(test)]
mod tests;
