//! The audit log as a file: lines are queued, and one thread writes what has gathered.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use arktos_api::{Audit, AuditPolicy, AuditSink};
use bytes::Bytes;
use clap::Args;

/// How many events wait to be written at most; further ones are dropped, and counted.
const QUEUE: usize = 10_000;
/// How many events are written at once at most.
const BATCH: usize = 400;

/// Which requests are logged, and where.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// File with an audit.k8s.io/v1 Policy, which says what goes into the audit log. Default: nothing
    #[arg(long, value_name = "FILE")]
    audit_policy_file: Option<PathBuf>,
    /// File to which the audit log is appended, one line of JSON per event; `-` for standard output
    #[arg(long, value_name = "FILE")]
    audit_log_path: Option<PathBuf>,
    /// Size in MiB at which a new audit log is begun; the previous one is kept with `.1` added to its name
    #[arg(long, value_name = "MIB", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    audit_log_maxsize: u64,
}

impl AuditArgs {
    /// The log, where one is asked for.
    ///
    /// # Errors
    /// A sentence that names the flag and the file.
    pub fn open(&self) -> Result<Option<Audit>, String> {
        let (policy, log) = match (&self.audit_policy_file, &self.audit_log_path) {
            (None, None) => return Ok(None),
            (Some(policy), Some(log)) => (policy, log),
            (Some(_), None) => return Err("--audit-policy-file needs --audit-log-path".to_owned()),
            (None, Some(_)) => return Err("--audit-log-path needs --audit-policy-file".to_owned()),
        };
        let wrong = |why: &dyn std::fmt::Display| format!("--audit-policy-file {}: {why}", policy.display());
        let text = std::fs::read_to_string(policy).map_err(|error| wrong(&error))?;
        let policy = AuditPolicy::parse(&text).map_err(|error| wrong(&error))?;
        let sink = LogFile::open(log, self.audit_log_maxsize << 20)
            .map_err(|error| format!("--audit-log-path {}: {error}", log.display()))?;
        Ok(Some(Audit { policy: Arc::new(policy), sink: Arc::new(sink) }))
    }
}

/// Queues events for the thread that writes them. Dropping it waits until all is written.
#[derive(Debug)]
struct LogFile {
    /// Absent only while it is dropped.
    queue: Option<SyncSender<Bytes>>,
    dropped: Arc<AtomicU64>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Drop for LogFile {
    fn drop(&mut self) {
        self.queue = None; // the writer ends with it
        if let Some(writer) = self.writer.take() {
            let _ = writer.join(); // it has said what went wrong
        }
    }
}

impl LogFile {
    #[allow(clippy::disallowed_methods)] // the writer waits for the disk, which no task may
    fn open(path: &Path, size_max: u64) -> io::Result<Self> {
        let writer = if path == Path::new("-") { Target::Out } else { Target::file(path, size_max)? };
        let (queue, events) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = dropped.clone();
        let thread = std::thread::Builder::new().name("audit log".to_owned());
        let writer = thread.spawn(move || write_all(writer, &events, &lost))?;
        Ok(Self { queue: Some(queue), dropped, writer: Some(writer) })
    }
}

impl AuditSink for LogFile {
    fn take(&self, event: Bytes) {
        if self.queue.as_ref().is_none_or(|queue| queue.try_send(event).is_err()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Where lines go.
enum Target {
    Out,
    File { path: PathBuf, file: File, length: u64, size_max: u64 },
}

impl Target {
    fn file(path: &Path, size_max: u64) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let length = file.metadata()?.len();
        Ok(Self::File { path: path.to_owned(), file, length, size_max })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Out => io::stdout().lock().write_all(lines),
            Self::File { path, file, length, size_max } => {
                if *length > 0 && *length + lines.len() as u64 > *size_max {
                    let mut before = path.clone().into_os_string();
                    before.push(".1");
                    std::fs::rename(&*path, before)?;
                    *self = Self::file(path, *size_max)?;
                    return self.write(lines);
                }
                file.write_all(lines)?;
                *length += lines.len() as u64;
                Ok(())
            }
        }
    }
}

fn write_all(mut target: Target, events: &Receiver<Bytes>, dropped: &AtomicU64) {
    while let Ok(first) = events.recv() {
        let mut lines = first.to_vec();
        lines.push(b'\n');
        for event in events.try_iter().take(BATCH - 1) {
            lines.extend_from_slice(&event);
            lines.push(b'\n');
        }
        if let Err(error) = target.write(&lines) {
            tracing::error!(%error, "the audit log cannot be written: events are lost");
        }
        match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            lost => tracing::error!(lost, "the audit log does not keep up: events were dropped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<String> {
        std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    #[test]
    fn events_are_appended_whole_and_the_file_is_begun_anew_when_it_is_full() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        std::fs::write(&path, "{\"earlier\":true}\n").expect("written");
        let mut target = Target::file(&path, 40).expect("opens");
        for line in ["{\"event\":1}\n", "{\"event\":2}\n"] {
            target.write(line.as_bytes()).expect("writes");
        }
        assert_eq!(lines(&path.with_extension("log.1")), ["{\"earlier\":true}", "{\"event\":1}"]);
        assert_eq!(lines(&path), ["{\"event\":2}"]);
    }

    #[test]
    fn what_is_queued_is_written_and_what_has_no_room_is_dropped_without_waiting() {
        let (queue, events) = sync_channel(2);
        let sink = LogFile { queue: Some(queue), dropped: Arc::default(), writer: None };
        for number in 0..5 {
            sink.take(Bytes::from(format!("{number}")));
        }
        assert_eq!(sink.dropped.load(Ordering::Relaxed), 3);
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        let dropped = sink.dropped.clone();
        drop(sink);
        write_all(Target::file(&path, 1 << 20).expect("opens"), &events, &dropped);
        assert_eq!(lines(&path), ["0", "1"]);
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_flag_without_the_other_is_a_mistake() {
        let args = |policy: Option<&str>, log: Option<&str>| AuditArgs {
            audit_policy_file: policy.map(PathBuf::from),
            audit_log_path: log.map(PathBuf::from),
            audit_log_maxsize: 1,
        };
        assert!(args(None, None).open().expect("off").is_none());
        assert!(args(Some("x"), None).open().is_err());
        assert!(args(None, Some("x")).open().is_err());
        assert!(args(Some("/nowhere"), Some("-")).open().expect_err("no file").contains("/nowhere"));
    }
}
