//! Who works, who waits, whose turn is next: counts and queues, and nothing that knows of time or tasks.
//!
//! Turns go by start-time fair queueing. Virtual time is counted in seats. A request's tag is where its tenant's last
//! one ended, or now if that is past; the smallest tag is next. So a tenant that has asked for much stands behind one
//! that has asked for little, and none can save up:
//!
//! ```text
//!  seats: 1      noisy asks n1 n2 n3 n4, then quiet asks q1
//!  tags          n1=0 (works)  n2=1  n3=2  n4=3   q1=0
//!  turns         n1  q1  n2  n3  n4
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};

use std::time::Duration;

use arktos_core::Timestamp;

use super::lately::Lately;
use super::pace::Pace;
use super::work::PIECE;
use super::{Fairness, Flow};

/// A request that waits.
pub(super) type Ticket = u64;

/// What becomes of a request that comes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It has these seats.
    Runs(u32),
    /// It waits.
    Waits(Ticket),
    /// Too many wait already.
    Refused,
}

/// A request whose turn has come: it has its seats.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) ticket: Ticket,
    pub(super) flow: Flow,
    pub(super) seats: u32,
}

/// Who works and who waits.
pub(super) struct Machine {
    config: Fairness,
    /// How many seats there are.
    pace: Pace,
    lately: Lately,
    /// Seats of those who are at work, and of those who are away: who wait for a disk or somebody else, not for a core.
    taken: u32,
    away: u32,
    /// Requests that wait.
    queued: u32,
    /// The tag of the request that was let in last.
    now: u64,
    next: Ticket,
    /// Flows that have anything, or have had more than their share lately.
    flows: HashMap<Flow, State>,
    /// The first in line of each flow that may have more seats, by tag. Some may not any more, now that there are
    /// fewer.
    ready: BTreeMap<(u64, Ticket), Flow>,
    /// The first in line of each flow that has all the seats that it may.
    held: BTreeMap<(u64, Ticket), Flow>,
}

#[derive(Default)]
struct State {
    taken: u32,
    away: u32,
    watches: u32,
    /// Long answers that go out.
    sending: u32,
    waiting: VecDeque<Waiting>,
    /// Where the last request ends in virtual time.
    end: u64,
    /// Under what it stands in `ready` or `held`.
    place: Option<(u64, Ticket)>,
}

struct Waiting {
    ticket: Ticket,
    seats: u32,
    tag: u64,
}

