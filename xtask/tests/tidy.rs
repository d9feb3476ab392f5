//! What taste can count: lengths, names, banned calls, dead files. A limit that must be exceeded is raised here, in
//! review, and not worked around.

use std::fs;
use std::path::{Path, PathBuf};

/// A file has one subject.
const FILE_LINES_MAX: usize = 600;
/// A function fits on a screen.
const FUNCTION_LINES_MAX: usize = 70;
/// Functions of tests may tell a longer story.
const TEST_FUNCTION_LINES_MAX: usize = 120;
/// As rustfmt has it; comments are not excused, data in tests is.
const COLUMNS_MAX: usize = 120;
/// Lines with a text in them that a client reads, which rustfmt cannot break.
const TEXT_COLUMNS_MAX: usize = 140;
/// Names that say nothing.
const NAMES_BANNED: [&str; 6] = ["utils", "util", "helpers", "helper", "common", "misc"];
/// Calls and marks that are never left in.
const CALLS_BANNED: [&str; 6] = ["todo!(", "unimplemented!(", "dbg!(", "FIXME", "XXX", "#[ignore]"];
/// Paths of a machine, which mean nothing on another. Only where a path begins: `/api/v1/namespaces/work/pods` is none.
const PATHS_BANNED: [&str; 3] = ["/work/", "/root/", "/home/"];

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// Whether the whole file is a test, or belongs to one.
    fn is_test(&self) -> bool {
        let path = self.path.to_string_lossy();
        path.contains("/tests/")
            || path.ends_with("/tests.rs")
            || path.ends_with("_test.rs")
            || path.contains("/benches/")
    }

    /// The line at which the tests inside the file begin.
    fn tests_begin(&self) -> usize {
        let begin = self.lines().find(|(_, line)| line.trim() == "#[cfg(test)]").map(|(at, _)| at);
        begin.unwrap_or(usize::MAX)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace").to_owned()
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && !name.starts_with("target") && !name.starts_with("corpus") {
                folders.push(path);
            } else if name.ends_with(".rs") {
                sources.push(Source { text: fs::read_to_string(&path).expect("text"), path });
            }
        }
    }
    assert!(sources.len() > 50, "the sources are looked for in the wrong place");
    sources
}

/// Fails with one line a finding.
fn report(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

fn place(source: &Source, line: usize) -> String {
    let path = source.path.strip_prefix(root()).unwrap_or(&source.path);
    format!("{}:{line}", path.display())
}

#[test]
fn files_have_one_subject() {
    let long = |source: &Source| {
        let lines = source.lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{} has {lines} lines (at most {FILE_LINES_MAX})", place(source, 1)))
    };
    report(sources().iter().filter_map(long).collect());
}

/// Whether a line begins a function, whatever stands before `fn`.
fn begins_function(line: &str) -> bool {
    let Some((before, _)) = line.split_once("fn ") else { return false };
    before.split_whitespace().all(|word| {
        ["pub", "async", "const", "unsafe", "extern", "\"C\"", "default"].contains(&word)
            || (word.starts_with("pub(") && word.ends_with(')'))
    })
}

#[test]
fn functions_fit_on_a_screen() {
    let mut findings = Vec::new();
    for source in sources() {
        let tests_begin = if source.is_test() { 0 } else { source.tests_begin() };
        let mut open: Option<(usize, usize)> = None; // where a function began, and how far it is indented
        for (at, line) in source.lines() {
            let indent = line.len() - line.trim_start().len();
            let trimmed = line.trim_start();
            let begins = begins_function(trimmed);
            if open.is_none() && begins && !trimmed.ends_with(';') {
                open = Some((at, indent));
            } else if let Some((began, depth)) = open
                && indent == depth
                && (trimmed.starts_with('}') || trimmed.ends_with(';'))
            {
                let max = if began > tests_begin { TEST_FUNCTION_LINES_MAX } else { FUNCTION_LINES_MAX };
                let lines = at - began + 1;
                if lines > max {
                    findings.push(format!("{} has {lines} lines (at most {max})", place(&source, began)));
                }
                open = None;
            }
        }
    }
    report(findings);
}

/// Whether a path in a line begins so.
fn begins_path(line: &str, beginning: &str) -> bool {
    let inside = |before: char| before.is_alphanumeric() || "}>_-.*".contains(before);
    line.match_indices(beginning).any(|(at, _)| !line[..at].ends_with(inside))
}

#[test]
fn lines_are_short_and_nothing_banned_is_left_in() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|source| !source.path.ends_with("xtask/tests/tidy.rs")) {
        let tests_begin = if source.is_test() { 0 } else { source.tests_begin() };
        for (at, line) in source.lines() {
            let data = at > tests_begin && line.contains('"');
            let comment = line.trim_start().strip_prefix("//").map(|rest| rest.trim_start_matches(['/', '!', ' ']));
            let text = match comment {
                Some(comment) => comment.starts_with('|'), // a row of a table cannot be wrapped
                None => line.contains(['"', '`']) || line.ends_with('\\'),
            };
            let max = if text { TEXT_COLUMNS_MAX } else { COLUMNS_MAX };
            if line.chars().count() > max && !data {
                findings.push(format!("{} is longer than {max} columns", place(source, at)));
            }
            for banned in CALLS_BANNED.iter().filter(|banned| line.contains(**banned)) {
                findings.push(format!("{} has {banned}", place(source, at)));
            }
            for banned in PATHS_BANNED.iter().filter(|banned| begins_path(line, banned)) {
                findings.push(format!("{} has {banned}", place(source, at)));
            }
            let code = line.split("//").next().unwrap_or_default();
            if at < tests_begin && code.contains(".unwrap()") {
                findings.push(format!("{} unwraps outside a test", place(source, at)));
            }
        }
    }
    report(findings);
}

