//! Watch: what there is, what happens, and how the stream ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arktos_core::{ObjectPath, Revision, Status};
use arktos_store::{Clock, Cursor, Delivery, Stored, WatchError};
use futures::future::{BoxFuture, Either, select};
use futures::stream::{self, Stream};

use super::read::{self, Page};
use crate::call::{Call, read_fault};
use crate::query::ReadOptions;

/// How often a quiet watch is told how far it has come.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long a watch lasts that does not say, at least; at most, twice that.
const LASTS: Duration = Duration::from_secs(1800);
/// How many objects of the initial state are taken from the snapshot at once.
const INITIAL_CHUNK: usize = 128;

/// What a watcher is sent.
#[derive(Debug)]
pub(crate) enum Frame {
    /// Something has happened, or is there from the start.
    Delivery(Delivery),
    /// All of the initial state has been sent; it was that of this revision.
    InitialEnd(Revision),
    /// The watch has failed, and ends.
    Fault(Box<Status>),
}

/// Opens a watch. Faults that upstream sends inside the stream come as frames.
///
/// # Errors
/// For options that make no sense.
pub(crate) async fn watch(
    call: &Call<'_>,
    options: &ReadOptions,
) -> Result<impl Stream<Item = Frame> + Send + 'static, Status> {
    let selection = read::selection(call, options)?;
    let wanted = match options.version.as_str() {
        "" => None,
        text => {
            Some(Revision::parse(text).ok_or_else(|| read::invalid_version(text, arktos_core::Reason::InternalError))?)
        }
    };
    let engine = call.engine();
    let from_state = match options.send_initial_events {
        Some(initial) => initial,
        None => wanted.is_none_or(|wanted| wanted == Revision::ZERO),
    };
    let clock = call.state.config.clock.clone();
    let lasts = options.timeout_seconds.filter(|seconds| *seconds > 0).map_or_else(
        || LASTS + Duration::from_secs(call.state.config.random.next() % LASTS.as_secs()),
        Duration::from_secs,
    );
    let mut watcher = Watcher {
        cursor: None,
        page: None,
        taken: None,
        ready: VecDeque::new(),
        bookmarks: options.bookmarks,
        end_mark: None,
        end: clock.sleep(lasts),
        tick: clock.sleep(BOOKMARK_EVERY),
        clock,
        state: Progress::Live,
    };
    let after = if from_state || wanted.is_none() || wanted == Some(Revision::ZERO) {
        let snapshot = match wanted {
            None => engine.latest().await.map_err(|error| read_fault(&error))?,
            Some(Revision::ZERO) => engine.snapshot(),
            Some(wanted) => read::not_older_than(call, wanted).await?,
        };
        let revision = snapshot.revision();
        if from_state {
            let shared = call.state.shared.selected(&selection, &snapshot);
            watcher.page = Some(Page {
                snapshot,
                selection: selection.clone(),
                shared,
                after: None,
                until: None,
                revision,
                next: String::new(),
                remaining: None,
            });
            let announced = options.send_initial_events == Some(true) && options.bookmarks;
            watcher.end_mark = announced.then_some(revision);
        }
        revision
    } else {
        wanted.unwrap_or_default()
    };
    match engine.watch(selection, after) {
        Ok(cursor) => watcher.cursor = Some(cursor),
        Err(error) => {
            watcher.page = None;
            watcher.end_mark = None;
            watcher.ready.push_back(Frame::Fault(Box::new(watch_fault(&error))));
            watcher.state = Progress::Ended;
        }
    }
    Ok(stream::unfold(watcher, |mut watcher| async move { watcher.next().await.map(|frame| (frame, watcher)) }))
}

/// What a watcher is told when its cursor ends.
pub(crate) fn watch_fault(error: &WatchError) -> Status {
    read_fault(error)
}

/// One watch, as its stream pulls it along.
struct Watcher {
    cursor: Option<Cursor>,
    /// The initial state, as long as it is not sent whole.
    page: Option<Page>,
    taken: Option<ObjectPath>,
    ready: VecDeque<Frame>,
    bookmarks: bool,
    end_mark: Option<Revision>,
    end: BoxFuture<'static, ()>,
    tick: BoxFuture<'static, ()>,
    clock: Arc<dyn Clock>,
    state: Progress,
}

#[derive(PartialEq, Eq)]
enum Progress {
    Live,
    Ended,
}

/// What a watch that waited was woken by.
enum Woken {
    Event(Result<Delivery, WatchError>),
    End,
    Tick,
}

impl Watcher {
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(frame);
            }
            if self.state == Progress::Ended {
                return None;
            }
            if self.page.is_some() {
                self.take_initial();
                continue;
            }
            if let Some(revision) = self.end_mark.take() {
                return Some(Frame::InitialEnd(revision));
            }
            let cursor = self.cursor.as_mut()?;
            let woken = {
                let event = std::pin::pin!(cursor.next());
                match select(event, select(&mut self.end, &mut self.tick)).await {
                    Either::Left((event, _)) => Woken::Event(event),
                    Either::Right((Either::Left(_), _)) => Woken::End,
                    Either::Right((Either::Right(_), _)) => Woken::Tick,
                }
            };
            match woken {
                Woken::Event(Ok(delivery)) => return Some(Frame::Delivery(delivery)),
                Woken::Event(Err(WatchError::Closed)) => self.state = Progress::Ended,
                Woken::Event(Err(error)) => {
                    self.state = Progress::Ended;
                    return Some(Frame::Fault(Box::new(watch_fault(&error))));
                }
                Woken::End => {
                    self.state = Progress::Ended;
                    self.bookmark();
                }
                Woken::Tick => {
                    self.tick = self.clock.sleep(BOOKMARK_EVERY);
                    self.bookmark();
                }
            }
        }
    }

    fn bookmark(&mut self) {
        if let (true, Some(cursor)) = (self.bookmarks, self.cursor.as_mut()) {
            self.ready.push_back(Frame::Delivery(Delivery::Bookmark(cursor.bookmark_now())));
        }
    }

    fn take_initial(&mut self) {
        let Some(page) = &self.page else { return };
        let items: Vec<Stored> = page.items(self.taken.as_ref()).take(INITIAL_CHUNK).collect();
        match items.last() {
            Some(last) => self.taken = Some(last.path.clone()),
            None => self.page = None,
        }
        self.ready.extend(items.into_iter().map(|stored| Frame::Delivery(Delivery::Added(stored))));
    }
}