impl Machine {
    /// With a seat at the least, and no more for one flow than there are: else somebody would wait for ever.
    pub(super) fn new(mut config: Fairness) -> Self {
        config.seats = config.seats.max(1);
        config.seats_per_tenant = config.seats_per_tenant.clamp(1, config.seats);
        let pace = Pace::new(config.seats, config.seats_at_least);
        let (flows, ready, held) = (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        let lately = Lately::default();
        Self { config, pace, lately, taken: 0, away: 0, queued: 0, now: 0, next: 0, flows, ready, held }
    }

    /// The seats that one flow may have. Where there are fewer than there can be, those who have asked lately share.
    fn share(&self) -> u32 {
        let most = self.config.seats_per_tenant;
        if self.pace.is_full() { most } else { most.min(self.pace.seats().div_ceil(self.lately.count().max(1))) }
    }

    /// A flow asks for so much. Whether it has asked for more than its share lately.
    pub(super) fn note(&mut self, flow: &Flow, weight: u32, now: Timestamp) -> bool {
        self.lately.note(flow, weight, self.under_way(flow), now);
        self.lately.is_beyond(flow)
    }

    /// What a flow has asked for and not got yet: the seats of what is worked on, how many wait, and to how many the
    /// answer goes out.
    fn under_way(&self, flow: &Flow) -> u32 {
        self.flows.get(flow).map_or(0, |state| state.taken + state.away + state.sending + state.waiting.len() as u32)
    }

    /// A long answer to a flow begins to go out.
    pub(super) fn begin_pieces(&mut self, flow: &Flow) {
        self.flows.entry(flow.clone()).or_default().sending += 1;
    }

    /// It has gone out, or nobody reads it any more.
    pub(super) fn end_pieces(&mut self, flow: &Flow) {
        if let Some(state) = self.flows.get_mut(flow) {
            state.sending -= 1;
        }
        self.forget(flow);
    }

    /// How long one more piece of a long answer to a flow waits. It is work, as what was asked for at first is.
    pub(super) fn piece(&mut self, flow: &Flow, now: Timestamp) -> Duration {
        self.lately.note(flow, PIECE, self.under_way(flow), now);
        if self.pace.is_full() || !self.is_shared() { Duration::ZERO } else { self.lately.piece(flow, now) }
    }

    /// Whether several have asked lately.
    fn is_shared(&self) -> bool {
        self.lately.count() > 1
    }

    /// Whether so many seats are taken that the machine may be behind.
    pub(super) fn is_busy(&self) -> bool {
        self.taken > self.pace.fewest()
    }

    /// One that had its seats waited so long for the machine. Gives those whose turn it is now that there are more
    /// seats.
    pub(super) fn hear(&mut self, now: Timestamp, waited: Duration) -> Vec<Turn> {
        let before = self.pace.seats();
        self.pace.hear(now, waited, self.is_shared());
        if self.pace.seats() <= before {
            return Vec::new();
        }
        let held: Vec<Flow> = self.held.values().cloned().collect();
        held.iter().for_each(|flow| self.line_up(flow));
        self.turns()
    }

    /// A request comes. It never asks for more seats than one flow may have.
    pub(super) fn arrive(&mut self, flow: &Flow, seats: u32) -> Arrival {
        let share = self.share();
        let seats = seats.clamp(1, share);
        let free = self.has_free(seats);
        let state = self.flows.entry(flow.clone()).or_default();
        let fits = state.may_have(seats, share, self.config.seats_per_tenant);
        let tag = state.end.max(self.now);
        if self.ready.is_empty() && state.waiting.is_empty() && fits && free {
            (state.taken, state.end) = (state.taken + seats, tag + u64::from(seats));
            self.taken += seats;
            self.now = tag;
            return Arrival::Runs(seats);
        }
        if self.queued >= self.config.queue || state.waiting.len() >= self.config.queue_per_tenant as usize {
            self.forget(flow);
            return Arrival::Refused;
        }
        let ticket = self.next;
        self.next += 1;
        state.end = tag + u64::from(seats);
        state.waiting.push_back(Waiting { ticket, seats, tag });
        self.queued += 1;
        self.line_up(flow);
        Arrival::Waits(ticket)
    }

    /// Seats are given back. Gives those whose turn it is now.
    pub(super) fn leave(&mut self, flow: &Flow, seats: u32) -> Vec<Turn> {
        self.taken -= seats;
        if let Some(state) = self.flows.get_mut(flow) {
            state.taken -= seats;
        }
        self.line_up(flow);
        self.next_turns(flow)
    }

    /// One that works waits for a disk or for somebody else from here on. Gives those whose turn it is meanwhile: it
    /// needs no core.
    pub(super) fn go_away(&mut self, flow: &Flow, seats: u32) -> Vec<Turn> {
        (self.taken, self.away) = (self.taken - seats, self.away + seats);
        if let Some(state) = self.flows.get_mut(flow) {
            (state.taken, state.away) = (state.taken - seats, state.away + seats);
        }
        self.line_up(flow);
        self.turns()
    }

    /// It goes on, whoever is at work: what it has left to do is little.
    pub(super) fn come_back(&mut self, flow: &Flow, seats: u32) {
        (self.taken, self.away) = (self.taken + seats, self.away - seats);
        if let Some(state) = self.flows.get_mut(flow) {
            (state.taken, state.away) = (state.taken + seats, state.away - seats);
        }
    }

    /// A request waits no longer. Gives those whose turn it is now that it does not stand before them.
    pub(super) fn give_up(&mut self, flow: &Flow, ticket: Ticket) -> Vec<Turn> {
        if let Some(state) = self.flows.get_mut(flow) {
            let before = state.waiting.len();
            state.waiting.retain(|waiting| waiting.ticket != ticket);
            self.queued -= u32::try_from(before - state.waiting.len()).unwrap_or(0);
        }
        self.line_up(flow);
        self.next_turns(flow)
    }

    /// Counts a watch, as so many; not one more than a flow may have.
    pub(super) fn open_watch(&mut self, flow: &Flow, weight: u32) -> bool {
        let state = self.flows.entry(flow.clone()).or_default();
        let opens = weight <= self.config.watches_per_tenant.saturating_sub(state.watches);
        state.watches += if opens { weight } else { 0 };
        self.forget(flow);
        opens
    }

    pub(super) fn close_watch(&mut self, flow: &Flow, weight: u32) {
        if let Some(state) = self.flows.get_mut(flow) {
            state.watches -= weight;
        }
        self.forget(flow);
    }

    /// Whether nobody works or waits.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        let none_waits = self.queued == 0 && self.ready.is_empty() && self.held.is_empty();
        self.taken + self.away == 0 && none_waits && self.flows.values().all(State::is_idle)
    }

