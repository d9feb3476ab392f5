//! Requests that cost more than they should: each is refused with a word, and nothing falls over.

use http::Method;
use serde_json::{Value, json};

use crate::world::{Answer, MAPS, World, map, request};

async fn send(world: &World, method: Method, path: &str, kind: &str, body: &str) -> Answer {
    let mut request = request("acme", method, path, body);
    request.headers_mut().insert("content-type", kind.parse().unwrap());
    world.answer(request).await
}

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

/// Refused for what the client sent, in words that are no copy of it.
fn refused(answer: &Answer, what: &str) {
    assert!((400..500).contains(&answer.code), "{what}: {} {:.300}", answer.code, answer.text);
}

#[tokio::test]
async fn large_bodies_and_deep_ones_are_refused() {
    let world = World::new().await;
    let long = json!({"metadata": {"name": "a"}, "data": {"a": "x".repeat(3 << 20)}}).to_string();
    let answer = send(&world, Method::POST, MAPS, JSON, &long).await;
    assert_eq!(answer.code, 413, "{:.300}", answer.text);
    let deep = |open: &str, close: &str| {
        format!("{{\"metadata\":{{\"name\":\"a\"}},\"data\":{}{}}}", open.repeat(100_000), close.repeat(100_000))
    };
    for body in [deep("[", "]"), deep("{\"a\":", "}"), "[".repeat(1_000_000), "{\"a\":".repeat(500_000)] {
        for kind in [JSON, YAML] {
            refused(&send(&world, Method::POST, MAPS, kind, &body).await, kind);
        }
        assert_eq!(world.post("acme", MAPS, map("patched")).await.code / 100, 2);
        let path = format!("{MAPS}/patched");
        for kind in ["application/merge-patch+json", "application/json-patch+json", "application/apply-patch+yaml"] {
            let answer = send(&world, Method::PATCH, &format!("{path}?fieldManager=x"), kind, &body).await;
            refused(&answer, kind);
        }
        assert_eq!(world.delete("acme", &path).await.code, 200);
    }
}

#[tokio::test]
async fn yaml_that_multiplies_itself_is_refused() {
    let world = World::new().await;
    let mut laughs = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let of = format!("*a{}", level - 1);
        laughs += &format!("a{level}: &a{level} [{}]\n", [of.as_str(); 9].join(","));
    }
    let body = format!("{laughs}metadata: {{name: a}}\ndata: {{}}\n");
    refused(&send(&world, Method::POST, MAPS, YAML, &body).await, "a body");
    let answer =
        send(&world, Method::PATCH, &format!("{MAPS}/a?fieldManager=x"), "application/apply-patch+yaml", &body).await;
    refused(&answer, "a configuration to be applied");
}

#[tokio::test]
async fn patches_that_multiply_are_refused() {
    let world = World::new().await;
    assert_eq!(world.post("acme", MAPS, map("a")).await.code, 201);
    let path = format!("{MAPS}/a");
    let many: Vec<Value> = (0..10_001).map(|_| json!({"op": "test", "path": "/data/a", "value": "1"})).collect();
    let kind = "application/json-patch+json";
    let answer = send(&world, Method::PATCH, &path, kind, &json!(many).to_string()).await;
    assert_eq!(answer.code, 413, "{:.300}", answer.text);
    // Each copy doubles what is there.
    let mut copies = vec![json!({"op": "add", "path": "/data/b", "value": "x".repeat(1000)})];
    copies.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    copies.extend((0..64).map(|turn| json!({"op": "copy", "from": "/data", "path": format!("/data/c{turn}")})));
    refused(&send(&world, Method::PATCH, &path, kind, &json!(copies).to_string()).await, "copies");
    assert_eq!(world.get("acme", &path).await.json()["data"], json!({"a": "1"}));
}

