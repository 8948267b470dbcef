//! What can be wrong with a host, each thing by itself.

use super::MODES;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use tests::libpam::Code;
use tests::place::Place;
use tests::validation::{Answer, Exchange, Wire};

/// The logins that a fault affects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Everybody: settings, or the mapping.
    All,
    /// The token's owner.
    Token,
}

/// One thing that is wrong.
pub(super) struct Fault {
    pub(super) what: &'static str,
    pub(super) of: Of,
    /// The code that affected users get.
    pub(super) code: Code,
    /// The modes in which it is a fault: a file that a mode does not need may be broken there.
    pub(super) modes: &'static [&'static str],
    /// The host and the token.
    pub(super) wreck: fn(&Place, &str),
    /// The server's behaviour.
    pub(super) manner: Option<fn(&Exchange) -> Answer>,
    pub(super) needs_root: bool,
}

const HOST: &[&str] = &["", "mode=offline"];
const ASKING: &[&str] = &["mode=online", "mode=online-then-offline", "mode=offline-then-online"];
const ASKED: &[&str] = &["mode=online", "mode=online-then-offline"];
const ONLINE: &[&str] = &["mode=online"];

const fn fault(what: &'static str, of: Of, wreck: fn(&Place, &str)) -> Fault {
    Fault { what, of, code: Code::AUTHINFO_UNAVAIL, modes: &MODES, wreck, manner: None, needs_root: false }
}

const fn of_all(what: &'static str, wreck: fn(&Place, &str)) -> Fault {
    fault(what, Of::All, wreck)
}

const fn of_token(what: &'static str, wreck: fn(&Place, &str)) -> Fault {
    fault(what, Of::Token, wreck)
}

impl Fault {
    const fn in_modes(mut self, modes: &'static [&'static str]) -> Self {
        self.modes = modes;
        self
    }

    const fn by_root(mut self) -> Self {
        self.needs_root = true;
        self
    }

    /// A decided no, not a fault.
    const fn a_no(mut self) -> Self {
        self.code = Code::AUTH_ERR;
        self
    }

    const fn by_server(mut self, manner: fn(&Exchange) -> Answer) -> Self {
        self.manner = Some(manner);
        self
    }
}

const MAPPING: &str = "authorized_yubikeys";
const CONFIG: &str = "config.toml";
const STORE_KEY: &str = "store.key";
const STRANGER: Option<u32> = Some(65_533);

fn remove(place: &Place, name: &str) {
    let path = place.path(name);
    if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
}

fn chmod(place: &Place, name: &str, mode: u32) {
    fs::set_permissions(place.path(name), Permissions::from_mode(mode)).unwrap();
}

fn change(place: &Place, name: &str, how: impl Fn(String) -> String) {
    let text = fs::read_to_string(place.path(name)).unwrap();
    let changed = how(text.clone());
    assert_ne!(text, changed, "{name}: nothing was changed");
    fs::write(place.path(name), changed).unwrap();
}

fn replace(place: &Place, name: &str, from: &str, to: &str) {
    change(place, name, |text| text.replace(from, to));
}

fn link(place: &Place, name: &str, to: &str) {
    remove(place, name);
    symlink(to, place.path(name)).unwrap();
}

/// The file is overwritten with the beginning of a slot, or with something else.
fn tear(place: &Place, id: &str, slots: &[usize]) {
    let name = format!("positions/{id}");
    let mut contents = fs::read(place.path(&name)).unwrap();
    for slot in slots {
        contents[slot * 4096 + 100..slot * 4096 + 300].fill(b'#');
    }
    fs::write(place.path(&name), contents).unwrap();
}

fn unowned(place: &Place, name: &str) {
    chown(place.path(name), STRANGER, None).unwrap();
}

/// A file of another, sound host in place of this one's.
fn anothers(place: &Place, name: &str, id: &str) {
    let other = Place::new();
    let mut key = tests::soft_yubikey::SoftYubiKey::numbered(1001);
    if name != STORE_KEY {
        // The same token, programmed otherwise.
        let public = tests::soft_yubikey::SoftYubiKey::numbered(1000);
        assert_eq!(public.public_id(), id);
        key = tests::soft_yubikey::SoftYubiKey::new(&[0xff, 0, 0, 0, 3, 0xe8], [7; 6], [7; 16]);
        assert_eq!(key.public_id(), id);
    }
    other.enrol("x", &key);
    fs::copy(other.path(name), place.path(name)).unwrap();
}

