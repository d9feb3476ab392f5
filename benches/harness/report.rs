//! What was measured, beside what was to be reached: as a table for people (and BENCHMARKS.md), and as JSON.

use serde_json::{Value, json};

/// A measured value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    pub value: f64,
    pub unit: &'static str,
}

/// What a goal compares with its number.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// Our figure is at least this.
    AtLeast(f64),
    /// Our figure is at most this.
    AtMost(f64),
    /// Our figure is at least this many times the one beside it.
    TimesAtLeast(f64),
    /// Our figure is at most this many times the one beside it.
    TimesAtMost(f64),
}

/// One line of the table.
pub struct Row {
    what: String,
    goal: Option<Goal>,
    ours: Option<Figure>,
    peer: Option<Figure>,
    limit: Option<Figure>,
}

/// What a measurement found.
#[derive(Default)]
pub struct Found {
    pub rows: Vec<Row>,
    /// What a reader of the rows must know.
    pub notes: Vec<String>,
}

pub fn figure(value: f64, unit: &'static str) -> Figure {
    Figure { value, unit }
}

/// The middle one; of an even number, the upper of the two.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(&mut values.into_iter().collect::<Vec<_>>(), 0.5)
}

/// The value that this part of all values lies below. Orders the values.
pub fn percentile(values: &mut [f64], part: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let place = ((values.len() as f64 * part) as usize).min(values.len() - 1);
    *values.select_nth_unstable_by(place, f64::total_cmp).1
}

impl Row {
    pub fn of(what: impl Into<String>, ours: Figure) -> Self {
        Self { what: what.into(), goal: None, ours: Some(ours), peer: None, limit: None }
    }

    /// What the machine gives without us.
    pub fn machine(what: impl Into<String>, limit: Figure) -> Self {
        Self { what: what.into(), goal: None, ours: None, peer: None, limit: Some(limit) }
    }

    pub fn goal(self, goal: Goal) -> Self {
        Self { goal: Some(goal), ..self }
    }

    pub fn peer(self, peer: Option<Figure>) -> Self {
        Self { peer, ..self }
    }

    pub fn limit(self, limit: Figure) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// Ours over the peer's where there is one, else over the limit.
    fn ratio(&self) -> Option<f64> {
        Some(self.ours?.value / self.peer.or(self.limit)?.value)
    }

    /// Whether the goal is reached; nothing where there is none, or nothing to compare with.
    fn reached(&self) -> Option<bool> {
        Some(match self.goal? {
            Goal::AtLeast(least) => self.ours?.value >= least,
            Goal::AtMost(most) => self.ours?.value <= most,
            Goal::TimesAtLeast(least) => self.ratio()? >= least,
            Goal::TimesAtMost(most) => self.ratio()? <= most,
        })
    }

    fn goal_text(&self) -> String {
        let unit = self.ours.map_or("", |ours| ours.unit);
        match self.goal {
            None => String::new(),
            Some(Goal::AtLeast(least)) => format!("≥ {}", text(figure(least, unit))),
            Some(Goal::AtMost(most)) => format!("≤ {}", text(figure(most, unit))),
            Some(Goal::TimesAtLeast(least)) => format!("≥ {least} ×"),
            Some(Goal::TimesAtMost(most)) => format!("≤ {most} ×"),
        }
    }

    fn cells(&self, measurement: &str) -> [String; 8] {
        let shown = |figure: Option<Figure>| figure.map(text).unwrap_or_default();
        let reached = self.reached().map_or("", |reached| if reached { "yes" } else { "**no**" });
        [
            self.what.clone(),
            self.goal_text(),
            shown(self.ours),
            shown(self.peer),
            shown(self.limit),
            self.ratio().map(|ratio| format!("{} ×", number(ratio))).unwrap_or_default(),
            reached.to_owned(),
            format!("`--only {measurement}`"),
        ]
    }

    fn json(&self) -> Value {
        let shown = |figure: Option<Figure>| figure.map(|figure| json!({"value": figure.value, "unit": figure.unit}));
        json!({
            "what": self.what, "goal": self.goal_text(), "ours": shown(self.ours), "peer": shown(self.peer),
            "limit": shown(self.limit), "ratio": self.ratio(), "reached": self.reached(),
        })
    }
}

/// The rows of all measurements as one table in Markdown, its columns aligned, and the notes below it.
pub fn table(all: &[(&str, Found)]) -> String {
    const HEAD: [&str; 8] = ["what", "goal", "ours", "peer", "limit", "ratio", "reached", "command"];
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(all.iter().flat_map(|(name, found)| found.rows.iter().map(|row| row.cells(name))));
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0).max(3))
        .collect();
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            out += &format!("| {cell:width$} ");
        }
        out += "|\n";
        if at == 0 {
            for width in &widths {
                out += &format!("|{}", "-".repeat(width + 2));
            }
            out += "|\n";
        }
    }
    let notes =
        all.iter().flat_map(|(name, found)| found.notes.iter().map(move |note| format!("* `{name}`: {note}\n")));
    out + "\n" + &notes.collect::<String>()
}

/// The same as JSON.
pub fn json(benchmark: &str, all: &[(&str, Found)]) -> Value {
    let measurements = all.iter().map(|(name, found)| {
        let rows: Vec<Value> = found.rows.iter().map(Row::json).collect();
        ((*name).to_owned(), json!({"rows": rows, "notes": found.notes}))
    });
    json!({"benchmark": benchmark, "measurements": measurements.collect::<serde_json::Map<_, _>>()})
}

fn text(figure: Figure) -> String {
    let (value, unit) = match figure.unit {
        "B" if figure.value >= 1024.0 * 1024.0 => (figure.value / 1024.0 / 1024.0, " MiB"),
        "B" if figure.value >= 1024.0 => (figure.value / 1024.0, " KiB"),
        "B" => (figure.value, " B"),
        "B/s" => (figure.value / 1e9, " GB/s"),
        "B/CPU s" => (figure.value / 1e9, " GB/CPU s"),
        "×" => (figure.value, " ×"),
        "%" => (figure.value, " %"),
        "/s" => (figure.value, "/s"),
        "" => (figure.value, ""),
        unit => return format!("{} {unit}", number(figure.value)),
    };
    format!("{}{unit}", number(value))
}

/// Three digits that count, thousands set apart.
fn number(value: f64) -> String {
    if value.abs() >= 1000.0 {
        let magnitude = 10_f64.powi(value.abs().log10() as i32 - 2);
        let digits = format!("{:.0}", (value / magnitude).round() * magnitude);
        let mut out = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at) % 3 == 0 && !out.ends_with('-') {
                out.push(',');
            }
            out.push(digit);
        }
        return out;
    }
    let places = if value.abs() >= 99.95 {
        0
    } else if value.abs() >= 9.995 {
        1
    } else {
        2
    };
    let shown = format!("{value:.places$}");
    if shown.contains('.') { shown.trim_end_matches('0').trim_end_matches('.').to_owned() } else { shown }
}
