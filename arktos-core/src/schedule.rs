//! Schedules of cron jobs: five fields or a descriptor, as upstream's library reads them, in a time zone.
//!
//! ```
//! use arktos_core::Timestamp;
//! use arktos_core::schedule::{Schedule, Zone};
//!
//! let schedule = Schedule::parse("30 6 * * mon-fri")?;
//! let friday = Timestamp::parse("2026-11-27T12:00:00Z").unwrap_or_default();
//! let zone = Zone::named("Europe/Zurich").unwrap_or_default();
//! assert_eq!(schedule.after(friday, &zone).map(|at| at.to_string()).as_deref(), Some("2026-11-30T05:30:00Z"));
//! # Ok::<(), String>(())
//! ```

use std::sync::LazyLock;
use std::time::Duration;

use jiff::civil::{DateTime, Time};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::time::{Timestamp, parse_duration};

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// How far ahead the next time is looked for, as upstream does; a schedule such as 30 February has none.
const FAR: Duration = Duration::from_secs(5 * 366 * 24 * 3600);

/// The least and the greatest value of a field, and names for values from the least on.
struct Bounds(u64, u64, &'static [&'static str]);

const FIELDS: [Bounds; 5] =
    [Bounds(0, 59, &[]), Bounds(0, 23, &[]), Bounds(1, 31, &[]), Bounds(1, 12, &MONTHS), Bounds(0, 6, &DAYS)];

/// A time zone, by the database that is built in: the machine's own is not asked.
#[derive(Debug, Clone)]
pub struct Zone(TimeZone);

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

impl Default for Zone {
    /// UTC.
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl Zone {
    /// The zone of a name of the IANA database, such as `Europe/Zurich`; case counts, as it does in file names.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let zone = ZONES.get(name).ok()?;
        (zone.iana_name() == Some(name)).then_some(Self(zone))
    }

    /// A moment as RFC 3339 with this zone's offset.
    #[must_use]
    pub fn rfc3339(&self, at: Timestamp) -> String {
        let Ok(moment) = jiff::Timestamp::from_second(at.as_seconds()) else { return at.to_string() };
        let seconds = self.0.to_offset(moment).seconds();
        let written = self.0.to_datetime(moment).strftime("%Y-%m-%dT%H:%M:%S").to_string();
        if seconds == 0 {
            return format!("{written}Z");
        }
        let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs() / 60);
        format!("{written}{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }

    fn civil(&self, at: Timestamp) -> Option<DateTime> {
        Some(self.0.to_datetime(jiff::Timestamp::from_second(at.as_seconds()).ok()?))
    }

    fn moment(&self, civil: DateTime) -> Option<Timestamp> {
        let moment = self.0.to_timestamp(civil).ok()?;
        Some(Timestamp::from_micros(moment.as_microsecond()))
    }
}

/// When something is to happen, again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// Which minutes, hours, days of the month, months, and days of the week, a bit each.
    Fields { sets: [u64; 5], any_day: bool },
    /// So long after the last time.
    Every(Duration),
}

impl Schedule {
    /// Reads a schedule: five fields, or `@hourly`, `@daily`, `@every 1h30m` and their like. A zone in front
    /// (`TZ=…`) is passed over.
    ///
    /// # Errors
    /// A sentence of upstream's library that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = match text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ=")) {
            Some(rest) => rest.split_once(' ').map_or("", |(_, rest)| rest.trim()),
            None => text,
        };
        if let Some(word) = text.strip_prefix('@') {
            return descriptor(word);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != 5 {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
        }
        let (mut sets, mut stars) = ([0; 5], [false; 5]);
        for (at, (field, bounds)) in fields.iter().zip(&FIELDS).enumerate() {
            for range in field.split(',').filter(|range| !range.is_empty()) {
                let (set, star) = one_range(range, bounds)?;
                sets[at] |= set;
                stars[at] |= star;
            }
        }
        Ok(Self(Form::Fields { sets, any_day: stars[2] || stars[4] }))
    }

    /// The first time after a moment, in whole seconds; none within five years is none.
    #[must_use]
    pub fn after(&self, moment: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let whole = Timestamp::from_micros(moment.as_seconds().saturating_mul(1_000_000));
        match &self.0 {
            Form::Every(pause) => Some(whole.later(*pause)),
            // A field without a value (`,`) never comes: five years of minutes need not be gone through for that.
            Form::Fields { sets, .. } if [0, 1, 3].into_iter().any(|field: usize| sets[field] == 0) => None,
            Form::Fields { sets, any_day } => next(sets, *any_day, whole, zone),
        }
    }

    /// The last time after `from` and not after `now`. Costs no more for a long time than for a short one.
    #[must_use]
    pub fn last(&self, from: Timestamp, now: Timestamp, zone: &Zone) -> Option<Timestamp> {
        if let Form::Every(pause) = &self.0 {
            let turns = now.since(from).as_secs() / pause.as_secs().max(1);
            let ahead = u32::try_from(turns).map_or(Duration::MAX, |turns| pause.saturating_mul(turns));
            return (turns > 0)
                .then(|| Timestamp::from_micros(from.as_seconds().saturating_mul(1_000_000)).later(ahead));
        }
        let mut window = 64;
        loop {
            let back = now.as_micros().saturating_sub(i64::saturating_mul(window, 1_000_000));
            let start = from.max(Timestamp::from_micros(back));
            let mut found = self.after(start, zone).filter(|at| *at <= now);
            if found.is_some() {
                while let Some(later) = found.and_then(|at| self.after(at, zone)).filter(|at| *at <= now) {
                    found = Some(later);
                }
                return found;
            }
            if start == from {
                return None;
            }
            window = window.saturating_mul(2);
        }
    }
}

