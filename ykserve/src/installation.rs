//! How a server is installed on a host: its unit, the user who runs it, the default places of its files, its store key, and what
//! [`init`] creates.

mod access;
pub mod init;
mod paths;
mod store_key;
mod unit;
mod user;

use crate::file::{self, Audience};
use std::path::Path;
use unit::Unit;
use yubiotp::diagnostic::Program;

pub use access::{PASS, READ, WRITE};
pub use paths::Layout;
pub use store_key::{Unfinished, store_key_path};
pub use user::ServerUser;

const MOST_ACCOUNTS: u64 = 64 << 20;

/// A server as packages install it.
#[derive(Debug, Clone, Copy)]
pub struct Installation {
    /// Its command.
    pub program: Program,
    /// The name of that: `ykvald`.
    pub name: &'static str,
    /// Its unit: `ykvald.service`.
    pub unit: &'static str,
    /// The user and the group that packages make for it, and the name of its folder in a home folder.
    pub user: &'static str,
    /// The configuration of a server that root set up.
    pub config: &'static str,
    /// The folder of the store of a server that root set up.
    pub data: &'static str,
}

impl Installation {
    /// Whether systemd creates the folder of this path when it starts the server.
    #[must_use]
    pub fn makes_folder_of(&self, path: &Path) -> bool {
        let unit = Unit::named(self.unit).unwrap_or_default();
        unit.runtime_folders.iter().any(|name| path.parent() == Some(&Path::new("/run").join(name)))
    }
}

/// The fields of each line of /etc/passwd or /etc/group: other sources may not be available yet.
#[must_use]
pub fn accounts(path: &str) -> Vec<Vec<String>> {
    let Ok(text) = file::read(Path::new(path), Audience::Everyone, MOST_ACCOUNTS) else { return Vec::new() };
    let text = String::from_utf8_lossy(&text);
    text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect()
}
