//! What the process uses, as Linux tells it. Nothing elsewhere.

use std::fs;

/// How many ticks of the kernel's accounts make a second: 100, whatever the machine.
const TICKS: f64 = 100.0;

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usage {
    /// User and system time, in seconds.
    pub(super) cpu: f64,
    /// Resident memory, in bytes.
    pub(super) resident: i64,
    /// Threads.
    pub(super) threads: i64,
    /// Open files and sockets.
    pub(super) files: i64,
}

impl Usage {
    /// This process's; nothing where it cannot be told.
    pub(super) fn own() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let files = fs::read_dir("/proc/self/fd").ok()?.count();
        let cpu = cpu_of(&stat)?;
        let resident = number(&status, "VmRSS:")?.saturating_mul(1024);
        Some(Self { cpu, resident, threads: number(&status, "Threads:")?, files: i64::try_from(files).ok()? })
    }
}

/// The times are the 14th and 15th field; the second is a name in parentheses that may have blanks.
fn cpu_of(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

fn number(status: &str, name: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_is_read_over() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 5 0 1 1 1";
        assert_eq!(cpu_of(stat), Some(2.0));
        assert_eq!(number("Name:\ta\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12));
    }
}
