//! The flags that say what keeps a role's objects. Those that kube-apiserver has keep their names and meaning.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arktos_store::{Clock, Tasks};
use clap::Args;

use super::encryption;
use super::serving::{duration, history_memory};
use crate::roles::store::{EtcdAccess, StoreArgs, StoreKind};

/// Where the password for etcd is looked for when no file is given.
const PASSWORD: &str = "ARKTOS_ETCD_PASSWORD";

/// What keeps the objects, and how it is reached.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Store")]
pub struct StoringArgs {
    /// Where objects are kept: log (this project's own durable log), memory (lost at exit), sled, or etcd:URL[,URL…] (a
    /// cluster, by its members' client URLs; the first one is used for as long as it answers)
    #[arg(long, value_name = "STORE", default_value = "log")]
    pub store: StoreKind,
    /// How much history is kept
    #[command(flatten)]
    pub history: HistoryArgs,
    /// Copy every full piece of the log to DIR/ROLE, so that any moment since a backup can be restored (--store log)
    #[arg(long, value_name = "DIR")]
    pub archive_dir: Option<PathBuf>,
    /// File that says which resources are encrypted at rest, with which keys: an EncryptionConfiguration with the
    /// providers aesgcm, secretbox, aescbc and identity. It is read again when it changes
    #[arg(long, value_name = "FILE")]
    pub encryption_provider_config: Option<PathBuf>,
    /// Prefix of all keys in etcd, followed by the role's name. Regions that share a cluster need different ones
    #[arg(long, value_name = "PREFIX", default_value = "/arktos", value_parser = prefix)]
    pub etcd_prefix: String,
    /// File of the authority that signed the etcd members' certificates (PEM). Default: those the system trusts
    #[arg(long, value_name = "FILE")]
    pub etcd_cafile: Option<PathBuf>,
    /// File of the client certificate for etcd (PEM), where it asks for one
    #[arg(long, value_name = "FILE", requires = "etcd_keyfile")]
    pub etcd_certfile: Option<PathBuf>,
    /// File of the key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "etcd_certfile")]
    pub etcd_keyfile: Option<PathBuf>,
    /// Name in the etcd members' certificates, where it is not the host in their URLs
    #[arg(long, value_name = "NAME")]
    pub etcd_server_name: Option<String>,
    /// User name in etcd, where it has authentication enabled. The password comes from --etcd-password-file, or from
    /// ARKTOS_ETCD_PASSWORD in the environment
    #[arg(long, value_name = "NAME")]
    pub etcd_user: Option<String>,
    /// File with that user's password
    #[arg(long, value_name = "FILE", requires = "etcd_user")]
    pub etcd_password_file: Option<PathBuf>,
    /// Compact etcd to the history window. This affects everybody who shares the etcd: say false if others need its
    /// history for longer, and compact it themselves
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub etcd_compaction: bool,
}

/// How much history is kept in memory.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Store")]
pub struct HistoryArgs {
    /// How long past revisions are kept, for watches and lists that continue from them
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub history_window: Duration,
    /// Memory limit for the past revisions of one resource, whatever the window says (at least 16Mi)
    #[arg(long, value_name = "SIZE", default_value = "256Mi", value_parser = history_memory)]
    pub history_memory: usize,
}

impl StoringArgs {
    /// What the flags mean, for stores in a directory.
    ///
    /// # Errors
    /// A sentence that says which flag or file is wrong, and how.
    pub fn options(&self, data_dir: &Path) -> Result<StoreArgs, String> {
        let etcd = if matches!(self.store, StoreKind::Etcd(_)) { self.access()? } else { self.no_access()? };
        Ok(StoreArgs {
            kind: self.store.clone(),
            data_dir: data_dir.to_owned(),
            history_window: self.history.history_window,
            history_bytes: self.history.history_memory,
            archive_dir: self.archive_dir.clone(),
            etcd,
            encryption: self.encryption_provider_config.as_deref().map(encryption::open).transpose()?,
        })
    }

    /// Follows the file of keys, where there is one, for stores that were opened with these options.
    pub fn follow_keys(&self, options: &StoreArgs, clock: &Arc<dyn Clock>, tasks: &Tasks) {
        if let (Some(path), Some(keys)) = (&self.encryption_provider_config, &options.encryption) {
            encryption::follow(path, keys.clone(), clock.clone(), tasks);
        }
    }

