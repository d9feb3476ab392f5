//! Only the language and the store: typed objects, conditional writes, a list, a watch. No API, no HTTP.
//!
//!     cargo run --release --example store_alone

use std::sync::Arc;

use arktos_core::{Encoded, GroupResource, Object, ObjectKey, TenantName, Timestamp, TypeMeta};
use arktos_store::clock::ManualClock;
use arktos_store::{Change, Commit, CommitError, Delivery, Engine, Expect, Selection, Within};
use serde::{Deserialize, Serialize};

/// A kind of our own: whatever serializes to a JSON object with a `metadata.name`.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Recipe {
    metadata: Metadata,
    servings: u32,
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Metadata {
    name: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    futures::executor::block_on(async {
        let engine = Engine::memory(Arc::new(ManualClock::new(Timestamp::from_micros(0))));
        let recipes = GroupResource::new("example.org", "recipes");
        let type_meta = Arc::new(TypeMeta::new("example.org", "v1", "Recipe"));
        let acme = TenantName::new("acme")?;
        let key = ObjectKey::namespaced(recipes.clone(), &acme, "kitchen", "soup");
        let encode = |servings| -> Result<Encoded, Box<dyn std::error::Error>> {
            let recipe = Recipe { metadata: Metadata { name: "soup".to_owned() }, servings };
            let object = Object::encode(&recipe).ok_or("not an object")?;
            Ok(Encoded::encode(&type_meta, &object, &[])?)
        };

        // A cursor sees every change after the revision it starts from, in order.
        let start = engine.snapshot().revision();
        let mut cursor = engine.watch(Selection::all(recipes.clone(), Within::Tenant(acme.clone())), start)?;

        let created = engine.commit(Commit::one(key.clone(), Expect::Absent, Change::put(encode(2)?))).await?;
        println!("created at revision {}", created.revision);

        // Writes are conditional: this one expects the revision we have just seen, the next one an old one.
        engine.commit(Commit::one(key.clone(), Expect::At(created.revision), Change::put(encode(4)?))).await?;
        match engine.commit(Commit::one(key.clone(), Expect::At(created.revision), Change::put(encode(6)?))).await {
            Err(CommitError::Conflict { found: Some(found), .. }) => {
                println!("refused: the object is at revision {} by now", found.revision);
            }
            other => return Err(format!("expected a conflict, got {other:?}").into()),
        }
        engine.commit(Commit::one(key.clone(), Expect::Present, Change::Delete)).await?;

        // A list reads one state, however long it takes; here, the state after the second write.
        let past = engine.exactly_at(created.revision.next())?;
        for stored in past.range(&recipes, &Within::Everywhere, None) {
            println!("at revision {}: {} {:?}", past.revision(), stored.path, stored.object.parse::<Recipe>()?);
        }
        for _ in 0..3 {
            match cursor.next().await? {
                Delivery::Added(stored) => println!("added    at {}: {}", stored.revision, stored.path),
                Delivery::Modified(stored) => println!("modified at {}: {}", stored.revision, stored.path),
                Delivery::Deleted(stored) => println!("deleted  at {}: {}", stored.revision, stored.path),
                Delivery::Bookmark(revision) => println!("nothing more up to {revision}"),
            }
        }
        Ok(())
    })
}
