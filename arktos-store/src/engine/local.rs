//! The writing side of a store of this process alone.
//!
//! Commits are checked and staged by whoever commits, under a short lock. Without a journal they are published at once.
//! With one, they gather in a group; the committer thread takes the group, appends it with one sync, publishes it, and
//! answers, while the next group is gathering. Threads that stand behind others leave their commits to it (see `left`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arktos_core::Timestamp;
use crossbeam::utils::CachePadded;
use tokio::sync::{oneshot, watch};

use super::at_rest::AtRest;
use super::left::{Left, LeftCommits};
use super::lookout::Lookout;
use super::sequencer::{Sealed, Sequencer};
use super::sync::thread::{self, JoinHandle};
use super::sync::{Condvar, Mutex};
use super::view::View;
use crate::clock::Clock;
use crate::commit::{Commit, CommitError, Committed};
use crate::storage::{AppendError, Journal, OpenError};

/// Takes commits for a store of this process alone.
pub(crate) struct Local {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    waiting_bytes_max: usize,
    /// The committer thread, until somebody joins it. None where there is no journal.
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Becomes true when the committer thread has ended.
    ended: watch::Receiver<bool>,
}

struct Shared {
    view: Arc<View>,
    /// Written by whoever commits, and by the committer thread.
    desk: Mutex<Desk>,
    /// Wakes the committer thread.
    work: Condvar,
    /// Somebody waits, or the store is closing: what the committer thread looks at without the lock, before it sleeps.
    /// Written under the desk's lock, and in a cache line of its own: whoever locks the desk is not to wait for one who
    /// only looks.
    gathered: CachePadded<AtomicBool>,
    left: LeftCommits,
    journal: bool,
}

/// Where commits and the committer thread meet.
struct Desk {
    sequencer: Sequencer,
    /// Who waits for the group that is gathering.
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    /// A group is being appended.
    in_flight: bool,
    closing: bool,
    /// Why the journal takes no more.
    failed: Option<Arc<str>>,
    /// As the committer thread has found the disk the last time.
    full: bool,
}

/// An outcome that was decided, and is told when everything it was decided against is durable.
struct Waiting {
    answer: oneshot::Sender<Result<Committed, CommitError>>,
    outcome: Result<Committed, CommitError>,
    what: Staged,
}

/// What was staged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Staged {
    /// Something that changes objects or counters.
    Changes,
    /// Something that changes nothing, or was refused.
    Nothing,
    /// History is dropped, as of this time. It takes no room, and makes some.
    Compaction(Timestamp),
    /// What was appended before is made durable. It takes no room.
    Flush,
}

impl Local {
    /// Commits into memory alone. There is no thread.
    pub(crate) fn memory(view: Arc<View>, clock: Arc<dyn Clock>, sequencer: Sequencer) -> Self {
        let shared = Arc::new(Shared::new(view, sequencer, false));
        let (_, ended) = watch::channel(true);
        Self { shared, clock, waiting_bytes_max: usize::MAX, thread: Mutex::new(None), ended }
    }

