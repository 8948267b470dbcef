//! Power cuts, replayed: what a login or a change really asks of the disk is recorded, and a disk is put together for
//! every moment and everything that it may have kept by then. What was not synced it may have or not, each name by
//! itself and each write to any byte. The real module then reads what is left.

use crate::login::{login, place};
use crate::traced::{self, Call, Do, numbers};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use tests::bucket;
use tests::built::program;
use tests::libpam::Code;
use tests::place::Place;
use tests::soft_app::{self, SoftApp};
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::Server;

/// Something that was asked of the disk. Names are `keys/ID` and `positions/ID`, below the store.
#[derive(Debug)]
enum Event {
    Create(String),
    /// At the end of the file, if no offset is given.
    Write {
        name: String,
        offset: Option<usize>,
        bytes: Vec<u8>,
        synced: bool,
    },
    Rename {
        from: String,
        to: String,
    },
    Unlink(String),
    /// A file's contents, or a folder's names.
    Sync(String),
    SyncAll,
    Answer,
}

/// Runs a command undisturbed.
fn record(command: &Command, place: &Place) -> Vec<Event> {
    let store = fs::canonicalize(place.host()).unwrap();
    let below = |path: String| {
        let name = path.strip_prefix(store.to_str()?)?.strip_prefix('/')?.to_owned();
        let within = name.starts_with("keys") || name.starts_with("positions");
        (within && !name.contains(".yubiotp.lock")).then_some(name)
    };
    let at = |call: &Call, folder: usize, name: usize| {
        below(format!("{}/{}", call.file(call.arguments[folder]), call.text(name)))
    };
    let of = |call: &Call| below(call.file(call.arguments[0]));
    let mut events = Vec::new();
    let ended = traced::run(command, |call| {
        let argument = |index: usize| usize::try_from(call.arguments[index]).unwrap();
        let event = match call.number {
            numbers::OPENAT if traced::matters(Do::Kill, call) => at(call, 0, 1).map(Event::Create),
            numbers::WRITE if call.arguments[0] == 1 => {
                (!call.text(1).starts_with("prompt ")).then_some(Event::Answer)
            }
            numbers::WRITE => of(call).map(|name| {
                let bytes = call.memory(call.arguments[1], argument(2));
                Event::Write { name, offset: None, bytes, synced: false }
            }),
            numbers::PWRITEV2 => of(call).map(|name| {
                let vector = call.memory(call.arguments[1], 16);
                let [base, length] =
                    [0, 8].map(|at| u64::from_ne_bytes(vector[at..at + 8].try_into().unwrap()));
                let bytes = call.memory(base, length.try_into().unwrap());
                Event::Write { name, offset: Some(argument(3)), bytes, synced: call.arguments[5] & 2 != 0 }
            }),
            numbers::RENAMEAT => {
                at(call, 0, 1).zip(at(call, 2, 3)).map(|(from, to)| Event::Rename { from, to })
            }
            numbers::UNLINKAT => at(call, 0, 1).filter(|name| store.join(name).exists()).map(Event::Unlink),
            numbers::FSYNC => of(call).map(Event::Sync),
            numbers::SYNCFS => Some(Event::SyncAll),
            number => {
                assert!(!traced::matters(Do::Kill, call) || numbers::HARMLESS.contains(&number), "{call:?}");
                None
            }
        };
        events.extend(event);
        Do::Nothing
    });
    assert_eq!(ended.code, Some(0), "{ended:?}");
    events
}

/// The files of a store: contents by name.
type Contents = BTreeMap<String, Vec<u8>>;

#[derive(Default)]
struct File {
    durable: Vec<u8>,
    memory: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

/// A disk with a cache before it.
#[derive(Default)]
struct Disk {
    files: Vec<File>,
    /// Names on the disk, and as the system has them in memory.
    durable: BTreeMap<String, usize>,
    memory: BTreeMap<String, usize>,
    /// What happened to names and is not on the disk: each names a file, or takes a name away.
    unsynced: Vec<Vec<(String, Option<usize>)>>,
}

impl Disk {
    fn of(contents: &Contents) -> Self {
        let mut disk = Self::default();
        for (name, bytes) in contents {
            disk.durable.insert(name.clone(), disk.files.len());
            disk.files.push(File { durable: bytes.clone(), memory: bytes.clone(), unsynced: Vec::new() });
        }
        disk.memory = disk.durable.clone();
        disk
    }

