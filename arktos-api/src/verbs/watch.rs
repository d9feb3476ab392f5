//! Watch: what there is, what happens, and how the stream ends.

mod merged;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arktos_core::{Reason, Revision, Status, Timestamp};
use arktos_store::client::{WatchListEvent, WatchListStream};
use arktos_store::{Clock, Delivery, ListWatch, Selection, Snapshot, WatchError};
use futures::future::BoxFuture;
use futures::stream::{self, Stream};
use futures::{FutureExt, StreamExt};

use self::merged::Merged;
use super::{node_view, read};
use crate::call::{Call, read_fault};
use crate::forced::Effective;
use crate::query::ReadOptions;
use crate::standing::Standing;

/// How often a quiet watch is told how far it has come.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long a watch lasts that does not say, at least; at most, twice that.
const LASTS: Duration = Duration::from_secs(1800);
/// After how many events, where one follows the other, a watch looks at the time.
const EVENTS_A_LOOK: u32 = 64;

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

/// Opens a watch. Faults that upstream sends inside the stream come as frames. Where it is given, `standing` is asked
/// again every minute, and ends the watch when it says no.
///
/// # Errors
/// For options that make no sense.
pub(crate) async fn watch(
    call: &Call<'_>,
    options: &ReadOptions,
    standing: Option<Standing>,
) -> Result<impl Stream<Item = Frame> + Send + Unpin + 'static, Status> {
    let selection = read::selection(call, options)?;
    let wanted = match options.version.as_str() {
        "" => None,
        text => Some(read::version(text, Reason::InternalError)?),
    };
    let from_state = match options.send_initial_events {
        Some(initial) => initial,
        None => wanted.is_none_or(|wanted| wanted == Revision::ZERO),
    };
    let clock = call.state.config.clock.clone();
    let lasts = options.timeout_seconds.filter(|seconds| *seconds != 0).map_or_else(
        || LASTS + Duration::from_secs(call.state.config.random.next() % LASTS.as_secs()),
        |seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
    );
    let mut watcher = Watcher {
        source: None,
        ready: VecDeque::new(),
        bookmarks: options.bookmarks,
        marks_end: options.marks_end(),
        end: clock.sleep(lasts),
        tick: clock.sleep(BOOKMARK_EVERY),
        asks_at: clock.now().later(BOOKMARK_EVERY),
        until_look: 0,
        clock,
        state: Progress::Live,
        standing,
        effective: None,
    };
    match node_view::watch(call, options, wanted.filter(|_| !from_state)).await? {
        Some(events) => watcher.source = Some(Events::Elsewhere(events)),
        None => open(call, selection, (wanted, from_state), &mut watcher).await?,
    }
    if options.timeout_seconds.is_some_and(|seconds| seconds < 0) {
        watcher.ready.clear();
        watcher.state = Progress::Ended;
    }
    Ok(stream::poll_fn(move |context| watcher.poll_next(context)))
}

/// Opens a watch of what is kept here.
async fn open(
    call: &Call<'_>,
    selection: Selection,
    (wanted, from_state): (Option<Revision>, bool),
    watcher: &mut Watcher,
) -> Result<(), Status> {
    let engine = call.engine();
    let at_state = match wanted {
        None => Some(engine.latest().await.map_err(|error| read_fault(&error))?),
        Some(Revision::ZERO) => Some(engine.snapshot()),
        Some(wanted) if from_state => match read::not_older_than(call, wanted).await {
            Err(status) if status.is(Reason::Timeout) => {
                watcher.ready.push_back(Frame::Fault(Box::new(status)));
                return Ok(());
            }
            state => Some(state?),
        },
        Some(_) => None,
    };
    let effective = Effective::of(call, &selection);
    if let (Some(_), Some(snapshot), true) = (&effective, &at_state, from_state) {
        watcher.begin_with(&read::whole(call, snapshot.clone(), selection.clone()));
    }
    let begin = |at_state: &Option<Snapshot>| at_state.as_ref().map_or(wanted.unwrap_or_default(), Snapshot::revision);
    let opened = match (effective, at_state) {
        (Some((effective, forced)), at_state) => {
            watcher.effective = Some(effective);
            let open = |selection| engine.watch(selection, begin(&at_state));
            open(selection).and_then(|own| Ok(Events::Two(Box::new(Merged::new([own, open(forced)?])))))
        }
        (None, Some(snapshot)) if from_state => {
            let shared = read::beside(call, &selection, &snapshot);
            engine.list_watch_from(snapshot, selection).map(|source| Events::Here(source.beside(shared)))
        }
        (None, at_state) => engine.watch(selection, begin(&at_state)).map(|cursor| Events::Here(cursor.into())),
    };
    match opened {
        Ok(source) => watcher.source = Some(source),
        Err(error) => {
            watcher.ready.push_back(Frame::Fault(Box::new(watch_fault(&error))));
            watcher.state = Progress::Ended;
        }
    }
    Ok(())
}

/// What a watcher is told when its cursor ends.
pub(crate) fn watch_fault(error: &WatchError) -> Status {
    read_fault(error)
}

/// What comes next of a source here; none where it is closed.
fn told(event: Result<WatchListEvent, WatchError>) -> Option<Result<WatchListEvent, Status>> {
    match event {
        Err(WatchError::Closed) => None,
        event => Some(event.map_err(|error| watch_fault(&error))),
    }
}

/// Where a watch has its events from.
enum Events {
    Here(ListWatch),
    /// What a tenant has, and what is forced on it.
    Two(Box<Merged>),
    Elsewhere(WatchListStream),
}

