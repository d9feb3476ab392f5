//! Every fault at every step at which the log touches the disk, over many seeds.
//!
//! A cell of the matrix is a step and a fault. Each of its runs works on a store until the fault has happened, opens
//! what is left, and checks that nothing that was acknowledged is lost, that nothing is half there, that no revision is
//! used twice, and that history leads to what is there; works on, loses power, and checks again. `ARKTOS_SEEDS` says
//! with how many seeds each cell is run: 200 where it is not set.

mod faulty;
mod matrix;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arktos_core::Revision;
use arktos_store::Engine;
use arktos_store::commit::CommitError;
use arktos_store::log::{FileState, Inspection, Salvage};
use arktos_store::storage::OpenError;
use faulty::{Fault, FaultyDisk, Op, Point, What};
use matrix::{Handle, World, observed};

/// Where it goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// When the disk is asked for something.
    Disk(Point),
    /// When a group is durable, and nobody was told.
    BeforePublish,
    /// When readers see it and writers are answered.
    AfterPublish,
    /// While history is dropped and a commit is under way.
    Compaction,
    /// When a store is opened that has lost power in the middle of a write.
    Opening(Point),
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Evil {
    Kill,
    PowerLoss,
    TornWrite,
    DiskFull,
    DeviceError,
    FlippedBits,
}

const fn before(op: Op, what: What) -> Step {
    Step::Disk(Point { op: Some(op), what: Some(what), after: false })
}

const fn after(op: Op, what: What) -> Step {
    Step::Disk(Point { op: Some(op), what: Some(what), after: true })
}

const fn opening(op: Op, after: bool) -> Step {
    Step::Opening(Point { op: Some(op), what: None, after })
}

/// The steps, by name, and how many times each is passed over at most before it goes wrong.
const STEPS: &[(&str, u64, Step)] = &[
    ("before append", 12, before(Op::Write, What::Segment)),
    ("after append", 12, after(Op::Write, What::Segment)),
    ("before sync", 12, before(Op::Sync, What::Segment)),
    ("after sync", 12, after(Op::Sync, What::Segment)),
    ("before publish", 10, Step::BeforePublish),
    ("after publish", 10, Step::AfterPublish),
    ("rotation: before the spare is made", 1, before(Op::Create, What::Spare)),
    ("rotation: after the spare is made", 1, after(Op::Create, What::Spare)),
    ("rotation: before zeros", 3, before(Op::Write, What::Spare)),
    ("rotation: after zeros", 3, after(Op::Write, What::Spare)),
    ("rotation: before the zeros' sync", 3, before(Op::Sync, What::Spare)),
    ("rotation: before the header", 3, before(Op::Write, What::Header)),
    ("rotation: after the header", 3, after(Op::Write, What::Header)),
    ("rotation: before the header's sync", 3, before(Op::Sync, What::Header)),
    ("rotation: after the header's sync", 3, after(Op::Sync, What::Header)),
    ("rotation: before the segment's name", 3, before(Op::Rename, What::Segment)),
    ("rotation: after the segment's name", 3, after(Op::Rename, What::Segment)),
    ("rotation: before the name's sync", 3, before(Op::SyncNames, What::Segment)),
    ("rotation: after the name's sync", 3, after(Op::SyncNames, What::Segment)),
    ("snapshot: before it is begun", 2, before(Op::Create, What::Unfinished)),
    ("snapshot: before a write", 4, before(Op::Write, What::Unfinished)),
    ("snapshot: after a write", 4, after(Op::Write, What::Unfinished)),
    ("snapshot: before its sync", 2, before(Op::Sync, What::Unfinished)),
    ("snapshot: after its sync", 2, after(Op::Sync, What::Unfinished)),
    ("snapshot: before its name", 2, before(Op::Rename, What::Snapshot)),
    ("snapshot: after its name", 2, after(Op::Rename, What::Snapshot)),
    ("snapshot: before the name's sync", 2, before(Op::SyncNames, What::Snapshot)),
    ("snapshot: after the name's sync", 2, after(Op::SyncNames, What::Snapshot)),
    ("removal: before a segment goes", 1, before(Op::Rename, What::Old)),
    ("removal: after a segment went", 1, after(Op::Rename, What::Old)),
    ("removal: before a snapshot goes", 1, before(Op::Remove, What::Snapshot)),
    ("removal: after a snapshot went", 1, after(Op::Remove, What::Snapshot)),
    ("removal: before a segment is used again", 1, before(Op::Rename, What::Spare)),
    ("removal: after a segment is used again", 1, after(Op::Rename, What::Spare)),
    ("compaction", 3, Step::Compaction),
    ("opening: before a write", 2, opening(Op::Write, false)),
    ("opening: after a write", 2, opening(Op::Write, true)),
    ("opening: before a sync", 1, opening(Op::Sync, false)),
    ("opening: after a sync", 1, opening(Op::Sync, true)),
    ("opening: before the names' sync", 1, opening(Op::SyncNames, false)),
    ("opening: before a leftover goes", 1, opening(Op::Remove, false)),
    ("opening: after a leftover went", 1, opening(Op::Remove, true)),
];

