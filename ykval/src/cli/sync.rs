//! `ykvald sync`: the pool of YK-VAL servers that this server belongs to while a site moves.

use super::{Context, Done, Failure, Opened, out, wait};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;
use ykcli::report::Report;
use ykval::clock;
use ykval::config::{Config, SyncConfig};
use ykval::sync::{Peer, PeerState, Pool, PoolState, Resent, read_state, resend};
use yubiotp::Position;
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Location, Severity};

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Show the peers: until when each was told everything, what waits for it, and when it answered last. Exit status as that
    /// of check
    Status,
    /// Send the position of every token to the peers again, and say which tokens they know higher positions of
    Resync(Args),
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Peers, as sync status shows them [default: all]
    #[arg(value_name = "PEER")]
    peers: Vec<String>,
}

pub(crate) fn run(context: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::Status => status(context),
        Verb::Resync(args) => resync(context, args),
    }
}

fn settings(config: &Config) -> Result<&SyncConfig, Failure> {
    let none = || {
        let found = Diagnostic::error(Code::SyncNotConfigured, "has no [sync], so there are no peers");
        found.at(ykval::file::location(&config.path))
    };
    Ok(config.sync.as_ref().ok_or_else(none)?)
}

/// The pool. Nothing that happens to it is logged.
fn pool(config: &SyncConfig) -> Result<Arc<Pool>, Failure> {
    let (events, _) = mpsc::unbounded_channel();
    Ok(Pool::new(config, events)?)
}

/// A record that is further from now, before or after, says little: the server writes one every five seconds. In seconds.
const RECENT: u64 = 60;

/// What the server recorded last: it is up to five seconds old, or as old as its end.
fn status(context: &Context) -> Done {
    let config = context.settings(&[])?;
    let settings = settings(&config)?;
    let names: Vec<_> =
        wait(async { Ok(pool(settings)?.peers().iter().map(|peer| peer.name().to_owned()).collect()) })?;
    let state = read_state(&settings.state).unwrap_or_default();
    let of = |name: &String| state.peers.iter().find(|peer| peer.name == *name);
    let mut report = Report::new(&["peers"]);
    report.calls(Calls { ykvald: &context.ykvald(), ..Calls::PLAIN });
    judge(&mut report, settings, &state, &names);
    if context.json {
        let peers: Vec<_> = names.iter().map(|name| status_json(name, of(name))).collect();
        let at = (state.at > 0).then(|| clock::written(state.at));
        let Value::Object(mut all) = json!({ "recorded": at, "peers": peers }) else {
            return Err(Failure::Bad);
        };
        all.extend(report.json());
        out::json(&Value::Object(all));
    } else {
        let rows = names.iter().map(|name| status_row(name, of(name)));
        out::table(&["Peer", "Told until", "Waiting", "Answered"], rows.collect());
        out::line("");
        report.print();
        out::line(&report.summary());
    }
    report.done()
}

/// As `check` would judge the peers, but from what the server recorded, while it told them what it accepted.
fn judge(report: &mut Report, settings: &SyncConfig, state: &PoolState, names: &[String]) {
    let age = clock::now().saturating_sub(state.at);
    let is_recent = age.unsigned_abs() <= RECENT;
    if !is_recent {
        let problem = match state.at {
            0 => "is not there: a running server records every five seconds how it gets on with its peers"
                .to_owned(),
            at if age < 0 => format!(
                "is of {}, which is in the future, so a clock was wrong: the server does not run, or cannot write it",
                clock::written(at)
            ),
            at => format!("is of {}: the server does not run, or cannot write it", clock::written(at)),
        };
        let found = Diagnostic::warning(Code::SyncStateNotWritten, problem);
        report.add("peers", found.at(ykval::file::location(&settings.state)).advise("start the server"));
    }
    for name in names {
        let at = Location::Url(name.clone());
        match state.peers.iter().find(|peer| peer.name == *name) {
            Some(PeerState { failure: Some(failure), waiting, .. }) => {
                let (waiting, since) = (out::count(*waiting, "message"), clock::written(failure.at));
                let problem = format!("{} ({since}); {waiting} for it", failure.why);
                report.add("peers", Diagnostic::error(failure.code, problem).at(at));
            }
            Some(PeerState { answered: Some(_), .. }) if is_recent => {
                report.ok("peers", Some(at), "takes messages")
            }
            None if is_recent => {
                let problem = "is not in what the server recorded: it runs with another configuration";
                let found = Diagnostic::warning(Code::SyncStateNotWritten, problem).at(at);
                report.add("peers", found.advise("restart the server"));
            }
            // Nobody knows, or nothing was accepted yet that it could be told.
            Some(_) | None => {}
        }
    }
}

fn status_row(name: &str, peer: Option<&PeerState>) -> Vec<out::Field> {
    let time = |time: Option<i64>| time.map_or_else(|| "never".to_owned(), clock::written);
    let told = peer.map(|peer| peer.told_until).filter(|told| *told > 0);
    let waiting = peer.map_or_else(|| "-".to_owned(), |peer| peer.waiting.to_string());
    let answered = time(peer.and_then(|peer| peer.answered));
    [name.to_owned(), time(told), waiting, answered].into_iter().map(out::Field::Plain).collect()
}

fn status_json(name: &str, peer: Option<&PeerState>) -> Value {
    let failure = peer.and_then(|peer| peer.failure.as_ref());
    json!({
        "peer": name,
        "told_until": peer.map(|peer| peer.told_until).filter(|told| *told > 0).map(clock::written),
        "waiting": peer.map(|peer| peer.waiting),
        "answered": peer.and_then(|peer| peer.answered).map(clock::written),
        "failure": failure.map(|failure| json!({
            "at": clock::written(failure.at),
            "code": failure.code.name(),
            "problem": failure.why,
        })),
    })
}