pub(super) const FAULTS: &[Fault] = &[
    // The settings
    of_all("no settings", |place, _| remove(place, CONFIG)),
    of_all("settings: a folder", |place, _| {
        remove(place, CONFIG);
        fs::create_dir(place.path(CONFIG)).unwrap();
    }),
    of_all("settings: a link that leads nowhere", |place, _| link(place, CONFIG, "nowhere")),
    of_all("settings: cannot be read", |place, _| link(place, CONFIG, "/proc/self/mem")),
    of_all("settings: group may write", |place, _| chmod(place, CONFIG, 0o664)),
    of_all("settings: all may write", |place, _| chmod(place, CONFIG, 0o646)),
    of_all("settings: another's", |place, _| unowned(place, CONFIG)).by_root(),
    of_all("settings: an unknown name", |place, _| place.write(CONFIG, "nullok = true\n", 0o644)),
    of_all("settings: a value twice", |place, _| {
        change(place, CONFIG, |text| format!("store = \"/x\"\n{text}"))
    }),
    of_all("settings: cut off", |place, _| change(place, CONFIG, |text| format!("{text}\nstore_key = \"/a"))),
    of_all("settings: not UTF-8", |place, _| place.write(CONFIG, b"# \xff\n", 0o644)),
    of_all("settings: NUL", |place, _| place.write(CONFIG, b"debug = true\0\n", 0o644)),
    of_all("settings: too long", |place, _| place.write(CONFIG, "#\n".repeat(40_000), 0o644)),
    of_all("settings: no number", |place, _| change(place, CONFIG, |text| format!("tries = 0\n{text}"))),
    of_all("settings: a mode that is none", |place, _| replace(place, CONFIG, "\"offline\"", "\"none\"")),
    of_all("settings: no text in [online]", |place, _| {
        change(place, CONFIG, |text| format!("{text}\n[online]\nurls = 7\n"))
    }),
    of_all("settings: a client's certificate without a key", |place, _| {
        change(place, CONFIG, |text| format!("{text}\n[online]\nclient_cert = \"ca.pem\"\n"))
    })
    .in_modes(ASKING),
    of_all("settings: their folder is all's", |place, _| chmod(place, "", 0o777)),
    of_all("settings: their folder is a group's", |place, _| chmod(place, "", 0o775)),
    of_all("settings: their folder is another's", |place, _| unowned(place, "")).by_root(),
    // The mapping
    of_all("no mapping", |place, _| remove(place, MAPPING)),
    of_all("mapping: a folder", |place, _| {
        remove(place, MAPPING);
        fs::create_dir(place.path(MAPPING)).unwrap();
    }),
    of_all("mapping: cannot be read", |place, _| link(place, MAPPING, "/proc/self/mem")),
    of_all("mapping: a device", |place, _| link(place, MAPPING, "/dev/null")),
    of_all("mapping: a link that leads nowhere", |place, _| link(place, MAPPING, "nowhere")),
    of_all("mapping: a loop of links", |place, _| link(place, MAPPING, MAPPING)),
    of_all("mapping: empty", |place, _| fs::write(place.path(MAPPING), "").unwrap()),
    of_all("mapping: group may write", |place, _| chmod(place, MAPPING, 0o664)),
    of_all("mapping: all may write", |place, _| chmod(place, MAPPING, 0o646)),
    of_all("mapping: another's", |place, _| unowned(place, MAPPING)).by_root(),
    of_all("mapping: NULs", |place, _| fs::write(place.path(MAPPING), [0; 4096]).unwrap()),
    of_all("mapping: lines of the users without colon", |place, id| {
        fs::write(place.path(MAPPING), format!("alice {id}\nbob {id}\n")).unwrap();
    }),
    of_all("mapping: bad lines of the users", |place, id| {
        change(place, MAPPING, |text| format!("alice:{id}:xyz\n{text}bob:!\n"))
    }),
    of_all("mapping: a bad line, and nobody else", |place, _| {
        fs::write(place.path(MAPPING), "carol:vvcb\ndave:xyz\n").unwrap()
    }),
    of_all("mapping: an endless line", |place, _| {
        fs::write(place.path(MAPPING), "x".repeat(1_000_000)).unwrap()
    }),
    // The store
    of_token("no store key", |place, _| remove(place, STORE_KEY)),
    of_token("store key: empty", |place, _| fs::write(place.path(STORE_KEY), "").unwrap()),
    of_token("store key: cut off", |place, _| {
        change(place, STORE_KEY, |text| text[..text.len() - 3].to_owned())
    }),
    of_token("store key: too long", |place, _| change(place, STORE_KEY, |text| text.repeat(100))),
    of_token("store key: of a later version", |place, _| replace(place, STORE_KEY, "version 1", "version 2")),
    of_token("store key: of another host", |place, id| anothers(place, STORE_KEY, id)),
    of_token("store key: another id", |place, _| replace(place, STORE_KEY, "id: ", "id: 00")),
    of_token("store key: group may read", |place, _| chmod(place, STORE_KEY, 0o640)),
    of_token("store key: all may read", |place, _| chmod(place, STORE_KEY, 0o604)),
    of_token("store key: another's", |place, _| unowned(place, STORE_KEY)).by_root(),
    of_token("store key: a folder", |place, _| {
        remove(place, STORE_KEY);
        fs::create_dir(place.path(STORE_KEY)).unwrap();
    }),
    of_token("store key: cannot be read", |place, _| link(place, STORE_KEY, "/proc/self/mem")),
    // Who enrolled is lost with them.
    of_all("no keys", |place, _| remove(place, "keys")),
    of_all("keys: a file", |place, _| {
        remove(place, "keys");
        fs::write(place.path("keys"), "").unwrap();
    }),
    of_all("keys: all may write", |place, _| chmod(place, "keys", 0o777)),
    of_all("keys: another's", |place, _| unowned(place, "keys")).by_root(),
    of_all("keys: a link that leads nowhere", |place, _| link(place, "keys", "nowhere")),
    // Where servers are asked they may know a token that has no key here.
    of_token("no key", |place, id| remove(place, &format!("keys/{id}"))).in_modes(HOST),
    of_token("key: empty", |place, id| fs::write(place.path(&format!("keys/{id}")), "").unwrap()),
    of_token("key: not UTF-8", |place, id| {
        fs::write(place.path(&format!("keys/{id}")), b"\xff\xfe").unwrap()
    }),
    of_token("key: of a later version", |place, id| {
        replace(place, &format!("keys/{id}"), "version 1", "version 2")
    }),
    of_token("key: of another kind", |place, id| {
        replace(place, &format!("keys/{id}"), "kind: yubikey", "kind: totp")
    }),
    of_token("key: of another token", |place, id| {
        replace(place, &format!("keys/{id}"), &format!("token: {id}"), "token: vvcb")
    }),
    of_token("key: under another store key", |place, id| anothers(place, &format!("keys/{id}"), id)),
    of_token("key: the seal is broken", |place, id| {
        change(place, &format!("keys/{id}"), |text| {
            let at = text.find("sealed: ").unwrap() + 50;
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            format!("{}{other}{}", &text[..at], &text[at + 1..])
        })
    }),
    of_token("key: group may read", |place, id| chmod(place, &format!("keys/{id}"), 0o640)),
    of_token("key: all may write", |place, id| chmod(place, &format!("keys/{id}"), 0o602)),
    of_token("key: another's", |place, id| unowned(place, &format!("keys/{id}"))).by_root(),
    of_token("key: a link", |place, id| {
        fs::rename(place.path(&format!("keys/{id}")), place.path("keys/else")).unwrap();
        symlink("else", place.path(&format!("keys/{id}"))).unwrap();
    }),
    of_token("no positions", |place, _| remove(place, "positions")),
    of_token("positions: a file", |place, _| {
        remove(place, "positions");
        fs::write(place.path("positions"), "").unwrap();
    }),
    of_token("positions: group may write", |place, _| chmod(place, "positions", 0o770)),
    of_token("positions: another's", |place, _| unowned(place, "positions")).by_root(),
    of_token("no position", |place, id| remove(place, &format!("positions/{id}"))),
    of_token("position: empty", |place, id| fs::write(place.path(&format!("positions/{id}")), "").unwrap()),
    of_token("position: shorter", |place, id| {
        fs::write(place.path(&format!("positions/{id}")), [b' '; 8191]).unwrap()
    }),
    of_token("position: longer", |place, id| change(place, &format!("positions/{id}"), |text| text + "\n")),
    of_token("position: NULs", |place, id| {
        fs::write(place.path(&format!("positions/{id}")), [0; 8192]).unwrap()
    }),
    of_token("position: both slots torn", |place, id| tear(place, id, &[0, 1])),
    of_token("position: of a later version", |place, id| {
        replace(place, &format!("positions/{id}"), "version 1", "version 4")
    }),
    of_token("position: of another token", |place, id| {
        replace(place, &format!("positions/{id}"), &format!("token: {id}"), "token: vvcbvvcbvvcb")
    }),
    of_token("position: of another key", |place, id| anothers(place, &format!("positions/{id}"), id)),
    of_token("position: set back", |place, id| {
        replace(place, &format!("positions/{id}"), "position: ", "position: 0")
    }),
    of_token("position: group may read", |place, id| chmod(place, &format!("positions/{id}"), 0o640)),
    of_token("position: another's", |place, id| unowned(place, &format!("positions/{id}"))).by_root(),
    of_token("position: a link", |place, id| {
        fs::rename(place.path(&format!("positions/{id}")), place.path("positions/else")).unwrap();
        symlink("else", place.path(&format!("positions/{id}"))).unwrap();
    }),
    of_token("the token is disabled", |place, id| {
        assert!(place.ykmap(&["key", "disable", id]).status.success());
    })
    .a_no(),
    of_token("one slot torn, and disabled", |place, id| {
        assert!(place.ykmap(&["key", "disable", id]).status.success());
        tear(place, id, &[0]);
    })
    .a_no(),
    // The program that asks
    of_token("no program", |place, _| remove(place, "yubiotp-ask")).in_modes(ASKED),
    of_token("program: not executable", |place, _| chmod(place, "yubiotp-ask", 0o644)).in_modes(ASKED),
    of_token("program: all may write", |place, _| chmod(place, "yubiotp-ask", 0o757)).in_modes(ASKED),
    of_token("program: another's", |place, _| unowned(place, "yubiotp-ask")).in_modes(ASKED).by_root(),
    of_token("program: ends at once", |place, _| script(place, "exit 0")).in_modes(ASKED),
    of_token("program: says yes", |place, _| script(place, "echo OK; echo status=OK")).in_modes(ASKED),
    of_token("program: an OK without a signature", |place, _| {
        script(place, "printf 'asked 0\\nreply 0 3 11\\nstatus=OK\\r\\n'");
    })
    .in_modes(ASKED),
    of_all("settings: a client's key without a certificate", |place, _| {
        change(place, CONFIG, |text| format!("{text}\n[online]\nclient_key = \"client.key\"\n"))
    })
    .in_modes(ASKING),
    // The servers
    of_token("server: closes", |_, _| {}).in_modes(ONLINE).by_server(|x| x.honest().by(Wire::Close)),
    of_token("server: an error of HTTP", |_, _| {})
        .in_modes(ASKED)
        .by_server(|x| x.honest().status("500 Oops")),
    of_token("server: an OK without a signature", |_, _| {})
        .in_modes(ASKED)
        .by_server(|x| x.unsigned(&x.fields)),
    of_token("server: an OK for another OTP", |_, _| {})
        .in_modes(ASKED)
        .by_server(|x| x.signed(&x.but("otp", "vvcb"))),
    of_token("server: an OK for another question", |_, _| {})
        .in_modes(ASKED)
        .by_server(|x| x.signed(&x.but("nonce", "x"))),
    of_token("server: an OK without a position", |_, _| {})
        .in_modes(ASKED)
        .by_server(|x| x.signed(&x.without(&["sessioncounter"]))),
    of_token("server: cannot tell", |_, _| {})
        .in_modes(ASKED)
        .by_server(|x| x.signed(&x.but("status", "BACKEND_ERROR"))),
    of_token("server: says no", |_, _| {})
        .in_modes(ASKED)
        .by_server(|x| x.signed(&x.but("status", "REPLAYED_OTP")))
        .a_no(),
];