/// Whether a fault can happen at a step.
fn applies(step: Step, evil: Evil) -> bool {
    let point = match step {
        Step::Disk(point) | Step::Opening(point) => point,
        Step::Compaction => return true,
        Step::BeforePublish | Step::AfterPublish => {
            return matches!(evil, Evil::Kill | Evil::PowerLoss | Evil::FlippedBits); // the disk is not asked
        }
    };
    // the process is gone: what comes right after one thing is what comes right before the next
    let twice = matches!(point.what, Some(What::Spare | What::Header | What::Unfinished | What::Snapshot))
        && point.after
        && !matches!(point.op, Some(Op::SyncNames | Op::Remove));
    match evil {
        Evil::DeviceError => true,
        Evil::Kill | Evil::PowerLoss | Evil::FlippedBits => !twice,
        Evil::TornWrite => point.op == Some(Op::Write) && !point.after,
        // a removal needs no room
        Evil::DiskFull => point.op != Some(Op::Remove) && !point.after,
    }
}

/// Whether a fault at a step concerns the keeper alone, and no writer. A sync of the names may be either's, whatever
/// was named last.
fn is_housekeeping(step: Step) -> bool {
    let Step::Disk(Point { op, what, .. }) = step else { return false };
    matches!(what, Some(What::Unfinished | What::Snapshot | What::Old)) && op != Some(Op::SyncNames)
}

/// What came of one run.
#[derive(Default)]
struct Ran {
    fired: bool,
    refused: bool,
    writes: usize,
    damage: bool,
    lost: bool,
}

struct Run {
    world: World,
    step: Step,
    evil: Evil,
    times: u64,
    ran: Ran,
}

impl Run {
    fn fault(&self) -> Fault {
        match self.evil {
            Evil::Kill | Evil::PowerLoss | Evil::FlippedBits => Fault::Crash,
            Evil::TornWrite => Fault::TornWrite,
            Evil::DiskFull => Fault::Full,
            Evil::DeviceError => Fault::Error,
        }
    }

    fn arm(&self, disk: &FaultyDisk, point: Point) {
        disk.fail_at(point, self.world.roll(self.times + 1), self.fault(), self.world.seed);
    }

    /// The whole run.
    async fn run(mut self) -> Ran {
        let disk = FaultyDisk::default();
        let left = self.first_life(&disk).await;
        let left = match self.step {
            Step::Opening(point) => self.opened_in_vain(&left, point),
            _ => left,
        };
        let left = if self.evil == Evil::FlippedBits { self.flipped(&left) } else { left };
        self.later_lives(&left).await;
        self.ran.writes = self.world.writes;
        self.ran
    }

