//! Files that are looked at again and again, so that what is in them can change without a restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arktos_store::Clock;

/// How often such files are looked at.
pub(super) const PERIOD: Duration = Duration::from_secs(10);

/// Follows a file from now on, for ever: `changed` is told what is in it whenever that is something else than before.
/// While the file cannot be read nothing happens.
pub(super) async fn follow(path: PathBuf, clock: Arc<dyn Clock>, mut changed: impl FnMut(&[u8]) + Send) {
    let mut seen = std::fs::read(&path).unwrap_or_default();
    loop {
        clock.sleep(PERIOD).await;
        if let Ok(now) = std::fs::read(&path)
            && now != seen
        {
            changed(&now);
            seen = now;
        }
    }
}
