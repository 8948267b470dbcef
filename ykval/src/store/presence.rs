//! Whether anything is where a store is said to be. What it is takes a password and a store key to find out.

use super::{StoreFault, postgres};
use crate::config::StoreAt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a host may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a connection to a database begins at.
pub(super) enum Door {
    /// A name or an address, without brackets, and a port.
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Door {
    async fn answers(self) -> bool {
        let opened = async {
            match self {
                Self::Tcp(host, port) => TcpStream::connect((host, port)).await.map(drop),
                Self::Unix(path) => UnixStream::connect(path).await.map(drop),
            }
        };
        timeout(PATIENCE, opened).await.is_ok_and(|opened| opened.is_ok())
    }
}

/// The place of a store, as [`Store::at`](super::Store::at) says it: never a password.
///
/// # Errors
/// The URL is not one, or a file that belongs to it cannot be read.
pub fn place(of: &StoreAt) -> Result<String, StoreFault> {
    match of {
        StoreAt::Sqlite(path) => Ok(path.display().to_string()),
        StoreAt::Postgres(at) => postgres::doors(at).map(|(at, _)| at),
        StoreAt::Etcd(at) => Ok(at.to_string()),
    }
}

/// Whether anything answers at the place of a store: there is a file, or at least one host accepts a connection within three
/// seconds.
///
/// # Errors
/// It cannot be found out.
pub async fn is_anything_there(at: &StoreAt) -> Result<bool, StoreFault> {
    let doors = match at {
        StoreAt::Sqlite(path) => {
            let looked = path.symlink_metadata();
            return Ok(!looked.is_err_and(|why| why.kind() == ErrorKind::NotFound));
        }
        StoreAt::Postgres(at) => postgres::doors(at)?.1,
        StoreAt::Etcd(at) => {
            at.endpoints.iter().map(|member| Door::Tcp(member.host.clone(), member.port)).collect()
        }
    };
    let mut asked: JoinSet<bool> = doors.into_iter().map(Door::answers).collect();
    while let Some(answers) = asked.join_next().await {
        // One that panicked told nothing.
        if answers.unwrap_or(true) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::net::TcpListener;

    fn there(at: &StoreAt) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(is_anything_there(at)).unwrap()
    }

    fn config(store: &str) -> StoreAt {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Config::load_for_store(&path, store).unwrap().store
    }

    /// It need not be a database: who accepts a connection has to be asked what it is.
    #[test]
    fn one_host_that_accepts_is_enough() {
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = open.local_addr().map(|at| (open, at.port())).unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for (scheme, rest) in [("postgres://ykvald:pw@", "/ykvald"), ("etcd://", "/ykvald")] {
            let at = |ports: &[u16]| {
                let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
                config(&format!("{scheme}{}{rest}", hosts.join(",")))
            };
            assert!(!there(&at(&[closed])), "{scheme}");
            assert!(there(&at(&[closed, open.1])), "{scheme}");
            assert!(!place(&at(&[open.1])).unwrap().contains("pw"), "{scheme}");
        }
    }

    #[test]
    fn a_file_is_there_whatever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| StoreAt::Sqlite(folder.path().join(name));
        assert!(!there(&at("store.db")));
        assert!(!there(&at("no/folder/store.db")));
        std::fs::write(folder.path().join("store.db"), "").unwrap();
        assert!(there(&at("store.db")));
    }
}