    /// Works until the fault has happened. Gives back what is found afterwards.
    async fn first_life(&mut self, disk: &FaultyDisk) -> FaultyDisk {
        let (engine, handle) = self.world.open(disk).expect("opens");
        match self.step {
            Step::Disk(point) => self.arm(disk, point),
            Step::BeforePublish => {
                let groups = i64::try_from(self.world.roll(self.times)).expect("small");
                handle.stop_after_append.store(groups, Ordering::Relaxed);
            }
            // what is opened afterwards has something left over
            Step::Opening(Point { op: Some(Op::Remove), .. }) => {
                let (op, what) = match self.world.roll(3) {
                    0 => (Op::Rename, What::Segment),
                    1 => (Op::Write, What::Unfinished),
                    _ => (Op::Sync, What::Unfinished),
                };
                disk.fail_at(Point { op: Some(op), what: Some(what), after: false }, 1, Fault::Crash, self.world.seed);
            }
            // what is opened afterwards has lost power in the middle of a write
            Step::Opening(_) => {
                let point = Point { op: Some(Op::Write), what: Some(What::Segment), after: false };
                disk.fail_at(point, 4 + self.world.roll(8), Fault::TornWrite, self.world.seed);
            }
            Step::AfterPublish | Step::Compaction => {}
        }
        let special = self.world.roll(8);
        let removes = matches!(
            self.step,
            Step::Disk(
                Point { op: Some(Op::Remove), .. }
                    | Point { what: Some(What::Old), .. }
                    | Point { op: Some(Op::Rename), what: Some(What::Spare), .. }
            )
        );
        let rounds = if removes { 20 } else { 10 };
        for round in 0..rounds {
            match self.step {
                Step::Compaction if round == special => {
                    self.arm(disk, Point::default());
                    self.world.compact_while_committing(&engine, &handle).await;
                }
                _ => self.round(&engine, &handle, disk).await,
            }
            if self.step == Step::AfterPublish && round == special {
                disk.stop();
            }
            if disk.has_crashed() {
                break;
            }
            if self.evil == Evil::DiskFull && self.full_disk(&engine, disk, round + 2 >= rounds).await {
                break;
            }
        }
        self.ran.fired = match self.step {
            Step::BeforePublish | Step::AfterPublish => disk.has_crashed(),
            _ => disk.has_fired(),
        };
        self.end(disk, engine).await
    }

    async fn round(&mut self, engine: &Engine, handle: &Handle, disk: &FaultyDisk) {
        let refused = self.world.batch(engine).await;
        let looked_after = self.world.look_after(engine, handle).await;
        if disk.has_crashed() {
            return;
        }
        let (seed, step, evil) = (self.world.seed, self.step, self.evil);
        for error in refused.iter().chain(looked_after.as_ref().err()) {
            self.ran.refused = true;
            let expected = match error {
                CommitError::DiskFull => evil == Evil::DiskFull,
                CommitError::Unknown(_) | CommitError::Poisoned(_) => {
                    evil == Evil::DeviceError || (evil == Evil::DiskFull && may_poison(step))
                }
                _ => false,
            };
            let concerns_nobody = is_housekeeping(step) && evil == Evil::DeviceError;
            assert!(expected && !concerns_nobody, "seed {seed}, {step:?}, {evil:?}: {error}");
        }
    }

    /// While the disk is full writes are refused and reads go on; when there is room, writes go on. Says whether the
    /// store has failed instead.
    async fn full_disk(&mut self, engine: &Engine, disk: &FaultyDisk, late: bool) -> bool {
        if !disk.has_fired() || (!self.ran.refused && !late) {
            return false;
        }
        let (seed, step) = (self.world.seed, self.step);
        let refused = self.world.batch(engine).await;
        let failed = |error: &CommitError| matches!(error, CommitError::Poisoned(_) | CommitError::Unknown(_));
        if refused.iter().any(failed) {
            assert!(may_poison(step), "seed {seed}, {step:?}: {refused:?}");
            return true;
        }
        observed(&engine.snapshot(), seed);
        disk.make_room();
        let refused = self.world.batch(engine).await;
        let poisoned = refused.iter().any(failed) && may_poison(step);
        assert!(refused.is_empty() || poisoned, "seed {seed}, {step:?}: there is room, and {refused:?}");
        poisoned
    }

    /// Ends a life, one way or the other.
    async fn end(&mut self, disk: &FaultyDisk, engine: Engine) -> FaultyDisk {
        let world = &self.world;
        let orderly = !disk.has_crashed() && world.roll(2) == 0;
        if orderly {
            engine.close().await;
        }
        let left = match self.evil {
            Evil::PowerLoss | Evil::TornWrite if !matches!(self.step, Step::Opening(_)) => {
                disk.after_crash(&world.random)
            }
            Evil::DeviceError if world.roll(2) == 0 => disk.after_crash(&world.random),
            _ if matches!(self.step, Step::Opening(Point { op, .. }) if op != Some(Op::Remove)) => {
                disk.after_crash(&world.random)
            }
            _ => disk.after_kill(),
        };
        drop(engine);
        left
    }

