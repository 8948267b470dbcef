//! The figures as tables.

use super::resources::Resources;
use super::sides::{KNOWN, Side, Sides};
use crate::page::{Aim, Limit, Section};
use std::fmt::Write as _;

const LOGIN: &str = "pam-drive";
const ASK: &str = "yubiotp-ask";

const HEAD: &str = "\
## One login online

All ask the same validation server, in the same run, on 127.0.0.1. `pam_permit` is what such a process costs without a
token. The ratio is ours by http to pam_yubico.
";

const NOTES: &str = "\
Instructions are those in user space: callgrind's of pam_permit and pam_yubico, and stepped, the two programs apart, of
ours, which callgrind cannot run; `yubiotp-ask` to its own end, though a login kills it before that. Wall time is from
the start of the process to its end, a median of 30; processor time is user and system, children included. Memory is
the peak of the resident set, libraries that others share with it included. \"All CAs\" reads the system's certificate
authorities beside the one that signed the server's.
";

const TROUBLE: &str = "\
Servers that are out of order, before the one that answers (median of 10). Dead ones refuse the connection; silent ones
do not even accept it. A login that knows that they failed asks them last.
";

/// A figure of a side.
type Figure = fn(&Side) -> f64;

fn million(count: u64) -> f64 {
    count as f64 / 1e6
}

fn memory(side: &Side, program: &str) -> f64 {
    side.resources.get(program).map_or(0.0, |most| most.memory as f64 / 1024.0)
}

fn most(side: &Side, of: fn(&Resources) -> u64) -> f64 {
    side.resources.values().map(of).sum::<u64>() as f64
}

const ROWS: &[(&str, usize, Figure)] = &[
    ("instructions, million", 2, |side| million(side.instructions.login + side.instructions.ask)),
    ("– of the login process", 2, |side| million(side.instructions.login)),
    ("– of `yubiotp-ask`", 2, |side| million(side.instructions.ask)),
    ("wall time, ms", 1, |side| side.times.wall()),
    ("processor time, ms", 1, |side| side.times.processor()),
    ("memory of the login process, MiB", 1, |side| memory(side, LOGIN)),
    ("memory of `yubiotp-ask`, MiB", 1, |side| memory(side, ASK)),
    ("processes", 0, |side| side.resources.len() as f64),
    ("threads, of all processes", 0, |side| most(side, |most| most.threads)),
    ("descriptors, of all processes", 0, |side| most(side, |most| most.descriptors)),
    ("libraries, of all processes", 0, |side| most(side, |most| most.libraries)),
    ("– of the login process", 0, |side| {
        side.resources.get(LOGIN).map_or(0.0, |most| most.libraries as f64)
    }),
];

pub(crate) fn section(sides: &Sides) -> Section {
    let mut text = format!("{HEAD}\n");
    let names: Vec<&str> = sides.all.iter().map(|side| side.name).collect();
    writeln!(text, "| | {} | ratio |", names.join(" | ")).unwrap();
    writeln!(text, "|---|{}---:|", "---:|".repeat(names.len())).unwrap();
    for (name, digits, figure) in ROWS {
        let figures: Vec<f64> = sides.all.iter().map(figure).collect();
        let cells: Vec<String> = figures
            .iter()
            .map(|figure| if *figure == 0.0 { "–".to_owned() } else { format!("{figure:.digits$}") })
            .collect();
        let ratio =
            if figures[1] > 0.0 { format!("{:.2}", figures[2] / figures[1]) } else { "–".to_owned() };
        writeln!(text, "| {name} | {} | {ratio} |", cells.join(" | ")).unwrap();
    }
    let [permit, yubico, plain, tls, all] = &sides.all[..] else { panic!("five sides") };
    let more = |side: &Side| side.times.processor() - plain.times.processor();
    writeln!(
        text,
        "\nTLS adds {:.1} ms of processor time, with all CAs {:.1} ms.\n\n{NOTES}",
        more(tls),
        more(all)
    )
    .unwrap();
    if let Some(stepped) = permit.instructions.stepped {
        let (stepped, callgrind) = (million(stepped), million(permit.instructions.login));
        writeln!(text, "Of pam_permit callgrind counts {callgrind:.2} million, and stepping {stepped:.2}.\n")
            .unwrap();
    }
    writeln!(text, "{TROUBLE}\n| | wall time, ms | more than healthy, ms |\n|---|---:|---:|").unwrap();
    let healthy = sides.troubled[0].times.wall();
    for side in &sides.troubled {
        let wall = side.times.wall();
        writeln!(text, "| {} | {wall:.1} | {:.1} |", side.name, wall - healthy).unwrap();
    }
    let silent = sides.troubled.iter().map(|side| side.times.wall() - healthy).fold(0.0, f64::max);
    let known = sides.troubled.iter().find(|side| side.name == KNOWN).map_or(0.0, |side| side.times.wall());
    Section { aims: aims(yubico, plain, silent, known - healthy), text }
}

fn aims(yubico: &Side, plain: &Side, silent: f64, known: f64) -> Vec<Aim> {
    let instructions = |side: &Side| million(side.instructions.login + side.instructions.ask);
    vec![
        Aim {
            what: "an online login by http: instructions to pam_yubico's".to_owned(),
            limit: Limit::AtMost(0.25),
            measured: instructions(plain) / instructions(yubico),
            unit: " ×",
            bound: "two processes are started".to_owned(),
        },
        Aim {
            what: "its time".to_owned(),
            limit: Limit::AtMost(10.0),
            measured: plain.times.wall(),
            unit: " ms",
            bound: format!("pam_yubico's takes {:.0} ms", yubico.times.wall()),
        },
        Aim {
            what: "what four servers that are out of order add".to_owned(),
            // One hedge, and what a busy machine adds.
            limit: Limit::AtMost(310.0),
            measured: silent,
            unit: " ms",
            bound: "one `hedge` of 300 ms".to_owned(),
        },
        Aim {
            what: "what the silent ones of them add once they are known".to_owned(),
            limit: Limit::AtMost(10.0),
            measured: known,
            unit: " ms",
            bound: "they are asked last".to_owned(),
        },
    ]
}
