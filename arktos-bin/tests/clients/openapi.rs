//! Requests made up from the server's own OpenAPI documents: whatever they are, none is answered with a fault.

use std::path::Path;
use std::process::Command;

use super::process::http::Caller;
use super::{file, world};

/// How many requests are made up for each operation, unless `ARKTOS_REQUESTS` says so.
const REQUESTS: &str = "2";

/// Runs schemathesis over the documents of some group versions.
pub fn requests_made_up_from_the_documents_meet_no_fault(program: &Path) {
    let world = world();
    let address = world.region.insecure.expect("a plain address");
    let requests = std::env::var("ARKTOS_REQUESTS").unwrap_or_else(|_| REQUESTS.to_owned());
    let wanted = std::env::var("ARKTOS_DOCUMENTS").unwrap_or_else(|_| "apis/apps/v1,apis/batch/v1".to_owned());
    for document in documents(&world.acme(), &wanted) {
        let mut command = Command::new(program);
        command.args([
            "run",
            &format!("http://{address}/openapi/v3/{document}"),
            "--url",
            &format!("http://{address}"),
        ]);
        command.args(["--header", "Authorization: Bearer acme-token", "--checks", "no_fault", "--no-color"]);
        command.args([
            "--phases",
            "fuzzing",
            "--max-examples",
            &requests,
            "--seed",
            "7",
            "--generation-database",
            "none",
        ]);
        command.args(["--suppress-health-check", "all", "--warnings", "off", "--request-timeout", "30"]);
        command.args([
            "--continue-on-failure",
            "--exclude-path-regex",
            "/watch/|/proxy|/exec|/attach|/portforward|/log$",
        ]);
        command.env("SCHEMATHESIS_HOOKS", file("scripts/schemathesis_hooks.py")).env("PYTHONDONTWRITEBYTECODE", "1");
        let output = command.current_dir(world.directory.path()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        println!("{document}: {}", said.lines().rev().find(|line| line.contains("in ")).unwrap_or_default());
        assert!(output.status.success(), "{document}:\n{said}{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(world.region.stop().success());
}

/// The documents that are wanted, or all there are.
fn documents(caller: &Caller<'_>, wanted: &str) -> Vec<String> {
    let (code, index) = caller.get("/openapi/v3");
    assert_eq!(code, 200, "{index}");
    let all = index["paths"].as_object().expect("an index").keys();
    all.filter(|name| wanted == "all" || wanted.split(',').any(|it| it == *name)).cloned().collect()
}
