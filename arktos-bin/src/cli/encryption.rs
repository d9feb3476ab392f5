//! The file of the keys for encryption at rest: read at the start, and looked at again and again, so that keys rotate
//! without a restart.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arktos_store::{Clock, Tasks};

use crate::edge::SystemRandom;
use crate::encryption::{Config, Keys};

/// The flag that names it.
pub const FLAG: &str = "--encryption-provider-config";
/// How often the file is looked at.
const PERIOD: Duration = Duration::from_secs(10);

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
    let path = path.to_owned();
    tasks.add("keys for encryption at rest", async move {
        let mut seen = std::fs::read(&path).unwrap_or_default();
        loop {
            clock.sleep(PERIOD).await;
            let Ok(text) = std::fs::read(&path) else { continue };
            if text == seen {
                continue;
            }
            match parse(&path, &text) {
                Ok(config) => {
                    keys.replace(config);
                    tracing::info!("the keys for encryption at rest were read anew");
                }
                Err(error) => tracing::warn!("{error}; the keys stay as they are"),
            }
            seen = text;
        }
    });
}
