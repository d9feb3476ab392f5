//! The members of a cluster: which one is asked, and what becomes of a request that was not answered.
//!
//! One member is asked for as long as it answers; then the next. A request is tried again only where nothing happened,
//! or where it may happen twice: a transaction that may have been carried out is never sent a second time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use futures::FutureExt;
use futures::future::{BoxFuture, Either, FusedFuture, select};
use tokio::sync::{OnceCell, watch};

use super::EtcdOptions;
use super::failed::{Failed, Why};
use crate::clock::Clock;

/// The first pause after all members were asked in vain; it doubles with each round.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How often a connection on which something is awaited is tried for life. etcd takes offence at less than 5 s
/// (`--grpc-keepalive-min-time`), and at any on idle connections.
const PING_EVERY: Duration = Duration::from_secs(6);
/// How long that may take.
const PING_TIMEOUT: Duration = Duration::from_secs(4);
/// Stands for no member.
const NONE: usize = usize::MAX;

/// Whether a request may be carried out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing, or the same whenever it is done: it may be sent again whatever became of it.
    Harmless,
    /// It may not: it is sent again only if nothing came of it.
    Never,
}

/// The members of a cluster.
pub(super) struct Members {
    members: Vec<Member>,
    options: ConnectOptions,
    clock: Arc<dyn Clock>,
    /// How long a request may take, all told.
    request_timeout: Duration,
    /// How long before that time is over a request is not tried again: time enough to find that nobody is there, so
    /// that what is under way at the end has been sent.
    connect_timeout: Duration,
    /// The place of the member that is asked. Written by whoever finds that it does not answer.
    current: watch::Sender<usize>,
}

struct Member {
    url: String,
    /// Made when it is first asked, as that is when it is told who asks.
    client: OnceCell<Client>,
}

impl Members {
    pub(super) fn new(options: &EtcdOptions, clock: Arc<dyn Clock>) -> Self {
        let member = |url: &String| Member { url: url.clone(), client: OnceCell::new() };
        Self {
            members: options.endpoints.iter().map(member).collect(),
            options: connect_options(options),
            clock,
            request_timeout: options.request_timeout,
            connect_timeout: options.connect_timeout.min(options.request_timeout / 2),
            current: watch::Sender::new(0),
        }
    }

    /// Asks members until one has answered, or time is over.
    ///
    /// # Errors
    /// [`Failed`], which says whether something may have happened.
    pub(super) async fn ask<R, F>(&self, repeat: Repeat, request: impl Fn(Client) -> F) -> Result<R, Failed>
    where
        F: Future<Output = Result<R, Error>>,
    {
        let asked = AtomicUsize::new(NONE);
        let outcome = {
            let attempts = std::pin::pin!(self.attempts(repeat, &request, &asked));
            match select(attempts, self.clock.sleep(self.request_timeout)).await {
                Either::Left((outcome, _)) => Some(outcome),
                Either::Right(_) => None,
            }
        };
        if let Some(outcome) = outcome {
            return outcome;
        }
        let place = asked.into_inner();
        self.pass_over(place);
        let why = if place == NONE { Why::Unreached } else { Why::Unknown };
        let url = self.members.get(place).map_or("no member", |member| &member.url);
        Err(Failed { why, text: format!("{url} has not answered within {:?}", self.request_timeout) })
    }