#[tokio::test]
async fn odd_encodings_are_not_unpacked() {
    let world = World::new().await;
    let mut zipped = request("acme", Method::POST, MAPS, "\u{1f}\u{8b}anything");
    zipped.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    refused(&world.answer(zipped).await, "gzip");
    for body in ["k8s\0\u{a}\u{7f}\u{7f}", "k8s\0\u{b}\u{b}\u{b}\u{b}", "k8s\0"] {
        let answer = send(&world, Method::POST, MAPS, "application/vnd.kubernetes.protobuf", body).await;
        refused(&answer, "lengths that lie, groups that nest");
    }
    for number in ["1e999999", "-1e999999", &"9".repeat(100_000), "NaN", "0x10"] {
        let body = format!("{{\"metadata\":{{\"name\":\"n\",\"generation\":{number}}}}}");
        let answer = send(&world, Method::POST, MAPS, JSON, &body).await;
        assert!(answer.code < 500, "{:.20}: {}", number, answer.code);
        world.delete("acme", &format!("{MAPS}/n")).await;
    }
}

#[tokio::test]
async fn long_selectors_and_many_names_are_answered_or_refused() {
    let world = World::new().await;
    let labels: Vec<String> = (0..6_000).map(|number| format!("l{number}=v")).collect();
    let answer = world.get("acme", &format!("{MAPS}?labelSelector={}", labels.join(","))).await;
    assert!(answer.code < 500, "{:.300}", answer.text);
    let fields: Vec<String> = (0..2_500).map(|number| format!("metadata.name!=n{number}")).collect();
    let answer = world.get("acme", &format!("{MAPS}?fieldSelector={}", fields.join(","))).await;
    assert!(answer.code < 500, "{:.300}", answer.text);
    let keys: serde_json::Map<String, Value> = (0..100_000).map(|number| (format!("k{number}"), json!("v"))).collect();
    let answer = world.post("acme", MAPS, json!({"metadata": {"name": "wide"}, "data": keys})).await;
    assert!(matches!(answer.code, 201 | 413 | 422), "{:.300}", answer.text);
    let twice = r#"{"metadata":{"name":"twice","name":"other"},"data":{"a":"1","a":"2"}}"#;
    assert_eq!(send(&world, Method::POST, &format!("{MAPS}?fieldValidation=Strict"), JSON, twice).await.code, 400);
}

fn definition(schema: Value) -> Value {
    let names = json!({"plural": "things", "kind": "Thing", "listKind": "ThingList"});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": schema}}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema});
    json!({"metadata": {"name": "things.example.org"},
        "spec": {"group": "example.org", "scope": "Namespaced", "names": names, "versions": [version]}})
}