/// Goes on from a moment by months, days, hours and minutes until all five fields fit. Hours and minutes go by in real
/// time: what the clock passes over does not happen, what it shows twice happens twice.
fn next(sets: &[u64; 5], any_day: bool, after: Timestamp, zone: &Zone) -> Option<Timestamp> {
    let mut at = after.later(Duration::from_secs(60 - u64::try_from(after.as_seconds().rem_euclid(60)).unwrap_or(0)));
    let has =
        |field: usize, value: i8| sets[field] & 1_u64.checked_shl(u32::try_from(value).unwrap_or(64)).unwrap_or(0) != 0;
    while at.since(after) <= FAR {
        let civil = zone.civil(at)?;
        let date = civil.date();
        if !has(3, civil.month()) {
            let month = date.last_of_month().tomorrow().ok()?;
            at = forward(at, zone.moment(month.to_datetime(Time::midnight()))?);
            continue;
        }
        let (by_month, by_week) = (has(2, civil.day()), has(4, date.weekday().to_sunday_zero_offset()));
        if !(if any_day { by_month && by_week } else { by_month || by_week }) {
            at = forward(at, zone.moment(date.tomorrow().ok()?.to_datetime(Time::midnight()))?);
        } else if !has(1, civil.hour()) {
            at = at.later(Duration::from_secs(60 * u64::try_from(60 - civil.minute()).unwrap_or(1)));
        } else if !has(0, civil.minute()) {
            at = at.later(Duration::from_secs(60));
        } else {
            return Some(at);
        }
    }
    None
}

/// A later moment; where clocks go back over midnight the next day may seem to have begun already.
fn forward(at: Timestamp, next: Timestamp) -> Timestamp {
    if next > at { next } else { at.later(Duration::from_secs(3600)) }
}

fn descriptor(word: &str) -> Result<Schedule, String> {
    if let Some(text) = word.strip_prefix("every ") {
        let pause = parse_duration(text).map_err(|why| format!("failed to parse duration @every {text}: {why}"))?;
        // Whole seconds, and one at least.
        return Ok(Schedule(Form::Every(Duration::from_secs(pause.as_secs().max(1)))));
    }
    let fields = match word {
        "yearly" | "annually" => "0 0 1 1 *",
        "monthly" => "0 0 1 * *",
        "weekly" => "0 0 * * 0",
        "daily" | "midnight" => "0 0 * * *",
        "hourly" => "0 * * * *",
        _ => return Err(format!("unrecognized descriptor: @{word}")),
    };
    Schedule::parse(fields)
}

