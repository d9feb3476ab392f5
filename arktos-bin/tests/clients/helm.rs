//! Helm: a chart with hooks, a definition and objects of it, from its installation to its end.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::process::http::Caller;
use super::process::{PATIENCE, pause};
use super::{file, world};

struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Helm {
    fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.home);
        command.output().expect("helm runs")
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "helm {arguments:?} failed:\n{out}{error}");
        out.into_owned()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "helm {arguments:?} succeeded:\n{out}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[arguments, &["-o", "json"]].concat())).expect("JSON")
    }
}

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/sales/deployments/shop";
const MAP: &str = "/api/v1/namespaces/sales/configmaps/shop";
const GREEN: &str = "/api/v1/namespaces/sales/secrets/shop-green";
const ORDER: &str = "/apis/shop.example.org/v1/namespaces/sales/orders/shop";

/// The whole life of a release.
pub fn installs_upgrades_rolls_back_and_uninstalls(program: &Path) {
    let world = world();
    let helm = Helm {
        program: program.to_owned(),
        kubeconfig: world.region.kubeconfig(Some("acme")),
        home: world.directory.path().to_owned(),
    };
    println!("{}", helm.run(&["version", "--short"]).trim());
    let (chart, acme) = (file("chart"), world.acme());
    let chart = chart.to_str().expect("a path");
    installs(&helm, chart, &acme);
    upgrades(&helm, chart, &acme);
    rolls_back(&helm, &acme);
    is_told_what_is_wrong(&helm, chart, &acme);
    uninstalls(&helm, &acme);
    assert!(world.region.stop().success());
}

/// Helm has waited for the replica set, which the deployment follows a moment later.
fn becomes_ready(acme: &Caller<'_>, replicas: u64) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let status = acme.get(DEPLOYMENT).1["status"].take();
        if status["readyReplicas"] == replicas {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{status}");
        pause();
    }
}

fn installs(helm: &Helm, chart: &str, acme: &Caller<'_>) {
    let rendered = helm.run(&["template", "shop", chart, "-n", "sales"]);
    assert!(rendered.contains("colour: \"green\""), "{rendered}");
    helm.run(&["install", "shop", chart, "-n", "sales", "--create-namespace", "--wait", "--timeout=240s"]);
    becomes_ready(acme, 2);
    assert_eq!(acme.get(MAP).1["data"]["revision"], "1");
    assert_eq!((acme.get(GREEN).0, &acme.get(ORDER).1["spec"]["pieces"]), (200, &Value::from(2)));
    let (code, _) = acme.get("/apis/batch/v1/namespaces/sales/jobs/shop-prepare");
    assert_eq!(code, 404, "the hook has run and is gone");
    let listed = helm.json(&["list", "-A"]);
    assert_eq!((&listed[0]["name"], &listed[0]["status"]), (&"shop".into(), &"deployed".into()), "{listed}");
    assert!(helm.refused(&["install", "shop", chart, "-n", "sales"]).contains("still in use"));
}

fn upgrades(helm: &Helm, chart: &str, acme: &Caller<'_>) {
    let changes = ["--set", "colour=blue,replicas=3", "--wait", "--timeout=240s"];
    helm.run(&[&["upgrade", "shop", chart, "-n", "sales"][..], &changes].concat());
    becomes_ready(acme, 3);
    assert_eq!(acme.get(MAP).1["data"]["colour"], "blue");
    assert_eq!((acme.get(GREEN).0, &acme.get(ORDER).1["spec"]["pieces"]), (404, &Value::from(3)));
    let status = helm.json(&["status", "shop", "-n", "sales"]);
    assert_eq!((&status["version"], &status["info"]["status"]), (&2.into(), &"deployed".into()), "{status}");
    assert!(helm.run(&["get", "manifest", "shop", "-n", "sales"]).contains("colour: \"blue\""));
}

fn rolls_back(helm: &Helm, acme: &Caller<'_>) {
    helm.run(&["rollback", "shop", "1", "-n", "sales", "--wait", "--timeout=240s"]);
    assert_eq!(acme.get(MAP).1["data"]["colour"], "green");
    assert_eq!((acme.get(GREEN).0, &acme.get(DEPLOYMENT).1["spec"]["replicas"]), (200, &Value::from(2)));
    let history = helm.json(&["history", "shop", "-n", "sales"]);
    let states: Vec<&str> = history.as_array().expect("a list").iter().filter_map(|it| it["status"].as_str()).collect();
    assert_eq!(states, ["superseded", "superseded", "deployed"]);
}

fn is_told_what_is_wrong(helm: &Helm, chart: &str, acme: &Caller<'_>) {
    let said = helm.refused(&["upgrade", "shop", chart, "-n", "sales", "--set", "replicas=0"]);
    assert!(said.contains("spec.pieces") && said.contains("should be greater than or equal to 1"), "{said}");
    assert_eq!(acme.get(DEPLOYMENT).1["metadata"]["annotations"]["meta.helm.sh/release-name"], "shop");
    helm.run(&["rollback", "shop", "3", "-n", "sales", "--wait", "--timeout=240s"]);
}

fn uninstalls(helm: &Helm, acme: &Caller<'_>) {
    helm.run(&["uninstall", "shop", "-n", "sales", "--wait", "--timeout=240s"]);
    for path in [DEPLOYMENT, MAP, GREEN, ORDER] {
        assert_eq!(acme.get(path).0, 404, "{path}");
    }
    assert_eq!(helm.json(&["list", "-A"]), serde_json::json!([]));
    let (code, _) = acme.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/orders.shop.example.org");
    assert_eq!(code, 200, "definitions stay, as Helm has it");
}
