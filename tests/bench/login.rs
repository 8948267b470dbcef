//! One accepted login offline, `pam_start` to `pam_end`: repeated in one process, and as a whole process.

use crate::oath::{self, Oath};
use crate::offline::Offline;
use crate::page::{Aim, Limit, Section, head, row};
use crate::side::{self, FIRST, Side, TIMES};
use crate::worker::{Worker, median};
use std::time::Duration;

/// The peers' figures are taken with as many users as ours.
const USERS: [u32; 2] = [10, 1_000];

fn sides() -> Vec<Side> {
    let mut sides = vec![Side::permit()];
    for users in USERS {
        let mut host = Offline::new(users, users);
        // The last of the mapping, as pam_oath's user is the last of theirs.
        let last = host.tokens() - 1;
        let confdir = host.place.confdir().to_owned();
        sides.push(Side::new(&format!("ours, {users} users"), confdir, move || host.press(last)));
        let mut host = Oath::new(users);
        let confdir = host.confdir();
        let press = move || format!("otp {} {}", oath::USER, host.press());
        sides.push(Side::new(&format!("pam_oath, {users} users"), confdir, press));
    }
    sides
}

pub(crate) fn measure(_large: u32) -> Section {
    let mut sides = sides();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bare");
    let mut bare = [("fdatasync", Vec::new()), ("dsync", Vec::new())];
    side::measure(&mut sides, || {
        for (manner, times) in &mut bare {
            times.extend(&Worker::writes(manner, &file, FIRST + TIMES).run()[FIRST..]);
        }
    });
    section(&sides, &bare)
}

fn section(sides: &[Side], bare: &[(&str, Vec<Duration>); 2]) -> Section {
    let [fdatasync, dsync] = bare.each_ref().map(|(_, times)| median(times));
    let mut text = "## One login offline\n\nFrom `pam_start` to `pam_end`, accepted. The bare writes are of 512 bytes over a file of two \
        blocks, as our position is: `pwrite` and `fdatasync`, and `pwritev2` with `RWF_DSYNC`, which is what the module does. \
        The user is the last of the mapping, or of pam_oath's file.\n\n"
        .to_owned();
    text += &head(&[
        "",
        "again and again in one process, µs",
        "× the bare write",
        "a process of its own, ms",
        "its instructions, million",
        "waits for the disk",
    ]);
    for side in sides {
        let figures =
            [side.repeated(), side.repeated() / fdatasync, side.process(), side.instructions(), side.syncs()];
        text += &row(&side.name, &figures);
    }
    text += &row("write and `fdatasync`", &[fdatasync, 1.0, 0.0, 0.0, 1.0]);
    text += &row("write with `RWF_DSYNC`", &[dsync, dsync / fdatasync, 0.0, 0.0, 1.0]);

    let [permit, ours, oath, ..] = sides else { return Section { aims: Vec::new(), text } };
    let (mine, theirs) = (ours.repeated(), oath.repeated());
    let aims = vec![
        Aim {
            what: "an offline login, in one process, to the bare write and `fdatasync`".to_owned(),
            limit: Limit::AtMost(2.5),
            measured: mine / fdatasync,
            unit: " ×",
            bound: format!(
                "of {mine:.0} µs {dsync:.0} are the write, and {:.0} what libpam takes with pam_permit",
                permit.repeated()
            ),
        },
        Aim {
            what: "the same to pam_oath".to_owned(),
            limit: Limit::AtMost(0.25),
            measured: mine / theirs,
            unit: " ×",
            bound: format!(
                "waits for the disk: ours one of {dsync:.0} µs, pam_oath's {:.1} times as long for all of it",
                theirs / dsync
            ),
        },
        Aim {
            what: "instructions of the whole process, million".to_owned(),
            limit: Limit::AtMost(1.9),
            measured: ours.instructions(),
            unit: "",
            bound: format!("{:.2} of it are pam_permit's: process, libpam", permit.instructions()),
        },
    ];
    Section { aims, text }
}