fn resync(context: &Context, args: &Args) -> Done {
    let all_well = wait(async {
        let Opened { config, store, .. } = context.open().await?;
        let pool = pool(settings(&config)?)?;
        let mut told = Vec::new();
        for peer in chosen(&pool, &args.peers)? {
            told.push((peer, resend(&pool, peer, &store).await));
        }
        store.close().await;
        let json: Vec<_> = told.iter().map(|(peer, resent)| resync_json(peer, resent)).collect();
        if context.json {
            out::json(&Value::Array(json));
        }
        let mut all_well = true;
        for (peer, resent) in &told {
            all_well &= matches!(resent, Ok(resent) if resent.ahead == 0 && resent.refused == 0);
            if !context.json {
                say(context, peer, resent);
            }
        }
        Ok(all_well)
    })?;
    if all_well { Ok(()) } else { Err(Failure::No) }
}

fn chosen<'a>(pool: &'a Pool, names: &[String]) -> Result<Vec<&'a Arc<Peer>>, Failure> {
    if names.is_empty() {
        return Ok(pool.peers().iter().collect());
    }
    let found = names.iter().map(|name| {
        let unknown = || {
            let known: Vec<_> = pool.peers().iter().map(|peer| peer.name()).collect();
            let found = Diagnostic::error(Code::SyncNotConfigured, format!("there is no peer {name}"));
            Failure::from(found.advise(format!("use one of {}", known.join(", "))))
        };
        pool.peers().iter().find(|peer| peer.name() == name).ok_or_else(unknown)
    });
    found.collect()
}

fn say(context: &Context, peer: &Peer, resent: &Result<Resent, Diagnostic>) {
    let resent = match resent {
        Ok(resent) => resent,
        Err(found) => return context.note(found),
    };
    out::line(&format!("{}: {} sent", peer.name(), out::count(resent.sent, "token")));
    let warn = |code, problem: String| {
        let found = Diagnostic::warning(code, problem).at(Location::Url(peer.name().to_owned()));
        found.with_severity(Severity::Warning)
    };
    if resent.ahead > 0 {
        let problem = format!("has higher positions of {}", out::count(resent.ahead, "token"));
        let found = warn(Code::SyncPeerAhead, problem);
        context.note(
            &found.advise("export them there (ykval-export), and import them here (ykvald import ykval)"),
        );
        for (token, position) in &resent.named {
            out::line(&format!("  {token} {}", at(*position)));
        }
    }
    if resent.disabled > 0 {
        let problem = format!("has {} disabled that this server knows", out::count(resent.disabled, "token"));
        context.note(&warn(Code::SyncTokenDisabledAtPeer, problem));
    }
    if resent.refused > 0 {
        context
            .note(&warn(Code::SyncPeerRefuses, format!("refused {}", out::count(resent.refused, "token"))));
    }
}

fn at(position: Position) -> String {
    format!("usage counter {}, session counter {}", position.usage_counter(), position.session_use())
}

fn resync_json(peer: &Peer, resent: &Result<Resent, Diagnostic>) -> Value {
    match resent {
        Ok(resent) => {
            let named = resent.named.iter().map(|(token, position)| {
                json!({
                    "id": token.to_string(),
                    "usage_counter": position.usage_counter(),
                    "session_use": position.session_use(),
                })
            });
            json!({
                "peer": peer.name(),
                "sent": resent.sent,
                "ahead": resent.ahead,
                "ahead_tokens": named.collect::<Vec<_>>(),
                "disabled": resent.disabled,
                "refused": resent.refused,
            })
        }
        Err(found) => json!({ "peer": peer.name(), "code": found.code.name(), "problem": found.problem }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const PEER: &str = "192.0.2.1:443";

    /// Exit status and code of what is found in a record of this time, which has this peer.
    fn found(at: i64, peer: &str) -> (u8, Option<Code>) {
        let settings = SyncConfig {
            peers: Vec::new(),
            ca: None,
            default_level: 60,
            fast_level: 1,
            secure_level: 40,
            timeout: Duration::from_secs(1),
            state: "sync.state".into(),
        };
        let (name, answered) = (peer.to_owned(), Some(at));
        let peers = vec![PeerState { name, told_until: at, waiting: 0, answered, failure: None }];
        let mut report = Report::new(&["peers"]);
        judge(&mut report, &settings, &PoolState { at, peers }, &[PEER.to_owned()]);
        let mut codes = report.findings().map(|(_, found, _)| found.code);
        let code = codes.next();
        assert_eq!(codes.next(), None, "it is said once");
        (report.exit_status(), code)
    }

    /// What was recorded of another time, or another peer, does not show that a peer takes messages.
    #[test]
    fn a_record_that_says_little() {
        let (now, far) = (clock::now(), 86_400);
        assert_eq!(found(now, PEER), (0, Some(Code::Checked)));
        // A clock may have been set by a little.
        assert_eq!(found(now + 5, PEER), (0, Some(Code::Checked)));
        let warned = (1, Some(Code::SyncStateNotWritten));
        for (at, peer) in [(now - far, PEER), (now + far, PEER), (i64::MAX, PEER), (now, "192.0.2.2:443")] {
            assert_eq!(found(at, peer), warned, "{at} {peer}");
        }
        assert_eq!(found(now + far, "192.0.2.2:443"), warned);
    }
}