    fn rename(&mut self, changes: Vec<(String, Option<usize>)>) {
        apply(&mut self.memory, &changes);
        self.unsynced.push(changes);
    }

    /// The events, except what a sync makes durable.
    fn take(&mut self, event: &Event) {
        match event {
            Event::Create(name) => {
                self.files.push(File::default());
                self.rename(vec![(name.clone(), Some(self.files.len() - 1))]);
            }
            Event::Write { name, offset, bytes, .. } => {
                let file = &mut self.files[self.memory[name]];
                let offset = offset.unwrap_or(file.memory.len());
                write(&mut file.memory, offset, bytes);
                file.unsynced.push((offset, bytes.clone()));
            }
            Event::Rename { from, to } => {
                let file = self.memory[from];
                self.rename(vec![(from.clone(), None), (to.clone(), Some(file))]);
            }
            Event::Unlink(name) => self.rename(vec![(name.clone(), None)]),
            Event::Sync(_) | Event::SyncAll | Event::Answer => {}
        }
    }

    fn sync(&mut self, event: &Event) {
        let all = matches!(event, Event::SyncAll);
        let (Event::Sync(name) | Event::Write { name, synced: true, .. }) = event else {
            if all {
                self.files.iter_mut().for_each(File::sync);
                self.durable = self.memory.clone();
                self.unsynced.clear();
            }
            return;
        };
        if let Some(file) = self.memory.get(name) {
            self.files[*file].sync();
            return;
        }
        let within = format!("{name}/");
        for changes in std::mem::take(&mut self.unsynced) {
            if changes.iter().all(|(name, _)| name.starts_with(&within)) {
                apply(&mut self.durable, &changes);
            } else {
                self.unsynced.push(changes);
            }
        }
    }

    /// Everything that may be left after a power cut now; if `coarse`, or where several files were written, with fewer
    /// lengths of each write.
    fn left(&self, coarse: bool) -> BTreeSet<Contents> {
        let mut left = BTreeSet::new();
        let coarse = coarse || self.files.iter().filter(|file| !file.unsynced.is_empty()).count() > 1;
        let kept: Vec<Vec<Vec<u8>>> = self.files.iter().map(|file| file.left(coarse)).collect();
        for chosen in 0..1_u32 << self.unsynced.len() {
            let mut names = self.durable.clone();
            for (bit, changes) in self.unsynced.iter().enumerate() {
                if chosen >> bit & 1 == 1 {
                    apply(&mut names, changes);
                }
            }
            let mut states = vec![Contents::new()];
            for (name, file) in &names {
                let with = |state: &Contents| {
                    let name = name.clone();
                    let of = |bytes: &Vec<u8>| {
                        let mut state = state.clone();
                        state.insert(name.clone(), bytes.clone());
                        state
                    };
                    kept[*file].iter().map(of).collect::<Vec<_>>()
                };
                states = states.iter().flat_map(with).collect();
            }
            left.extend(states);
        }
        left
    }
}

fn apply(names: &mut BTreeMap<String, usize>, changes: &[(String, Option<usize>)]) {
    for (name, file) in changes {
        match file {
            Some(file) => names.insert(name.clone(), *file),
            None => names.remove(name),
        };
    }
}

fn write(contents: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    contents.resize(contents.len().max(offset + bytes.len()), 0);
    contents[offset..][..bytes.len()].copy_from_slice(bytes);
}

impl File {
    fn sync(&mut self) {
        self.durable.clone_from(&self.memory);
        self.unsynced.clear();
    }

