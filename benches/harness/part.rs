//! Parts of measurements that need a process of their own: for their memory, or to count their instructions.

use std::process::Command;

use serde_json::Value;

use super::Outcome;

/// Runs a part in a process of its own; what it found.
pub fn child(part: &[&str]) -> Outcome<Value> {
    let out = Command::new(std::env::current_exe()?).arg("--part").args(part).output()?;
    if !out.status.success() {
        return Err(format!("{part:?}: {}", String::from_utf8_lossy(&out.stderr)).into());
    }
    let text = String::from_utf8(out.stdout)?;
    Ok(serde_json::from_str(text.lines().last().unwrap_or_default())?)
}