    /// Commits into a journal, with a thread of its own.
    pub(crate) fn journaled(
        view: Arc<View>,
        clock: Arc<dyn Clock>,
        sequencer: Sequencer,
        (journal, at_rest): (Box<dyn Journal>, Arc<AtRest>),
        waiting_bytes_max: usize,
    ) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::new(view, sequencer, true));
        let (end, ended) = watch::channel(false);
        let lookout = Lookout::default();
        let mut committer = Committer { shared: shared.clone(), journal, at_rest, lookout, full: false };
        let thread = thread::Builder::new()
            .name("arktos-committer".to_owned())
            .spawn(move || {
                committer.run();
                end.send_replace(true);
            })
            .map_err(|source| OpenError::Io { place: "the committer thread".to_owned(), source })?;
        Ok(Self { shared, clock, waiting_bytes_max, thread: Mutex::new(Some(thread)), ended })
    }

    pub(crate) async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let answer = match self.shared.journal && crate::behind::stands() {
            true => self.leave(commit),
            false => {
                let what = Staged::of(&commit);
                self.stage(what, commit_bytes(&commit), |sequencer, now| sequencer.stage(&commit, now))
            }
        };
        answer.wait().await
    }

    pub(crate) async fn expire(&self, now: Timestamp) -> Result<usize, CommitError> {
        let mut all = 0;
        loop {
            let mut expired = 0;
            let answer = self.stage(Staged::Changes, 0, |sequencer, _| {
                expired = sequencer.stage_expired(now, EXPIRED_MAX);
                Ok(sequencer.nothing())
            });
            answer.wait().await?;
            all += expired;
            if expired < EXPIRED_MAX {
                return Ok(all);
            }
        }
    }

    pub(crate) async fn compact(&self, now: Timestamp) -> Result<(), CommitError> {
        let answer =
            self.stage(Staged::Compaction(now), 0, |sequencer, _| Ok(Staged::Compaction(now).again(sequencer)));
        answer.wait().await.map(drop)
    }

    /// Makes durable what is not yet.
    pub(crate) async fn flush(&self) -> Result<(), CommitError> {
        let answer = self.stage(Staged::Flush, 0, |sequencer, _| Ok(Staged::Flush.again(sequencer)));
        answer.wait().await.map(drop)
    }

    /// As [`flush`](Self::flush); the journal begins anew where it is to, also while nobody writes anything.
    pub(crate) async fn renew(&self) -> Result<(), CommitError> {
        let answer = self.stage(Staged::Flush, 0, |sequencer, _| {
            sequencer.stage_renewal();
            Ok(sequencer.nothing())
        });
        answer.wait().await.map(drop)
    }

    /// Refuses further commits, and waits until the thread has ended.
    pub(crate) async fn close(&self) {
        self.begin_close();
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
        self.join();
    }

    /// As [`close`](Self::close), for a thread that may block.
    pub(crate) fn close_blocking(&self) {
        self.begin_close();
        self.join();
    }

    fn begin_close(&self) {
        let mut desk = self.shared.desk.lock();
        desk.closing = true;
        self.shared.gathered.store(true, Ordering::Relaxed);
        drop(desk);
        self.shared.work.notify_all();
    }

    fn join(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the committer thread panicked");
        }
    }

    /// Why nothing is written any more, where that is so.
    pub(crate) fn failure(&self) -> Option<Arc<str>> {
        self.shared.desk.lock().failed.clone()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.shared.desk.lock().full
    }

    /// Decides something, and says how to come by the answer.
    fn stage(
        &self,
        what: Staged,
        bytes: usize,
        decide: impl FnOnce(&mut Sequencer, Timestamp) -> Result<Committed, CommitError>,
    ) -> Answer {
        let now = self.clock.now();
        let shared = &*self.shared;
        let mut desk = shared.desk.lock();
        if let Some(refusal) = desk.refusal() {
            return Answer::Now(Err(refusal));
        }
        if desk.waiting_bytes.saturating_add(bytes) > self.waiting_bytes_max && !desk.waiting.is_empty() {
            return Answer::Now(Err(CommitError::Busy));
        }
        let outcome = decide(&mut desk.sequencer, now);
        if desk.sequencer.is_idle() && !desk.in_flight {
            return Answer::Now(outcome); // it was decided against what is durable, and changes nothing
        }
        if !shared.journal {
            let sealed = desk.sequencer.seal();
            let before = shared.view.publish(sealed.state);
            drop(desk);
            shared.view.notify(&sealed.touched);
            drop(before);
            return Answer::Now(outcome);
        }
        let (answer, answered) = oneshot::channel();
        desk.waiting.push(Waiting { answer, outcome, what });
        desk.waiting_bytes += bytes + WAITING_BYTES;
        let first = desk.waiting.len() == 1 && !desk.in_flight;
        shared.gathered.store(true, Ordering::Relaxed);
        drop(desk);
        if first {
            shared.work.notify_one();
        }
        Answer::Later(answered)
    }

    /// Leaves it to the committer thread to decide something, and says how to come by the answer.
    fn leave(&self, commit: Commit) -> Answer {
        let shared = &*self.shared;
        let (answer, answered) = oneshot::channel();
        let bytes = commit_bytes(&commit) + WAITING_BYTES;
        let left = Left { commit, bytes, now: self.clock.now(), answer };
        match shared.left.leave(left, self.waiting_bytes_max) {
            Err(refusal) => return Answer::Now(Err(refusal)),
            Ok(sleeps) => {
                shared.gathered.store(true, Ordering::Relaxed);
                if sleeps {
                    drop(shared.desk.lock()); // from here on it does
                    shared.work.notify_one();
                }
            }
        }
        Answer::Later(answered)
    }
}

/// What one waiting commit counts beside its objects.
const WAITING_BYTES: usize = 256;

/// How many objects expire in one group.
const EXPIRED_MAX: usize = 4096;

