//! What hosts read at their resource manager of what partitions keep, because pods that are bound to them name it: a
//! partition behind real connections, and a resource manager, in this process.

mod certificates;
mod classes;
mod volumes;
mod world;

use std::collections::BTreeSet;

use arktos_api::Identity;
use arktos_core::{Reason, TenantName};
use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

use self::world::{PATIENCE, World, key, map, names, next, place, runtime, secret, service, shown, until, with_secret};

#[test]
fn a_host_reads_what_its_pods_name_and_nothing_else() {
    runtime().block_on(async {
        let world = World::new().await;
        for tenant in ["acme", "globex"] {
            world.make(tenant, "secrets", secret("s", tenant)).await;
            world.make(tenant, "secrets", secret("other", tenant)).await;
            world.make(tenant, "configmaps", map("m")).await;
        }
        let both = json!({"volumes": [
            {"name": "s", "secret": {"secretName": "s"}}, {"name": "gone", "secret": {"secretName": "gone"}},
            {"name": "m", "configMap": {"name": "m"}},
        ]});
        world.pod("acme", "a", "n1", both).await;
        world.pod("globex", "g", "n2", with_secret("s")).await;
        let (acme, globex) = (place("acme"), place("globex"));

        let read = world.get("n1", &format!("{acme}/secrets/s")).await;
        assert_eq!(read.code, 200, "{}", read.body);
        assert_eq!(read.body["data"]["k"], "YWNtZQ==");
        assert_eq!(read.body["metadata"]["namespace"], json!(shown("acme")));
        assert_eq!(world.get("n1", &format!("{acme}/configmaps/m")).await.code, 200);
        let account = world.get("n1", &format!("{acme}/serviceaccounts/default")).await;
        assert_eq!((account.code, &account.body["metadata"]["name"]), (200, &json!("default")));
        let gone = world.get("n1", &format!("{acme}/secrets/gone")).await;
        assert_eq!((gone.code, &gone.body["details"]["name"]), (404, &json!("gone")), "its partition says so");
        let other = world.get("n2", &format!("{globex}/secrets/s")).await;
        assert_eq!((other.code, &other.body["data"]["k"]), (200, &json!("Z2xvYmV4")));

        let by_name = format!("{acme}/secrets?fieldSelector=metadata.name%3Ds");
        let listed = world.get("n1", &by_name).await;
        assert_eq!((listed.code, names(&listed.body)), (200, BTreeSet::from(["s".to_owned()])));
        assert_eq!(listed.body["items"][0]["metadata"]["namespace"], json!(shown("acme")));

        for (host, path) in [
            ("n1", format!("{acme}/secrets/other")),
            ("n1", format!("{acme}/configmaps/s")),
            ("n1", format!("{acme}/secrets")),
            ("n1", format!("{acme}/secrets?fieldSelector=metadata.name%3Dother")),
            ("n1", format!("{globex}/secrets/s")),
            ("n2", format!("{acme}/secrets/s")),
            ("n2", format!("{globex}/secrets/other")),
            ("n1", "/api/v1/namespaces/default/secrets/s".to_owned()),
            ("n1", format!("/api/v1/tenants/acme/namespaces/{}/secrets/s", shown("acme"))),
        ] {
            let refused = world.get(host, &path).await;
            assert_eq!(refused.code, 403, "{host} {path}: {}", refused.body);
        }
        let write = world.ask("n1", Method::DELETE, &format!("{acme}/secrets/s"), Value::Null).await;
        assert_eq!(write.code, 403);

        // With the pod goes the right.
        world.delete("acme", "pods", "a").await;
        until("the secret is refused", async || world.get("n1", &format!("{acme}/secrets/s")).await.code == 403).await;
        world.stop().await;
    });
}

