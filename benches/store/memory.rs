//! What a million objects weigh.

use arktos::store::{Engine, Within};
use futures::executor::block_on;
use serde_json::{Value, json};

use crate::part::child;
use crate::pods::{self, Pods};
use crate::report::{Found, Goal, Row, figure};
use crate::{Bench, Outcome, open_memory, process};

pub fn memory(bench: &Bench) -> Outcome<Found> {
    let objects: usize = bench.scale.pick(2000, 200_000, 1_000_000);
    let found = child(&["memory", &objects.to_string()])?;
    let of = |name: &str| figure(found[name].as_f64().unwrap_or(f64::NAN), "B");
    let row = Row::of(format!("memory at {objects} objects of 1 KiB, beside their bytes"), of("resident"))
        .limit(of("encoded"))
        .goal(Goal::TimesAtMost(1.5));
    let notes = vec![
        "all that is resident in the process, its history included, over the objects' bytes: paths and encodings"
            .to_owned(),
    ];
    Ok(Found { rows: vec![row], notes })
}

/// The bytes of all objects: their paths, and their encodings as they are shared.
pub fn encoded(engine: &Engine) -> usize {
    let snapshot = engine.snapshot();
    let objects = snapshot.range(&pods::resource(), &Within::Everywhere, None);
    objects.map(|stored| stored.path.as_str().len() + stored.object.tail_length()).sum()
}

/// How many objects.
pub fn part(arguments: &[String]) -> Outcome<Value> {
    let [objects] = arguments else { return Err("memory OBJECTS".into()) };
    let engine = open_memory();
    let pods = Pods::of(1024);
    for number in 0..objects.parse()? {
        block_on(engine.commit(pods.create(number)))?;
    }
    Ok(json!({"resident": process::resident(), "encoded": encoded(&engine)}))
}