/// What is noted of who manages an object's fields is nested deeper than the object is.
#[tokio::test]
async fn what_can_be_made_as_deep_as_it_may_be_can_be_written_read_and_deleted() {
    let world = World::new().await;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    assert_eq!(world.post("acme", definitions, definition(open)).await.code, 201);
    let things = "/apis/example.org/v1/namespaces/default/things";
    let (mut made, mut refused) = (0, 0);
    for depth in 110..135 {
        let spec = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        let meta = format!("{{\"name\":\"thing-{depth}\"}}");
        let body = format!(r#"{{"apiVersion":"example.org/v1","kind":"Thing","metadata":{meta},"spec":{spec}}}"#);
        let answer = send(&world, Method::POST, things, JSON, &body).await;
        if answer.code != 201 {
            assert!((400..500).contains(&answer.code), "{depth}: {} {:.300}", answer.code, answer.text);
            refused += 1;
            continue;
        }
        made += 1;
        let path = format!("{things}/thing-{depth}");
        for (kind, patch) in [
            ("application/merge-patch+json", r#"{"metadata":{"labels":{"x":"y"}}}"#),
            ("application/json-patch+json", r#"[{"op":"add","path":"/metadata/labels/z","value":""}]"#),
        ] {
            let answer = send(&world, Method::PATCH, &path, kind, patch).await;
            assert_eq!(answer.code, 200, "{depth} {kind}: {:.300}", answer.text);
        }
        assert!(world.get("acme", &path).await.json()["spec"].is_object(), "{depth}: it can be read");
        let gone = world.delete("acme", &path).await;
        assert_eq!(gone.code, 200, "{depth}: {:.300}", gone.text);
    }
    assert!(made > 12 && refused > 5, "{made} {refused}");
}

#[tokio::test]
async fn schemas_and_expressions_that_run_away_are_refused_or_cut_short() {
    let world = World::new().await;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let level = r#"{"type":"object","properties":{"a":"#;
    let deep = format!("{}{{}}{}", level.repeat(20_000), "}}".repeat(20_000));
    let body = definition(json!("HERE")).to_string().replace("\"HERE\"", &deep);
    refused(&send(&world, Method::POST, definitions, JSON, &body).await, "a schema");
    let rule = "self.all(a, self.all(b, self.all(c, self.all(d, a + b + c + d != 'x'))))";
    for schema in [
        json!({"type": "object", "$ref": "#/properties/spec"}),
        json!({"type": "string", "pattern": "(unclosed"}),
        json!({"type": "string", "pattern": "(?=look)ahead"}),
        json!({"type": "string", "pattern": "((a{1,1000}){1,1000}){1,1000}"}),
        json!({"type": "string", "pattern": r"(\pL{60}){3}"}),
        json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": [{"rule": rule}]}),
    ] {
        let answer = world.post("acme", definitions, definition(schema.clone())).await;
        assert!((400..500).contains(&answer.code), "{:.200}: {} {:.300}", schema.to_string(), answer.code, answer.text);
    }
    // A pattern on which other engines take for ever.
    let schema = json!({"type": "object", "properties": {"p": {"type": "string", "pattern": "^(a+)+$"}}});
    assert_eq!(world.post("acme", definitions, definition(schema)).await.code, 201);
    let thing = json!({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "t"},
        "spec": {"p": format!("{}!", "a".repeat(100_000))}});
    let answer = world.post("acme", "/apis/example.org/v1/namespaces/default/things", thing).await;
    assert_eq!(answer.code, 422, "{:.300}", answer.text);
}

/// A column of a definition is looked for in each object of a table, and again after each start.
#[tokio::test]
async fn columns_that_run_away_are_refused() {
    let world = World::new().await;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let with = |path: &str| {
        let mut made = definition(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
        let column = json!({"name": "c", "type": "string", "jsonPath": path});
        made["spec"]["versions"][0]["additionalPrinterColumns"] = json!([column]);
        made
    };
    for path in [
        format!(".spec{}.a", ".".repeat(400_000)),
        format!(".a{}{}", "[?(@.a".repeat(40_000), ")]".repeat(40_000)),
        ".spec......a".to_owned(),
    ] {
        let answer = world.post("acme", definitions, with(&path)).await;
        assert_eq!(answer.code, 422, "{path:.40}: {:.300}", answer.text);
        let why = "must be a simple json path starting with .";
        assert!(answer.text.contains(why), "{:.300}", answer.text);
    }
    assert_eq!(world.post("acme", definitions, with(".spec..a")).await.code, 201);
    let things = "/apis/example.org/v1/namespaces/default/things";
    let deep = (0..60).fold(json!({"a": "found"}), |inner, _| json!({"x": inner}));
    let thing = json!({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": deep});
    assert_eq!(world.post("acme", things, thing).await.code, 201);
    let mut asked = request("acme", Method::GET, &format!("{things}/t"), "");
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    asked.headers_mut().insert("accept", table.parse().unwrap());
    assert_eq!(world.answer(asked).await.json()["rows"][0]["cells"], json!(["t", "found"]));
}

/// What an object that says little gains by its schema is bounded; one that was stored before can be read and deleted.
#[tokio::test]
async fn defaults_that_multiply_are_refused() {
    let world = World::new().await;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let of = |field: Value| {
        let item = json!({"type": "object", "properties": {"a": field}});
        definition(json!({"type": "object", "properties": {"list": {"type": "array", "items": item}}}))
    };
    let long = json!({"type": "string", "default": "x".repeat(100_000)});
    let thing = |name: &str| {
        let spec = json!({"list": vec![json!({}); 4000]});
        json!({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": name}, "spec": spec})
    };
    let things = "/apis/example.org/v1/namespaces/default/things";
    assert_eq!(world.post("acme", definitions, of(json!({"type": "string"}))).await.code, 201);
    assert_eq!(world.post("acme", things, thing("old")).await.code, 201);
    let path = format!("{definitions}/things.example.org");
    let patch = json!({"spec": {"versions": of(long)["spec"]["versions"]}}).to_string();
    let merge = "application/merge-patch+json";
    let answer = send(&world, Method::PATCH, &path, merge, &patch).await;
    assert_eq!(answer.code, 200, "{:.300}", answer.text);
    assert_eq!(world.post("acme", things, thing("new")).await.code, 413);
    for asked in [things.to_owned(), format!("{things}/old"), format!("{things}?limit=1")] {
        let answer = world.get("acme", &asked).await;
        assert_eq!(answer.code, 200, "{asked}: {:.300}", answer.text);
        assert!(answer.text.len() < 4 << 20, "{asked}: {}", answer.text.len());
    }
    let mut asked = request("acme", Method::GET, &format!("{things}/old"), "");
    let partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    asked.headers_mut().insert("accept", partial.parse().unwrap());
    assert_eq!(world.answer(asked).await.json()["metadata"]["name"], "old");
    // The object can go, and the definition be mended.
    assert_eq!(world.delete("acme", &format!("{things}/old")).await.code, 200);
    let short = json!({"spec": {"versions": of(json!({"type": "string", "default": "x"}))["spec"]["versions"]}});
    assert_eq!(send(&world, Method::PATCH, &path, merge, &short.to_string()).await.code, 200);
    let made = world.post("acme", things, thing("new")).await;
    assert_eq!((made.code, &made.json()["spec"]["list"][3999]["a"]), (201, &json!("x")));
}

/// What people write in CEL is read before it is weighed.
#[tokio::test]
async fn expressions_that_nest_deeply_are_refused() {
    let world = World::new().await;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let group = "/apis/admissionregistration.k8s.io/v1";
    let many = 10_000;
    for rule in [
        format!("{}true{}", "(".repeat(many), ")".repeat(many)),
        format!("{}true", "!".repeat(many)),
        format!("{}1{} != null", "[".repeat(many), "]".repeat(many)),
        format!("{}1 > 0", "-".repeat(many)),
        format!("true{}", " && true".repeat(many)),
        format!("1{} > 0", " + 1".repeat(many)),
        format!("true{}", " ? true : true".repeat(many)),
        format!("self{} == 1", ".a".repeat(many)),
    ] {
        let schema = json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}]});
        let answer = world.post("acme", definitions, definition(schema)).await;
        assert!(answer.code < 500, "{:.40}: {} {:.300}", rule, answer.code, answer.text);
        world.delete("acme", &format!("{definitions}/things.example.org")).await;
        let rules =
            json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}]);
        let policy = json!({"metadata": {"name": "p"}, "spec": {"matchConstraints": {"resourceRules": rules},
            "validations": [{"expression": rule}]}});
        let answer = world.post("acme", &format!("{group}/validatingadmissionpolicies"), policy).await;
        assert!(answer.code < 500, "{:.40}: {} {:.300}", rule, answer.code, answer.text);
        world.delete("acme", &format!("{group}/validatingadmissionpolicies/p")).await;
    }
}

