//! Snapshots: one state each, whatever is written meanwhile.

use arktos_core::{ObjectKey, ObjectPath, Revision, TenantName};

use super::{Checked, Fault, delete, ensure, expect, key, listing, object, put, resource, revision, value};
use crate::clock::ManualClock;
use crate::commit::{Change, Commit, Expect, Write};
use crate::engine::{Engine, Snapshot};
use crate::select::{WatchError, Within};

pub(super) async fn check(engine: Engine, _clock: ManualClock) -> Checked {
    const AT: &str = "reads";
    let paths = ["//r", "acme//t", "acme/default/a", "acme/default/b", "acme/other/a", "acme-2/default/a"];
    let mut writes = Vec::new();
    for path in paths {
        let path = ObjectPath::parse(path).ok_or_else(|| Fault("not a path".to_owned()))?;
        let change = Change::put(object(path.name(), "1", false)?);
        writes.push(Write { key: ObjectKey { resource: resource(AT), path }, expect: Expect::Absent, change });
    }
    let committed = engine.commit(Commit { writes, ..Commit::default() }).await?;
    let snapshot = engine.snapshot();
    ensure!(snapshot.revision() >= committed.revision, "{} after {}", snapshot.revision(), committed.revision);
    let acme = TenantName::new("acme").map_err(|error| Fault(error.to_string()))?;
    let default = Within::Namespace(acme.clone(), "default".to_owned());
    let list = |within: &Within, after: Option<&str>| -> String {
        let after = after.and_then(ObjectPath::parse);
        let items = snapshot.range(&resource(AT), within, after.as_ref());
        items.map(|it| it.path.to_string()).collect::<Vec<_>>().join(" ")
    };
    let sorted = "//r acme-2/default/a acme//t acme/default/a acme/default/b acme/other/a";
    expect("everything, in order", list(&Within::Everywhere, None), sorted.to_owned())?;
    let tenant = Within::Tenant(acme);
    expect("a tenant", list(&tenant, None), "acme//t acme/default/a acme/default/b acme/other/a".to_owned())?;
    expect("a namespace", list(&default, None), "acme/default/a acme/default/b".to_owned())?;
    expect("after a path", list(&default, Some("acme/default/a")), "acme/default/b".to_owned())?;
    expect("after a path that is not there", list(&tenant, Some("acme/other/")), "acme/other/a".to_owned())?;
    let one = Within::Object(ObjectPath::new("acme", "default", "b"));
    expect("one object", list(&one, None), "acme/default/b".to_owned())?;
    let read = snapshot.get(&key(AT, "a")).ok_or_else(|| Fault("acme/default/a is not there".to_owned()))?;
    ensure!(read.object == object("a", "1", false)?, "what was read is not what was written: {read:?}");

    engine.commit(put(AT, "a", Expect::Present, "2")?).await?;
    engine.commit(delete(AT, "b", Expect::Present)).await?;
    expect("a snapshot does not change", list(&default, None), "acme/default/a acme/default/b".to_owned())?;
    expect("nor do its objects", snapshot.get(&key(AT, "a")).as_ref().map(value).transpose()?, Some("1".to_owned()))?;
    let latest = engine.latest().await?;
    expect("the latest", latest.get(&key(AT, "a")).as_ref().map(value).transpose()?, Some("2".to_owned()))?;
    ensure!(latest.get(&key(AT, "b")).is_none(), "b was deleted");
    let reached = engine.not_older_than(latest.revision()).await?;
    ensure!(reached.revision() >= latest.revision(), "{} is older", reached.revision());
    Ok(())
}

pub(super) async fn check_past(engine: Engine, _clock: ManualClock) -> Checked {
    const AT: &str = "past";
    let mut states = Vec::new();
    for round in 0..10 {
        let name = ["a", "b", "c"][round % 3];
        let commit = if round % 4 == 3 {
            delete(AT, name, Expect::Anything)
        } else {
            put(AT, name, Expect::Anything, &round.to_string())?
        };
        let committed = engine.commit(commit).await?;
        states.push((committed.revision, listing(&engine, AT)?));
    }
    for (revision, state) in states {
        let past = engine.exactly_at(revision)?;
        expect("the revision of a past state", past.revision(), revision)?;
        expect("a past state", items(&past, AT)?, state)?;
    }
    let newest = revision(&engine.commit(put(AT, "a", Expect::Anything, "newest")?).await?)?;
    let future = engine.exactly_at(Revision(newest.0 + (1 << 40))).err();
    ensure!(matches!(future, Some(WatchError::Future { .. })), "a state that is yet to come: {future:?}");
    Ok(())
}

fn items(snapshot: &Snapshot, check: &str) -> Result<Vec<String>, Fault> {
    let resource = resource(check);
    let items = snapshot.range(&resource, &Within::Everywhere, None);
    items.map(|it| Ok(format!("{}={}@{}", it.path.name(), value(&it)?, it.revision))).collect()
}
