//! The file with the keys for encryption at rest: read at the start, and again whenever it changes.

use std::path::Path;
use std::sync::Arc;

use arktos_store::{Clock, Tasks};

use super::followed_file;
use crate::edge::SystemRandom;
use crate::encryption::{Config, Keys};

/// The flag that names it.
pub const FLAG: &str = "--encryption-provider-config";

/// The keys of the file.
///
/// # Errors
/// A sentence that names the file.
pub fn open(path: &Path) -> Result<Arc<Keys>, String> {
    Ok(Arc::new(Keys::new(read(path)?, Arc::new(SystemRandom))))
}

fn read(path: &Path) -> Result<Config, String> {
    let text = std::fs::read(path).map_err(|error| format!("{FLAG} {}: {error}", path.display()))?;
    parse(path, &text)
}

fn parse(path: &Path, text: &[u8]) -> Result<Config, String> {
    Config::parse(text).map_err(|error| format!("{FLAG} {}: {error}", path.display()))
}

/// Follows the file from now on. A file that cannot be read changes nothing.
pub fn follow(path: &Path, keys: Arc<Keys>, clock: Arc<dyn Clock>, tasks: &Tasks) {
    let place = path.to_owned();
    let changed = move |text: &[u8]| match parse(&place, text) {
        Ok(config) => {
            keys.replace(config);
            tracing::info!("the keys for encryption at rest were reloaded");
        }
        Err(error) => tracing::warn!("{error}; the keys stay as they are"),
    };
    tasks.add("keys for encryption at rest", followed_file::follow(path.to_owned(), clock, changed));
}
