//! What the observer of a server (its metrics) is told about a request.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arktos_core::Timestamp;
use arktos_core::catalog::Kind;

use crate::config::{Answered, ApiConfig};
use crate::fairness::Flow;
use crate::query::QueryMap;
use crate::request::ResourceInfo;
use crate::resource;

/// Whose turn a request was, as that becomes known.
#[derive(Default)]
pub(crate) struct Turn {
    /// Who took turns with whom; never set for the region's own.
    pub(crate) flow: OnceLock<Flow>,
    /// The seats that it had, and since when.
    pub(crate) seats: OnceLock<(u32, Timestamp)>,
    /// How long it waited for them.
    pub(crate) waited: OnceLock<Duration>,
}

/// What is counted of a request: words that do not depend on what clients make up.
pub(crate) struct Asked {
    verb: &'static str,
    kind: Option<Arc<Kind>>,
    custom: bool,
    subresource: String,
}

impl Asked {
    /// What the head of a request asks: of a resource, if its path names one.
    pub(crate) fn of(
        config: &ApiConfig,
        method: &http::Method,
        query: &QueryMap,
        resource: Option<&ResourceInfo>,
    ) -> Self {
        let verb = match resource {
            Some(resource) => resource::Verb::on(resource, method, query),
            None => resource::Verb::of(method, true, query),
        };
        let verb = verb.map_or("other", resource::Verb::name);
        let Some(asked) = resource else { return Self { verb, kind: None, custom: false, subresource: String::new() } };
        let kind = config.catalog.by_path(&asked.group, &asked.version, &asked.resource);
        let known = kind.as_ref().is_some_and(|kind| kind.subresource(&asked.subresource).is_some());
        let subresource = if known { asked.subresource.clone() } else { String::new() };
        Self { verb, custom: kind.is_none(), kind, subresource }
    }

    /// With the answer.
    pub(crate) fn answered<'a>(&'a self, code: u16, took: Duration, turn: &'a Turn, now: Timestamp) -> Answered<'a> {
        let resource = self.kind.as_ref().map_or(if self.custom { "custom" } else { "" }, |kind| &kind.resource);
        let group = self.kind.as_ref().map_or("", |kind| &kind.group);
        let tenant = turn.flow.get().map(|flow| &**flow).filter(|flow| !flow.is_empty());
        let seat_time = turn.seats.get().map_or(Duration::ZERO, |(seats, begun)| now.since(*begun) * *seats);
        let (subresource, waited) = (&self.subresource, turn.waited.get().copied());
        Answered { verb: self.verb, group, resource, subresource, code, took, waited, tenant, seat_time }
    }
}
