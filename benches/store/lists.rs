//! Lists of everything: in process, through a socket, many at a time, and beside writers.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arktos::core::Dialect;
use arktos::store::{Change, Commit, Engine, Expect, Within};
use tokio::runtime::Runtime;

use crate::load::{Round, Writers, fill, paced};
use crate::machine::{MESSAGE, Sent, copy, loopback, send};
use crate::pods::{self, Pods};
use crate::report::{Found, Goal, Row, figure, median};
use crate::{Bench, Outcome, open_log, process, progress, runtime};

/// How many lists are read at the same time.
const LISTS: usize = 8;
/// How fast a client reads its list, in bytes a second: so slowly that many go on at once.
const PACE: usize = 16 << 20;

pub fn lists(bench: &Bench) -> Outcome<Found> {
    let objects = bench.scale.pick(2000, 30_000, 150_000);
    let threads = runtime(2)?;
    let (engine, pods) = (open_log(&bench.directory.join("log"))?, Pods::of(4096));
    threads.block_on(fill(&engine, &pods, objects));
    progress(format!("{objects} pods are there"));
    let mut found = in_process(bench, &engine, objects)?;
    found.rows.extend(through_a_socket(bench, &engine, objects * 4096)?);
    found.rows.push(memory_of_a_list(bench, &threads, &engine, &pods, objects)?);
    found.rows.extend(beside_writers(bench, &threads, &engine, objects)?);
    found
        .notes
        .push(format!("{objects} pods of 4 KiB; lists at a pace are {LISTS} at a time, {} MiB/s each", PACE >> 20));
    found.notes.push(
        "memory of a list is the process's peak beside writers at 500/s; socket buffers are the kernel's".to_owned(),
    );
    threads.block_on(engine.close());
    Ok(found)
}