/// What a limit range gives to containers that say nothing, each is given; and what it asks for is told of each.
#[tokio::test]
async fn limit_ranges_that_multiply_are_refused() {
    let world = World::new().await;
    let ranges = "/tenants/acme/api/v1/namespaces/default/limitranges";
    let pods = "/tenants/acme/api/v1/namespaces/default/pods";
    let pod = |containers: usize| {
        let one = |at: usize| json!({"name": format!("c{at}"), "image": "i"});
        json!({"metadata": {"name": "p"}, "spec": {"containers": (0..containers).map(one).collect::<Vec<_>>()}})
            .to_string()
    };
    for field in ["default", "min"] {
        let all: serde_json::Map<String, Value> =
            (0..1000).map(|at| (format!("example.com/r{at}"), json!("1"))).collect();
        let limit = json!({"type": "Container", field: all});
        let range = json!({"metadata": {"name": "l"}, "spec": {"limits": [limit]}}).to_string();
        assert_eq!(send(&world, Method::POST, ranges, JSON, &range).await.code, 201);
        let answer = send(&world, Method::POST, pods, JSON, &pod(1000)).await;
        refused(&answer, field);
        assert!(answer.text.contains("name too many resources for so many containers"), "{:.300}", answer.text);
        assert_eq!(send(&world, Method::DELETE, &format!("{ranges}/l"), JSON, "").await.code, 200);
    }
    let cpu = json!({"type": "Container", "default": {"cpu": "1"}});
    let range = json!({"metadata": {"name": "l"}, "spec": {"limits": [cpu]}}).to_string();
    assert_eq!(send(&world, Method::POST, ranges, JSON, &range).await.code, 201);
    assert_eq!(send(&world, Method::POST, pods, JSON, &pod(100)).await.code, 201);
}

