//! Where tenants live, and who is part of the region.
//!
//! | module | says so |
//! |---|---|
//! | [`fixed`] | a list on the command line, and the partitions themselves |
//! | [`followed`] | the directory of the region, for a gateway |
//! | [`membership`] | the directory of the region, for everybody else |

pub mod fixed;
#[cfg(feature = "net")]
pub mod followed;
pub mod membership;

use std::sync::Arc;

use arktos_api::{ApiConfig, ApiServer};
use arktos_store::{Engine, Tasks};

use super::{RoleOptions, StartError, store};
use crate::edge::BlockingThreads;

/// A directory that runs: a store and its API, without controllers. Partitions and resource managers write into it who
/// there is and where tenants live, and everybody follows it.
///
/// Any other role's API can be the directory of a region as well: all of them serve its kinds.
pub struct DirectoryServer {
    engine: Engine,
    api: ApiServer,
}

impl DirectoryServer {
    /// Opens the store, makes what must be there, and gives `tasks` what must run.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(options: RoleOptions, tasks: &Tasks) -> Result<Self, StartError> {
        let RoleOptions { name, clock, random, .. } = &options;
        let engine = store::open(&options.store, name, &options.metrics, clock, tasks).await?;
        let mut config = ApiConfig::new(engine.clone(), clock.clone(), random.clone());
        config.aside = Arc::new(BlockingThreads);
        options.api.apply(name, &mut config);
        config.catalog = options.catalog.clone();
        config.observer = Some(options.metrics.observer(name));
        config.role = arktos_api::Role::ResourceManager; // it has no tenants but `system`
        let api = ApiServer::new(config);
        api.bootstrap().await?;
        Ok(Self { engine, api })
    }

    /// Its API.
    #[must_use]
    pub fn api(&self) -> &ApiServer {
        &self.api
    }

    /// Closes its store. Its tasks must have been stopped.
    pub async fn close(&self) {
        self.engine.close().await;
    }
}

#[cfg(test)]
mod tests;
