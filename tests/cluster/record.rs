//! What a run came to: a row for each fault, for people and for the asserts.

use crate::checker::{Violation, check};
use crate::history::{Answer, Event, silence};
use crate::load::Load;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use std::{env, fs};
use tests::ykvald::Site;

/// The longest silence with which a run passes, since the machine may be busy. The aims are in the tables.
const SILENCE: Duration = Duration::from_secs(45);

/// A fault, from the moment before it to the moment when all is well again.
struct Segment {
    fault: String,
    from: Duration,
    to: Duration,
    /// No server is expected to say OK all the time.
    stops: bool,
}

pub(crate) struct Record<'a> {
    pub(crate) load: &'a Load,
    store: &'static str,
    segments: Vec<Segment>,
}

impl<'a> Record<'a> {
    pub(crate) fn new(load: &'a Load, store: &'static str) -> Self {
        Self { load, store, segments: Vec::new() }
    }

    /// Something happens, and is over again.
    pub(crate) fn fault(&mut self, fault: &str, act: impl FnOnce()) {
        self.during(fault, false, act);
    }

    /// The same, and meanwhile no server may decide.
    pub(crate) fn stop(&mut self, fault: &str, act: impl FnOnce()) {
        self.during(fault, true, act);
    }

    fn during(&mut self, fault: &str, stops: bool, act: impl FnOnce()) {
        let from = self.load.now();
        act();
        let (load, to) = (self.load, self.load.now());
        load.wait_for(60, SILENCE, fault);
        let quiet = silence(&load.history(), from, load.now(), |_| true);
        println!(
            "{:7.1} s  {}: {fault}: silence {:.2} s",
            from.as_secs_f64(),
            self.store,
            quiet.as_secs_f64()
        );
        let to = to.max(load.now());
        self.segments.push(Segment { fault: fault.to_owned(), from, to, stops });
    }

    /// Judges it all, and writes the table.
    ///
    /// # Panics
    /// Where a promise was broken.
    pub(crate) fn judge(&self, site: &Site) {
        let history = self.load.history();
        let stored = stored(site, &self.load.ids());
        let violations = check(&history, Some(&stored));
        let table = self.table(&history, &violations);
        println!("{table}");
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cluster-{}.md", self.store));
        fs::write(file, &table).unwrap();
        let told = |violation: &Violation| match violation {
            Violation::Lost(token) => format!("lost: token {token}, stored {:?}", stored.get(token)),
            Violation::Twice(index)
            | Violation::Behind(index)
            | Violation::WithoutCause(index)
            | Violation::Unexpected(index) => {
                format!("{violation:?}: {:?} in {:?}", history[*index], self.segment_of(&history[*index]))
            }
        };
        let told: Vec<_> = violations.iter().take(20).map(told).collect();
        assert!(violations.is_empty(), "{} broken promises: {told:#?}", violations.len());
        for segment in self.segments.iter().filter(|segment| !segment.stops) {
            let quiet = silence(&history, segment.from, segment.to, |_| true);
            assert!(quiet < SILENCE, "{}: no server said OK for {quiet:?}", segment.fault);
        }
    }

    fn segment_of(&self, event: &Event) -> &str {
        let within = |segment: &&Segment| (segment.from..segment.to).contains(&event.begun);
        self.segments.iter().find(within).map_or("between faults", |segment| &segment.fault)
    }