/// How to come by an answer.
enum Answer {
    Now(Result<Committed, CommitError>),
    Later(oneshot::Receiver<Result<Committed, CommitError>>),
}

impl Answer {
    async fn wait(self) -> Result<Committed, CommitError> {
        match self {
            Self::Now(outcome) => outcome,
            // the committer answers everybody, unless it panics
            Self::Later(answered) => {
                answered.await.unwrap_or_else(|_| Err(CommitError::Unknown("the committer has stopped".into())))
            }
        }
    }
}

impl Staged {
    /// What is staged by a commit.
    fn of(commit: &Commit) -> Self {
        let changes = !commit.writes.is_empty() || !commit.counters.is_empty();
        if changes { Self::Changes } else { Self::Nothing }
    }

    /// Whether it is done also while there is no room.
    fn takes_no_room(self) -> bool {
        matches!(self, Self::Compaction(_) | Self::Flush)
    }

    /// Stages what takes no room; the answer to it.
    fn again(self, sequencer: &mut Sequencer) -> Committed {
        match self {
            Self::Compaction(now) => sequencer.stage_compaction(now),
            Self::Flush => sequencer.stage_flush(),
            Self::Changes | Self::Nothing => {}
        }
        sequencer.nothing()
    }
}

impl Shared {
    fn new(view: Arc<View>, sequencer: Sequencer, journal: bool) -> Self {
        let desk = Desk {
            sequencer,
            waiting: Vec::new(),
            waiting_bytes: 0,
            in_flight: false,
            closing: false,
            failed: None,
            full: false,
        };
        let (desk, work, gathered) = (Mutex::new(desk), Condvar::new(), CachePadded::default());
        Self { view, desk, work, gathered, left: LeftCommits::default(), journal }
    }
}

impl Desk {
    /// Why nothing is decided any more.
    fn refusal(&self) -> Option<CommitError> {
        match &self.failed {
            Some(why) => Some(CommitError::Poisoned(why.clone())),
            None => self.closing.then_some(CommitError::Closed),
        }
    }

    /// Decides what was left. Nothing is in flight.
    fn decide(&mut self, left: &LeftCommits) {
        while let Some(Left { commit, now, answer, .. }) = left.take() {
            let (outcome, waits) = match self.refusal() {
                Some(refusal) => (Err(refusal), false),
                // what is idle has nothing that is not durable
                None => (self.sequencer.stage(&commit, now), !self.sequencer.is_idle()),
            };
            match waits {
                true => self.waiting.push(Waiting { answer, outcome, what: Staged::of(&commit) }),
                false => drop(answer.send(outcome)), // whoever dropped the future does not ask
            }
        }
    }
}

/// The committer thread: takes what has gathered, makes it durable, publishes it, answers.
struct Committer {
    shared: Arc<Shared>,
    journal: Box<dyn Journal>,
    at_rest: Arc<AtRest>,
    lookout: Lookout,
    /// The last write that takes room found none.
    full: bool,
}

impl Committer {
    fn run(&mut self) {
        while let Some((sealed, waiting)) = self.take() {
            match self.append(&sealed) {
                Ok(()) => {
                    self.has_room(&sealed);
                    self.publish(sealed, waiting);
                }
                Err(AppendError::Full { place }) => self.refuse(&place, waiting),
                Err(AppendError::Failed(why)) => self.fail(&why, waiting),
            }
        }
        let failed = self.shared.desk.lock().failed.is_some();
        if !failed && let Err(error) = self.journal.close() {
            tracing::error!(%error, "the journal was not closed cleanly");
        }
    }

    fn append(&mut self, sealed: &Sealed) -> Result<(), AppendError> {
        if self.at_rest.is_renewed() {
            self.journal.renew().inspect_err(|_| self.at_rest.renew())?;
        }
        match sealed.group.is_empty() && !sealed.group.sync {
            true => Ok(()),
            false => {
                let group = self.at_rest.hide_group(&sealed.group).map_err(AppendError::Failed)?;
                self.journal.append(&group)
            }
        }
    }