    /// Opens a store, and something goes wrong meanwhile.
    fn opened_in_vain(&mut self, disk: &FaultyDisk, point: Point) -> FaultyDisk {
        let seed = self.world.seed;
        self.arm(disk, point);
        let opened = self.world.open(disk);
        self.ran.fired = disk.has_fired();
        match &opened {
            Ok(_) | Err(OpenError::Io { .. } | OpenError::Other(_)) => {}
            Err(error) => panic!("seed {seed}, {:?}: {error}", self.step),
        }
        let by_power = matches!(self.evil, Evil::PowerLoss | Evil::TornWrite) || self.world.roll(3) == 0;
        let left = if by_power { disk.after_crash(&self.world.random) } else { disk.after_kill() };
        drop(opened);
        left
    }

    /// Opens what is left, works on it, loses power, and looks again.
    async fn later_lives(&mut self, disk: &FaultyDisk) {
        let (seed, step, evil) = (self.world.seed, self.step, self.evil);
        let mut disk = disk.clone();
        let lives = if seed % 8 == 0 { 4 } else { 3 };
        for life in 2..=lives {
            let opened = self.world.open(&disk);
            let (engine, handle) =
                opened.unwrap_or_else(|error| panic!("seed {seed}, {step:?}, {evil:?}, life {life}: {error}"));
            self.world.check(&engine);
            for _ in 0..[4, 2, 0][life - 2] {
                let refused = self.world.batch(&engine).await;
                assert!(refused.is_empty(), "seed {seed}, {step:?}, {evil:?}, life {life}: {refused:?}");
                self.world.look_after(&engine, &handle).await.expect("goes through");
            }
            let left = if life == 2 { disk.after_crash(&self.world.random) } else { disk.clone() };
            if life == 3 {
                engine.close().await;
            }
            drop(engine);
            disk = left;
        }
    }