    /// A row for each kind of fault: the same fault several times is one row, with its longest silence.
    fn table(&self, history: &[Event], violations: &[Violation]) -> String {
        let mut names: Vec<&str> = Vec::new();
        for segment in &self.segments {
            if !names.contains(&segment.fault.as_str()) {
                names.push(&segment.fault);
            }
        }
        let mut text = String::from(
            "| fault | times | OTPs offered | OK | replayed | undecided | twice | behind | without cause | longest silence, s |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for name in names.into_iter().chain(["between faults"]) {
            let own: Vec<&Segment> = self.segments.iter().filter(|segment| segment.fault == name).collect();
            let of = |event: &Event| self.segment_of(event) == name;
            let count =
                |answer: &Answer| history.iter().filter(|event| event.answer == *answer && of(event)).count();
            let all = history.iter().filter(|event| of(event)).count();
            let broken = |is: fn(&Violation) -> Option<usize>| {
                violations.iter().filter_map(is).filter(|&index| of(&history[index])).count()
            };
            let twice = broken(|one| if let Violation::Twice(at) = one { Some(*at) } else { None });
            let behind = broken(|one| if let Violation::Behind(at) = one { Some(*at) } else { None });
            let cause = broken(|one| if let Violation::WithoutCause(at) = one { Some(*at) } else { None });
            let quiet = own.iter().map(|segment| silence(history, segment.from, segment.to, |_| true)).max();
            let quiet = match quiet {
                Some(quiet) if own.iter().any(|segment| segment.stops) => {
                    format!("{:.2} (stops)", quiet.as_secs_f64())
                }
                Some(quiet) => format!("{:.2}", quiet.as_secs_f64()),
                None => String::new(),
            };
            let [ok, replayed, undecided] =
                [Answer::Ok, Answer::Replayed, Answer::Undecided].map(|answer| count(&answer));
            text += &format!(
                "| {name} | {} | {all} | {ok} | {replayed} | {undecided} | {twice} | {behind} | {cause} | {quiet} |\n",
                own.len()
            );
        }
        let oks = history.iter().filter(|event| event.is_ok()).count();
        let servers = history.iter().map(|event| event.server).max().unwrap_or(0);
        let each = |server| history.iter().filter(|event| event.server == server && event.is_ok()).count();
        let by: Vec<_> = (0..=servers).map(|server| each(server).to_string()).collect();
        let lost = violations.iter().filter(|one| matches!(one, Violation::Lost(_))).count();
        text + &format!(
            "\n{} OTPs, offered {} times in {:.0} s; {oks} OK (by server: {}); {lost} tokens stored below their highest OK.\n",
            self.load.pressed(),
            history.len(),
            history.iter().map(|event| event.ended).max().unwrap_or_default().as_secs_f64(),
            by.join(", "),
        )
    }

    /// What each server answered in each quarter of a second since then, for people.
    pub(crate) fn course(&self, from: Duration) -> String {
        const STEP: Duration = Duration::from_millis(250);
        let mut steps = BTreeMap::<u128, [[usize; 2]; 3]>::new();
        for event in self.load.history().iter().filter(|event| event.ended >= from) {
            let step = (event.ended - from).as_millis() / STEP.as_millis();
            let counts = &mut steps.entry(step).or_default()[event.server];
            counts[0] += usize::from(event.is_ok());
            counts[1] += usize::from(event.answer == Answer::Undecided);
        }
        let mut text = String::from("   time   server 0   server 1   server 2   (OK, undecided)\n");
        for step in 0..=steps.keys().copied().max().unwrap_or(0) {
            let counts = steps.get(&step).copied().unwrap_or_default();
            let each: String =
                counts.iter().map(|[ok, undecided]| format!("{ok:>6} {undecided:>3} ")).collect();
            text += &format!("{:>6.2} s {each}\n", step as f64 * STEP.as_secs_f64());
        }
        text
    }
}

/// The stored positions, as `ykvald key list` has them.
fn stored(site: &Site, ids: &[String]) -> BTreeMap<usize, u32> {
    let list: serde_json::Value = serde_json::from_str(&site.must(&["key", "list", "--json"])).unwrap();
    let position = |token: &serde_json::Value| {
        let number = ids.iter().position(|id| *id == token["id"])?;
        let part = |name: &str| token[name].as_u64().and_then(|part| u32::try_from(part).ok());
        Some((number, part("usage_counter")? << 8 | part("session_use")?))
    };
    list.as_array().unwrap().iter().filter_map(position).collect()
}

/// How many OTPs a run offers at least; `None`: each fault once, shortly.
pub(crate) fn wanted() -> Option<usize> {
    env::var("YUBIOTP_TEST_CLUSTER").ok().map(|number| number.parse().unwrap())
}

/// How long a fault lasts.
pub(crate) fn hold() -> Duration {
    Duration::from_millis(if wanted().is_some() { 6000 } else { 2500 })
}