#[test]
fn the_partition_judges_by_the_host_and_not_by_its_resource_manager() {
    runtime().block_on(async {
        let world = World::new().await;
        world.make("acme", "secrets", secret("s", "acme")).await;
        world.make("acme", "secrets", secret("other", "acme")).await;
        world.pod("acme", "a", "n1", with_secret("s")).await;
        let component = world.partition.api().client(Identity::system_component("rm-1"));
        let host = component.acting_as("system:node:n1", &["system:nodes"]).expect("it may");
        assert!(host.get(&key("acme", "secrets", "s")).await.is_ok());
        let refused = host.get(&key("acme", "secrets", "other")).await.expect_err("no pod names it");
        assert!(refused.is(Reason::Forbidden), "{refused}");
        let tenant = TenantName::new("acme").expect("a name");
        let alice = world.partition.api().client(Identity::user("alice", &["system:masters"], &tenant));
        assert!(alice.acting_as("bob", &[]).is_none(), "a tenant's client speaks for itself");
        world.stop().await;
    });
}

#[test]
fn a_watch_sees_what_happens_to_what_a_pod_names() {
    runtime().block_on(async {
        let world = World::new().await;
        world.make("acme", "secrets", secret("s", "one")).await;
        world.make("acme", "secrets", secret("other", "one")).await;
        world.pod("acme", "a", "n1", with_secret("s")).await;
        let by_name = format!("{}/secrets?fieldSelector=metadata.name%3Ds", place("acme"));
        let listed = world.get("n1", &by_name).await;
        let revision = listed.body["metadata"]["resourceVersion"].as_str().expect("a revision").to_owned();
        let more = "watch=1&allowWatchBookmarks=true";
        let mut after = world.watch("n1", &format!("{by_name}&{more}&resourceVersion={revision}")).await;
        let initial = "resourceVersionMatch=NotOlderThan&sendInitialEvents=true";
        let mut whole = world.watch("n1", &format!("{by_name}&{more}&{initial}")).await;
        let (kind, first) = next(&mut whole).await;
        assert_eq!((kind.as_str(), &first["data"]["k"]), ("ADDED", &json!("b25l")));
        let end = tokio::time::timeout(PATIENCE, whole.next()).await.expect("in time").expect("it goes on");
        assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true", "{end}");

        let change = |value: &str| json!({"data": {"k": value}});
        world.patch("acme", "secrets", "other", change("dHdv")).await;
        world.patch("acme", "secrets", "s", change("dHdv")).await;
        world.delete("acme", "secrets", "s").await;
        for events in [&mut after, &mut whole] {
            let (kind, object) = next(events).await;
            assert_eq!((kind.as_str(), &object["data"]["k"]), ("MODIFIED", &json!("dHdv")), "{object}");
            assert_eq!(object["metadata"]["namespace"], json!(shown("acme")));
            let told = |of: &Value| of["metadata"]["resourceVersion"].as_str().and_then(|it| it.parse::<u64>().ok());
            let changed = told(&object).expect("a revision");
            assert!(changed > revision.parse().expect("a number"));
            let (kind, object) = next(events).await;
            assert_eq!(kind, "DELETED");
            assert!(told(&object).expect("a revision") > changed);
        }
        world.stop().await;
    });
}

