//! The file with the keys that sign service account tokens: made at the first start, read at every start, and again
//! whenever it changes.

use std::path::Path;

use arktos_api::TokenKeys;
use arktos_store::{Clock, Random, Tasks};

use super::followed_file;
use crate::net::pki::write_private;

/// The file's name, in the data directory.
pub const FILE: &str = "service-account.keys";

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
    let place = path.to_owned();
    let changed = move |text: &[u8]| match TokenKeys::parse(&String::from_utf8_lossy(text)) {
        Ok(new) => {
            keys.replace(&new);
            tracing::info!("the keys of service account tokens were reloaded");
        }
        Err(error) => tracing::warn!("{}: {error}; the keys stay as they are", place.display()),
    };
    tasks.add("service account keys", followed_file::follow(path.to_owned(), clock, changed));
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
