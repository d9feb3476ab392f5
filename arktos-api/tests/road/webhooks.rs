//! How many webhooks one request is shown to, and how much there may be of them.

use std::sync::Arc;

use arktos_api::{ApiConfig, Caller, WebhookTarget};
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::admissions::{hook, made};
use crate::{MAPS, World, map};

/// Counts how many webhooks are asked at once.
#[derive(Debug, Default)]
struct Counting {
    now: std::sync::atomic::AtomicUsize,
    most: std::sync::atomic::AtomicUsize,
    all: std::sync::atomic::AtomicUsize,
}

#[async_trait]
impl Caller for Counting {
    async fn call(&self, _: &WebhookTarget, body: Bytes) -> Result<Bytes, String> {
        use std::sync::atomic::Ordering::SeqCst;
        self.most.fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
        self.all.fetch_add(1, SeqCst);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        self.now.fetch_sub(1, SeqCst);
        let review: Value = serde_json::from_slice(&body).unwrap();
        let request = &review["request"];
        assert_eq!((&request["object"]["metadata"]["name"], &request["oldObject"]), (&json!("a"), &Value::Null));
        let response = json!({"uid": request["uid"], "allowed": true});
        let answer = json!({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response});
        Ok(Bytes::from(answer.to_string()))
    }
}

/// Each is sent all of the object, which may be megabytes, and one configuration may have ten thousand webhooks.
#[tokio::test]
async fn a_request_is_shown_to_so_many_webhooks_and_not_to_all_at_once() {
    use std::sync::atomic::Ordering::SeqCst;
    let counting = Arc::new(Counting::default());
    let caller = counting.clone();
    let world = World::with(move |config: &mut ApiConfig| config.webhooks = Some(caller)).await;
    for kind in ["Validating", "Mutating"] {
        let (path, mut configuration) = hook(kind, json!({}));
        let one = configuration["webhooks"][0].clone();
        let many = |count: usize| -> Vec<Value> {
            let named = |at: usize| {
                let mut one = one.clone();
                one["name"] = json!(format!("v{at}.example.com"));
                one
            };
            (0..count).map(named).collect()
        };
        configuration["webhooks"] = json!(many(101));
        made(&world, &path, configuration.clone()).await;
        let before = counting.all.load(SeqCst);
        let refused = world.post("acme", MAPS, map("a")).await;
        assert_eq!(refused.code, 403, "{}", refused.body);
        let why = "configmaps \"a\" is forbidden: more than 100 admission webhooks are to be asked about it";
        assert_eq!(refused.body["message"], why);
        assert!(counting.all.load(SeqCst) - before <= 100);
        let fewer = json!({"webhooks": many(40)});
        assert_eq!(world.patch("acme", &format!("{path}/w"), fewer).await.code, 200);
        let before = counting.all.load(SeqCst);
        assert_eq!(world.post("acme", MAPS, map("a")).await.code, 201);
        assert_eq!(counting.all.load(SeqCst) - before, 40);
        assert!(counting.most.load(SeqCst) <= 16, "{}", counting.most.load(SeqCst));
        assert_eq!(world.delete("acme", &format!("{path}/w")).await.code, 200);
        assert_eq!(world.delete("acme", &format!("{MAPS}/a")).await.code, 200);
    }
}

/// They are read whole with each write.
#[tokio::test]
async fn of_what_is_read_with_every_write_there_is_so_much_and_no_more() {
    let world = World::new().await;
    let large = |name: &str, bytes: usize| {
        let (_, mut configuration) = hook("Validating", json!({}));
        configuration["metadata"]["name"] = json!(name);
        configuration["webhooks"][0]["clientConfig"]["caBundle"] = Value::Null;
        let one = configuration["webhooks"][0].clone();
        let url = format!("https://hooks.example.com/{}", "x".repeat(2000));
        let named = |at: usize| {
            let mut one = one.clone();
            one["name"] = json!(format!("v{at}.example.com"));
            one["clientConfig"] = json!({"url": url});
            one
        };
        configuration["webhooks"] = (0..bytes / 2000).map(named).collect();
        configuration
    };
    let (path, _) = hook("Validating", json!({}));
    made(&world, &path, large("a", 1_600_000)).await;
    made(&world, &path, large("b", 1_600_000)).await;
    let refused = world.post("acme", &path, large("c", 1_600_000)).await;
    let said = refused.body["message"].as_str().unwrap_or_default();
    assert!(
        refused.code == 403 && said.ends_with("may take 4 MiB together: they are read with other writes"),
        "{said}"
    );
    assert_eq!(world.patch("acme", &format!("{path}/a"), json!({"metadata": {"labels": {"a": "b"}}})).await.code, 200);
    assert_eq!(world.post("umbra", &path, large("c", 1_600_000)).await.code, 201, "each tenant has its own");
    assert_eq!(world.delete("acme", &format!("{path}/a")).await.code, 200);
    made(&world, &path, large("c", 1_600_000)).await;
}
