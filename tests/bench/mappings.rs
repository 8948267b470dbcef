//! Mappings of ten, ten thousand and many lines, read for the last user and for one who is not in it.

use crate::instructions::under_callgrind;
use crate::offline::user;
use crate::page::{Aim, Limit, Section, head, row};
use crate::worker::{Worker, median};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tests::built;
use tests::libpam::{Code, Services};
use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::{CLIENT, KEY, dead};

/// Instructions a line are the difference between these two, so that nothing else is in them.
const COUNTED: [u32; 2] = [10, 100_000];
/// A user without a token is answered before any server is asked, so this measures the mapping.
const LAST: &str = "last";
const ABSENT: &str = "zoe";
const TIMES: usize = 5;
const FIRST: usize = 1;

/// A reader of the mapping, for one user.
struct Reader {
    name: &'static str,
    confdir: PathBuf,
    user: &'static str,
    code: Code,
    /// By size, in milliseconds.
    times: Vec<f64>,
    per_line: f64,
}

/// The folder that all of them share.
struct Shared {
    place: Place,
    otp: String,
}

impl Shared {
    fn map(&self, lines: u32) {
        let mut text = String::new();
        for index in 1..lines {
            text += &user(index as usize);
            text.push(':');
            text += &SoftYubiKey::numbered(index).public_id();
            text.push('\n');
        }
        text += LAST;
        text += ":\n";
        self.place.write("authorized_yubikeys", text, 0o644);
    }

    fn readers(&self) -> Vec<Reader> {
        let mapping = self.place.path("authorized_yubikeys");
        let theirs = self.place.path("pam_yubico.d");
        let (url, authfile) = (dead(), mapping.display());
        let line = format!(
            "auth required pam_yubico.so id={CLIENT} key={KEY} urllist={url} authfile={authfile} mode=client\n"
        );
        Services::new(&theirs).write("otp", &line);
        let ours = self.place.confdir().to_owned();
        let reader = |name, confdir: &PathBuf, user, code| Reader {
            name,
            confdir: confdir.clone(),
            user,
            code,
            times: Vec::new(),
            per_line: 0.0,
        };
        vec![
            reader("ours, user last", &ours, LAST, Code::AUTH_ERR),
            reader("ours, user absent", &ours, ABSENT, Code::USER_UNKNOWN),
            reader("pam_yubico, user last", &theirs, LAST, Code::AUTH_ERR),
            reader("pam_yubico, user absent", &theirs, ABSENT, Code::USER_UNKNOWN),
        ]
    }

    fn instructions(&self, reader: &Reader) -> u64 {
        let mut drive = Command::new(built::program("pam-drive"));
        drive.arg("--confdir").arg(&reader.confdir);
        drive.args(["--service", "otp", "--user", reader.user, "--", &self.otp]);
        under_callgrind(&drive, &[1])
    }
}

pub(crate) fn measure(large: u32) -> Section {
    let shared = Shared { place: Place::new(), otp: SoftYubiKey::numbered(0).press() };
    let mut readers = shared.readers();
    let mut passes = Vec::new();
    let sizes = [10, 10_000, large];
    for lines in sizes {
        shared.map(lines);
        let mut times: Vec<Vec<Duration>> = readers.iter().map(|_| Vec::new()).collect();
        let mut pass = Vec::new();
        for _ in 0..3 {
            for (reader, times) in readers.iter().zip(&mut times) {
                let lines = vec![format!("otp {} {}", reader.user, shared.otp); FIRST + TIMES];
                let took = Worker::logins(&reader.confdir, reader.code, &lines).run();
                times.extend(&took[FIRST..]);
            }
            let mapping = shared.place.path("authorized_yubikeys");
            let count = (FIRST + TIMES).to_string();
            let took = Worker::start(&["memchr", mapping.to_str().unwrap(), &count], &[]).run();
            pass.extend(took.into_iter().skip(FIRST));
        }
        for (reader, times) in readers.iter_mut().zip(&times) {
            reader.times.push(median(times) / 1e3);
        }
        passes.push(median(&pass) / 1e3);
    }
    let counts = COUNTED.map(|lines| {
        shared.map(lines);
        readers.iter().map(|reader| shared.instructions(reader)).collect::<Vec<u64>>()
    });
    for (index, reader) in readers.iter_mut().enumerate() {
        let more = counts[1][index].saturating_sub(counts[0][index]) as f64;
        reader.per_line = more / f64::from(COUNTED[1] - COUNTED[0]);
    }
    shared.map(large);
    let bytes = fs::metadata(shared.place.path("authorized_yubikeys")).unwrap().len();
    section(&readers, &passes, sizes, bytes as f64 / f64::from(large))
}

fn section(readers: &[Reader], passes: &[f64], sizes: [u32; 3], length: f64) -> Section {
    let mut text = format!(
        "## Mappings\n\nA login of somebody who has no token, `pam_start` to `pam_end`, in one process, so that little but the mapping is \
         read: a line is `user17:vvcccccccbcb`, {length:.0} bytes in the middle. The pass reads the file in the same pieces, 128 KiB, and looks in \
         each for a byte that is not there, by memchr, which is AVX2 where the processor has it. A user who is last is \
         found by a search for the name. For one who is absent every line is also checked, for one that cannot be read might be \
         theirs, and for other spellings of the name. Instructions are callgrind's.\n\n"
    );
    let columns = sizes.map(|lines| format!("{lines} lines, ms"));
    text += &head(&["", &columns[0], &columns[1], &columns[2], "× the pass", "instructions a line"]);
    let pass = passes[2];
    for reader in readers {
        let [small, middle, large] = reader.times[..] else { continue };
        text += &row(reader.name, &[small, middle, large, large / pass, reader.per_line]);
    }
    text += &row("reading and a pass of memchr", &[passes[0], passes[1], pass, 1.0, 0.0]);

    let mut aims = Vec::new();
    let [last, absent] = &readers[..2] else { return Section { aims, text } };
    aims.push(Aim {
        what: format!("{}: instructions a line of the mapping", last.name),
        limit: Limit::AtMost(20.0),
        measured: last.per_line,
        unit: "",
        bound: "the search for the name, and counting lines for messages".to_owned(),
    });
    aims.push(Aim {
        what: format!("{}: time to that of a memchr pass, {} lines", last.name, sizes[2]),
        limit: Limit::AtMost(2.0),
        measured: last.times[2] / pass,
        unit: " ×",
        bound: "copying the file out of the kernel is in both".to_owned(),
    });
    aims.push(Aim {
        what: format!("{}: what {} lines add to {}", absent.name, sizes[1], sizes[0]),
        limit: Limit::AtMost(1.0),
        measured: absent.times[1] - absent.times[0],
        unit: " ms",
        bound: "each line is parsed, and its name compared".to_owned(),
    });
    Section { aims, text }
}
