//! The file of the keys that sign service account tokens: made once, read at the start, and looked at again and again,
//! so that keys rotate without a restart.

use std::path::Path;
use std::time::Duration;

use arktos_api::TokenKeys;
use arktos_store::{Clock, Random, Tasks};

use crate::net::pki::write_private;

/// The file's name, in the data directory.
pub const FILE: &str = "service-account.keys";
/// How often the file is looked at.
const PERIOD: Duration = Duration::from_secs(10);

/// The keys of the file; where there is none, new ones, kept in it.
///
/// # Errors
/// A sentence that names the file. A file that cannot be read is never replaced.
pub fn open(path: &Path, random: &dyn Random) -> Result<TokenKeys, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    match std::fs::read_to_string(path) {
        Ok(text) => TokenKeys::parse(&text).map_err(|error| wrong(&error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let keys = TokenKeys::random(random);
            write_private(path, &keys.to_file()).map_err(|error| wrong(&error))?;
            Ok(keys)
        }
        Err(error) => Err(wrong(&error)),
    }
}

/// Follows the file from now on.
pub fn follow(path: &Path, keys: TokenKeys, clock: std::sync::Arc<dyn Clock>, tasks: &Tasks) {
    let path = path.to_owned();
    tasks.add("service account keys", async move {
        let mut seen = std::fs::read_to_string(&path).unwrap_or_default();
        loop {
            clock.sleep(PERIOD).await;
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            if text == seen {
                continue;
            }
            match TokenKeys::parse(&text) {
                Ok(new) => {
                    keys.replace(&new);
                    tracing::info!("the keys of service account tokens were read anew");
                }
                Err(error) => tracing::warn!("{}: {error}; the keys stay as they are", path.display()),
            }
            seen = text;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use arktos_store::clock::SeededRandom;

    #[test]
    fn the_keys_are_the_same_after_a_restart() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(FILE);
        let first = open(&path, &SeededRandom::new(1)).expect("makes the file");
        let again = open(&path, &SeededRandom::new(2)).expect("reads the file");
        assert_eq!(first.to_file(), again.to_file());
        std::fs::write(&path, "nonsense").expect("writes");
        assert!(open(&path, &SeededRandom::new(3)).is_err());
    }
}
