//! Published vulnerabilities, by number: what made them is tried here. `docs/threat-model.md` has the whole list, and
//! for each that is not here, the test elsewhere that shows it or why it cannot be.

mod kubernetes;
mod peers;

use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use crate::world::{Answer, RBAC, World, request};

const PODS: &str = "/api/v1/namespaces/default/pods";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "registry.example/a:1"}]}})
}

fn definition(scope: &str, plural: &str, kind: &str, parts: Value) -> Value {
    let names = json!({"plural": plural, "kind": kind, "listKind": format!("{kind}List")});
    let size = json!({"type": "object", "properties": {"size": {"type": "integer", "maximum": 3}}});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": size, "status": size}}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema, "subresources": parts});
    json!({"metadata": {"name": format!("{plural}.example.org")},
        "spec": {"group": "example.org", "scope": scope, "names": names, "versions": [version]}})
}

/// A request with a body of some type.
async fn send(world: &World, who: &str, (method, path): (Method, &str), kind: &str, body: &str) -> Answer {
    let mut request = request(who, method, path, body);
    request.headers_mut().insert("content-type", kind.parse().unwrap());
    world.answer(request).await
}

/// Changes a part of something in `acme`.
async fn patch(world: &World, who: &str, path: &str, change: &Value) -> Answer {
    world.answer(request(who, Method::PATCH, path, &change.to_string())).await
}

/// Gives an account of `acme` a role in its namespace `default`.
async fn give(world: &World, account: &str, (kind, role): (&str, &str)) {
    let subjects = json!([{"kind": "ServiceAccount", "name": account, "namespace": "default"}]);
    let binding = json!({"metadata": {"generateName": "b-"}, "subjects": subjects,
        "roleRef": {"kind": kind, "name": role, "apiGroup": "rbac.authorization.k8s.io"}});
    let made = world.post("acme", &format!("{RBAC}/namespaces/default/rolebindings"), binding).await;
    assert_eq!(made.code, 201, "{}", made.text);
}

/// A policy of a tenant that refuses what an expression is false of.
async fn refuse_unless(world: &World, who: &str, name: &str, spec: Value) {
    let policy = json!({"metadata": {"name": name}, "spec": spec});
    let made = world.post(who, &format!("{ADMISSION}/validatingadmissionpolicies"), policy).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}});
    let made = world.post(who, &format!("{ADMISSION}/validatingadmissionpolicybindings"), binding).await;
    assert_eq!(made.code, 201, "{}", made.text);
}

/// What the list says of a number is so: the tests that it names are there.
#[test]
fn every_test_that_the_list_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let list = std::fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let mut named = 0;
    for name in list.split('`').filter(|name| name.contains(".rs::")) {
        let (file, test) = name.split_once("::").unwrap();
        let folder = if file.starts_with("arktos-") { "" } else { "arktos-api/tests/isolation" };
        let text = std::fs::read_to_string(root.join(folder).join(file)).expect(name);
        assert!(text.contains(&format!("fn {test}(")), "{name}");
        named += 1;
    }
    assert!(named > 40, "{named} tests are named");
}

/// Whether a test below a path would run for a filter: its own name has it, or that of a module that it is in.
fn has_test(path: &Path, filter: &str) -> bool {
    if path.is_dir() {
        return std::fs::read_dir(path).unwrap().any(|inner| has_test(&inner.unwrap().path(), filter));
    }
    if path.extension().is_none_or(|kind| kind != "rs") {
        return false;
    }
    let text = std::fs::read_to_string(path).unwrap();
    let of_tests = ["test]", "test(", "proptest!"].iter().any(|mark| text.contains(mark));
    let named = || text.split("fn ").skip(1).any(|rest| rest.split('(').next().unwrap_or_default().contains(filter));
    of_tests && (path.to_string_lossy().contains(filter) || named())
}

/// What is guaranteed is held by tests that there are: each command that is named runs some.
#[test]
fn every_command_that_the_list_of_guarantees_names_runs_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let list = std::fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let (_, table) = list.split_once("## What is guaranteed").unwrap();
    let (table, _) = table.split_once("## Published").unwrap();
    let mut commands = 0;
    for command in table.split('`').skip(1).step_by(2) {
        let mut words = command.split(' ');
        let (krate, mut places, mut filter) = match words.next() {
            Some("isolation") => ("arktos-api", vec!["tests/isolation".to_owned()], words.next().unwrap_or("")),
            Some("cargo") => {
                assert_eq!((words.next(), words.next()), (Some("test"), Some("-p")), "{command}");
                (words.next().unwrap(), vec!["src".to_owned(), "tests".to_owned()], "")
            }
            _ => continue,
        };
        while let Some(word) = words.next() {
            match word {
                "--lib" => places = vec!["src".to_owned()],
                "--test" => {
                    let name = words.next().unwrap();
                    places = vec![format!("tests/{name}"), format!("tests/{name}.rs")];
                }
                "--all-features" => {}
                word => filter = word,
            }
        }
        let found = places.iter().map(|place| root.join(krate).join(place)).filter(|place| place.exists());
        assert!(found.into_iter().any(|place| has_test(&place, filter)), "{command}");
        commands += 1;
    }
    assert!(commands > 50, "{commands} commands are named");
}