    /// The next group, once there is one; none when the store is closed.
    fn take(&mut self) -> Option<(Sealed, Vec<Waiting>)> {
        self.lookout.look(|| self.shared.gathered.load(Ordering::Relaxed));
        let shared = &*self.shared;
        let mut desk = shared.desk.lock();
        desk.decide(&shared.left);
        while desk.waiting.is_empty() {
            if desk.closing {
                return None;
            }
            if shared.left.may_sleep() {
                shared.work.wait(&mut desk);
            }
            shared.left.awake();
            desk.decide(&shared.left);
        }
        desk.in_flight = true;
        desk.waiting_bytes = 0;
        shared.gathered.store(false, Ordering::Relaxed);
        let room = desk.waiting.len();
        let waiting = std::mem::replace(&mut desk.waiting, Vec::with_capacity(room));
        Some((desk.sequencer.seal(), waiting))
    }

    fn publish(&self, sealed: Sealed, waiting: Vec<Waiting>) {
        let before = self.shared.view.publish(sealed.state);
        self.shared.desk.lock().in_flight = false;
        for waiting in waiting {
            let _ = waiting.answer.send(waiting.outcome); // whoever dropped the future does not ask
        }
        self.shared.view.notify(&sealed.touched);
        drop(before);
    }

    /// What takes room was written: if there was none, there is now. Commits that were refused write nothing.
    fn has_room(&mut self, written: &Sealed) {
        if self.full && !written.group.is_empty() {
            self.note_full(false);
            tracing::info!("there is space on the disk again: writes are taken");
        }
    }

    fn note_full(&mut self, full: bool) {
        self.full = full;
        self.shared.desk.lock().full = full;
    }

    /// There is no room: what was staged did not happen. The next commit tries anew. What takes no room is done all the
    /// same, without the others: else those who go on trying would keep room from ever being made.
    fn refuse(&mut self, place: &str, waiting: Vec<Waiting>) {
        if !self.full {
            self.note_full(true);
            tracing::error!(place, "the disk is full: writes are refused until there is space");
        }
        let (sealed, spared) = self.take_back(waiting, Staged::takes_no_room);
        if spared.is_empty() {
            return;
        }
        match self.append(&sealed) {
            Ok(()) => self.publish(sealed, spared),
            Err(AppendError::Failed(why)) => self.fail(&why, spared),
            // a journal that has no room for that either
            Err(AppendError::Full { .. }) => drop(self.take_back(spared, |_| false)),
        }
    }

    /// Takes back all that is staged, and refuses those who wait for it. What is to be spared is staged anew, by
    /// itself.
    fn take_back(&self, waiting: Vec<Waiting>, spare: fn(Staged) -> bool) -> (Sealed, Vec<Waiting>) {
        let mut desk = self.shared.desk.lock();
        desk.sequencer.roll_back(self.shared.view.state().as_ref().clone());
        desk.waiting_bytes = 0;
        let later = std::mem::take(&mut desk.waiting);
        let all = waiting.into_iter().chain(later);
        let (mut spared, refused): (Vec<_>, Vec<_>) = all.partition(|waiting| spare(waiting.what));
        for waiting in &mut spared {
            waiting.outcome = Ok(waiting.what.again(&mut desk.sequencer));
        }
        let sealed = desk.sequencer.seal();
        desk.in_flight = !spared.is_empty();
        drop(desk);
        answer(refused, &CommitError::DiskFull);
        (sealed, spared)
    }

    /// The disk has failed: nobody knows whether the group is on it, and nothing more is.
    fn fail(&self, why: &str, waiting: Vec<Waiting>) {
        tracing::error!(why, "the store has failed and takes no more writes");
        let why: Arc<str> = why.into();
        let mut desk = self.shared.desk.lock();
        desk.failed = Some(why.clone());
        desk.in_flight = false;
        let later = std::mem::take(&mut desk.waiting);
        drop(desk);
        for waiting in waiting {
            let error = match waiting.what == Staged::Changes && waiting.outcome.is_ok() {
                true => CommitError::Unknown(why.clone()),
                false => CommitError::Poisoned(why.clone()),
            };
            let _ = waiting.answer.send(Err(error));
        }
        for waiting in later {
            let _ = waiting.answer.send(Err(CommitError::Poisoned(why.clone())));
        }
    }
}

/// Nobody waits in vain for a committer that has ended, should it ever panic, too.
impl Drop for Committer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fail("the committer has panicked: this is a bug", Vec::new());
        }
        self.shared.left.end();
    }
}

fn answer(waiting: impl IntoIterator<Item = Waiting>, error: &CommitError) {
    for waiting in waiting {
        let _ = waiting.answer.send(Err(error.clone())); // whoever dropped the future does not ask
    }
}

fn commit_bytes(commit: &Commit) -> usize {
    commit.writes.iter().map(super::sequencer::write_bytes).sum()
}
