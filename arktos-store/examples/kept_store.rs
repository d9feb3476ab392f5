//! A store that keeps: opened over a log, looked after, closed, opened again, backed up and restored.
//!
//!     cargo run -p arktos-store --example kept_store

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arktos_core::{Encoded, GroupResource, Object, ObjectKey, TenantName, Timestamp, TypeMeta};
use arktos_store::backup::{RestoreOptions, restore};
use arktos_store::log::{LogJournal, LogOptions};
use arktos_store::{Change, Clock, Commit, Durability, Engine, EngineConfig, Expect, Within};
use futures::future::BoxFuture;
use tokio::task::JoinHandle;

/// The system's clock: a program hands it in, and nothing below reads one by itself.
struct Now;

impl Clock for Now {
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn sleep(&self, duration: std::time::Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Opens a store, and looks after it until it is closed.
fn open(directory: &Path) -> Result<(Engine, JoinHandle<()>), Box<dyn Error>> {
    let journal = LogJournal::open(directory, LogOptions::default())?;
    let engine = Engine::open(Box::new(journal), EngineConfig::default(), Arc::new(Now))?;
    let looked_after = engine.clone();
    Ok((engine, tokio::spawn(async move { looked_after.maintenance().await })))
}

fn count(engine: &Engine) -> usize {
    engine.snapshot().count(&GroupResource::new("example.org", "recipes"), &Within::Everywhere)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let (kept, backup, restored) =
        (directory.path().join("kept"), directory.path().join("backup"), directory.path().join("restored"));
    let type_meta = Arc::new(TypeMeta::new("example.org", "v1", "Recipe"));
    let acme = TenantName::new("acme")?;
    let put = |name: &str| -> Result<Commit, Box<dyn Error>> {
        let object = Encoded::encode(&type_meta, &Object::new(&type_meta, name), &[])?;
        let key = ObjectKey::namespaced(GroupResource::new("example.org", "recipes"), &acme, "kitchen", name);
        Ok(Commit::one(key, Expect::Absent, Change::put(object)))
    };

    let (engine, keeper) = open(&kept)?;
    engine.commit(put("soup")?).await?; // on the disk when it returns
    engine.commit(Commit { durability: Durability::Relaxed, ..put("bread")? }).await?; // soon
    engine.close().await; // which makes the rest durable
    keeper.await?;

    let (engine, keeper) = open(&kept)?;
    println!("{} recipes are there again", count(&engine));
    let taken = engine.backup(&mut File::create(&backup)?, &mut |_| {})?;
    println!("a backup of revision {}: {} objects, {} bytes", taken.revision, taken.objects, taken.bytes);
    engine.commit(put("a mistake")?).await?;
    engine.close().await;
    keeper.await?;

    let mut options = RestoreOptions::new(Now.now());
    options.backup = Some(backup);
    let report = restore(&options, &restored, &mut |_| {})?;
    let (engine, keeper) = open(&restored)?;
    println!("{} recipes in the restored store, which goes on at revision {}", count(&engine), report.revision);
    engine.close().await;
    keeper.await?;
    Ok(())
}