    /// Flips bits of a file. Whoever opens that sees the same as without, or is told which file is damaged, finds
    /// nothing changed, and can save the rest.
    fn flipped(&mut self, disk: &FaultyDisk) -> FaultyDisk {
        let world = &mut self.world;
        let seed = world.seed;
        let pick = |sides: usize| usize::try_from(world.roll(sides.max(1) as u64)).expect("small");
        let mut names = disk.names();
        names.retain(|name| name.starts_with("log-") || name.starts_with("snapshot-"));
        let Some(name) = names.get(pick(names.len())).cloned() else { return disk.clone() };
        let flipped = disk.after_kill();
        flipped.tamper(&name, |bytes| {
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let within = if pick(4) == 0 { bytes.len() } else { used };
            for _ in 0..=pick(3) {
                let bit = pick(within * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        });
        let undamaged = disk.after_kill();
        let expected = state(&world.open(&undamaged).expect("opens").0, seed);
        let before = image(&flipped);
        let error = match world.open(&flipped) {
            Ok((engine, _)) => {
                let (revision, objects) = state(&engine, seed);
                assert_eq!(objects, expected.1, "seed {seed}: damage of {name} was served");
                // without the mark that all is well, it goes on above all that may have been told, and nowhere else
                let goes_on = revision == expected.0 || revision > world.told.max(expected.0);
                assert!(goes_on, "seed {seed}: {revision} after {}", expected.0);
                return flipped;
            }
            Err(error) => error,
        };
        self.ran.damage = true;
        let said = error.to_string();
        assert!(matches!(error, OpenError::Corrupt { .. }), "seed {seed}: {said}");
        assert!(said.contains(&name) && said.contains("byte") && said.contains("repair"), "seed {seed}: {said}");
        assert!(!said.contains('\n'), "one line: {said}");
        assert_eq!(image(&flipped), before, "seed {seed}: something was changed");
        let inspection = Inspection::on(Arc::new(flipped.clone())).expect("not in use");
        let findings = inspection.verify().expect("reads");
        let named = findings.iter().find(|finding| finding.file == name).expect("is there");
        assert!(matches!(named.state, FileState::Damaged(_)), "seed {seed}: {named:?}, and yet {said}");
        let salvage = Salvage::of(&inspection).expect("can be read");
        let repaired = FaultyDisk::default();
        salvage.write(&(Arc::new(repaired.clone()) as Arc<_>)).expect("writes");
        assert_eq!(image(&flipped), before, "seed {seed}: something was changed");
        let (engine, _) = world.open(&repaired).expect("opens after the repair");
        let (revision, found) = state(&engine, seed);
        assert!(revision > world.told && revision > salvage.resumes_above, "seed {seed}: revisions fell to {revision}");
        let lost = salvage.lost.is_some() || found == expected.1;
        assert!(lost, "seed {seed}: lost, and not said: {said}; {expected:?} and {found:?}; {findings:?}");
        self.ran.lost = salvage.lost.is_some();
        world.settle(&engine);
        repaired
    }
}

/// Whether want of room at a step leaves in doubt what is on the disk.
fn may_poison(step: Step) -> bool {
    let syncs = matches!(step, Step::Disk(Point { op: Some(Op::Sync), what, .. }) if what == Some(What::Segment));
    syncs || step == Step::Compaction
}

fn state(engine: &Engine, seed: u64) -> (Revision, Vec<Option<u32>>) {
    (engine.snapshot().revision(), observed(&engine.snapshot(), seed))
}

fn image(disk: &FaultyDisk) -> Vec<(String, Vec<u8>)> {
    disk.names().into_iter().map(|name| (name.clone(), disk.content(&name))).collect()
}

/// How many seeds each cell is run with.
fn seeds() -> u64 {
    std::env::var("ARKTOS_SEEDS").map_or(200, |seeds| seeds.parse().expect("ARKTOS_SEEDS is a number"))
}

/// Runs a fault at every step. Each cell must have happened, and something must have been written.
fn matrix(evil: Evil) {
    let seeds = seeds();
    let mut cells: BTreeMap<&str, Ran> = BTreeMap::new();
    for (name, times, step) in STEPS.iter().filter(|(_, _, step)| applies(*step, evil)) {
        let (mut fired, mut total) = (0, Ran::default());
        let mut refused = 0;
        let (mut damaged, mut lost) = (0, 0);
        for seed in 0..seeds {
            let world = World::new(seed);
            let run = Run { world, step: *step, evil, times: *times, ran: Ran::default() };
            let ran = futures::executor::block_on(run.run());
            fired += u64::from(ran.fired);
            refused += u64::from(ran.refused);
            (damaged, lost) = (damaged + u64::from(ran.damage), lost + u64::from(ran.lost));
            total.writes += ran.writes;
        }
        println!(
            "{evil:?} {name}: {fired} of {seeds} runs, {} writes acknowledged, refused in {refused}, damage named in \
             {damaged}, of these with losses {lost}",
            total.writes
        );
        assert!(fired * 8 >= seeds, "{evil:?} {name}: happened in {fired} of {seeds} runs");
        let of_the_keeper = matches!(step, Step::Disk(Point { what: Some(What::Snapshot), .. }));
        let refuses = evil == Evil::DiskFull && !is_housekeeping(*step) && matches!(step, Step::Disk(_));
        let refuses = refuses && !of_the_keeper;
        assert!(!refuses || refused > 0, "{evil:?} {name}: nothing was ever refused");
        assert!(evil != Evil::FlippedBits || damaged * 8 >= seeds, "{name}: damage was named in {damaged} runs");
        assert!(total.writes > 0);
        cells.insert(name, total);
    }
    assert!(cells.len() >= 6, "a matrix without cells tests nothing");
}

#[test]
fn a_kill_at_any_step_loses_nothing_and_leaves_nothing_half_done() {
    matrix(Evil::Kill);
}

#[test]
fn a_loss_of_power_at_any_step_loses_nothing_and_leaves_nothing_half_done() {
    matrix(Evil::PowerLoss);
}

#[test]
fn a_torn_write_at_any_step_is_as_if_it_had_never_been() {
    matrix(Evil::TornWrite);
}

#[test]
fn a_full_disk_at_any_step_refuses_writes_until_there_is_room() {
    matrix(Evil::DiskFull);
}

#[test]
fn an_error_of_the_device_at_any_step_loses_nothing() {
    matrix(Evil::DeviceError);
}

#[test]
fn flipped_bits_are_named_and_never_served() {
    matrix(Evil::FlippedBits);
}