    fn access(&self) -> Result<EtcdAccess, String> {
        let identity = match (&self.etcd_certfile, &self.etcd_keyfile) {
            (Some(certificate), Some(key)) => {
                Some((read("--etcd-certfile", certificate)?, read("--etcd-keyfile", key)?))
            }
            _ => None,
        };
        let user = self.etcd_user.as_ref().map(|name| Ok::<_, String>((name.clone(), self.password()?)));
        Ok(EtcdAccess {
            prefix: self.etcd_prefix.clone(),
            ca: self.etcd_cafile.as_ref().map(|path| read("--etcd-cafile", path)).transpose()?,
            identity,
            server_name: self.etcd_server_name.clone(),
            user: user.transpose()?,
            compact: self.etcd_compaction,
        })
    }

    fn no_access(&self) -> Result<EtcdAccess, String> {
        let given = [
            ("--etcd-cafile", self.etcd_cafile.is_some()),
            ("--etcd-certfile", self.etcd_certfile.is_some()),
            ("--etcd-server-name", self.etcd_server_name.is_some()),
            ("--etcd-user", self.etcd_user.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(format!("{flag} makes sense only with --store etcd:URL, not with {}", self.store)),
            None => Ok(EtcdAccess::default()),
        }
    }

    fn password(&self) -> Result<String, String> {
        let Some(path) = &self.etcd_password_file else {
            return std::env::var(PASSWORD)
                .map_err(|_| format!("--etcd-user needs a password: give --etcd-password-file, or set {PASSWORD}"));
        };
        let bytes = read("--etcd-password-file", path)?;
        let text = String::from_utf8(bytes).map_err(|_| format!("{} is not text", path.display()))?;
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(format!("--etcd-password-file {} is empty", path.display())),
            password => Ok(password.to_owned()),
        }
    }
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{flag} {}: {error}", path.display()))
}

fn prefix(text: &str) -> Result<String, String> {
    match text.trim_end_matches('/') {
        prefix if prefix.starts_with('/') && prefix.len() > 1 => Ok(prefix.to_owned()),
        _ => Err(format!("{text:?} is not a prefix such as /arktos")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        storing: StoringArgs,
    }

    fn options(flags: &[&str]) -> Result<StoreArgs, String> {
        let program = Program::try_parse_from(std::iter::once(&"program").chain(flags));
        program.map_err(|error| error.to_string())?.storing.options(Path::new("data"))
    }

    #[test]
    fn what_is_needed_to_speak_to_etcd_comes_from_files_and_is_not_shown() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("writes");
            path.display().to_string()
        };
        let (ca, key) = (file("ca", "authority"), file("key", "very private"));
        let (certificate, password) = (file("certificate", "me"), file("password", "open sesame\n"));
        let flags = [
            "--store=etcd:https://a:2379,https://b:2379",
            &format!("--etcd-cafile={ca}"),
            &format!("--etcd-certfile={certificate}"),
            &format!("--etcd-keyfile={key}"),
            "--etcd-user=arktos",
            &format!("--etcd-password-file={password}"),
            "--etcd-prefix=/regions/west/",
            "--etcd-compaction=false",
        ];
        let args = options(&flags).expect("is fine");
        let etcd = &args.etcd;
        assert_eq!(etcd.ca.as_deref(), Some(b"authority".as_slice()));
        assert_eq!(etcd.identity, Some((b"me".to_vec(), b"very private".to_vec())));
        assert_eq!(etcd.user, Some(("arktos".to_owned(), "open sesame".to_owned())));
        assert_eq!((etcd.prefix.as_str(), etcd.compact), ("/regions/west", false));
        let shown = format!("{args:?}");
        assert!(!shown.contains("sesame") && !shown.contains("very private"), "{shown}");
    }

    #[test]
    fn what_cannot_work_is_refused_in_a_line_that_names_the_flag() {
        let etcd = "--store=etcd:https://a:2379";
        for (flags, word) in [
            (vec![etcd, "--etcd-cafile=/nowhere/ca.crt"], "--etcd-cafile /nowhere/ca.crt: "),
            (vec![etcd, "--etcd-user=arktos"], "--etcd-password-file"),
            (vec![etcd, "--etcd-certfile=/nowhere/me.crt"], "--etcd-keyfile"),
            (vec![etcd, "--etcd-prefix=arktos"], "not a prefix"),
            (vec!["--etcd-cafile=/nowhere/ca.crt"], "only with --store etcd:URL, not with log"),
            (vec!["--store=etcd:"], "is not a store"),
        ] {
            let refused = options(&flags).expect_err("is refused");
            assert!(refused.contains(word), "{flags:?}: {refused}");
        }
    }
}