    /// Each write that was not synced to any byte, of large ones to the sectors; or only to some.
    fn left(&self, coarse: bool) -> Vec<Vec<u8>> {
        let mut left = vec![self.durable.clone()];
        for (offset, bytes) in &self.unsynced {
            let length = bytes.len();
            let lengths: BTreeSet<_> = match length {
                _ if coarse => [0, 1, length / 2, length - 1, length].into(),
                0..=512 => (0..=length).collect(),
                _ => (0..=length).step_by(512).chain([1, 511, length - 1]).collect(),
            };
            let with = |before: &Vec<u8>| {
                let cut = |length: &usize| {
                    let mut contents = before.clone();
                    write(&mut contents, *offset, &bytes[..*length]);
                    contents
                };
                lengths.iter().map(cut).collect::<Vec<_>>()
            };
            left = left.iter().flat_map(with).collect();
        }
        left
    }
}

fn contents(place: &Place) -> Contents {
    let mut contents = Contents::new();
    for folder in ["keys", "positions"] {
        for entry in fs::read_dir(place.path(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name != ".yubiotp.lock" {
                contents.insert(format!("{folder}/{name}"), fs::read(&path).unwrap());
            }
        }
    }
    contents
}

fn restore(place: &Place, wanted: &Contents) {
    for (name, _) in contents(place) {
        fs::remove_file(place.path(&name)).unwrap();
    }
    for (name, bytes) in wanted {
        fs::write(place.path(name), bytes).unwrap();
        fs::set_permissions(place.path(name), Permissions::from_mode(0o600)).unwrap();
    }
}

/// Records a command, then judges everything that a power cut in it may leave: `judge` gets whether the answer was
/// sent.
fn cut(what: &str, place: &Place, command: &Command, coarse: bool, judge: impl Fn(bool, &str)) {
    let before = contents(place);
    let events = record(command, place);
    let (mut disk, mut answered, mut states) = (Disk::of(&before), false, 0);
    let mut seen = BTreeSet::new();
    for (number, event) in events.iter().enumerate() {
        answered |= matches!(event, Event::Answer);
        disk.take(event);
        let mut judge_all = |disk: &Disk| {
            for left in disk.left(coarse) {
                if seen.insert((answered, left.clone())) {
                    restore(place, &left);
                    let names: Vec<_> = left.keys().collect();
                    judge(answered, &format!("{what}, after event {number}, {event:.60?}, of {names:?}"));
                    states += 1;
                }
            }
        };
        judge_all(&disk);
        disk.sync(event);
        judge_all(&disk);
    }
    println!("{what}: {} events, {states} states after a power cut", events.len());
    assert!(states >= 3 && answered, "{events:?}");
    restore(place, &before);
}

fn drive(place: &Place, otp: &str) -> Command {
    let mut drive = place.drive("otp", "alice");
    drive.args(["--", otp]);
    drive
}

fn ykmap(place: &Place, arguments: &[&str]) -> Command {
    let mut ykmap = Command::new(program("ykmap"));
    ykmap.arg("--config").arg(place.config()).args(arguments);
    ykmap
}

#[track_caller]
fn must(place: &Place, arguments: &[&str], what: &str) {
    let output = place.ykmap(arguments);
    assert!(output.status.success(), "{what}: {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The first, and two later ones, which write the one slot and the other.
#[test]
fn in_a_login() {
    let (place, mut key) = place(110);
    let mut used: Option<String> = None;
    for round in ["the first login", "the second login", "the third login"] {
        let [otp, next] = [key.press(), key.press()];
        cut(round, &place, &drive(&place, &otp), false, |answered, what| {
            if let Some(used) = &used {
                assert_eq!(login(&place, used), Code::AUTH_ERR, "{what}");
            }
            if answered {
                assert_eq!(login(&place, &otp), Code::AUTH_ERR, "{what}: somebody was told yes");
            }
            assert_eq!(login(&place, &next), Code::SUCCESS, "{what}: it cannot be used any more");
            assert_eq!(login(&place, &otp), Code::AUTH_ERR, "{what}");
        });
        assert_eq!(login(&place, &otp), Code::SUCCESS, "{round}");
        used = Some(otp);
    }
}

/// By the codes of an app, and by recovery codes. The bucket is not synced: a cut may give a try back, and no more.
#[test]
fn in_a_login_by_code() {
    let (place, app) = (Place::in_memory(), SoftApp::numbered(114));
    place.enrol_app("alice", &app);
    place.widen_window();
    let recovery = place.enrol_recovery("alice");
    let first = (soft_app::now()..).find(|step| (0..4).all(|off| app.is_single(step + off))).unwrap();
    let by_app = (first..first + 3).map(|step| [app.code(step), app.code(step + 1)]);
    let by_recovery = recovery.windows(2).take(1).map(|pair| [pair[0].clone(), pair[1].clone()]);
    let mut used: Option<String> = None;
    for [code, next] in by_app.chain(by_recovery) {
        cut(&format!("a login by {code}"), &place, &drive(&place, &code), false, |answered, what| {
            bucket::leave(&bucket::of(&place, "alice"), bucket::CAPACITY);
            if let Some(used) = &used {
                assert_eq!(login(&place, used), Code::AUTH_ERR, "{what}");
            }
            if answered {
                assert_eq!(login(&place, &code), Code::AUTH_ERR, "{what}: somebody was told yes");
            }
            assert_eq!(login(&place, &next), Code::SUCCESS, "{what}: the next cannot be used any more");
            // A later code of an app is behind it.
            if code.len() == 6 {
                assert_eq!(login(&place, &code), Code::AUTH_ERR, "{what}");
            }
        });
        assert_eq!(login(&place, &code), Code::SUCCESS, "{code}");
        used = Some(code);
    }
}

/// The first login of a token whose key is not here makes its position.
#[test]
fn in_the_first_login_by_a_servers_word() {
    let (place, _) = place(111);
    let mut key = SoftYubiKey::numbered(112);
    place.list("alice", &key);
    let server = Server::start(&[&key]);
    place.online("online", &[server.url()], "");
    let otp = key.press();
    fs::write(place.path("log.csv"), key.traditional_log_line()).unwrap();
    let log = place.path("log.csv").display().to_string();
    // Whether the OTP was used is then asked of a key that comes: that needs no server, which has its own memory.
    let offline = place.path("offline.toml");
    let settings =
        fs::read_to_string(place.config()).unwrap().replace("mode = \"online\"", "mode = \"offline\"");
    fs::write(&offline, settings).unwrap();
    fs::set_permissions(&offline, Permissions::from_mode(0o600)).unwrap();
    let verify = |otp: &str| {
        let mut verify = Command::new(program("ykmap"));
        verify.arg("--config").arg(&offline).args(["verify", "alice", otp]).output().unwrap().status.code()
    };
    let next = key.press();
    cut("the first login by a server's word", &place, &drive(&place, &otp), true, |answered, what| {
        must(&place, &["key", "import", &log], what);
        if answered {
            assert_eq!(verify(&otp), Some(1), "{what}: somebody was told yes");
        }
        assert_eq!(verify(&next), Some(0), "{what}: it cannot be used any more");
        assert_eq!(verify(&otp), Some(1), "{what}");
    });
}

/// Each change, and what brings the token back into use.
#[test]
fn in_a_change() {
    let (place, mut key) = place(113);
    fs::write(place.path("log.csv"), key.traditional_log_line()).unwrap();
    let (id, log) = (key.public_id(), place.path("log.csv").display().to_string());
    let used = key.press();
    assert_eq!(login(&place, &used), Code::SUCCESS);
    let next = key.press();
    let [disable, enable, remove, import] =
        [["key", "disable", &id], ["key", "enable", &id], ["key", "remove", &id], ["key", "import", &log]];
    for (change, back) in [(disable, Some(enable)), (enable, None), (remove, Some(import)), (import, None)] {
        cut(&change[1..2].concat(), &place, &ykmap(&place, &change), true, |answered, what| {
            let disabled = change == disable && answered;
            assert!(!disabled || login(&place, &next) == Code::AUTH_ERR, "{what}: it is not disabled");
            assert_ne!(login(&place, &used), Code::SUCCESS, "{what}: accepted again");
            let again = place.ykmap(&change);
            let why = String::from_utf8_lossy(&again.stderr);
            assert!(
                again.status.success() || why.contains("[token-not-here]"),
                "{what}: not finished: {why}"
            );
            assert_ne!(login(&place, &used), Code::SUCCESS, "{what}: accepted again");
            back.iter().for_each(|back| must(&place, back, what));
            assert_eq!(login(&place, &used), Code::AUTH_ERR, "{what}");
            assert_eq!(login(&place, &next), Code::SUCCESS, "{what}");
        });
        must(&place, &change, "for the next");
    }
}
