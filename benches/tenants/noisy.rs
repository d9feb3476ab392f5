//! A quiet tenant alone and beside a noisy one: how long its requests take, and how much it gets of what it asks for.
//!
//! The server is a process of its own, `arktos up` over a log, and so is the noisy tenant. What is measured is who is
//! served first, not whom the kernel gives a core to: a noisy tenant has a machine of its own. So its process runs
//! only where a core is idle, and the quiet one's before the server. What a wait for a core costs where none is idle,
//! whoever is served, is measured beside: the quiet tenant alone, and all cores busy with nothing, from as far
//! behind.

mod noise;
mod quiet;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{getpriority_process, setpriority_process};
use serde_json::Value;

use self::quiet::{Quiet, Round, VERBS};
use crate::report::{Figure, Found, Goal, Row, figure, percentile};
use crate::server::Server;
use crate::{Bench, Outcome, progress};

pub use self::noise::part;

/// The two tenants.
const QUIET: &str = "quiet";
const NOISY: &str = "noisy";
/// How many requests the quiet one has under way in the closed loop; the noisy one has ten times as many writes.
const AT_ONCE: usize = 16;
/// What the quiet one asks for in a second in the open loop.
const RATE: u32 = 400;
/// How long the noisy one is given to come into its stride.
const WARM_UP: Duration = Duration::from_secs(2);
pub fn noisy(bench: &Bench) -> Outcome<Found> {
    let (rounds, long) = bench.scale.pick((1, 200), (2, 2000), (5, 3000));
    let long = Duration::from_millis(long);
    let server = Server::start(&bench.directory, &[QUIET, NOISY], "tenant,namespace,serviceaccount")?;
    let authority = bench.directory.join("authority.pem");
    std::fs::write(&authority, &server.authority)?;
    go_first();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let quiet = Quiet::furnish(&server).await?;
        noise::furnish(&server, bench.scale.pick(20, 500, 1000)).await?;
        let (mut alone, mut busy, mut beside) = (Measured::default(), Measured::default(), Measured::default());
        let mut heard = Vec::new();
        for round in 0..rounds {
            quiet.round(Duration::from_millis(500).min(long)).await?; // not counted
            alone.open.add(quiet.round(long).await?);
            alone.closed.push(quiet.closed(long).await?);
            let cores = Load::busy(long + Duration::from_secs(1))?;
            busy.open.add(quiet.round(long).await?);
            cores.end()?;
            let noise = Load::noise(&server, &authority, WARM_UP + 2 * long + Duration::from_secs(1))?;
            tokio::time::sleep(WARM_UP).await;
            let cpu = server.cpu();
            beside.open.add(quiet.round(long).await?);
            let used = (server.cpu() - cpu) / long.as_secs_f64();
            beside.closed.push(quiet.closed(long).await?);
            heard.push(noise.end()?);
            progress(format!("round {} of {rounds}: the server used {used:.2} cores beside the noise", round + 1));
        }
        Ok(Found { rows: rows(&mut alone, &mut busy, &mut beside, rounds), notes: notes(&heard) })
    })
}

/// Has this thread, and those that it starts, stand before others for the kernel's cores, where that is allowed.
fn go_first() {
    if let Ok(now) = getpriority_process(None) {
        let _ = setpriority_process(None, now - 5);
    }
}

/// What the quiet tenant got, alone or not.
#[derive(Default)]
struct Measured {
    open: Round,
    /// Requests a second in the closed loop, round by round.
    closed: Vec<f64>,
}

impl Measured {
    fn p99(&mut self, verb: usize) -> Figure {
        figure(percentile(&mut self.open.times[verb], 0.99) * 1e3, "ms")
    }

    fn p50(&mut self, verb: usize) -> Figure {
        figure(percentile(&mut self.open.times[verb], 0.5) * 1e3, "ms")
    }

    fn rate(&self) -> f64 {
        self.closed.iter().sum::<f64>() / self.closed.len() as f64
    }
}