/// Each object of a collection is judged by itself: what that costs together ends, and the client goes on.
#[tokio::test]
async fn what_the_deletion_of_a_collection_costs_in_policies_ends() {
    let world = World::new().await;
    let group = "/apis/admissionregistration.k8s.io/v1";
    let rules =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["configmaps"]}]);
    let costly = vec![json!({"expression": "lists.range(900000).size() > 1"}); 9];
    let spec = json!({"matchConstraints": {"resourceRules": rules}, "validations": costly});
    let policy = json!({"metadata": {"name": "p"}, "spec": spec});
    let binding = json!({"metadata": {"name": "p"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    for at in 0..40 {
        assert_eq!(world.post("acme", MAPS, map(&format!("m{at}"))).await.code, 201);
    }
    assert_eq!(world.post("acme", &format!("{group}/validatingadmissionpolicies"), policy).await.code, 201);
    assert_eq!(world.post("acme", &format!("{group}/validatingadmissionpolicybindings"), binding).await.code, 201);
    let broken_off = world.delete("acme", MAPS).await;
    assert_eq!(broken_off.code, 429, "{}", broken_off.text);
    assert_eq!(broken_off.headers["retry-after"], "1");
    let left = world.get("acme", MAPS).await.json()["items"].as_array().unwrap().len();
    assert!((1..40).contains(&left), "{left}");
    while world.delete("acme", MAPS).await.code == 429 {}
    assert_eq!(world.get("acme", MAPS).await.json()["items"], json!([]));
}

/// Each of many containers, ports and gates was compared with all before it: one body took a core for minutes.
#[tokio::test]
async fn long_lists_of_names_take_no_longer_than_they_are_long() {
    let world = World::new().await;
    let begun = std::time::Instant::now();
    let containers: Vec<Value> = (0..80_000).map(|at| json!({"name": format!("c{at}"), "image": "i"})).collect();
    let ports: Vec<Value> =
        (0..50_000).map(|at| json!({"name": format!("n{at}"), "containerPort": 1, "hostPort": 1 + at})).collect();
    let gates: Vec<Value> = (0..80_000).map(|at| json!({"name": format!("example.org/g{at}")})).collect();
    let one = || json!([{"name": "c", "image": "i"}]);
    for spec in [
        json!({"containers": containers}),
        json!({"containers": [{"name": "c", "image": "i", "ports": ports}]}),
        json!({"containers": one(), "schedulingGates": gates}),
    ] {
        let body = json!({"metadata": {"name": "long"}, "spec": spec, "status": {}}).to_string();
        let answer = send(&world, Method::POST, "/api/v1/namespaces/default/pods?dryRun=All", JSON, &body).await;
        assert!(matches!(answer.code, 201 | 413 | 422), "{} {:.300}", answer.code, answer.text);
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(90), "{:?}", begun.elapsed());
}