/// Another program in place of the one that asks.
fn script(place: &Place, line: &str) {
    remove(place, "yubiotp-ask");
    place.write("script", format!("#!/bin/sh\n{line}\n"), 0o644);
    place.install(&place.path("script"), "yubiotp-ask", 0o755);
}

/// Misspelt, with a value where there is none, without one, twice, or of another module.
pub(super) const WRONG_ARGUMENTS: &[&str] = &[
    "nulok",
    "NULLOK",
    "nullok=yes",
    "nullok=",
    "alwaysok",
    "alwaysok=1",
    "try_first_pass=no",
    "use-first-pass",
    "always_prompt=0",
    "echo=1",
    "debug=0",
    "debug=",
    "verbose_otp=1",
    "tries",
    "tries=",
    "tries=0",
    "tries=11",
    "tries=-1",
    "tries=1e3",
    "mode",
    "mode=",
    "mode=always",
    "mode=Offline",
    "mode=challenge-response",
    "config=relative",
    "config=",
    "mapping=x",
    "mapping=",
    "authfile=",
    "store=.",
    "store",
    "token_id_length=13",
    "token_id_length=x",
    "id=x",
    "id=-1",
    "key=x",
    "key=",
    "url=",
    "urllist=;",
    "url=ftp://a",
    "capath=x",
    "cainfo=",
    "proxy=x",
    "proxy=",
    "ask=yubiotp-ask",
    "ldap_uri=x",
    "user_attr=x",
    "chalresp_path=/x",
    "nouserok",
    "[=]",
    "=",
    "\u{fffd}",
];