    /// Whether there are so many seats for one more.
    fn has_free(&self, seats: u32) -> bool {
        self.taken + seats <= self.pace.seats() && self.taken + self.away + seats <= self.config.seats
    }

    fn next_turns(&mut self, left: &Flow) -> Vec<Turn> {
        let turns = self.turns();
        self.forget(left);
        turns
    }

    fn turns(&mut self) -> Vec<Turn> {
        let (share, most) = (self.share(), self.config.seats_per_tenant);
        let mut turns = Vec::new();
        while let Some((&(tag, ticket), flow)) = self.ready.first_key_value() {
            let flow = flow.clone();
            let Some(state) = self.flows.get(&flow) else { break };
            let Some(seats) = state.waiting.front().map(|first| first.seats.min(share)) else { break };
            if !state.may_have(seats, share, most) {
                self.line_up(&flow); // there were more seats when it was put here
                continue;
            }
            // Who is next waits for all the seats it needs: who needs fewer does not pass it by.
            if !self.has_free(seats) {
                break;
            }
            let Some(state) = self.flows.get_mut(&flow) else { break };
            state.waiting.pop_front();
            state.taken += seats;
            self.taken += seats;
            self.queued -= 1;
            self.now = self.now.max(tag);
            self.line_up(&flow);
            turns.push(Turn { ticket, flow, seats });
        }
        turns
    }

    /// Puts the first in line of a flow where it belongs, now that something of the flow has changed.
    fn line_up(&mut self, flow: &Flow) {
        let (share, most) = (self.share(), self.config.seats_per_tenant);
        let Some(state) = self.flows.get_mut(flow) else { return };
        if let Some(place) = state.place.take() {
            self.ready.remove(&place);
            self.held.remove(&place);
        }
        if let Some(first) = state.waiting.front() {
            let place = (first.tag, first.ticket);
            state.place = Some(place);
            let may = state.may_have(first.seats.min(share), share, most);
            if may { &mut self.ready } else { &mut self.held }.insert(place, flow.clone());
        }
    }

    /// Forgets what an idle flow has had once nobody else is behind it; with nobody at work, what all have had.
    fn forget(&mut self, flow: &Flow) {
        let now = self.now;
        if self.taken + self.away == 0 && self.queued == 0 {
            self.flows.retain(|_, state| !state.is_idle());
        } else if self.flows.get(flow).is_some_and(|state| state.is_idle() && state.end <= now) {
            self.flows.remove(flow);
        }
    }
}

impl State {
    /// Whether one more with so many seats may work: no more work at a time than the share, nor have come and not gone
    /// than the most.
    fn may_have(&self, seats: u32, share: u32, most: u32) -> bool {
        self.taken + seats <= share && self.taken + self.away + seats <= most
    }

