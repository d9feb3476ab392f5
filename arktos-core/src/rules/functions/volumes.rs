//! Volumes: where their files come from, what they are called and who may read them.

use serde_json::{Value, json};

use super::super::check::steps_up_faults;
use super::super::fault::{Faults, Site};
use super::Run;

pub(super) const CHECKS: &[(&str, Run)] = &[
    ("one_volume_source", one_volume_source),
    ("file_mode", file_mode),
    ("local_path", local_path),
    ("downward_file", downward_file),
    ("one_projection", one_projection),
    ("token_seconds", token_seconds),
    ("size_limit", size_limit),
];

fn one_volume_source(site: &Site<'_>, faults: &mut Faults) {
    let sources: Vec<&String> = site.map.iter().filter(|(field, _)| *field != "name").map(|(field, _)| field).collect();
    for source in sources.iter().skip(1) {
        faults.forbidden(&site.sub(source), "may not specify more than 1 volume type");
    }
}

/// As `one_volume_source`, for one of the sources that are projected into one volume.
fn one_projection(site: &Site<'_>, faults: &mut Faults) {
    for source in site.map.keys().skip(1) {
        faults.forbidden(&site.sub(source), "may not specify more than 1 volume type");
    }
}

fn file_mode(site: &Site<'_>, faults: &mut Faults) {
    if let Some(mode) = site.value.filter(|mode| mode.as_i64().is_some_and(|mode| !(0..=0o777).contains(&mode))) {
        faults.invalid(&site.path(), mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

/// A path within a volume, which does not lead out of it and is no name of the volume's own.
fn local_path(site: &Site<'_>, faults: &mut Faults) {
    let (path, sent) = (site.value_text(), Value::from(site.value_text()));
    if path.starts_with('/') {
        faults.invalid(&site.path(), &sent, "must be a relative path");
    }
    for fault in steps_up_faults(path) {
        faults.invalid(&site.path(), &sent, &fault);
    }
    if path.starts_with("..") && !path.starts_with("../") && path != ".." {
        faults.invalid(&site.path(), &sent, "must not start with '..'");
    }
}

fn downward_file(site: &Site<'_>, faults: &mut Faults) {
    match (site.sets("fieldRef"), site.sets("resourceFieldRef")) {
        (true, true) => {
            let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
            faults.invalid(&site.path(), &json!("resource"), why);
        }
        (false, false) => faults.required(&site.path(), "one of fieldRef and resourceFieldRef is required"),
        _ => {}
    }
}

fn token_seconds(site: &Site<'_>, faults: &mut Faults) {
    let Some((value, seconds)) = site.value.and_then(|value| Some((value, value.as_i64()?))) else { return };
    if seconds < 600 {
        faults.invalid(&site.path(), value, "may not specify a duration less than 10 minutes");
    }
    if seconds > 1 << 32 {
        faults.invalid(&site.path(), value, "may not specify a duration larger than 2^32 seconds");
    }
}

fn size_limit(site: &Site<'_>, faults: &mut Faults) {
    if site.value_text().starts_with('-') {
        faults.forbidden(&site.path(), "SizeLimit field must be a valid resource quantity");
    }
}
