//! The figures as a page.

use crate::machine::machine;
use crate::sides::{Side, Sides};
use std::fmt::Write as _;

const LOGIN: &str = "pam-drive";
const ASK: &str = "yubiotp-ask";

const HEAD: &str = "\
# One online login

Written by `make bench`: do not edit. Each login is a process of its own that goes through the machine's libpam, with an
OTP of its own; all ask the same validation server, in the same run, on 127.0.0.1. `pam_permit` is what such a process
costs without a token. The ratio is ours by http to pam_yubico.
";

const NOTES: &str = "\
Instructions are those in user space: pam_yubico's by callgrind, which cannot run ours; the others stepped one by one,
`yubiotp-ask` up to where it is killed. Wall time is from the start of the process to its end, a median of 30; processor
time is user and system, children included. Memory is the peak of the resident set, libraries that others share with it
included. \"All CAs\" reads the system's certificate authorities beside the one that signed the server's.
";

const TROUBLE: &str = "\
Servers that are out of order, before the one that answers (median of 10). Dead ones refuse the connection; silent ones
do not even accept it. Aim: all of them together cost no more than one `hedge`, 300 ms.
";

/// A figure of a side.
type Figure = fn(&Side) -> f64;

fn million(count: u64) -> f64 {
    count as f64 / 1e6
}

fn memory(side: &Side, program: &str) -> f64 {
    side.resources.get(program).map_or(0.0, |most| most.memory as f64 / 1024.0)
}

fn most(side: &Side, of: fn(&crate::resources::Resources) -> u64) -> f64 {
    side.resources.values().map(of).sum::<u64>() as f64
}

const ROWS: &[(&str, usize, &str, Figure)] = &[
    ("instructions, million", 2, "≤ 0.25", |side| million(side.instructions.login + side.instructions.ask)),
    ("– of the login process", 2, "", |side| million(side.instructions.login)),
    ("– of `yubiotp-ask`", 2, "", |side| million(side.instructions.ask)),
    ("wall time, ms", 1, "< 10 ms", |side| side.times.wall()),
    ("processor time, ms", 1, "", |side| side.times.processor()),
    ("memory of the login process, MiB", 1, "", |side| memory(side, LOGIN)),
    ("memory of `yubiotp-ask`, MiB", 1, "", |side| memory(side, ASK)),
    ("processes", 0, "", |side| side.resources.len() as f64),
    ("threads, of all processes", 0, "", |side| most(side, |most| most.threads)),
    ("descriptors, of all processes", 0, "", |side| most(side, |most| most.descriptors)),
    ("libraries, of all processes", 0, "", |side| most(side, |most| most.libraries)),
    ("– of the login process", 0, "", |side| {
        side.resources.get(LOGIN).map_or(0.0, |most| most.libraries as f64)
    }),
];

pub(crate) fn report(sides: &Sides) -> String {
    let mut page = format!("{HEAD}\n{}\n\n", machine());
    let names: Vec<&str> = sides.all.iter().map(|side| side.name).collect();
    writeln!(page, "| | {} | ratio | aim |", names.join(" | ")).unwrap();
    writeln!(page, "|---|{}---:|---:|", "---:|".repeat(names.len())).unwrap();
    for (name, digits, aim, figure) in ROWS {
        let figures: Vec<f64> = sides.all.iter().map(figure).collect();
        let cells: Vec<String> = figures
            .iter()
            .map(|figure| if *figure == 0.0 { "–".to_owned() } else { format!("{figure:.digits$}") })
            .collect();
        let ratio =
            if figures[1] > 0.0 { format!("{:.2}", figures[2] / figures[1]) } else { "–".to_owned() };
        writeln!(page, "| {name} | {} | {ratio} | {aim} |", cells.join(" | ")).unwrap();
    }
    let [.., plain, tls, all] = &sides.all[..] else { return page };
    let more = |side: &Side| side.times.processor() - plain.times.processor();
    writeln!(
        page,
        "\nTLS adds {:.1} ms of processor time, with all CAs {:.1} ms.\n\n{NOTES}",
        more(tls),
        more(all)
    )
    .unwrap();

    let permit = &sides.all[0].instructions;
    if let Some(callgrind) = permit.callgrind {
        let (stepped, callgrind) = (million(permit.login), million(callgrind));
        writeln!(page, "Of pam_permit callgrind counts {callgrind:.2} million, and stepping {stepped:.2}.\n")
            .unwrap();
    }
    writeln!(page, "{TROUBLE}\n| | wall time, ms | more than healthy, ms |\n|---|---:|---:|").unwrap();
    let healthy = sides.troubled[0].times.wall();
    for side in &sides.troubled {
        let wall = side.times.wall();
        writeln!(page, "| {} | {wall:.1} | {:.1} |", side.name, wall - healthy).unwrap();
    }
    page
}
