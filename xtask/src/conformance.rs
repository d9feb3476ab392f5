//! `cargo xtask conformance`: how many of the upstream conformance tests that need no running container are covered by
//! a test here that is named after them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::run::root;

/// The tests, and what covers them.
const LIST: &str = include_str!("../data/conformance.txt");

/// What to print.
#[derive(clap::Args)]
pub struct ConformanceArgs {
    /// Also name those that no test covers
    #[arg(long)]
    missing: bool,
}

struct Entry<'a> {
    class: &'a str,
    area: &'a str,
    what: &'a str,
    test: &'a str,
}

fn entries() -> impl Iterator<Item = Entry<'static>> {
    LIST.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).filter_map(|line| {
        let [head, what, test] = line.split(" | ").collect::<Vec<_>>()[..] else { return None };
        let (class, area) = head.split_once(' ')?;
        Some(Entry { class, area, what, test })
    })
}

/// Counts.
///
/// # Errors
/// A sentence that names a test that is listed and does not exist.
pub fn conformance(args: &ConformanceArgs) -> Result<(), String> {
    let mut tests = String::new();
    for folder in ["arktos-api/tests", "arktos-bin/tests", "arktos-control/tests", "arktos-control/src", "tests"] {
        read_all(&root().join(folder), &mut tests);
    }
    let mut areas: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    let (mut covered, mut all) = (0, 0);
    for entry in entries() {
        let there = entry.test != "-";
        if there && !tests.contains(&format!("fn {}(", entry.test)) {
            return Err(format!("{}: there is no test {}", entry.what, entry.test));
        }
        if !there && args.missing {
            println!("missing: {} {}: {}", entry.class, entry.area, entry.what);
        }
        let area = areas.entry((entry.class, entry.area)).or_default();
        *area = (area.0 + usize::from(there), area.1 + 1);
        (covered, all) = (covered + usize::from(there), all + 1);
    }
    for ((class, area), (covered, all)) in areas {
        println!("{class} {area:<18} {covered:>3} of {all}");
    }
    println!("{covered} of {all} conformance tests that need no running container are covered here.");
    Ok(())
}

fn read_all(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_all(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(path).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_and_every_test_that_is_listed_exists() {
        let lines = LIST.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
        assert_eq!(entries().count(), lines);
        assert_eq!(lines, 132);
        conformance(&ConformanceArgs { missing: false }).expect("every test exists");
    }
}
