//! A tenant with an unmodified kubectl deploys a workload that is scheduled onto hosts and reported running: every
//! kubectl on this machine against the real program.

mod process;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use process::{Kubectl, Region, kubectls, pause};

const MANIFEST: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  namespace: shop
data:
  colour: green
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  labels:
    app: web
spec:
  replicas: 3
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
      - name: main
        image: registry.example/web:1
        ports:
        - name: http
          containerPort: 8080
        envFrom:
        - configMapRef:
            name: settings
---
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
spec:
  selector:
    app: web
  ports:
  - port: 80
    targetPort: http
";

/// One for each host.
const AGENT: &str = "\
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: agent
  namespace: shop
spec:
  selector:
    matchLabels:
      app: agent
  updateStrategy:
    rollingUpdate:
      maxUnavailable: 100%
  template:
    metadata:
      labels:
        app: agent
    spec:
      containers:
      - name: main
        image: registry.example/agent:1
";

#[test]
fn every_kubectl_drives_a_tenant_from_end_to_end() {
    let programs = kubectls();
    if programs.is_empty() {
        println!("SKIPPED: there is no kubectl on this machine");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let tenants: Vec<String> = (0..programs.len()).map(|number| format!("tenant-{number}")).collect();
    let region = Region::start(directory.path(), &["--tenants", &tenants.join(",")]);
    let admin = Kubectl { program: programs[programs.len() - 1].clone(), kubeconfig: region.kubeconfig(None) };
    admin.until(&["get", "nodes", "--no-headers"], |out| out.matches(" Ready ").count() == 10);
    let metrics = admin.run(&["get", "--raw", "/metrics"]);
    assert!(metrics.contains(r#"arktos_certificate_not_after_seconds{certificate="serving"}"#), "{metrics}");
    for (program, tenant) in programs.iter().zip(&tenants) {
        println!("{} as {tenant}", program.display());
        let kubectl = Kubectl { program: program.clone(), kubeconfig: region.kubeconfig(Some(tenant)) };
        asks(&kubectl);
        deploys(&kubectl);
        changes(&kubectl);
        runs_on_each_host(&kubectl);
        creates_typed(&kubectl);
        is_refused_clearly(&kubectl);
        deletes(&kubectl);
    }
    assert!(region.stop().success());
}

fn asks(kubectl: &Kubectl) {
    let version = kubectl.run(&["version", "-o", "json"]);
    assert!(version.contains("\"serverVersion\""), "{version}");
    assert!(kubectl.run(&["cluster-info"]).contains("is running at"));
    let resources = kubectl.run(&["api-resources"]);
    for resource in ["deployments", "configmaps", "networkpolicies"] {
        assert!(resources.contains(resource), "{resource} is missing in\n{resources}");
    }
    let explained = kubectl.run(&["explain", "deployment.spec.replicas"]);
    assert!(explained.contains("replicas"), "{explained}");
    assert_eq!(kubectl.run(&["auth", "can-i", "create", "deployments"]).trim(), "yes");
}

fn deploys(kubectl: &Kubectl) {
    kubectl.run(&["create", "namespace", "shop"]);
    let applied = kubectl.feed(&["apply", "-f", "-"], MANIFEST);
    for line in ["configmap/settings created", "deployment.apps/web created", "service/web created"] {
        assert!(applied.contains(line), "{applied}");
    }
    kubectl.run(&["-n", "shop", "rollout", "status", "deployment/web", "--timeout=180s"]);
    kubectl.run(&["-n", "shop", "wait", "--for=condition=Available", "deployment/web", "--timeout=180s"]);
    let pods = kubectl.run(&["-n", "shop", "get", "pods", "-o", "wide", "--no-headers"]);
    assert_eq!(pods.lines().count(), 3, "{pods}");
    for pod in pods.lines() {
        assert!(pod.contains("Running") && pod.contains("10.128.") && pod.contains("hollow-"), "{pod}");
    }
    let again = kubectl.feed(&["apply", "-f", "-"], MANIFEST);
    assert_eq!(again.matches("unchanged").count(), 3, "{again}");
    let slices = kubectl
        .until(&["-n", "shop", "get", "endpointslices", "-o", "yaml"], |out| out.matches("10.128.").count() == 3);
    assert!(slices.contains("kubernetes.io/service-name: web"), "{slices}");
    let service = kubectl.run(&["-n", "shop", "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]);
    assert!(service.starts_with("10.0."), "{service}");
    let told = |out: &str| out.contains("3 desired") && out.contains("ScalingReplicaSet");
    kubectl.until(&["-n", "shop", "describe", "deployment", "web"], told);
    let name = pods.split_whitespace().next().expect("a pod");
    kubectl.until(&["-n", "shop", "describe", "pod", name], |out| out.contains("Successfully assigned"));
    let everything = kubectl.run(&["get", "all", "-A"]);
    assert!(everything.contains("deployment.apps/web"), "{everything}");
    kubectl.until(&["-n", "shop", "get", "events"], |out| out.contains("Scaled up replica set"));
    let roots = ["-n", "shop", "get", "configmap", "kube-root-ca.crt", "-o", "jsonpath={.data}"];
    kubectl.until(&roots, |out| out.contains("BEGIN CERTIFICATE"));
    kubectl.until(&["-n", "shop", "get", "serviceaccount", "default", "-o", "name"], |out| out.contains("default"));
}

fn changes(kubectl: &Kubectl) {
    let mut watch = kubectl
        .command(&["-n", "shop", "get", "pods", "-w", "--no-headers", "--request-timeout=0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("kubectl runs");
    let mut seen = BufReader::new(watch.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let before: Vec<String> = seen.by_ref().take(3).collect();
    assert!(before.iter().all(|line| line.contains("Running")), "{before:?}");
    kubectl.run(&["-n", "shop", "scale", "deployment/web", "--replicas=5"]);
    assert!(seen.by_ref().any(|line| line.contains("ContainerCreating") || line.contains("Pending")));
    watch.kill().expect("it runs");
    watch.wait().expect("it can be waited for");
    kubectl.run(&["-n", "shop", "rollout", "status", "deployment/web", "--timeout=180s"]);

    kubectl.run(&["-n", "shop", "set", "image", "deployment/web", "main=registry.example/web:2"]);
    kubectl.run(&["-n", "shop", "rollout", "status", "deployment/web", "--timeout=180s"]);
    let image = "jsonpath={.items[*].spec.containers[0].image}";
    let images = ["-n", "shop", "get", "pods", "-l", "app=web", "--field-selector=status.phase=Running", "-o", image];
    kubectl.until(&images, |out| out.matches("web:2").count() == 5 && !out.contains("web:1"));
    assert!(kubectl.run(&["-n", "shop", "rollout", "history", "deployment/web"]).contains('2'));
    kubectl.run(&["-n", "shop", "rollout", "undo", "deployment/web"]);
    kubectl.run(&["-n", "shop", "rollout", "status", "deployment/web", "--timeout=180s"]);
    kubectl.until(&images, |out| out.matches("web:1").count() == 5 && !out.contains("web:2"));

    kubectl.run(&["-n", "shop", "label", "configmap", "settings", "tier=front"]);
    kubectl.run(&["-n", "shop", "annotate", "configmap", "settings", "note=changed"]);
    let edit = kubectl
        .command(&["-n", "shop", "edit", "configmap", "settings"])
        .env("KUBE_EDITOR", "sed -i s/green/blue/")
        .output();
    assert!(edit.expect("kubectl runs").status.success());
    let data = kubectl.run(&[
        "-n",
        "shop",
        "get",
        "configmap",
        "settings",
        "-o",
        "jsonpath={.data.colour} {.metadata.labels.tier} {.metadata.annotations.note}",
    ]);
    assert_eq!(data, "blue front changed");
    for (media, patch) in [
        ("json", r#"[{"op": "add", "path": "/data/a", "value": "1"}]"#),
        ("merge", r#"{"data": {"b": "2"}}"#),
        ("strategic", r#"{"data": {"c": "3"}}"#),
    ] {
        kubectl.run(&["-n", "shop", "patch", "configmap", "settings", "--type", media, "-p", patch]);
    }
    let keys =
        kubectl.run(&["-n", "shop", "get", "configmap", "settings", "-o", "jsonpath={.data.a}{.data.b}{.data.c}"]);
    assert_eq!(keys, "123");
}

/// kubectl 1.32 and later send these as protobuf.
fn runs_on_each_host(kubectl: &Kubectl) {
    let follow = || kubectl.run(&["-n", "shop", "rollout", "status", "daemonset/agent", "--timeout=180s"]);
    kubectl.feed(&["apply", "-f", "-"], AGENT);
    follow();
    let nodes = "jsonpath={.items[*].spec.nodeName}";
    let nodes = kubectl.run(&["-n", "shop", "get", "pods", "-l", "app=agent", "-o", nodes]);
    let mut nodes: Vec<&str> = nodes.split_whitespace().collect();
    nodes.sort_unstable();
    nodes.dedup();
    assert_eq!(nodes.len(), 10, "{nodes:?}");
    let image = "jsonpath={.items[*].spec.containers[0].image}";
    let images = ["-n", "shop", "get", "pods", "-l", "app=agent", "-o", image];
    kubectl.run(&["-n", "shop", "set", "image", "daemonset/agent", "main=registry.example/agent:2"]);
    follow();
    kubectl.until(&images, |out| out.matches("agent:2").count() == 10 && !out.contains("agent:1"));
    let history = kubectl.run(&["-n", "shop", "rollout", "history", "daemonset/agent", "--revision=1"]);
    assert!(history.contains("registry.example/agent:1"), "{history}");
    kubectl.run(&["-n", "shop", "rollout", "undo", "daemonset/agent"]);
    follow();
    kubectl.until(&images, |out| out.matches("agent:1").count() == 10 && !out.contains("agent:2"));
    kubectl.run(&["-n", "shop", "delete", "daemonset", "agent", "--timeout=180s"]);
    kubectl.until(&["-n", "shop", "get", "pods", "-l", "app=agent", "-o", "name"], str::is_empty);
}

fn creates_typed(kubectl: &Kubectl) {
    kubectl.run(&["-n", "shop", "create", "configmap", "typed", "--from-literal=a=b"]);
    kubectl.run(&["-n", "shop", "create", "deployment", "typed", "--image=registry.example/typed:1", "--replicas=2"]);
    kubectl.run(&["-n", "shop", "create", "job", "once", "--image=registry.example/job:1"]);
    kubectl.run(&["-n", "shop", "create", "secret", "generic", "hidden", "--from-literal=password=xyzzy"]);
    kubectl.run(&["-n", "shop", "create", "serviceaccount", "robot"]);
    kubectl.run(&["-n", "shop", "create", "role", "reader", "--verb=get,list", "--resource=pods"]);
    kubectl.run(&["-n", "shop", "run", "single", "--image=registry.example/single:1", "--restart=Never"]);
    kubectl.run(&["-n", "shop", "expose", "deployment", "typed", "--port=80"]);
    kubectl.run(&["-n", "shop", "wait", "--for=condition=Available", "deployment/typed", "--timeout=180s"]);
    kubectl.run(&["-n", "shop", "wait", "--for=condition=Complete", "job/once", "--timeout=180s"]);
    let secret = kubectl.run(&["-n", "shop", "get", "secret", "hidden", "-o", "jsonpath={.data.password}"]);
    assert_eq!(secret, "eHl6enk=");
}

fn is_refused_clearly(kubectl: &Kubectl) {
    let name = kubectl.run(&["-n", "shop", "get", "pod", "single", "-o", "name"]);
    for arguments in [vec!["-n", "shop", "logs", name.trim()], vec!["-n", "shop", "exec", name.trim(), "--", "true"]] {
        let said = kubectl.refused(&arguments);
        assert!(said.contains("not") && !said.contains("panic"), "{arguments:?}: {said}");
    }
    // Hosts are not a tenant's: they are not among its resources, and asking for them all the same is refused.
    assert!(kubectl.refused(&["get", "nodes"]).contains("doesn't have a resource type"));
    assert!(kubectl.refused(&["get", "--raw", "/api/v1/nodes"]).contains("cannot list resource"));
    let invalid = kubectl.refused(&["-n", "shop", "create", "deployment", "Bad_Name", "--image=x"]);
    assert!(invalid.contains("is invalid") && invalid.contains("RFC 1123"), "{invalid}");
}

fn deletes(kubectl: &Kubectl) {
    kubectl.run(&["-n", "shop", "delete", "deployment", "web", "--timeout=180s"]);
    kubectl.until(&["-n", "shop", "get", "pods", "-l", "app=web", "-o", "name"], str::is_empty);
    kubectl.run(&["-n", "shop", "delete", "pod", "single", "--timeout=180s"]);
    kubectl.run(&["delete", "namespace", "shop", "--timeout=180s"]);
    assert!(kubectl.refused(&["get", "namespace", "shop"]).contains("not found"));
    pause();
}
