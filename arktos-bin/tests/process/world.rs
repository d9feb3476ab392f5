//! A running region whose users have tokens and speak plain HTTP: how most tests look at it.

use std::path::Path;

use super::Region;
use super::http::Caller;

/// Everybody: the region's administrator, the administrators of two tenants, and somebody who may do nothing.
pub const TOKENS: &str = "\
root-token,root,1,\"system:masters\",,system
acme-token,alice,2,\"system:masters\",,acme
globex-token,alice,2,\"system:masters\",,globex
dev-token,dana,3,\"dev\",,acme
";

impl Region {
    /// Starts `arktos up` in a directory of the test's, with a plain address, and with tokens for everybody.
    pub fn start_with_tokens(directory: &Path, arguments: &[&str]) -> Self {
        let tokens = directory.join("tokens.csv");
        std::fs::write(&tokens, TOKENS).expect("written");
        let usual = ["--insecure-listen", "127.0.0.1:0", "--token-auth-file", tokens.to_str().expect("a path")];
        Self::start(&directory.join("data"), &[&usual, arguments].concat())
    }

    /// Somebody, by a token.
    pub fn caller<'a>(&self, token: &'a str) -> Caller<'a> {
        Caller::new(self.insecure.expect("a plain address"), token)
    }
}

/// A region with tokens, in a directory that goes with it.
pub struct World {
    /// The region.
    pub region: Region,
    /// Where it is kept, with room for more.
    pub directory: tempfile::TempDir,
}

impl World {
    /// Starts it, with what is asked for beside the tokens.
    pub fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let region = Region::start_with_tokens(directory.path(), arguments);
        Self { region, directory }
    }

    /// The region's administrator.
    pub fn root(&self) -> Caller<'static> {
        self.region.caller("root-token")
    }

    /// The administrator of the tenant `acme`.
    pub fn acme(&self) -> Caller<'static> {
        self.region.caller("acme-token")
    }

    /// The administrator of the tenant `globex`.
    pub fn globex(&self) -> Caller<'static> {
        self.region.caller("globex-token")
    }
}
