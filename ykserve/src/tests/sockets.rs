//! Sockets in the file system.

use super::*;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use yubiotp::diagnostic::Code;

#[tokio::test]
async fn whose_socket_it_is() {
    let listen = |path| Socket::unix(path, Code::DecryptSocketInvalid);
    let folder = tempfile::tempdir().unwrap();
    let path = &folder.path().join("socket");
    drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    assert!(path.exists(), "a server that died leaves its socket behind");
    let first = listen(path).unwrap();
    assert_eq!(first.name(), format!("unix:{}", path.display()));
    let is = std::fs::metadata(path).unwrap();
    assert!(is.file_type().is_socket());
    assert_eq!(is.permissions().mode() & 0o7777, 0o660);
    let fault = listen(path).err().unwrap();
    assert_eq!(fault.diagnostic().code, Code::DecryptSocketInvalid, "{fault}");
    drop(first);
    assert!(!path.exists());
    std::fs::write(path, "precious").unwrap();
    assert!(listen(path).is_err());
    assert_eq!(std::fs::metadata(path).unwrap().len(), 8, "a file was replaced");
}

#[tokio::test]
async fn an_address_that_another_has() {
    let first = Socket::tcp(([127, 0, 0, 1], 0).into(), &[]).unwrap();
    let fault = Socket::tcp(first.address().unwrap(), &[]).err().unwrap();
    assert_eq!(fault.diagnostic().code, Code::AddressInUse, "{fault}");
}
