//! Instructions, counted by valgrind where it is there. They do not depend on who else uses the machine, nor on its
//! caches, which time does.

use std::hint::black_box;
use std::process::{Command, Stdio};

use tempfile::NamedTempFile;

/// What is counted, of all that a part of a measurement does.
#[inline(never)]
pub fn counted<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

/// How many instructions a part spends within [`counted`]; nothing where there is no valgrind.
pub fn instructions(part: &[&str]) -> Option<f64> {
    let out = NamedTempFile::new().ok()?;
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*::harness::callgrind::counted*"])
        .arg(format!("--callgrind-out-file={}", out.path().display()))
        .arg(std::env::current_exe().ok()?)
        .arg("--part")
        .args(part)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !status.is_ok_and(|status| status.success()) {
        return None;
    }
    let text = std::fs::read_to_string(out.path()).ok()?;
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: "))?;
    totals.trim().parse().ok().filter(|total| *total > 0.0)
}

/// The instructions of each event: of many less those of half as many, so that what is paid once falls out.
pub fn instructions_each(part: &[&str], events: usize) -> Option<f64> {
    let of = |events: usize| {
        let events = events.to_string();
        instructions(&[part, &[events.as_str()]].concat())
    };
    Some((of(events)? - of(events / 2)?) / (events - events / 2) as f64)
}
