//! What Debian's pam_oath checks: HOTP (RFC 4226), written from its text, and a file of users.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use std::path::PathBuf;
use std::{fmt::Write as _, fs};
use tests::libpam::Services;

const SECRET: &[u8; 20] = b"12345678901234567890";
/// The user who logs in.
pub(crate) const USER: &str = "alice";

/// A host with pam_oath, and the token of its user.
pub(crate) struct Oath {
    folder: tempfile::TempDir,
    counter: u64,
}

impl Oath {
    /// With so many users, of whom ours is the last.
    pub(crate) fn new(users: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let oath = Self { folder, counter: 0 };
        let mut lines = String::new();
        for other in 1..users {
            writeln!(lines, "HOTP\tuser{other}\t-\t{other:040x}").unwrap();
        }
        writeln!(lines, "HOTP\t{USER}\t-\t{}", data_encoding::HEXLOWER.encode(SECRET)).unwrap();
        let file = oath.folder.path().join("users.oath");
        fs::write(&file, lines).unwrap();
        let line = format!("auth required pam_oath.so usersfile={} window=20 digits=6\n", file.display());
        Services::new(&oath.confdir()).write("otp", &line);
        oath
    }

    pub(crate) fn confdir(&self) -> PathBuf {
        self.folder.path().join("pam.d")
    }

    /// The next one-time password.
    pub(crate) fn press(&mut self) -> String {
        let counter = self.counter;
        self.counter += 1;
        hotp(SECRET, counter)
    }
}

fn hotp(secret: &[u8], counter: u64) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).unwrap();
    mac.update(&counter.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let offset = usize::from(digest[19] & 15);
    let number = digest[offset..offset + 4].iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    // RFC 4226, appendix D: the first of this secret is 755224.
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}
