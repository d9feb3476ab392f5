//! Running other programs.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// Runs cargo with these arguments, its output shown.
///
/// # Errors
/// A sentence that says which command failed.
pub fn cargo(arguments: &[&str]) -> Result<(), String> {
    cargo_with(arguments, &[])
}

/// Runs cargo with these arguments and environment variables, its output shown.
///
/// # Errors
/// A sentence that says which command failed.
pub fn cargo_with(arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
    outcome(arguments, command(arguments).envs(environment.iter().copied()).status())
}

/// Runs cargo with these arguments, its output shown, and gives back what cargo itself said beside how it went.
pub fn cargo_heard(arguments: &[&str]) -> (Result<(), String>, String) {
    let mut said = String::new();
    let status = command(arguments).stderr(Stdio::piped()).spawn().and_then(|mut child| {
        for line in child.stderr.take().into_iter().flat_map(|stderr| BufReader::new(stderr).split(b'\n')) {
            let line = String::from_utf8_lossy(&line?).into_owned();
            eprintln!("{line}");
            said.extend([line.as_str(), "\n"]);
        }
        child.wait()
    });
    (outcome(arguments, status), said)
}

/// Runs a program that was built before, without arguments, its output shown.
///
/// # Errors
/// A sentence that names it.
pub fn program(path: &Path) -> Result<(), String> {
    println!("\n==> {}", path.display());
    match Command::new(path).current_dir(root()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{}` failed ({status})", path.display())),
        Err(error) => Err(format!("`{}` could not be run: {error}", path.display())),
    }
}

fn command(arguments: &[&str]) -> Command {
    println!("\n==> cargo {}", arguments.join(" "));
    let program =
        std::env::var_os("CARGO").filter(|_| !arguments[0].starts_with('+')).unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn outcome(arguments: &[&str], status: std::io::Result<ExitStatus>) -> Result<(), String> {
    let shown = arguments.join(" ");
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`cargo {shown}` failed ({status})")),
        Err(error) => Err(format!("`cargo {shown}` could not be run: {error}")),
    }
}

/// The workspace's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

/// The names of the Rust files in a folder of the workspace, sorted.
///
/// # Errors
/// A sentence that names the folder that cannot be read.
pub fn named_files(folder: &str) -> Result<Vec<String>, String> {
    let names = entries(folder)?.into_iter();
    Ok(names.filter_map(|(name, _)| Some(name.strip_suffix(".rs")?.to_owned())).collect())
}

/// The names of the folders with a program in a folder of the workspace, sorted.
///
/// # Errors
/// As [`named_files`].
pub fn named_folders(folder: &str) -> Result<Vec<String>, String> {
    let whole = |name: &str| root().join(folder).join(name).join("main.rs").is_file();
    Ok(entries(folder)?
        .into_iter()
        .filter_map(|(name, is_folder)| (is_folder && whole(&name)).then_some(name))
        .collect())
}

/// What is in a folder, sorted by name, and whether it is a folder itself.
fn entries(folder: &str) -> Result<Vec<(String, bool)>, String> {
    let entries = std::fs::read_dir(root().join(folder)).map_err(|error| format!("{folder}: {error}"))?;
    let named =
        entries.flatten().filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path().is_dir())));
    let mut named: Vec<(String, bool)> = named.collect();
    named.sort_unstable();
    Ok(named)
}

/// Whether a program runs with an argument that makes it say something and end.
#[must_use]
pub fn answers(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
}