#[test]
fn names_say_something() {
    let empty = |source: &Source| {
        let stem = source.path.file_stem()?.to_string_lossy().into_owned();
        let folder = source.path.parent()?.file_name()?.to_string_lossy().into_owned();
        [stem, folder].iter().find(|name| NAMES_BANNED.contains(&name.as_str())).map(|_| place(source, 1))
    };
    report(sources().iter().filter_map(empty).collect());
}

/// The files in which a file can be declared as a module, and the module's name; nothing for the root of a crate.
fn parents(file: &Path) -> Option<(Vec<PathBuf>, String)> {
    let (folder, stem) = (file.parent()?, file.file_stem()?.to_str()?);
    let (folder, name) = match stem {
        "mod" => (folder.parent()?, folder.file_name()?.to_str()?),
        _ => (folder, stem),
    };
    let roots = ["tests", "benches", "examples", "bin", "fuzz_targets"];
    let folder_name = folder.file_name()?.to_str()?;
    if ["lib", "main", "build"].contains(&stem) || (stem != "mod" && roots.contains(&folder_name)) {
        return None;
    }
    let mut parents = vec![folder.with_extension("rs")];
    if roots.contains(&folder_name) {
        // every file in such a folder is the root of a crate
        parents.extend(fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()));
    } else {
        parents.extend(["mod.rs", "lib.rs", "main.rs"].map(|file| folder.join(file)));
    }
    Some((parents, name.to_owned()))
}

#[test]
fn every_module_is_part_of_a_crate() {
    let sources = sources();
    let declares = |parent: &PathBuf, name: &str| {
        let source = sources.iter().find(|source| source.path == *parent);
        source.is_some_and(|source| {
            source.lines().any(|(_, line)| {
                let module = line.trim().strip_suffix(';').and_then(|line| line.rsplit_once("mod "));
                module.is_some_and(|(_, declared)| declared == name)
            })
        })
    };
    // A module that several programs share is named by its path.
    let shared = |name: &str| {
        let end = format!("/{name}/mod.rs\"]");
        sources.iter().any(|source| source.lines().any(|(_, line)| line.starts_with("#[path") && line.ends_with(&end)))
    };
    let dead = |source: &&Source| {
        parents(&source.path)
            .is_some_and(|(parents, name)| !parents.iter().any(|parent| declares(parent, &name)) && !shared(&name))
    };
    report(sources.iter().filter(dead).map(|source| place(source, 1)).collect());
}

#[test]
fn the_checks_find_what_they_are_for() {
    assert!(begins_path(r#"let path = "/home/me/x";"#, "/home/"));
    assert!(begins_path("/work/x", "/work/"));
    assert!(!begins_path(r#"get("/api/v1/namespaces/work/pods")"#, "/work/"));
    assert!(begins_function("pub const fn f() {") && begins_function("pub(crate) async fn f()"));
    assert!(begins_function("fn f<T>("));
    assert!(!begins_function("let f: fn () = g;") && !begins_function("// a fn f"));
}

#[test]
fn library_crates_document_everything() {
    for library in ["arktos-core", "arktos-store", "arktos-api", "arktos-sched", "arktos-control", "arktos-bin", "."] {
        let root_file = root().join(library).join("src/lib.rs");
        let text = fs::read_to_string(&root_file).expect("a library");
        assert!(text.contains("#![deny(missing_docs)]"), "{} does not deny missing docs", root_file.display());
    }
}

/// Public types of the store whose fields or variants are all public, and that are not marked as able to grow.
fn closed_types(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").collect();
    let mut closed = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let declared = line.strip_prefix("pub enum ").map(|rest| (rest, true));
        let declared = declared.or_else(|| line.strip_prefix("pub struct ").map(|rest| (rest, false)));
        let Some((rest, is_enum)) = declared.filter(|(rest, _)| rest.ends_with('{')) else { continue };
        let mut attributes =
            lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("///"));
        let fields = lines[at + 1..].iter().take_while(|line| **line != "}");
        let mut fields = fields.filter(|line| line.starts_with("    ") && !line.trim_start().starts_with(['/', '#']));
        if !attributes.any(|line| *line == "#[non_exhaustive]")
            && (is_enum || fields.all(|line| line.starts_with("    pub ")))
        {
            closed.push(rest.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default());
        }
    }
    closed
}

#[test]
fn what_the_store_shows_can_grow_or_says_why_not() {
    let reasons = fs::read_to_string(root().join("docs/design/0004-public-api.md")).expect("the rules");
    let findings = sources().into_iter().filter(|source| source.path.starts_with(root().join("arktos-store/src")));
    let findings = findings.flat_map(|source| {
        let closed = closed_types(&source.text).into_iter().map(str::to_owned).collect::<Vec<_>>();
        closed.into_iter().map(move |name| (source.path.clone(), name))
    });
    let unexplained = findings.filter(|(_, name)| !reasons.contains(&format!("`{name}`")));
    report(unexplained.map(|(path, name)| format!("{}: {name} is not #[non_exhaustive]", path.display())).collect());
    assert_eq!(closed_types("pub enum A {\n    B,\n}\n#[non_exhaustive]\npub enum C {\n}\n"), ["A"]);
    assert_eq!(closed_types("pub struct D {\n    pub x: u8,\n}\npub struct E {\n    x: u8,\n}\n"), ["D"]);
}
