//! What a process has used, as Linux tells it.

use std::fs;
use std::ops::Range;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The processor time that this process has used, in seconds: all threads, user and system.
pub fn cpu() -> f64 {
    seconds(ClockId::ProcessCPUTime)
}

/// The processor time that this thread has used, in seconds.
pub fn thread_cpu() -> f64 {
    seconds(ClockId::ThreadCPUTime)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    Duration::try_from(time).unwrap_or_default().as_secs_f64()
}

/// The processor time that another process has used, in seconds, to a hundredth.
pub fn cpu_of(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    ticks(stat.rsplit(") ").next().unwrap_or_default(), 11..13)
}

/// The processor time that everybody but this process and its children that have ended has used, in seconds.
pub fn cpu_of_others() -> f64 {
    let own = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let all = fs::read_to_string("/proc/stat").unwrap_or_default();
    let all = all.lines().next().unwrap_or_default().trim_start_matches("cpu").trim_start();
    // user, nice, system; what interrupts and a host take is nobody's
    ticks(all, 0..3) - ticks(own.rsplit(") ").next().unwrap_or_default(), 11..15)
}

/// The sum of some of the numbers in a line, which count hundredths of seconds, in seconds.
fn ticks(line: &str, which: Range<usize>) -> f64 {
    let numbers = line.split(' ').skip(which.start).take(which.len());
    numbers.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The memory of this process that is resident, in bytes.
pub fn resident() -> f64 {
    number_of("/proc/self/status", "VmRSS:") * 1024.0
}

/// The memory of another process that is resident, in bytes.
pub fn resident_of(pid: u32) -> f64 {
    number_of(&format!("/proc/{pid}/status"), "VmRSS:") * 1024.0
}

/// The most memory of another process that was ever resident, in bytes.
pub fn peak_of(pid: u32) -> f64 {
    number_of(&format!("/proc/{pid}/status"), "VmHWM:") * 1024.0
}

/// The memory that the machine could still give to processes, in bytes; 0 where it does not say.
pub fn available() -> f64 {
    number_of("/proc/meminfo", "MemAvailable:") * 1024.0
}

/// How many bytes this process has had read from disks.
pub fn read_from_disk() -> f64 {
    number_of("/proc/self/io", "read_bytes:")
}

/// How many bytes this process has handed to `write` and its like.
pub fn written() -> f64 {
    number_of("/proc/self/io", "wchar:")
}

fn number_of(file: &str, name: &str) -> f64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}