#[test]
fn a_host_gets_tokens_for_the_accounts_of_its_pods_alone() {
    runtime().block_on(async {
        let world = World::new().await;
        for name in ["robot", "other"] {
            let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
            world.make("acme", "serviceaccounts", account).await;
        }
        let mine = world.pod("acme", "mine", "n1", json!({"serviceAccountName": "robot"})).await;
        let theirs = world.pod("acme", "theirs", "n2", json!({"serviceAccountName": "robot"})).await;
        let ask = async |host: &str, account: &str, pod: Value, audiences: Value| {
            let spec = json!({"boundObjectRef": pod, "audiences": audiences});
            let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
            let path = format!("{}/serviceaccounts/{account}/token", place("acme"));
            world.ask(host, Method::POST, &path, body).await
        };
        let to = |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
        let given = ask("n1", "robot", to("mine", &mine), json!([])).await;
        assert_eq!(given.code, 201, "{}", given.body);
        assert_eq!(given.body["metadata"]["namespace"], json!(shown("acme")));
        let token = given.body["status"]["token"].as_str().expect("a token");
        let mut who = Request::get("/apis/authentication.k8s.io/v1/selfsubjectreviews").method(Method::POST);
        who = who.header("authorization", format!("Bearer {token}")).header("content-type", "application/json");
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).to_string();
        let who = who.body(Full::new(Bytes::from(body))).expect("a request");
        let who = world.partition.api().clone().oneshot(who).await.expect("it answers");
        let who: Value =
            serde_json::from_slice(&who.into_body().collect().await.expect("read").to_bytes()).expect("JSON");
        let user = &who["status"]["userInfo"]["username"];
        assert_eq!(user, "system:serviceaccount:default:robot", "its tenant takes it: {who}");

        for (host, account, pod, audiences) in [
            ("n1", "robot", to("theirs", &theirs), json!([])),
            ("n1", "robot", Value::Null, json!([])),
            ("n1", "robot", to("mine", &theirs), json!([])),
            ("n1", "robot", to("mine", &mine), json!(["bank"])),
            ("n1", "other", to("mine", &mine), json!([])),
            ("n2", "robot", to("mine", &mine), json!([])),
        ] {
            let refused = ask(host, account, pod.clone(), audiences).await;
            assert_eq!(refused.code, 403, "{host} {account} {pod}: {}", refused.body);
        }
        world.stop().await;
    });
}

#[test]
fn a_host_is_shown_the_services_beside_its_pods() {
    runtime().block_on(async {
        let world = World::new().await;
        for (tenant, name) in [("acme", "web"), ("globex", "bank")] {
            world.make(tenant, "services", service(name)).await;
        }
        world.pod("acme", "a", "n1", json!({})).await;
        let all = "/api/v1/services";
        let list = async |host: &str, path: &str| {
            let answer = world.get(host, path).await;
            assert_eq!(answer.code, 200, "{}", answer.body);
            answer.body
        };
        let mut listed = Value::Null;
        until("its services are there", async || {
            listed = list("n1", all).await;
            names(&listed).contains("web")
        })
        .await;
        assert!(!names(&listed).contains("bank"));
        assert!(
            listed["items"]
                .as_array()
                .expect("items")
                .iter()
                .all(|it| it["metadata"]["namespace"] == json!(shown("acme")))
        );
        assert!(names(&list("n2", all).await).is_empty(), "it has no pods");
        let mut headless = service("headless");
        headless["spec"]["clusterIP"] = json!("None");
        world.make("acme", "services", headless).await;
        until("all are there", async || names(&list("n1", all).await).contains("headless")).await;
        let with_address = names(&list("n1", &format!("{all}?fieldSelector=spec.clusterIP%21%3DNone")).await);
        assert!(with_address.contains("web") && !with_address.contains("headless"), "{with_address:?}");
        world.delete("acme", "services", "headless").await;
        until("it is gone", async || !names(&list("n1", all).await).contains("headless")).await;
        let listed = list("n1", all).await;
        let revision = listed["metadata"]["resourceVersion"].as_str().expect("a revision");
        let own = list("n1", &format!("{}/services", place("acme"))).await;
        assert!(names(&own).contains("web"));
        assert_eq!(world.get("n2", &format!("{}/services", place("acme"))).await.code, 403);

        // A namespace that comes between the list and the watch is not missed, and what is there already comes again.
        world.pod("globex", "g", "n1", json!({})).await;
        let path = format!("{all}?watch=1&allowWatchBookmarks=true&resourceVersion={revision}");
        let mut events = world.watch("n1", &path).await;
        let mut seen = BTreeSet::new();
        while !(seen.contains("web") && seen.contains("bank")) {
            let (kind, object) = next(&mut events).await;
            assert_eq!(kind, "ADDED");
            seen.insert(object["metadata"]["name"].as_str().expect("a name").to_owned());
        }
        world.make("acme", "services", service("new")).await;
        let named =
            |event: &(String, Value)| (event.0.clone(), event.1["metadata"]["name"].as_str().map(str::to_owned));
        let expect = |kind: &str, name: &str| (kind.to_owned(), Some(name.to_owned()));
        let told = loop {
            let told = named(&next(&mut events).await);
            if told != expect("ADDED", "kubernetes") {
                break told;
            }
        };
        assert_eq!(told, expect("ADDED", "new"));
        // With the last pod in it, a namespace goes.
        world.delete("globex", "pods", "g").await;
        let told = loop {
            let told = named(&next(&mut events).await);
            if told != expect("DELETED", "kubernetes") {
                break told;
            }
        };
        assert_eq!(told, expect("DELETED", "bank"));
        world.stop().await;
    });
}

