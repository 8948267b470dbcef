//! A host with a service that asks another module, and its administrator.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::built;
use tests::libpam::{Code, Pam, Script, Services};
use tests::place::Place;
use tests::said::{Said, run};

/// The service.
pub(crate) const SERVICE: &str = "door";

/// The host. Its user is the user of this process, whom the other modules look up.
pub(crate) struct Host {
    pub(crate) place: Place,
    pub(crate) user: String,
    /// A copy of pam.d, in which the module is the built one.
    copy: Services,
}

impl Host {
    /// With `ykmap init`, and no service that asks anything.
    pub(crate) fn new() -> Self {
        let place = Place::in_memory();
        fs::remove_file(place.confdir().join("otp")).unwrap();
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let copy = Services::new(&place.host().parent().unwrap().join("copy"));
        let host = Self { place, user: user.trim().to_owned(), copy };
        host.write("etc/passwd", &host.passwd());
        host
    }

    fn passwd(&self) -> String {
        let home = self.beside("home");
        fs::create_dir_all(&home).unwrap();
        let uid = rustix::process::getuid().as_raw();
        format!("{}:x:{uid}:{uid}::{}:/bin/sh\n", self.user, home.display())
    }

    /// A path beside the host's folder.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.place.host().parent().unwrap().join(name)
    }

    /// Writes a file there.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.beside(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        tests::said::chmod(&path, 0o600);
        path
    }

    /// Writes a service file.
    pub(crate) fn pam(&self, service: &str, lines: &str) {
        fs::write(self.pam_file(service), lines).unwrap();
    }

    pub(crate) fn pam_file(&self, service: &str) -> PathBuf {
        self.place.confdir().join(service)
    }

    pub(crate) fn pam_text(&self, service: &str) -> String {
        fs::read_to_string(self.pam_file(service)).unwrap()
    }

    /// `ykmap migrate` with this host's folders.
    pub(crate) fn migrate(&self, arguments: &[&str]) -> Said {
        run(&mut self.command(arguments))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(built::program("ykmap"));
        command.arg("--config").arg(self.place.config()).arg("migrate").args(arguments);
        if arguments[0] != "login_yubikey" {
            command.arg("--pam-dir").arg(self.place.confdir()).arg("--accounts").arg(self.beside("etc"));
        }
        command
    }

    /// The same in JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> (i32, serde_json::Value) {
        let mut command = self.command(arguments);
        let said = run(command.arg("--json"));
        let value = serde_json::from_str(&said.out).unwrap_or_else(|why| panic!("{why}: {said:?}"));
        (said.code.unwrap(), value)
    }

    pub(crate) fn ykmap(&self, arguments: &[impl AsRef<OsStr>]) -> Said {
        run(Command::new(built::program("ykmap")).arg("--config").arg(self.place.config()).args(arguments))
    }

    /// A login by the service as it is now. `pam_yubiotp.so` in it is the built module.
    pub(crate) fn login(&self, answer: &str) -> Code {
        self.login_as(&self.user, answer)
    }

    pub(crate) fn login_as(&self, user: &str, answer: &str) -> Code {
        let ours = format!("{} ask={}", built::module().display(), self.place.ask().display());
        let plain = built::module().display().to_string();
        let module =
            if self.pam_text(SERVICE).contains("pam_yubiotp.so") && self.is_online() { ours } else { plain };
        self.copy.write(SERVICE, &self.pam_text(SERVICE).replace("pam_yubiotp.so", &module));
        let script = Box::new(Script::new([answer]));
        Pam::start(self.copy.path(), SERVICE, Some(user.as_bytes()), script).authenticate(0)
    }

    fn is_online(&self) -> bool {
        fs::read_to_string(self.place.config()).unwrap().contains("\n[online]\n")
    }

    /// The contents and modes of all files, but for locks and what is in homes.
    pub(crate) fn snapshot(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        for folder in [self.place.host(), self.place.confdir().to_owned()] {
            look(&folder, &mut found);
        }
        found
    }
}

fn look(folder: &Path, found: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            look(&path, found);
        } else if path.file_name().unwrap() != ".yubiotp.lock" && path.file_name().unwrap() != "yubiotp-ask" {
            found.insert(
                path.clone(),
                (fs::metadata(&path).unwrap().mode() & 0o7777, fs::read(&path).unwrap()),
            );
        }
    }
}

/// The path of a module of this machine; a skipped test without it.
pub(crate) fn module(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/lib64/security", "/lib/security", "/usr/lib/security"].map(PathBuf::from);
    let triplets = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let found = folders
        .into_iter()
        .chain(triplets.map(|entry| entry.path().join("security")))
        .map(|folder| folder.join(name))
        .find(|path| path.exists());
    if found.is_none() {
        tests::skip(&format!("{name} is not installed"));
    }
    found
}

/// The codes of findings in JSON.
pub(crate) fn found(value: &serde_json::Value) -> Vec<String> {
    let findings = value["findings"].as_array().unwrap();
    findings.iter().map(|found| found["code"].as_str().unwrap().to_owned()).collect()
}
