//! The programs that tests use beside the toolchain: found, installed where that can be done, or named as missing.

use std::process::{Command, Stdio};

use crate::clients;
use crate::run::answers;

/// A program that tests use.
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// Whether it is there.
    pub found: bool,
    /// What is skipped without it.
    pub skipped: &'static str,
}

/// Every program: its name, an argument with which it says something and ends, its packages, and what is skipped
/// without it.
const WANTED: [(&str, &str, &str, &str); 4] = [
    // the second has the common message files, which the first only recommends
    ("protoc", "--version", "protobuf-compiler libprotobuf-dev", "the etcd store (it is not even built)"),
    ("etcd", "--version", "etcd-server", "tests of the etcd store against a real etcd, and the benchmark's peer"),
    ("kubectl", "--help", "kubernetes-client", "end-to-end tests with a real kubectl"),
    ("valgrind", "--version", "valgrind", "counting instructions in benchmarks"),
];

/// Looks for what the tests use, and installs what is missing where a package manager can.
pub fn install() -> Vec<Tool> {
    let mut tools = install_some(&["protoc", "etcd", "kubectl"]);
    tools.extend(clients::install());
    tools
}

/// As [`install`], for programs by name.
pub fn install_some(names: &[&str]) -> Vec<Tool> {
    let wanted = || WANTED.iter().filter(|(name, ..)| names.contains(name));
    let missing: Vec<&str> = wanted()
        .filter(|(name, argument, ..)| !answers(name, argument))
        .flat_map(|(_, _, packages, _)| packages.split(' '))
        .collect();
    if !missing.is_empty() {
        println!("missing: {}", missing.join(", "));
        apt_get(&missing);
    }
    wanted().map(|&(name, argument, _, skipped)| Tool { name, found: answers(name, argument), skipped }).collect()
}

/// Prints what is there and what is skipped for want of the rest.
pub fn report(tools: &[Tool]) {
    for tool in tools {
        if tool.found {
            println!("found    {}", tool.name);
        } else {
            println!("MISSING  {}: skipped is {}", tool.name, tool.skipped);
        }
    }
}

/// Installs packages where apt-get runs as root: one at a time, so that one that cannot be had does not stop the rest.
fn apt_get(packages: &[&str]) {
    let quietly = |arguments: &[&str]| {
        Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !quietly(&["update", "-qq"]) {
        println!("apt-get cannot be used here: install what is missing by hand to run every test");
        return;
    }
    for package in packages {
        if !quietly(&["install", "-y", "-qq", "--no-install-recommends", package]) {
            println!("{package} cannot be installed here");
        }
    }
}