#[test]
fn what_a_host_tells_of_its_pods_is_kept_beside_them() {
    runtime().block_on(async {
        let world = World::new().await;
        world.pod("acme", "a", "n1", json!({})).await;
        let about = json!({"kind": "Pod", "namespace": shown("acme"), "name": "a"});
        let event = json!({"metadata": {"name": "a.1"}, "involvedObject": about, "reason": "Pulled", "count": 1});
        let events = format!("{}/events", place("acme"));
        let told = world.ask("n1", Method::POST, &events, event.clone()).await;
        assert_eq!((told.code, &told.body["metadata"]["namespace"]), (201, &json!(shown("acme"))), "{}", told.body);
        let more = world.ask("n1", Method::PATCH, &format!("{events}/a.1"), json!({"count": 2})).await;
        assert_eq!(more.code, 200, "{}", more.body);
        let kept = world.there.get(&key("acme", "events", "a.1")).await.expect("it is there");
        let kept = kept.object.decode(None).expect("an object");
        assert_eq!(kept.str_at(&["involvedObject", "namespace"]), "default");
        assert_eq!(kept.at(&["count"]), Some(&json!(2)));
        assert_eq!(world.ask("n2", Method::POST, &events, event).await.code, 403, "it has no pods there");
        assert_eq!(world.get("n1", &format!("{events}/a.1")).await.code, 403);
        world.stop().await;
    });
}

#[test]
fn a_partition_that_cannot_be_reached_is_not_one_that_has_nothing() {
    runtime().block_on(async {
        let mut world = World::new().await;
        world.make("acme", "secrets", secret("s", "acme")).await;
        let uid = world.pod("acme", "a", "n1", with_secret("s")).await;
        let (secret, by_name) = (format!("{}/secrets/s", place("acme")), format!("{}/secrets", place("acme")));
        let by_name = format!("{by_name}?fieldSelector=metadata.name%3Ds");
        let mut events = world.watch("n1", &format!("{by_name}&watch=1")).await;
        assert_eq!(next(&mut events).await.0, "ADDED");
        world.cut().await;
        let left: Vec<Value> = tokio::time::timeout(PATIENCE, events.collect()).await.expect("it ends");
        assert!(left.is_empty(), "it just ends: {left:?}");
        let spec = json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": uid}});
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        let token = format!("{}/serviceaccounts/default/token", place("acme"));
        for (method, path, body) in [
            (Method::GET, &secret, Value::Null),
            (Method::GET, &by_name, Value::Null),
            (Method::GET, &format!("{by_name}&watch=1"), Value::Null),
            (Method::POST, &token, request),
        ] {
            let answer = world.ask("n1", method, path, body).await;
            assert_eq!(answer.code, 503, "{path}: {}", answer.body);
            assert!(answer.headers.contains_key("retry-after"), "{path}: {:?}", answer.headers);
        }
        world.mend().await;
        until("it is read again", async || world.get("n1", &secret).await.code == 200).await;
        world.stop().await;
    });
}
