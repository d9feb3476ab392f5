//! What somebody enters of requests that are passed on to others: that they came, and what was answered. Bodies are not
//! looked at.

use std::sync::Arc;

use arktos_core::Status;
use arktos_store::Clock;
use http::request::Parts;

use super::Audit;
use super::record::{Origin, Record, outcome};
use crate::authenticate;
use crate::identity::Identity;
use crate::query::QueryMap;
use crate::request::RequestInfo;
use crate::trace::TraceParent;

/// A request that is being passed on.
pub struct Passing(Arc<Record>);

/// A watch that goes on: its end is entered when this is dropped.
pub struct PassingWatch {
    passing: Passing,
    code: u16,
}

impl Audit {
    /// A request has come, with this id. Who has sent it may not be known, or only by what a token says of itself.
    #[must_use]
    pub fn passing(&self, clock: &Arc<dyn Clock>, id: &str, parts: &Parts, who: Option<&Identity>) -> Passing {
        let agent = parts.headers.get(http::header::USER_AGENT);
        let (source, trace) = (authenticate::source(parts), TraceParent::of(&parts.headers));
        let record = Record::begin(self, clock, &Origin { id, uri: &parts.uri, agent, source, trace });
        let info = RequestInfo::parse(parts.uri.path()).unwrap_or_else(|_| RequestInfo::nothing());
        let query = QueryMap::parse(parts.uri.query().unwrap_or(""));
        let nobody = Identity::default();
        let who = who.unwrap_or(&nobody);
        crate::server::enter(&record, (who, who), &info, &parts.method, &query);
        Passing(record)
    }
}

impl Passing {
    /// Whether it is a watch.
    #[must_use]
    pub fn watches(&self) -> bool {
        self.0.watches()
    }

    /// It was answered; with a failure, by whoever was to pass it on.
    pub fn answered(&self, code: u16, failure: Option<&Status>) {
        self.0.completed(outcome(code, failure));
    }

    /// The watch has begun.
    #[must_use]
    pub fn begun(self, code: u16) -> PassingWatch {
        self.0.started(outcome(code, None));
        PassingWatch { passing: self, code }
    }
}

impl Drop for PassingWatch {
    fn drop(&mut self) {
        self.passing.answered(self.code, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{AuditPolicy, AuditSink};
    use arktos_core::{Reason, Timestamp};
    use arktos_store::clock::ManualClock;
    use bytes::Bytes;
    use parking_lot::Mutex;
    use serde_json::Value;

    #[derive(Debug, Default)]
    struct Kept(Mutex<Vec<Value>>);

    impl AuditSink for Kept {
        fn take(&self, event: Bytes) {
            self.0.lock().push(serde_json::from_slice(&event).expect("JSON"));
        }
    }

    #[test]
    fn what_is_passed_on_is_entered_when_it_comes_and_when_it_was_answered() {
        let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";
        let (sink, clock) = (Arc::new(Kept::default()), ManualClock::new(Timestamp::from_micros(0)));
        let policy = Arc::new(AuditPolicy::parse(policy).expect("a policy"));
        let audit = Audit { policy, sink: sink.clone() };
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let ann = Identity::user("ann", &["dev"], &arktos_core::TenantName::new("acme").expect("a name"));
        let passing = |path: &str, id: &str, who: Option<&Identity>| {
            let (parts, ()) = http::Request::get(path).body(()).expect("a request").into_parts();
            audit.passing(&clock, id, &parts, who)
        };
        let read = passing("/tenants/acme/api/v1/namespaces/default/secrets/s", "1", Some(&ann));
        assert!(!read.watches());
        read.answered(200, None);
        let refusal = Status::failure(Reason::Unauthorized, "Unauthorized");
        passing("/api/v1/pods", "2", None).answered(401, Some(&refusal));
        let watch = passing("/api/v1/pods?watch=1", "3", Some(&ann));
        assert!(watch.watches());
        drop(watch.begun(200));

        let events = sink.0.lock();
        let told: Vec<(&str, &str, i64)> = events
            .iter()
            .map(|event| {
                let text = |field: &str| event[field].as_str().expect("a text");
                (text("auditID"), text("stage"), event["responseStatus"]["code"].as_i64().unwrap_or(0))
            })
            .collect();
        let expected = [
            ("1", "RequestReceived", 0),
            ("1", "ResponseComplete", 200),
            ("2", "RequestReceived", 0),
            ("2", "ResponseComplete", 401),
            ("3", "RequestReceived", 0),
            ("3", "ResponseStarted", 200),
            ("3", "ResponseComplete", 200),
        ];
        assert_eq!(told, expected);
        let read = &events[1];
        assert_eq!((&read["verb"], &read["user"]["username"]), (&Value::from("get"), &Value::from("ann")));
        assert_eq!(
            (&read["objectRef"]["name"], &read["annotations"]["arktos.io/tenant"]),
            (&"s".into(), &"acme".into())
        );
        assert_eq!(events[3]["responseStatus"]["reason"], "Unauthorized");
    }
}
