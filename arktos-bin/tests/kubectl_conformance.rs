//! The upstream conformance tests of kubectl that need nothing that runs, written anew and named after what they are
//! called there, with every kubectl on this machine. `cargo xtask conformance` counts them.

mod process;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

use process::{Kubectl, Region, kubectls};

/// Runs a test with every kubectl there is, in a region of its own.
fn with_each(namespace: &str, test: impl Fn(&Kubectl, &str)) {
    let programs = kubectls();
    if programs.is_empty() {
        println!("SKIPPED: there is no kubectl on this machine");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let region = Region::start(directory.path(), &["--tenants", "acme"]);
    for (number, program) in programs.into_iter().enumerate() {
        println!("{}", program.display());
        let kubectl = Kubectl { program, kubeconfig: region.kubeconfig(Some("acme")) };
        let namespace = format!("{namespace}-{number}");
        kubectl.run(&["create", "namespace", &namespace]);
        test(&kubectl, &namespace);
    }
    assert!(region.stop().success());
}

#[test]
fn should_check_if_v1_is_in_available_api_versions() {
    with_each("versions", |kubectl, _| {
        let versions = kubectl.run(&["api-versions"]);
        assert!(versions.lines().any(|line| line == "v1"), "{versions}");
        assert!(versions.lines().any(|line| line == "apps/v1"), "{versions}");
    });
}

#[test]
fn should_check_if_kubernetes_control_plane_services_is_included_in_cluster_info() {
    with_each("info", |kubectl, _| {
        let said = kubectl.run(&["cluster-info"]);
        assert!(said.contains("Kubernetes control plane") && said.contains("is running at"), "{said}");
    });
}

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: httpd
spec:
  replicas: 2
  selector:
    matchLabels:
      app: httpd
  template:
    metadata:
      labels:
        app: httpd
    spec:
      containers:
      - name: httpd
        image: registry.example/httpd:1
";

#[test]
fn should_check_if_kubectl_diff_finds_a_difference_for_deployments() {
    with_each("diff", |kubectl, namespace| {
        kubectl.feed(&["-n", namespace, "create", "-f", "-"], DEPLOYMENT);
        let file = tempfile::NamedTempFile::new().expect("a file");
        let changed = DEPLOYMENT.replace("httpd:1", "httpd:2").replace("replicas: 2", "replicas: 3");
        std::fs::write(file.path(), changed).expect("written");
        let path = file.path().to_str().expect("a path");
        let output = kubectl.command(&["-n", namespace, "diff", "-f", path]).output().expect("kubectl runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&output.stderr));
        for (sign, image) in [('-', "image: registry.example/httpd:1"), ('+', "image: registry.example/httpd:2")] {
            assert!(said.lines().any(|line| line.starts_with(sign) && line.ends_with(image)), "{said}");
        }
        // Nothing came of it.
        let replicas = ["-n", namespace, "get", "deployment", "httpd", "-o", "jsonpath={.spec.replicas}"];
        assert_eq!(kubectl.run(&replicas), "2");
    });
}

#[test]
fn should_create_a_pod_from_an_image_when_restart_is_never() {
    with_each("run", |kubectl, namespace| {
        let image = "registry.example/httpd:1";
        kubectl.run(&["-n", namespace, "run", "e2e-test-httpd-pod", "--restart=Never", "--image", image]);
        let fields = "jsonpath={.spec.containers[0].image} {.spec.restartPolicy}";
        let pod = kubectl.run(&["-n", namespace, "get", "pod", "e2e-test-httpd-pod", "-o", fields]);
        assert_eq!(pod, "registry.example/httpd:1 Never");
    });
}

#[test]
fn should_check_if_kubectl_can_dry_run_update_pods() {
    with_each("dry-run", |kubectl, namespace| {
        let (name, image) = ("e2e-test-httpd-pod", "registry.example/httpd:1");
        kubectl.run(&["-n", namespace, "run", name, "--image", image, "--labels=run=httpd"]);
        let patch = r#"{"spec":{"containers":[{"name":"e2e-test-httpd-pod","image":"registry.example/busybox:2"}]}}"#;
        let said = kubectl.run(&["-n", namespace, "patch", "pod", name, "-p", patch, "--dry-run=server"]);
        assert!(said.contains("patched"), "{said}");
        let fields = "jsonpath={.spec.containers[0].image}";
        assert_eq!(kubectl.run(&["-n", namespace, "get", "pod", name, "-o", fields]), image);
    });
}

#[test]
fn should_check_is_all_data_is_printed() {
    with_each("version", |kubectl, _| {
        let said = kubectl.run(&["version", "-o", "yaml"]);
        for field in ["clientVersion", "serverVersion", "major", "minor", "gitVersion", "goVersion", "platform"] {
            assert!(said.contains(field), "{field} is missing in {said}");
        }
    });
}

/// A proxy that is ended with the test.
struct Proxy {
    child: Child,
    said: String,
}

impl Proxy {
    fn start(kubectl: &Kubectl, arguments: &[&str]) -> Self {
        let mut all = vec!["proxy"];
        all.extend(arguments);
        let mut child = kubectl.command(&all).stdout(Stdio::piped()).spawn().expect("kubectl runs");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut said).expect("it says where it serves");
        Self { child, said }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn api_versions(mut stream: impl Read + Write) -> String {
    stream.write_all(b"GET /api/ HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

#[test]
fn should_support_proxy_with_port_0() {
    with_each("proxy", |kubectl, _| {
        let proxy = Proxy::start(kubectl, &["--port=0", "--disable-filter=true"]);
        let port = proxy.said.trim().rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        let stream = TcpStream::connect(("127.0.0.1", port.expect("a port"))).expect("connects");
        let answer = api_versions(stream);
        assert!(answer.contains("\"APIVersions\""), "{answer}");
    });
}

#[test]
fn should_support_unix_socket_path() {
    with_each("socket", |kubectl, _| {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let _proxy = Proxy::start(kubectl, &["--unix-socket", path.to_str().expect("a path")]);
        let answer = api_versions(UnixStream::connect(&path).expect("connects"));
        assert!(answer.contains("\"APIVersions\""), "{answer}");
    });
}
