//! Mappings named after their defect or feature, each with what `check` and `verify` must say of it.
//!
//! In comments of the file itself: `# check: EXIT TEXT` and `# verify: USER TOKEN EXIT TEXT`, where TOKEN is the
//! number of a token, `-` for the one without a public ID, and TEXT may be left out.

use crate::desk::{Desk, Said};
use std::fs;
use std::path::{Path, PathBuf};
use tests::soft_yubikey::SoftYubiKey;

fn vectors() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/mapping");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    paths
}

fn token(name: &str) -> SoftYubiKey {
    if name == "-" {
        SoftYubiKey::new(&[], [3; 6], [5; 16])
    } else {
        SoftYubiKey::numbered(name.parse().unwrap())
    }
}

/// Runs everything in one vector; returns the differences from it.
fn disagreements(path: &Path) -> Vec<String> {
    let contents = fs::read(path).unwrap();
    let desk = Desk::new();
    let bare = token("-");
    let export = format!("# yubiotp keys 1\n- plain {} {}\n", bare.private_id_hex(), bare.aes_key_hex());
    desk.import(&[&token("1"), &token("2"), &token("3")]).exits(0);
    desk.ykmap_reading(&["key", "import", "-"], export.as_bytes()).exits(0);
    desk.map(&contents);
    let (mut asked, mut wrong) = (0, Vec::new());
    for line in String::from_utf8_lossy(&contents).lines() {
        let line = line.trim_start_matches('\u{feff}').trim_end();
        let (said, code, text) = if let Some(expected) = line.strip_prefix("# check: ") {
            let (code, text) = expected.split_once(' ').unwrap_or((expected, ""));
            (checked(&desk), code, text)
        } else if let Some(expected) = line.strip_prefix("# verify: ") {
            let mut words = expected.splitn(4, ' ');
            let (user, name, code) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            // each question with a touch that nothing has seen yet
            let mut key = token(name);
            key.set_counter(100 + asked);
            (desk.verify(user, &key.press()), code, words.next().unwrap_or(""))
        } else {
            continue;
        };
        asked += 1;
        let all = format!("{}{}", said.out, said.err);
        if said.code.map(|code| code.to_string()).as_deref() != Some(code) || !all.contains(text) {
            wrong.push(format!("{}: expected {line:?}, got {said:?}", path.file_name().unwrap().display()));
        }
    }
    assert!(asked >= 2, "{} asks too little", path.display());
    wrong
}

/// What `check` says, by code: `line 6: mapping-line-invalid`, and `2 lines, 0 errors`.
fn checked(desk: &Desk) -> Said {
    let mut said = desk.ykmap(&["--json", "check"]);
    let json = said.json();
    let findings = json["findings"].as_array().unwrap().iter();
    let mut out: String = findings
        .map(|it| format!("line {}: {}\n", it["location"]["line"], it["code"].as_str().unwrap()))
        .collect();
    let lines = json["lines"].as_u64().unwrap();
    out += &format!("{lines} line{}, {} errors\n", if lines == 1 { "" } else { "s" }, json["errors"]);
    said.out = out;
    said
}

#[test]
fn each_is_read_as_it_says() {
    let paths = vectors();
    assert!(paths.len() > 15, "{paths:?}");
    let wrong: Vec<_> = paths.iter().flat_map(|path| disagreements(path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whatever there is in a mapping, somebody else's change keeps every byte of it.
#[test]
fn each_is_kept_byte_by_byte_around_a_change() {
    for path in vectors() {
        let before = fs::read(&path).unwrap();
        let desk = Desk::new();
        desk.map(&before);
        desk.ykmap(&["add", "zoe", "vvcb"]).exits(0);
        let now = fs::read(desk.file("authorized_yubikeys")).unwrap();
        assert!(now.starts_with(&before) && now.len() > before.len(), "{}", path.display());
        desk.ykmap(&["remove", "zoe"]).exits(0);
        let now = fs::read(desk.file("authorized_yubikeys")).unwrap();
        assert!(now.starts_with(&before) && now.len() <= before.len() + 2, "{}", path.display());
    }
}
