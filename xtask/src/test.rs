//! `cargo xtask test`: everything that must pass.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use crate::run::{cargo, cargo_heard, cargo_with, named_files, root};
use crate::tools;

/// Which part of the tests to run.
#[derive(clap::Args)]
pub struct TestArgs {
    /// Only formats and lints
    #[arg(long)]
    lint: bool,
}

/// Runs the tests, cheapest first, and stops at the first failure.
///
/// # Errors
/// A sentence that names the command that failed.
pub fn test(args: &TestArgs) -> Result<(), String> {
    let tools = tools::install();
    // The etcd store needs protoc to be built at all.
    let protoc = tools.iter().any(|tool| tool.name == "protoc" && tool.found);
    let features: &[&'static str] = if protoc { &["--all-features"] } else { &["--features", "arktos-bin/sled"] };
    let with = |arguments: &[&'static str]| -> Vec<&'static str> {
        arguments.iter().copied().chain(features.iter().copied()).collect()
    };
    cargo(&["fmt", "--all", "--check"])?;
    let mut clippy = with(&["clippy", "--workspace", "--all-targets", "--quiet"]);
    clippy.extend(["--", "-D", "warnings"]);
    cargo(&clippy)?;
    if args.lint {
        return Ok(());
    }
    // A user of the language or of the memory store compiles neither an HTTP stack nor a database.
    cargo(&["check", "--quiet", "-p", "arktos-store", "--no-default-features"])?;
    light("arktos-store", &["hyper", "axum", "tonic", "rustls", "sled", "etcd-client", "kube"])?;
    // A user of the façade has fewer features than all crates together.
    cargo(&["check", "--quiet", "-p", "arktos", "--features", "remote"])?;
    // Libraries alone: the program `arktos` and the library of that name would write the same files.
    let doc = with(&["doc", "--workspace", "--exclude", "xtask", "--lib", "--no-deps", "--quiet"]);
    cargo_with(&doc, &[("RUSTDOCFLAGS", "-D warnings")])?;
    let unsteady = workspace(features)?;
    interleavings()?;
    // Every benchmark once, to see that it works.
    cargo(&["test", "--package", "arktos", "--benches", "--quiet"])?;
    for example in named_files("examples")? {
        cargo(&["run", "--quiet", "--package", "arktos", "--example", &example])?;
    }
    // A backend of somebody's own, checked by the conformance kit; and a store that keeps.
    for example in ["own_backend", "kept_store"] {
        cargo(&["run", "--quiet", "--package", "arktos-store", "--example", example])?;
    }
    println!();
    tools::report(&tools);
    match tools.iter().filter(|tool| !tool.found).count() {
        0 => println!("All tests passed."),
        missing => println!("All tests passed but those that were skipped for want of {missing} of the tools above."),
    }
    for target in &unsteady {
        println!("\n!!! `{target}` failed and PASSED ONLY AT THE SECOND TRY: its output is above (look for `FAILED`).");
    }
    if !unsteady.is_empty() {
        println!("!!! A test that sometimes fails is a bug to mend, in the test or in what it tests.");
    }
    Ok(())
}

/// Runs the tests of the workspace, those targets that failed once more, one after another, and says which passed only
/// then.
fn workspace(features: &[&'static str]) -> Result<Vec<String>, String> {
    let all = [&["test", "--workspace"], features].concat();
    let (outcome, said) = cargo_heard(&[&all[..], &["--no-fail-fast"]].concat());
    let Err(why) = outcome else { return Ok(Vec::new()) };
    let failed = failed_targets(&said);
    if failed.is_empty() {
        return Err(why); // it was not the tests: it does not compile
    }
    // Not by package: one alone has fewer features, and would be compiled anew with all that it is made of.
    let kinds: BTreeSet<Vec<&str>> = failed.iter().map(|target| target.split(' ').skip(2).collect()).collect();
    for kind in &kinds {
        println!("\n==> {} failed: once more", failed.join(", "));
        cargo(&[&all[..], kind].concat())?;
    }
    Ok(failed)
}

/// The targets in the list with which cargo ends, as arguments: each is a line of its own, in quotes.
fn failed_targets(said: &str) -> Vec<String> {
    let heads = |line: &&str| line.starts_with("error: ") && line.ends_with("failed:");
    let lines = said.lines().skip_while(|line| !heads(line)).skip(1);
    lines.map_while(|line| line.strip_prefix("    `")?.strip_suffix('`')).map(str::to_owned).collect()
}

/// Fails where a crate without its default features depends on one of these.
fn light(package: &str, heavy: &[&str]) -> Result<(), String> {
    let arguments = ["tree", "-p", package, "--no-default-features", "--edges", "normal", "--prefix", "none"];
    let tree = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output();
    let tree = tree.map_err(|error| format!("cargo tree: {error}"))?;
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    let of = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    if tree.lines().next().map(of).as_deref() != Some(package) {
        return Err(format!("cargo tree says nothing of {package}"));
    }
    match tree.lines().map(of).find(|name| heavy.contains(&name.as_str())) {
        Some(name) => Err(format!("{package} without its default features compiles {name}")),
        None => Ok(()),
    }
}

/// The engine's own code under a scheduler that tries interleavings. It is built in a folder of its own, as it is made
/// of other locks.
fn interleavings() -> Result<(), String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let target = target.join("shuttle").to_string_lossy().into_owned();
    cargo_with(
        &["test", "--package", "arktos-store", "--no-default-features", "--lib", "interleavings"],
        &[("RUSTFLAGS", "--cfg shuttle"), ("CARGO_TARGET_DIR", &target)],
    )
}

#[cfg(test)]
mod tests {
    use super::failed_targets;

    #[test]
    fn what_failed_is_read_from_what_cargo_says() {
        let said = "   Doc-tests arktos\nerror: doctest failed, to rerun pass `-p arktos --doc`\n\
                    error: 2 targets failed:\n    `-p arktos-store --lib`\n    `-p arktos --doc`\n";
        assert_eq!(failed_targets(said), ["-p arktos-store --lib", "-p arktos --doc"]);
        let said = "error: 1 target failed:\n    `-p arktos-bin --test remote`\n";
        assert_eq!(failed_targets(said), ["-p arktos-bin --test remote"]);
        let said = "error: expected `;`\n  --> src/lib.rs:1:1\nerror: could not compile `arktos` (lib)\n";
        assert!(failed_targets(said).is_empty());
    }
}
