//! How fast a store comes back from a disk that nobody has read yet.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use arktos::store::backup::{RestoreOptions, of_directory, restore};
use arktos::store::clock::Clock;
use arktos_bin::edge::SystemClock;
use rustix::fs::{Advice, fadvise};
use serde_json::{Value, json};

use crate::load::fill;
use crate::memory::encoded;
use crate::part::child;
use crate::pods::Pods;
use crate::report::{Found, Goal, Row, figure, median};
use crate::{Bench, Outcome, open_log, process, progress, runtime};

/// From a log that has everything, and from a snapshot, which is what an old store has most of its objects in.
pub fn cold_start(bench: &Bench) -> Outcome<Found> {
    let objects = bench.scale.pick(500, 30_000, 150_000);
    let (log, snapshot) = (bench.directory.join("log"), bench.directory.join("snapshot"));
    write(&log, objects)?;
    let backup = bench.directory.join("backup");
    let now = SystemClock::new().now();
    of_directory(&log, now, &mut File::create(&backup)?, &mut |_| {})?;
    let mut options = RestoreOptions::new(now);
    options.backup = Some(backup);
    restore(&options, &snapshot, &mut |_| {})?;
    let mut found = Found::default();
    for (what, directory) in [("its log", log), ("a snapshot", snapshot)] {
        let how = starts(bench, &mut found, &format!("cold start, {objects} pods of 4 KiB, from {what}"), &directory)?;
        found.notes = vec![format!("{how}; the limit is reading the same files from end to end, as cold")];
    }
    Ok(found)
}

/// Starts that are measured in turn with reading alone; how the files were made cold.
fn starts(bench: &Bench, found: &mut Found, what: &str, directory: &Path) -> Outcome<&'static str> {
    let mut how = "";
    let (mut starts, mut times, mut reads, mut last) = (Vec::new(), Vec::new(), Vec::new(), Value::Null);
    for _ in 0..bench.scale.pick(1, 3, 5) {
        how = forget(directory)?;
        last = child(&["cold-start", &directory.display().to_string()])?;
        let (seconds, bytes) = (last["seconds"].as_f64().unwrap_or(f64::NAN), last["read"].as_f64().unwrap_or(0.0));
        forget(directory)?;
        let read = read(directory)?;
        progress(format!("{seconds:.2} s, {:.0} MB/s; reading alone {:.0} MB/s", bytes / seconds / 1e6, read / 1e6));
        starts.push(bytes / seconds);
        times.push(seconds * 1e3);
        reads.push(read);
    }
    let of = |name: &str| figure(last[name].as_f64().unwrap_or(f64::NAN), "B");
    found.rows.extend([
        Row::of(what, figure(median(starts), "B/s")).limit(figure(median(reads), "B/s")).goal(Goal::TimesAtLeast(0.5)),
        Row::of("  until it serves", figure(median(times), "ms")),
        Row::of("  memory then, beside the objects' bytes", of("resident")).limit(of("encoded")),
    ]);
    Ok(how)
}

/// A log with these objects in it, looked after as in production, and closed.
fn write(directory: &Path, objects: usize) -> Outcome<()> {
    let runtime = runtime(2)?;
    let engine = open_log(directory)?;
    let looked_after = engine.clone();
    let keeper = runtime.spawn(async move { looked_after.maintenance().await });
    runtime.block_on(fill(&engine, &Pods::of(4096), objects));
    runtime.block_on(engine.flush())?;
    runtime.block_on(engine.close());
    runtime.block_on(keeper)?;
    Ok(())
}

fn files(directory: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)?.flatten().map(|entry| entry.path()).collect();
    // what a start reads: not what is kept ready to be written next
    files.retain(|file| named(file, "log-") || named(file, "snapshot-"));
    files.sort_unstable();
    Ok(files)
}

fn named(file: &Path, beginning: &str) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(beginning))
}

/// Makes the system forget what it has read of the files; how.
fn forget(directory: &Path) -> Outcome<&'static str> {
    for file in files(directory)? {
        let file = File::open(file)?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    let dropped = fs::write("/proc/sys/vm/drop_caches", "1");
    Ok(if dropped.is_ok() { "the page cache was dropped" } else { "the files were put out of the page cache" })
}

/// Bytes a second.
fn read(directory: &Path) -> Outcome<f64> {
    let mut buffer = vec![0; 1 << 20];
    let start = Instant::now();
    let mut bytes = 0;
    for file in files(directory)? {
        let mut file = File::open(file)?;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => bytes += read,
            }
        }
    }
    Ok(bytes as f64 / start.elapsed().as_secs_f64())
}

/// In which directory.
pub fn part(arguments: &[String]) -> Outcome<Value> {
    let [directory] = arguments else { return Err("cold-start DIRECTORY".into()) };
    let before = process::read_from_disk();
    let start = Instant::now();
    let engine = open_log(Path::new(directory))?;
    let seconds = start.elapsed().as_secs_f64();
    let read = process::read_from_disk() - before;
    Ok(json!({"seconds": seconds, "read": read, "resident": process::resident(), "encoded": encoded(&engine)}))
}
