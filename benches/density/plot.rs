//! What happened over time, drawn: pods, cores and memory, one below the other, over both phases.

use std::fmt::Write;

use crate::Shape;
use crate::harness::region::ROLES;
use crate::phase::{Phase, Sample};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 80.0;
const GAP: f64 = 60.0;
const COLOURS: [&str; ROLES.len()] = ["#1b6ca8", "#c8553d", "#588157", "#7b2d8b"];
/// As many points as a line can show.
const POINTS_MAX: usize = 960;

/// A line of a panel: its name, its colour, and its value at each moment.
struct Line {
    name: String,
    colour: &'static str,
    value: Box<dyn Fn(&Sample) -> f64>,
}

/// The drawing.
pub fn svg(shape: &Shape, fill: &Phase, steady: &Phase) -> String {
    let begins = fill.samples.last().map_or(0.0, |sample| sample.at);
    let moments: Vec<(f64, &Sample)> = fill.samples.iter().map(|one| (one.at, one)).collect();
    let moments: Vec<(f64, &Sample)> =
        moments.into_iter().chain(steady.samples.iter().map(|one| (begins + one.at, one))).collect();
    let by_role = |value: fn(&Sample, usize) -> f64| -> Vec<Line> {
        let line = |(role, colour): (usize, &'static str)| Line {
            name: ROLES[role].to_owned(),
            colour,
            value: Box::new(move |sample: &Sample| value(sample, role)),
        };
        COLOURS.into_iter().enumerate().map(line).collect()
    };
    let one = |name: &str, value: fn(&Sample) -> f64| {
        vec![Line { name: name.to_owned(), colour: COLOURS[0], value: Box::new(value) }]
    };
    let panels = [
        ("pods that run", one("pods", |sample| sample.running as f64)),
        ("pods started a second", one("pods/s", |sample| sample.started)),
        ("cores", by_role(|sample, role| sample.cores[role])),
        ("memory, GiB", by_role(|sample, role| sample.memory[role] / f64::from(1 << 30))),
    ];
    let (wide, high) = (LEFT + WIDTH + 20.0, 40.0 + panels.len() as f64 * (HEIGHT + GAP));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{LEFT}\" y=\"20\" \
         font-size=\"14\">{} hosts × {} pods, {} partitions × {} resource managers; dashed: the hosts are full</text>\n",
        shape.layout.hosts, shape.pods_per_host, shape.layout.partitions, shape.layout.managers,
    );
    for (place, (title, lines)) in panels.iter().enumerate() {
        panel(&mut out, 60.0 + place as f64 * (HEIGHT + GAP), title, lines, &moments, begins);
    }
    out + "</svg>\n"
}

fn panel(out: &mut String, top: f64, title: &str, lines: &[Line], moments: &[(f64, &Sample)], begins: f64) {
    let values = || lines.iter().flat_map(|line| moments.iter().map(move |&(_, sample)| (line.value)(sample)));
    let (most, end) = (values().fold(0.0, f64::max).max(0.001), moments.last().map_or(1.0, |(at, _)| at.max(1.0)));
    let place = |at: f64, value: f64| (LEFT + at / end * WIDTH, top + HEIGHT - value / most * HEIGHT);
    let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{title}</text>", top - 8.0);
    for part in [0.0, 0.5, 1.0] {
        let (x, y) = place(0.0, most * part);
        let _ = writeln!(out, "<path d=\"M{x} {y}h{WIDTH}\" stroke=\"#ddd\"/>");
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            x - 6.0,
            y + 4.0,
            short(most * part)
        );
    }
    for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let (x, y) = place(end * part, 0.0);
        let _ = writeln!(out, "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{:.0} s</text>", y + 16.0, end * part);
    }
    let (x, y) = place(begins, most);
    let _ = writeln!(out, "<path d=\"M{x:.1} {y}v{HEIGHT}\" stroke=\"#888\" stroke-dasharray=\"4\"/>");
    for (number, line) in lines.iter().enumerate() {
        let every = moments.len().div_ceil(POINTS_MAX).max(1);
        let points = moments.iter().step_by(every).map(|&(at, sample)| place(at, (line.value)(sample)));
        let points: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let colour = line.colour;
        let _ = writeln!(out, "<polyline fill=\"none\" stroke=\"{colour}\" points=\"{}\"/>", points.join(" "));
        let x = LEFT + WIDTH - 130.0 * (lines.len() - number) as f64;
        let _ = writeln!(out, "<text x=\"{x}\" y=\"{}\" fill=\"{colour}\">{}</text>", top - 8.0, line.name);
    }
}

fn short(value: f64) -> String {
    match value {
        value if value >= 10_000.0 => format!("{:.0} k", value / 1000.0),
        value if value >= 10.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}
