//! `cargo xtask test`: everything that must pass.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use crate::run::{cargo, cargo_heard, cargo_with, named_files, program, root};
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
    // Every benchmark once, to see that it works. Not by package: see `workspace`.
    cargo(&with(&["test", "--workspace", "--quiet", "--bench", "*"]))?;
    // They were built with the tests: those of the façade, and those of the store.
    for folder in ["examples", "arktos-store/examples"] {
        for example in named_files(folder)? {
            program(&target().join("debug/examples").join(example))?;
        }
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
    // none: it was not the tests, but it does not compile
    let Some(failed) = failed_targets(&said) else { return Err(why) };
    // Not by package: one alone has fewer features, and would be compiled anew with all that it is made of.
    let kinds: BTreeSet<Vec<&str>> = failed.iter().map(|target| target.split(' ').skip(2).collect()).collect();
    for kind in &kinds {
        println!("\n==> {} failed: once more", failed.join(", "));
        cargo(&[&all[..], kind].concat())?;
    }
    Ok(failed)
}

/// The targets in the list with which cargo ends, as arguments: each is a line of its own, in quotes. None where there
/// is no such list, or it is not as long as it says.
fn failed_targets(said: &str) -> Option<Vec<String>> {
    let count = |line: &str| -> Option<usize> {
        line.strip_prefix("error: ")?.strip_suffix(" failed:")?.split_once(" target")?.0.parse().ok()
    };
    let (at, count) = said.lines().enumerate().find_map(|(at, line)| Some((at, count(line)?)))?;
    let lines = said.lines().skip(at + 1);
    let listed = lines.filter_map(|line| line.strip_prefix("    `")?.strip_suffix('`')).map(str::to_owned);
    let listed: Vec<String> = listed.take(count).collect();
    (listed.len() == count).then_some(listed)
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
    let target = target().join("shuttle").to_string_lossy().into_owned();
    cargo_with(
        &["test", "--package", "arktos-store", "--no-default-features", "--lib", "interleavings"],
        &[("RUSTFLAGS", "--cfg shuttle"), ("CARGO_TARGET_DIR", &target)],
    )
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::failed_targets;

    #[test]
    fn what_failed_is_read_from_what_cargo_says() {
        let said = "   Doc-tests arktos\nerror: doctest failed, to rerun pass `-p arktos --doc`\n\
                    error: 2 targets failed:\n    `-p arktos-store --lib`\n    `-p arktos --doc`\n";
        let both = vec!["-p arktos-store --lib".to_owned(), "-p arktos --doc".to_owned()];
        assert_eq!(failed_targets(said), Some(both.clone()));
        let between = said.replace("lib`\n", "lib`\nsomebody else's line\n");
        assert_eq!(failed_targets(&between), Some(both));
        assert_eq!(failed_targets(&said.replace('2', "3")), None, "one is missing");
        let said = "error: 1 target failed:\n    `-p arktos-bin --test remote`\n";
        assert_eq!(failed_targets(said), Some(vec!["-p arktos-bin --test remote".to_owned()]));
        let said = "error: expected `;`\n  --> src/lib.rs:1:1\nerror: could not compile `arktos` (lib)\n";
        assert_eq!(failed_targets(said), None);
    }
}