fn rows(alone: &mut Measured, busy: &mut Measured, beside: &mut Measured, rounds: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for (at, verb) in VERBS.iter().enumerate() {
        let p99 = Row::of(format!("{verb}, p99 beside a noisy tenant"), beside.p99(at)).limit(alone.p99(at));
        rows.push(p99.goal(Goal::TimesAtMost(2.0)));
        rows.push(Row::of("  p99 alone, while no core is idle", busy.p99(at)).limit(alone.p99(at)));
        rows.push(Row::of("  p50", beside.p50(at)).limit(alone.p50(at)));
    }
    let answered = 100.0 * beside.open.answered() as f64 / beside.open.asked as f64;
    let what = format!("answered of {} requests in {rounds} rounds, {RATE} a second", beside.open.asked);
    rows.push(Row::of(what, figure(answered, "%")).goal(Goal::AtLeast(90.0)));
    let closed = Row::of(format!("{AT_ONCE} at once, again and again"), figure(beside.rate(), "/s"));
    rows.push(closed.limit(figure(alone.rate() / 2.0, "/s")).goal(Goal::TimesAtLeast(0.9)));
    rows
}

fn notes(heard: &[Value]) -> Vec<String> {
    let total = |name: &str| heard.iter().filter_map(|found| found[name].as_f64()).sum::<f64>();
    let each = |name: &str| format!("{:.0} {name}", total(name) / total("seconds"));
    let what: Vec<_> = noise::COUNTED.iter().map(|name| each(name)).collect();
    vec![
        "the limit is the quiet tenant alone, in rounds between the others; of what it gets again and again, half of that, \
            which is its fair share of two"
            .to_owned(),
        format!(
            "the noisy one has {} writes, {} lists of all, {} requests with tokens that do not count and {} bodies of 2.9 MB \
                under way at any time, and {} watches that it does not read; in a second it got through with {}",
            10 * AT_ONCE,
            noise::LISTS,
            noise::STRANGERS,
            noise::HUGE,
            noise::STALLED,
            what.join(", ")
        ),
        "all share the machine's cores; the kernel runs the quiet one before the server, and the noisy one where one is idle".to_owned(),
    ]
}

/// The noisy tenant, or whatever else keeps cores busy, in a process of its own. It ends by itself.
struct Load(Child);

/// Keeps all cores busy with nothing, for so many seconds.
pub fn busy(arguments: &[String]) -> Outcome<Value> {
    let [seconds] = arguments else { return Err("busy SECONDS".into()) };
    let end = Instant::now() + Duration::from_secs_f64(seconds.parse()?);
    let spin = move || while Instant::now() < end {};
    let threads: Vec<_> = (0..std::thread::available_parallelism()?.get()).map(|_| std::thread::spawn(spin)).collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread failed")?;
    }
    Ok(Value::Null)
}

impl Load {
    fn busy(long: Duration) -> Outcome<Self> {
        Self::start(Self::last()?.args(["busy", &long.as_secs_f64().to_string()]))
    }

    fn noise(server: &Server, authority: &std::path::Path, long: Duration) -> Outcome<Self> {
        let address = server.address.to_string();
        Self::start(Self::last()?.args(["noise", &address]).arg(authority).arg(long.as_secs_f64().to_string()))
    }

    /// A part that runs only where a core is idle (`SCHED_IDLE`): with a low priority alone it could keep a core from
    /// the server for a whole turn of the kernel's, which is longer than what is measured.
    fn last() -> Outcome<Command> {
        let mut command = Command::new("chrt");
        command.args(["--idle", "0"]).arg(std::env::current_exe()?).arg("--part");
        Ok(command)
    }

    fn start(command: &mut Command) -> Outcome<Self> {
        let child = command.stdout(Stdio::piped()).spawn();
        Ok(Self(child.map_err(|error| format!("chrt, of util-linux, is needed: {error}"))?))
    }

    /// What came of it.
    fn end(mut self) -> Outcome<Value> {
        let out = self.0.stdout.take().ok_or("piped")?;
        let found: Value = serde_json::from_reader(out)?;
        if !self.0.wait()?.success() {
            return Err("the load failed".into());
        }
        Ok(found)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
