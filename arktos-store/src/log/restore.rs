//! Making a new log of a state: in an empty directory, so that it is there whole or refuses to open.

use std::io;

use super::disk::Disk;
use super::header::{Header, OLD, RESTORING, Role, SPARE, UNFINISHED, number_of, segment_name, snapshot_name};
use super::snapshot;
use crate::engine::Snapshot;

/// Whether a state can be restored into a directory: nothing is in it, or what a restore that was broken off has left.
pub(crate) fn is_free(disk: &dyn Disk) -> io::Result<bool> {
    let names = disk.list()?;
    Ok(names.iter().all(|name| name == "lock") || names.iter().any(|name| name == RESTORING))
}

/// Makes a log that begins with a state. `written` is told how many objects were written so far.
pub(crate) fn make(disk: &dyn Disk, state: &Snapshot, written: &mut dyn FnMut(u64)) -> io::Result<()> {
    disk.create(RESTORING)?.sync()?;
    disk.sync_names()?; // nothing else has a name before this one stays
    for name in disk.list()?.iter().filter(|name| is_ours(name)) {
        disk.remove(name)?;
    }
    let mut file = snapshot::Whole::new(disk.create(UNFINISHED)?);
    snapshot::write_to(&mut file, state, Default::default(), written)?;
    drop(file);
    disk.rename(UNFINISHED, &snapshot_name(state.group()))?;
    let mut segment = disk.create(&segment_name(1))?;
    segment.write(0, &Header { role: Role::Segment, file: 1, group: state.group() + 1, revision: 0 }.write())?;
    segment.sync()?;
    disk.sync_names()?;
    disk.remove(RESTORING)?;
    disk.sync_names()
}

fn is_ours(name: &str) -> bool {
    [SPARE, OLD, UNFINISHED].contains(&name)
        || [Role::Segment, Role::Snapshot].into_iter().any(|role| number_of(role, name).is_some())
}