impl Events {
    /// What comes next; none where it just ends.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<WatchListEvent, Status>>> {
        match self {
            Self::Here(source) => source.poll_next(context).map(told),
            Self::Two(merged) => merged.poll_next(context).map_ok(WatchListEvent::Delivery).map(told),
            // Who cannot be reached any more is watched again, and then it is said.
            Self::Elsewhere(events) => events.poll_next_unpin(context).map(|event| {
                event.filter(|event| !matches!(event, Err(status) if status.is(Reason::ServiceUnavailable)))
            }),
        }
    }

    /// The revision of a bookmark that may be sent now. Those of elsewhere come among the events.
    fn bookmark_now(&mut self) -> Option<Revision> {
        match self {
            Self::Here(source) => source.bookmark_now(),
            Self::Two(merged) => merged.bookmark_now(),
            Self::Elsewhere(_) => None,
        }
    }
}

/// One watch, as its stream pulls it along.
struct Watcher {
    source: Option<Events>,
    ready: VecDeque<Frame>,
    bookmarks: bool,
    /// Whether the end of the initial state is told.
    marks_end: bool,
    end: BoxFuture<'static, ()>,
    tick: BoxFuture<'static, ()>,
    clock: Arc<dyn Clock>,
    state: Progress,
    standing: Option<Standing>,
    /// When that is asked next.
    asks_at: Timestamp,
    /// How many more events go out before the time is looked at.
    until_look: u32,
    /// What a watch of definitions sees of those that are forced on its tenant.
    effective: Option<Effective>,
}

#[derive(PartialEq, Eq)]
enum Progress {
    Live,
    Ended,
}

/// What a watch that waited was woken by.
enum Woken {
    Event(Option<Result<WatchListEvent, Status>>),
    End,
    Tick,
}

impl Watcher {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Poll::Ready(Some(frame));
            }
            if self.state == Progress::Ended {
                return Poll::Ready(None);
            }
            if let Err(refused) = ready!(self.ask_again(context)) {
                self.state = Progress::Ended;
                return Poll::Ready(Some(Frame::Fault(Box::new(refused))));
            }
            match ready!(self.poll_woken(context)) {
                Woken::Event(Some(Ok(WatchListEvent::Delivery(Delivery::Bookmark(_))))) if !self.bookmarks => {}
                Woken::Event(Some(Ok(WatchListEvent::Delivery(delivery)))) => match self.told(delivery) {
                    Ok(Some(delivery)) => return Poll::Ready(Some(Frame::Delivery(delivery))),
                    Ok(None) => {}
                    Err(status) => {
                        self.state = Progress::Ended;
                        return Poll::Ready(Some(Frame::Fault(Box::new(status))));
                    }
                },
                Woken::Event(Some(Ok(WatchListEvent::InitialEnd(revision)))) if self.marks_end => {
                    return Poll::Ready(Some(Frame::InitialEnd(revision)));
                }
                Woken::Event(Some(Ok(WatchListEvent::InitialEnd(_)))) => {}
                Woken::Event(None) => self.state = Progress::Ended,
                Woken::Event(Some(Err(status))) => {
                    self.state = Progress::Ended;
                    return Poll::Ready(Some(Frame::Fault(Box::new(status))));
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

    /// What is there, or comes first. A watch without a source has ended.
    fn poll_woken(&mut self, context: &mut Context<'_>) -> Poll<Woken> {
        let Some(source) = &mut self.source else { return Poll::Ready(Woken::Event(None)) };
        if let Poll::Ready(event) = source.poll_next(context) {
            self.until_look = self.until_look.saturating_sub(1);
            return Poll::Ready(Woken::Event(event));
        }
        self.until_look = 0; // it waits
        match self.end.poll_unpin(context) {
            Poll::Ready(()) => Poll::Ready(Woken::End),
            Poll::Pending => self.tick.poll_unpin(context).map(|()| Woken::Tick),
        }
    }

    /// Everything that a page has is there from the start.
    fn begin_with(&mut self, page: &read::Page) {
        self.ready.extend(page.items(None).map(|item| Frame::Delivery(Delivery::Added(item))));
        if self.marks_end {
            self.ready.push_back(Frame::InitialEnd(page.revision));
        }
    }

    /// What of a change the watcher is told.
    fn told(&self, delivery: Delivery) -> Result<Option<Delivery>, Status> {
        match &self.effective {
            Some(effective) => effective.told(delivery),
            None => Ok(Some(delivery)),
        }
    }

    /// Asks, once a minute, whether this may go on: also where there is always something to tell. Until it is answered,
    /// nothing is told.
    fn ask_again(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let Some(standing) = &mut self.standing else { return Poll::Ready(Ok(())) };
        if standing.is_asking() {
            return standing.poll_ask(context);
        }
        if self.until_look > 0 {
            return Poll::Ready(Ok(()));
        }
        self.until_look = EVENTS_A_LOOK;
        let now = self.clock.now();
        if now < self.asks_at {
            return Poll::Ready(Ok(()));
        }
        self.asks_at = now.later(BOOKMARK_EVERY);
        standing.poll_ask(context)
    }

    fn bookmark(&mut self) {
        let revision = self.source.as_mut().filter(|_| self.bookmarks).and_then(Events::bookmark_now);
        self.ready.extend(revision.map(|revision| Frame::Delivery(Delivery::Bookmark(revision))));
    }
}
