//! What the machine gives without us: the disk, memory, the loopback.

use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Instant;

use crate::process;
use crate::report::{Found, Row, figure, median};
use crate::{Bench, Outcome};

/// How much goes into a socket, or out of it, at a time.
pub const MESSAGE: usize = 64 << 10;

pub fn limits(bench: &Bench) -> Outcome<Found> {
    let syncs = bench.scale.pick(20, 500, 2000);
    let mut file = SyncFile::new(&bench.directory.join("sync"), 1024)?;
    let mut times = Vec::with_capacity(syncs);
    for _ in 0..syncs {
        times.push(file.sync()?);
    }
    let total: f64 = times.iter().sum();
    let bytes = bench.scale.pick(8, 256, 512) << 20;
    let rounds = bench.scale.pick(1, 3, 5);
    let mut appends = Vec::new();
    let mut copies = Vec::new();
    let mut loopbacks = Vec::new();
    for _ in 0..rounds {
        appends.push(append(&bench.directory.join("append"), bytes)?);
        copies.push(copy(bytes, 4096));
        loopbacks.push(loopback(bytes)?);
    }
    let rows = vec![
        Row::machine("fdatasync of 1 KiB in place, one after another", figure(syncs as f64 / total, "/s")),
        Row::machine("fdatasync of 1 KiB, p50", figure(median(times) * 1e6, "µs")),
        Row::machine("sequential append, one sync at the end", figure(median(appends), "B/s")),
        Row::machine("memcpy, 4 KiB at a time, from 256 MiB", figure(median(copies), "B/CPU s")),
        Row::machine(
            "loopback, 64 KiB at a time, the sender's CPU",
            figure(median(loopbacks.iter().map(|sent| sent.per_cpu_second)), "B/CPU s"),
        ),
        Row::machine("loopback, 64 KiB at a time", figure(median(loopbacks.iter().map(|sent| sent.per_second)), "B/s")),
    ];
    Ok(Found { rows, notes: Vec::new() })
}

/// A file with room in it that is written from end to end, a sync each time.
pub struct SyncFile {
    file: File,
    message: Vec<u8>,
    left: usize,
}

impl SyncFile {
    const ROOM: usize = 8 << 20;

    pub fn new(path: &Path, message: usize) -> Outcome<Self> {
        let mut file = File::create(path)?;
        file.write_all(&vec![0; Self::ROOM])?;
        file.sync_all()?;
        Ok(Self { file, message: vec![1; message], left: 0 })
    }

    /// Writes and syncs once; how long that took, in seconds.
    pub fn sync(&mut self) -> Outcome<f64> {
        if self.left == 0 {
            self.file.rewind()?;
            self.left = Self::ROOM / self.message.len();
        }
        self.left -= 1;
        let start = Instant::now();
        self.file.write_all(&self.message)?;
        self.file.sync_data()?;
        Ok(start.elapsed().as_secs_f64())
    }
}

/// Bytes a second.
fn append(path: &Path, bytes: usize) -> Outcome<f64> {
    let block = vec![1; 1 << 20];
    let start = Instant::now();
    let mut file = File::create(path)?;
    for _ in 0..bytes / block.len() {
        file.write_all(&block)?;
    }
    file.sync_data()?;
    let time = start.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(bytes as f64 / time)
}

/// Bytes a second of processor time: messages from all over a large memory, one after another, to one small buffer.
pub fn copy(bytes: usize, message: usize) -> f64 {
    let from = vec![1_u8; 256 << 20];
    let mut to = Vec::with_capacity(MESSAGE + message);
    let start = process::thread_cpu();
    let mut copied = 0;
    while copied < bytes {
        for message in from.chunks_exact(message).take((bytes - copied).div_ceil(message)) {
            if to.len() >= MESSAGE {
                black_box(&to);
                to.clear();
            }
            to.extend_from_slice(message);
            copied += message.len();
        }
    }
    copied as f64 / (process::thread_cpu() - start)
}

/// How fast something went through the loopback.
#[derive(Clone, Copy)]
pub struct Sent {
    pub per_second: f64,
    /// For each second of processor time that the sender used.
    pub per_cpu_second: f64,
}

pub fn loopback(bytes: usize) -> Outcome<Sent> {
    let message = vec![1; MESSAGE];
    send(|socket| {
        for _ in 0..bytes / MESSAGE {
            socket.write_all(&message)?;
        }
        Ok(bytes)
    })
}

/// Lets `sender` write to a socket at whose other end a thread reads and forgets.
pub fn send(sender: impl FnOnce(&mut TcpStream) -> Outcome<usize>) -> Outcome<Sent> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut socket = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; MESSAGE];
        while far.read(&mut buffer).is_ok_and(|read| read > 0) {}
    });
    let (start, cpu) = (Instant::now(), process::thread_cpu());
    let sent = sender(&mut socket)? as f64;
    let used = process::thread_cpu() - cpu;
    drop(socket);
    reader.join().expect("the reader ends");
    Ok(Sent { per_second: sent / start.elapsed().as_secs_f64(), per_cpu_second: sent / used })
}