/// The values of one range, a bit each, and whether it is all of them.
fn one_range(text: &str, bounds: &Bounds) -> Result<(u64, bool), String> {
    let parts: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = parts.first().copied().unwrap_or_default().split('-').collect();
    let first = ends.first().copied().unwrap_or_default();
    let (start, mut end) = match (first, ends.get(1)) {
        ("*" | "?", _) => (bounds.0, bounds.1),
        (_, _) if ends.len() > 2 => return Err(format!("too many hyphens: {text}")),
        (first, None) => {
            let value = number_or_name(first, bounds)?;
            (value, value)
        }
        (first, Some(last)) => (number_or_name(first, bounds)?, number_or_name(last, bounds)?),
    };
    let step = match parts.as_slice() {
        [_] => 1,
        [_, step] => {
            if ends.len() == 1 {
                end = bounds.1;
            }
            number(step)?
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    if start < bounds.0 {
        return Err(format!("beginning of range ({start}) below minimum ({}): {text}", bounds.0));
    }
    if end > bounds.1 {
        return Err(format!("end of range ({end}) above maximum ({}): {text}", bounds.1));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let step_by = usize::try_from(step).unwrap_or(usize::MAX);
    let set = (start..=end).step_by(step_by).fold(0, |set, value| set | 1 << value);
    Ok((set, matches!(first, "*" | "?") && step == 1))
}

fn number_or_name(text: &str, bounds: &Bounds) -> Result<u64, String> {
    let lower = text.to_lowercase();
    match bounds.2.iter().position(|name| *name == lower) {
        Some(at) => Ok(bounds.0 + u64::try_from(at).unwrap_or_default()),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u64, String> {
    match text.parse::<i64>() {
        Ok(value) => u64::try_from(value).map_err(|_| format!("negative number ({value}) not allowed: {text}")),
        Err(_) => Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }

    #[test]
    fn schedules_are_read_as_the_library_of_upstream_reads_them() {
        for good in
            ["* * * * *", "*/5 0-23/2 1,15 JAN-jun mon", "@hourly", "@every 1h30m", "0 0 ? * 6", "TZ=UTC 0 0 * * *"]
        {
            assert!(Schedule::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* 5-3 * * *", "beginning of range (5) beyond end of range (3): 5-3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("@often", "unrecognized descriptor: @often"),
            ("@every fortnight", "failed to parse duration @every fortnight: time: invalid duration \"fortnight\""),
            ("@every 3h5", "failed to parse duration @every 3h5: time: missing unit in duration \"3h5\""),
        ] {
            assert_eq!(Schedule::parse(bad), Err(why.to_owned()), "{bad}");
        }
    }

    #[test]
    fn the_next_time_is_found() {
        for (schedule, zone, after, next) in [
            ("* * * * *", "UTC", "2026-11-26T18:00:00Z", "2026-11-26T18:01:00Z"),
            ("*/15 * * * *", "UTC", "2026-11-26T18:46:01Z", "2026-11-26T19:00:00Z"),
            ("30 4 1 * *", "UTC", "2026-12-01T04:30:00Z", "2027-01-01T04:30:00Z"),
            ("0 0 29 2 *", "UTC", "2026-11-26T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 12 13 * fri", "UTC", "2026-11-26T00:00:00Z", "2026-11-27T12:00:00Z"), // either day
            ("0 12 */2 * fri", "UTC", "2026-11-26T00:00:00Z", "2026-11-27T12:00:00Z"), // both, as one has a star
            ("@every 90s", "UTC", "2026-11-26T18:00:00Z", "2026-11-26T18:01:30Z"),
            ("@weekly", "UTC", "2026-11-26T18:00:00Z", "2026-11-29T00:00:00Z"),
            ("0 9 * * *", "America/New_York", "2026-11-26T18:00:00Z", "2026-11-27T14:00:00Z"),
            ("0 9 * * *", "Asia/Kathmandu", "2026-11-26T18:00:00Z", "2026-11-27T03:15:00Z"),
            ("30 2 * * *", "Europe/Zurich", "2026-03-28T02:00:00Z", "2026-03-30T00:30:00Z"), // not on the 29th
            ("30 2 * * *", "Europe/Zurich", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"), // twice on the 25th
        ] {
            let schedule = Schedule::parse(schedule).expect("a schedule");
            let zone = Zone::named(zone).expect("a zone");
            assert_eq!(schedule.after(moment(after), &zone), Some(moment(next)), "{schedule:?} after {after}");
        }
        for never in ["0 0 30 2 *", ", * * * *", "* , * * *", "* * , * ,", "* * * , *"] {
            let never = Schedule::parse(never).expect("a schedule");
            assert_eq!(never.after(moment("2026-11-26T00:00:00Z"), &Zone::default()), None);
        }
    }

    #[test]
    fn the_last_time_is_found_however_long_ago_one_looked() {
        let zone = Zone::default();
        let last = |schedule: &str, from: &str, now: &str| {
            let last = Schedule::parse(schedule).expect("a schedule").last(moment(from), moment(now), &zone);
            last.map(|at| at.to_string())
        };
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(last("* * * * *", "2006-01-01T00:00:00Z", "2026-11-26T18:46:30Z"), said("2026-11-26T18:46:00Z"));
        assert_eq!(last("0 0 1 1 *", "2006-01-01T00:00:00Z", "2026-11-26T18:46:30Z"), said("2026-01-01T00:00:00Z"));
        assert_eq!(last("* * * * *", "2026-11-26T18:46:00Z", "2026-11-26T18:46:59Z"), None);
        assert_eq!(last("0 0 30 2 *", "2006-01-01T00:00:00Z", "2026-11-26T18:46:30Z"), None);
        assert_eq!(last("@every 1h", "2026-11-26T10:10:00Z", "2026-11-26T18:46:30Z"), said("2026-11-26T18:10:00Z"));
    }

    #[test]
    fn zones_are_those_of_the_database() {
        for zone in ["UTC", "Europe/Zurich", "America/Argentina/Ushuaia", "Etc/GMT+5", "EST5EDT"] {
            assert!(Zone::named(zone).is_some(), "{zone}");
        }
        for zone in ["", "Mars/Olympus", "europe/zurich", "../etc/passwd", "Local"] {
            assert!(Zone::named(zone).is_none(), "{zone}");
        }
        let zone = Zone::named("America/New_York").expect("a zone");
        assert_eq!(zone.rfc3339(moment("2026-11-26T18:00:00Z")), "2026-11-26T13:00:00-05:00");
        assert_eq!(Zone::default().rfc3339(moment("2026-11-26T18:00:00Z")), "2026-11-26T18:00:00Z");
    }
}