    async fn attempts<R, F>(
        &self,
        repeat: Repeat,
        request: &impl Fn(Client) -> F,
        asked: &AtomicUsize,
    ) -> Result<R, Failed>
    where
        F: Future<Output = Result<R, Error>>,
    {
        let mut last_call = self.clock.sleep(self.request_timeout.saturating_sub(self.connect_timeout)).fuse();
        let mut pause = PAUSE_FIRST;
        let mut attempts = 0_usize;
        loop {
            let place = *self.current.borrow();
            asked.store(place, Ordering::Relaxed);
            let outcome = self.ask_one(place, repeat, request).await;
            asked.store(NONE, Ordering::Relaxed);
            let failed = match outcome {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if matches!(failed.why, Why::Unreached | Why::Unknown) {
                self.pass_over(place);
            }
            let again = match failed.why {
                Why::Unreached | Why::TokenOld => true,
                Why::Unknown => repeat == Repeat::Harmless,
                _ => false,
            };
            attempts += 1;
            if again && attempts.is_multiple_of(self.members.len().max(1)) {
                select(&mut last_call, self.clock.sleep(pause)).await;
                pause = (pause * 2).min(PAUSE_MAX);
            } else {
                let _ = (&mut last_call).now_or_never();
            }
            if !again || last_call.is_terminated() {
                return Err(failed);
            }
        }
    }

    async fn ask_one<R, F>(&self, place: usize, repeat: Repeat, request: &impl Fn(Client) -> F) -> Result<R, Failed>
    where
        F: Future<Output = Result<R, Error>>,
    {
        let Some(member) = self.members.get(place) else {
            return Err(Failed { why: Why::Refused, text: "there are no endpoints".to_owned() });
        };
        let told = |error: Error| Failed::of(&member.url, &error);
        let connect = || Client::connect([&member.url], Some(self.options.clone()));
        let client = member.client.get_or_try_init(connect).await.map_err(told)?;
        let answer = request(client.clone());
        let answered = match repeat {
            Repeat::Never => answer.await,
            // half the time, so that another member can still be asked
            Repeat::Harmless => {
                let limit = self.request_timeout / 2;
                match select(std::pin::pin!(answer), self.clock.sleep(limit)).await {
                    Either::Left((answered, _)) => answered,
                    Either::Right(_) => {
                        let text = format!("{} has not answered within {limit:?}", member.url);
                        return Err(Failed { why: Why::Unknown, text });
                    }
                }
            }
        };
        let failed = match answered {
            Ok(answer) => return Ok(answer),
            Err(error) => told(error),
        };
        if failed.why == Why::TokenOld {
            client.refresh_token().await.map_err(told)?;
        }
        Err(failed)
    }

    /// Lets the next member be asked, unless that is so already.
    pub(super) fn pass_over(&self, place: usize) {
        self.current.send_if_modified(|current| {
            let next = place.wrapping_add(1) % self.members.len().max(1);
            let passed = *current == place && next != place;
            if passed {
                *current = next;
            }
            passed
        });
    }

    /// The place of the member that is asked, for those who must know when it is another.
    pub(super) fn current(&self) -> watch::Receiver<usize> {
        self.current.subscribe()
    }

    /// A wait of as long as a request may take.
    pub(super) fn patience(&self) -> BoxFuture<'static, ()> {
        self.clock.sleep(self.request_timeout)
    }
}

fn connect_options(options: &EtcdOptions) -> ConnectOptions {
    // Every request asks for a leader, so that a member that was cut off says so rather than serve what is old.
    let mut connect = ConnectOptions::new()
        .with_require_leader(true)
        .with_timeout(options.request_timeout)
        .with_connect_timeout(options.connect_timeout)
        .with_keep_alive(PING_EVERY, PING_TIMEOUT)
        .with_keep_alive_while_idle(false)
        .with_auto_token_refresh(true);
    if let Some((name, password)) = &options.user {
        connect = connect.with_user(name, password);
    }
    let https = options.endpoints.iter().any(|url| url.starts_with("https://"));
    let Some(tls) = options.tls.clone().or_else(|| https.then(Default::default)) else { return connect };
    let mut config = TlsOptions::new().timeout(options.connect_timeout);
    config = match &tls.ca {
        Some(ca) => config.ca_certificate(Certificate::from_pem(ca)),
        None => config.with_enabled_roots(),
    };
    if let Some((certificate, key)) = &tls.identity {
        config = config.identity(Identity::from_pem(certificate, key));
    }
    if let Some(name) = &tls.server_name {
        config = config.domain_name(name);
    }
    connect.with_tls(config)
}
