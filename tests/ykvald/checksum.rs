//! `ykvald checksum`: the same of the same keys, whatever they are sealed under, and another of any other.

use crate::desk::{Desk, vector, vector_path};
use std::fmt::Write as _;
use tests::soft_yubikey::SoftYubiKey;

fn sums(desk: &Desk, arguments: &[&str]) -> (String, String) {
    let said = desk.ykvald(&[&["checksum", "--json"], arguments].concat()).exits(0).json();
    (said["sha256"].as_str().unwrap().to_owned(), said["ykksm"].as_str().unwrap().to_owned())
}

fn sum_of(export: &str) -> String {
    let desk = Desk::new();
    desk.ykvald_reading(&["key", "import", "-"], export.as_bytes()).exits(0);
    sums(&desk, &[]).0
}

#[test]
fn every_difference_shows_and_no_other() {
    let lines: Vec<_> = (1..4)
        .map(SoftYubiKey::numbered)
        .map(|key| [key.public_id(), key.private_id_hex(), key.aes_key_hex()])
        .collect();
    let written = |lines: &[[String; 3]]| {
        let mut text = "# yubiotp keys 1\n".to_owned();
        for [id, private, aes] in lines {
            writeln!(text, "{id} plain {private} {aes}").unwrap();
        }
        text
    };
    let sum = sum_of(&written(&lines));
    let mut turned = lines.clone();
    turned.reverse();
    assert_eq!(sum_of(&written(&turned)), sum, "the order in which they came");
    let mut others = vec![sum];
    for field in 0..3 {
        let mut other = lines.clone();
        let letter = other[1][field].pop().unwrap();
        other[1][field].push(if field == 0 {
            'v'
        } else if letter == '0' {
            '1'
        } else {
            '0'
        });
        others.push(sum_of(&written(&other)));
    }
    // the secrets of two tokens for one another, and one fewer
    let mut swapped = lines.clone();
    let (one, two) = swapped.split_at_mut(1);
    one[0][1..].swap_with_slice(&mut two[0][1..]);
    others.extend([sum_of(&written(&swapped)), sum_of(&written(&lines[..2]))]);
    let count = others.len();
    others.sort_unstable();
    others.dedup();
    assert_eq!(others.len(), count, "two different sets have one checksum");
}

/// What positions, switches and clients do not change.
#[test]
fn of_keys_alone() {
    let keys: Vec<_> = (1..4).map(SoftYubiKey::numbered).collect();
    let desk = Desk::with(&keys);
    let before = sums(&desk, &[]);
    let id = keys[0].public_id();
    desk.ykvald(&["key", "disable", &id]).exits(0);
    desk.ykvald(&["client", "add", "--name", "x"]).exits(0);
    let known =
        format!("1,1,2,{id},812,6,0,0,aaaaaaaaaaaaaaaa,\n1,1,2,vvbbbbbbbbbb,812,6,0,0,aaaaaaaaaaaaaaaa,\n");
    desk.ykvald_reading(&["import", "ykval", "-"], known.as_bytes()).exits(0);
    assert_eq!(sums(&desk, &[]), before);
    desk.ykvald(&["checksum"]).exits(0).says("keys    3\nsha256  ");
    desk.ykvald(&["key", "remove", &id]).exits(0);
    assert_ne!(sums(&desk, &[]).0, before.0);
}

/// As `ykksm-checksum` prints it of the same keys.
#[test]
fn as_ykksm_has_it() {
    let desk = Desk::new();
    desk.ykvald(&["import", "ykksm", &vector_path("ykksm-gen-keys.txt")]).exits(0);
    assert_eq!(sums(&desk, &[]).1, "8608967c03");

    let desk = Desk::new();
    let export = vector_path("ykksm-export.txt");
    desk.ykvald(&["import", "ykksm", &export]).exits(0);
    assert_eq!(sums(&desk, &["--serials", &export]).1, "4a4db95439");
    assert_ne!(sums(&desk, &[]).1, "4a4db95439", "these have serial numbers of their own");
    let some = desk.write_beside("some.txt", vector("ykksm-export.txt").lines().next().unwrap());
    desk.ykvald(&["checksum", "--serials", &some]).refuses("[input-invalid]");
    let bad = desk.write_beside("bad.txt", "1,cccccccccccb,\nx,cccccccccccd\n");
    desk.ykvald(&["checksum", "--serials", &bad]).refuses("bad.txt:2: ").notes("[key-file-line-invalid]");
}