/// Writes all items of a list, as they go out, through a buffer of one message.
fn write_out(engine: &Engine, mut out: impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<usize> {
    let mut buffer = Vec::with_capacity(2 * MESSAGE);
    let (mut bytes, mut written) = (0, Ok(()));
    let _ = engine.snapshot().walk(&pods::resource(), &Within::Everywhere, None, |stored| {
        stored.object.write(&mut buffer, None, stored.path.tenant(), stored.revision, Dialect::Plain);
        buffer.push(b',');
        if buffer.len() >= MESSAGE {
            bytes += buffer.len();
            written = out(&buffer);
            buffer.clear();
        }
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    written.and_then(|()| out(&buffer))?;
    Ok(bytes + buffer.len())
}

/// In turn: walking the snapshot, writing it out, and copying the same bytes without us.
fn in_process(bench: &Bench, engine: &Engine, objects: usize) -> Outcome<Found> {
    let (mut walks, mut takes, mut outs, mut copies) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let everything: Vec<_> = engine.snapshot().range(&pods::resource(), &Within::Everywhere, None).collect();
    for _ in 0..bench.scale.pick(1, 3, 5) {
        let start = Instant::now();
        let mut listed = 0;
        let _ = engine.snapshot().walk(&pods::resource(), &Within::Everywhere, None, |stored| {
            listed += usize::from(black_box(stored).object.tail_length() > 0);
            ControlFlow::Continue(())
        });
        walks.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let taken = engine.snapshot().range(&pods::resource(), &Within::Everywhere, None).map(black_box).count();
        takes.push(start.elapsed().as_secs_f64());
        assert_eq!((listed, taken), (objects, objects));
        let start = Instant::now();
        write_out(engine, |message| {
            black_box(message);
            Ok(())
        })?;
        outs.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let mut buffer = Vec::with_capacity(2 * MESSAGE);
        for stored in &everything {
            stored.object.write_tail(&mut buffer);
            if buffer.len() >= MESSAGE {
                black_box(&buffer);
                buffer.clear();
            }
        }
        copies.push(start.elapsed().as_secs_f64());
    }
    let each = |times: Vec<f64>| figure(median(times) * 1e9 / objects as f64, "ns");
    let copies = each(copies);
    let rows = vec![
        Row::of("LIST in process, an object: looked at", each(walks)).goal(Goal::AtMost(200.0)),
        Row::of("LIST in process, an object: taken, shared", each(takes)).goal(Goal::AtMost(200.0)),
        Row::of("LIST in process, an object: written out", each(outs)).limit(copies),
    ];
    let notes = vec!["the limit of writing out is copying the same bytes in the same order: no goal".to_owned()];
    Ok(Found { rows, notes })
}

/// In turn: the list, a constant message through the same socket, and memory alone; for each second of CPU.
fn through_a_socket(bench: &Bench, engine: &Engine, bytes: usize) -> Outcome<Vec<Row>> {
    let (mut ours, mut raw, mut copies) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.scale.pick(1, 3, 5) {
        ours.push(send(|socket| Ok(write_out(engine, |message| socket.write_all(message))?))?);
        raw.push(loopback(bytes)?);
        copies.push(copy(bytes, 4096));
    }
    let cpu = |sent: &[Sent]| figure(median(sent.iter().map(|sent| sent.per_cpu_second)), "B/CPU s");
    let time = |sent: &[Sent]| figure(median(sent.iter().map(|sent| sent.per_second)), "B/s");
    Ok(vec![
        Row::of("LIST through a socket, the sender's CPU, beside a raw loopback's", cpu(&ours)).limit(cpu(&raw)),
        Row::of("LIST through a socket, the sender's CPU, beside memcpy's", cpu(&ours))
            .limit(figure(median(copies), "B/CPU s")),
        Row::of("LIST through a socket, by the clock, beside a raw loopback's", time(&ours)).limit(time(&raw)),
    ])
}

/// Lists that clients read slowly, one after another, until they are stopped.
struct SlowLists {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl SlowLists {
    fn start(engine: &Engine, lists: usize) -> Outcome<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for _ in 0..lists {
            let listener = TcpListener::bind(("127.0.0.1", 0))?;
            let mut server = TcpStream::connect(listener.local_addr()?)?;
            let (client, _) = listener.accept()?;
            let (engine, stopped) = (engine.clone(), stop.clone());
            threads.push(thread::spawn(move || {
                // ends with an error when the client goes away
                while write_out(&engine, |message| server.write_all(message)).is_ok() {}
            }));
            threads.push(thread::spawn(move || read_slowly(client, &stopped)));
        }
        thread::sleep(Duration::from_millis(300)); // until the sockets' buffers are full
        Ok(Self { stop, threads })
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("ends");
        }
    }
}

fn read_slowly(mut client: TcpStream, stop: &AtomicBool) {
    let mut buffer = vec![0; MESSAGE];
    let (start, mut read) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        let due = Duration::from_secs_f64(read as f64 / PACE as f64);
        thread::sleep(due.saturating_sub(start.elapsed()));
        match client.read(&mut buffer) {
            Ok(now) if now > 0 => read += now,
            _ => return,
        }
    }
}

/// The most that is resident during this time, in bytes.
fn peak(time: Duration) -> f64 {
    let start = Instant::now();
    let mut peak = 0.0_f64;
    while start.elapsed() < time {
        peak = peak.max(process::resident());
        thread::sleep(Duration::from_millis(20));
    }
    peak
}

/// How much the process's peak grows when lists are read, while writers replace objects under them.
fn memory_of_a_list(bench: &Bench, threads: &Runtime, engine: &Engine, pods: &Pods, objects: usize) -> Outcome<Row> {
    let time = Duration::from_secs(bench.scale.pick(1, 3, 10));
    let stop = Arc::new(AtomicBool::new(false));
    let pods = pods.clone();
    let updates = (0_usize..).map(move |at| {
        let number = at.wrapping_mul(7919) % objects;
        Commit::one(pods::key(number), Expect::Present, Change::put(pods.pod(number)))
    });
    let writer = paced(threads.handle(), engine, 500, updates, stop.clone());
    let alone = peak(time);
    let lists = SlowLists::start(engine, LISTS)?;
    let meanwhile = peak(time);
    lists.stop();
    stop.store(true, Ordering::Relaxed);
    for (_, write) in writer.join().expect("runs") {
        threads.block_on(write)?;
    }
    let each = (meanwhile - alone).max(0.0) / LISTS as f64;
    progress(format!("{:.1} MiB a list", each / 1024.0 / 1024.0));
    Ok(Row::of("memory of a list beside 7 others", figure(each, "B")).goal(Goal::AtMost((16 << 20) as f64)))
}

/// In turn: writers alone, beside lists at a client's pace, and beside one list after another at full speed.
fn beside_writers(bench: &Bench, threads: &Runtime, engine: &Engine, objects: usize) -> Outcome<Vec<Row>> {
    let time = Duration::from_millis(bench.scale.pick(50, 700, 2000));
    let mut writers = Writers::new(engine, &Pods::of(1024), objects, 256);
    threads.block_on(writers.round(time)); // warms up
    let (mut alone, mut paced, mut full): (Vec<Round>, Vec<Round>, Vec<Round>) = Default::default();
    for _ in 0..bench.scale.pick(1, 3, 5) {
        alone.push(threads.block_on(writers.round(time)));
        let lists = SlowLists::start(engine, LISTS)?;
        paced.push(threads.block_on(writers.round(time)));
        lists.stop();
        let stop = Arc::new(AtomicBool::new(false));
        let (listed, stopped) = (engine.clone(), stop.clone());
        let lister = thread::spawn(move || {
            let go_on = |_: &[u8]| match stopped.load(Ordering::Relaxed) {
                false => Ok(()),
                true => Err(std::io::Error::other("stopped")),
            };
            while write_out(&listed, go_on).is_ok() {}
        });
        full.push(threads.block_on(writers.round(time)));
        stop.store(true, Ordering::Relaxed);
        lister.join().expect("ends");
    }
    let rate = |rounds: &[Round]| median(rounds.iter().map(|round| round.per_second));
    let lost = |rounds: &[Round]| figure((1.0 - rate(rounds) / rate(&alone)) * 100.0, "%");
    progress(format!("writes/s: {:.0} alone, {:.0} and {:.0} beside lists", rate(&alone), rate(&paced), rate(&full)));
    Ok(vec![
        Row::of("writers lose beside 8 lists at a client's pace", lost(&paced)).goal(Goal::AtMost(5.0)),
        Row::of("  beside one list after another, as fast as a core can", lost(&full)),
        Row::of("  writers alone", figure(rate(&alone), "/s")),
    ])
}