    fn is_idle(&self) -> bool {
        self.taken + self.away == 0 && self.watches + self.sending == 0 && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(name: &str) -> Flow {
        name.into()
    }

    fn machine(seats: u32, per_tenant: u32, queue: u32) -> Machine {
        let config = Fairness {
            seats,
            seats_per_tenant: per_tenant,
            queue_per_tenant: queue,
            watches_per_tenant: 3,
            ..Fairness::default()
        };
        Machine::new(config)
    }

    fn names(turns: &[Turn]) -> Vec<&str> {
        turns.iter().map(|turn| &*turn.flow).collect()
    }

    #[test]
    fn who_has_asked_for_little_is_next() {
        let mut machine = machine(1, 1, 10);
        let (noisy, quiet) = (flow("noisy"), flow("quiet"));
        assert_eq!(machine.arrive(&noisy, 1), Arrival::Runs(1));
        for _ in 0..3 {
            assert!(matches!(machine.arrive(&noisy, 1), Arrival::Waits(_)));
        }
        assert!(matches!(machine.arrive(&quiet, 1), Arrival::Waits(_)));
        let mut order = Vec::new();
        let mut works = noisy;
        for _ in 0..4 {
            let turns = machine.leave(&works, 1);
            works = turns[0].flow.clone();
            order.extend(turns.into_iter().map(|turn| turn.flow.to_string()));
        }
        assert_eq!(order, ["quiet", "noisy", "noisy", "noisy"]);
        machine.leave(&works, 1);
        assert!(machine.is_idle() && machine.flows.is_empty());
    }

    /// Both always have more to ask: each is served the same number of seats, whatever one request costs.
    #[test]
    fn tenants_that_ask_for_all_they_can_get_the_same_work_done() {
        let mut machine = machine(8, 8, 1000);
        let (wide, narrow) = (flow("wide"), flow("narrow"));
        let mut at_work: VecDeque<(Flow, u32)> = VecDeque::new();
        let mut served: HashMap<Flow, u32> = HashMap::new();
        let ask = |machine: &mut Machine, at_work: &mut VecDeque<(Flow, u32)>, flow: &Flow, seats| {
            if let Arrival::Runs(seats) = machine.arrive(flow, seats) {
                at_work.push_back((flow.clone(), seats));
            }
        };
        for _ in 0..50 {
            ask(&mut machine, &mut at_work, &wide, 4);
            (0..4).for_each(|_| ask(&mut machine, &mut at_work, &narrow, 1));
        }
        for _ in 0..100 {
            let Some((flow, seats)) = at_work.pop_front() else { break };
            *served.entry(flow.clone()).or_default() += seats;
            let turns = machine.leave(&flow, seats);
            at_work.extend(turns.into_iter().map(|turn| (turn.flow, turn.seats)));
            assert!(machine.taken <= 8);
        }
        let (wide, narrow) = (served[&wide], served[&narrow]);
        assert!(wide.abs_diff(narrow) <= 8, "wide {wide}, narrow {narrow}");
    }

    #[test]
    fn one_tenant_leaves_seats_for_others_and_its_queue_is_bounded() {
        let mut machine = machine(10, 6, 3);
        let (noisy, quiet) = (flow("noisy"), flow("quiet"));
        for _ in 0..6 {
            assert_eq!(machine.arrive(&noisy, 1), Arrival::Runs(1));
        }
        for _ in 0..3 {
            assert!(matches!(machine.arrive(&noisy, 1), Arrival::Waits(_)));
        }
        assert_eq!(machine.arrive(&noisy, 1), Arrival::Refused);
        for _ in 0..4 {
            assert_eq!(machine.arrive(&quiet, 1), Arrival::Runs(1));
        }
        assert!(matches!(machine.arrive(&quiet, 1), Arrival::Waits(_)));
        // The one has waited for longer, and then has all that it may.
        assert_eq!(names(&machine.leave(&noisy, 1)), ["noisy"]);
        assert_eq!(names(&machine.leave(&quiet, 1)), ["quiet"]);
    }

    #[test]
    fn where_the_machine_is_behind_there_are_fewer_seats_and_later_more_again() {
        let config = Fairness { seats: 64, seats_per_tenant: 32, seats_at_least: 4, ..Fairness::default() };
        let mut machine = Machine::new(config);
        let (noisy, quiet) = (flow("noisy"), flow("quiet"));
        for _ in 0..32 {
            assert_eq!(machine.arrive(&noisy, 1), Arrival::Runs(1));
        }
        assert!(matches!(machine.arrive(&noisy, 8), Arrival::Waits(_)));
        assert!(machine.is_busy());
        let mut now = Timestamp::default();
        machine.note(&noisy, 1, now);
        machine.note(&quiet, 1, now);
        let mut hear = |machine: &mut Machine, waited| {
            now = now.later(Duration::from_secs(1));
            machine.hear(now, waited)
        };
        for _ in 0..20 {
            assert!(hear(&mut machine, Duration::from_millis(5)).is_empty());
        }
        assert!(matches!(machine.arrive(&quiet, 1), Arrival::Waits(_)), "32 of 4 are taken");
        let turns: Vec<_> = (0..31).flat_map(|_| machine.leave(&noisy, 1)).collect();
        assert_eq!(names(&turns), ["quiet"]);
        assert!(machine.arrive(&noisy, 1) != Arrival::Runs(1), "its own one waits, with two seats of half of four");
        assert_eq!(machine.leave(&noisy, 1), [Turn { ticket: 0, flow: noisy.clone(), seats: 2 }]);
        let mut turns = Vec::new();
        while machine.queued > 0 {
            turns.extend(hear(&mut machine, Duration::ZERO));
        }
        assert_eq!(names(&turns), ["noisy"], "there is room for it beside the one that is at work");
        machine.leave(&noisy, 2);
        machine.leave(&noisy, 1);
        machine.leave(&quiet, 1);
        assert!(machine.is_idle());
    }

    #[test]
    fn who_waits_for_a_disk_leaves_its_seat_to_others_and_still_is_one_of_the_most_there_may_be() {
        let config = Fairness { seats: 6, seats_per_tenant: 4, seats_at_least: 2, ..Fairness::default() };
        let mut machine = Machine::new(config);
        let (noisy, quiet) = (flow("noisy"), flow("quiet"));
        for second in 0..20 {
            machine.hear(Timestamp::default().later(Duration::from_secs(second)), Duration::from_millis(5));
        }
        assert_eq!(machine.arrive(&noisy, 1), Arrival::Runs(1));
        assert_eq!(machine.arrive(&noisy, 1), Arrival::Runs(1));
        assert!(matches!(machine.arrive(&quiet, 1), Arrival::Waits(_)), "2 of 2 are taken");
        assert_eq!(names(&machine.go_away(&noisy, 1)), ["quiet"]);
        assert!(machine.go_away(&quiet, 1).is_empty() && machine.go_away(&noisy, 1).is_empty());
        assert_eq!(machine.arrive(&noisy, 1), Arrival::Runs(1));
        assert_eq!(machine.arrive(&noisy, 1), Arrival::Runs(1));
        assert!(machine.go_away(&noisy, 1).is_empty());
        assert!(matches!(machine.arrive(&noisy, 1), Arrival::Waits(_)), "it has four that have come and not gone");
        machine.come_back(&quiet, 1);
        assert!(machine.leave(&quiet, 1).is_empty());
        machine.come_back(&noisy, 1);
        assert_eq!(names(&machine.leave(&noisy, 1)), ["noisy"]);
        machine.leave(&noisy, 1);
        machine.leave(&noisy, 1);
        for _ in 0..2 {
            machine.come_back(&noisy, 1);
            machine.leave(&noisy, 1);
        }
        assert!(machine.is_idle());
    }

    #[test]
    fn what_needs_many_seats_is_not_passed_by_for_ever() {
        let mut machine = machine(4, 4, 100);
        let (list, gets) = (flow("list"), flow("gets"));
        for _ in 0..4 {
            assert_eq!(machine.arrive(&gets, 1), Arrival::Runs(1));
        }
        assert!(matches!(machine.arrive(&list, 4), Arrival::Waits(_)));
        assert!(matches!(machine.arrive(&gets, 1), Arrival::Waits(_)));
        for _ in 0..3 {
            assert!(machine.leave(&gets, 1).is_empty());
        }
        assert_eq!(names(&machine.leave(&gets, 1)), ["list"]);
        assert_eq!(names(&machine.leave(&list, 4)), ["gets"]);
    }

    #[test]
    fn without_seats_there_is_one_and_whoever_waits_for_it_gets_it() {
        let mut machine = machine(0, 0, 10);
        let (first, second) = (flow("first"), flow("second"));
        assert_eq!(machine.arrive(&first, 3), Arrival::Runs(1));
        assert!(matches!(machine.arrive(&second, 1), Arrival::Waits(_)));
        assert_eq!(names(&machine.leave(&first, 1)), ["second"]);
    }

    #[test]
    fn who_gives_up_lets_the_next_one_in() {
        let mut machine = machine(4, 4, 100);
        let (list, gets) = (flow("list"), flow("gets"));
        assert_eq!(machine.arrive(&gets, 2), Arrival::Runs(2));
        let Arrival::Waits(ticket) = machine.arrive(&list, 4) else { panic!("it waits") };
        assert!(matches!(machine.arrive(&gets, 1), Arrival::Waits(_)));
        assert_eq!(names(&machine.give_up(&list, ticket)), ["gets"]);
        assert_eq!(machine.queued, 0);
    }

    #[test]
    fn a_tenant_has_so_many_watches_and_no_more() {
        let mut machine = machine(4, 4, 4);
        let acme = flow("acme");
        for _ in 0..3 {
            assert!(machine.open_watch(&acme, 1));
        }
        assert!(!machine.open_watch(&acme, 1));
        assert!(machine.open_watch(&flow("umbra"), 1));
        machine.close_watch(&acme, 1);
        assert!(!machine.open_watch(&acme, 2), "one that keeps as much as two");
        assert!(machine.open_watch(&acme, 1));
        for flow in [&acme, &acme, &acme, &flow("umbra")] {
            machine.close_watch(flow, 1);
        }
        assert!(machine.open_watch(&acme, 3) && !machine.open_watch(&acme, 1));
        machine.close_watch(&acme, 3);
        assert!(machine.flows.is_empty(), "nothing is kept of who has nothing");
    }
}
