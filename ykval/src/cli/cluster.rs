//! `ykvald cluster`

use super::check::add;
use super::checksum::digest_of_keys;
use super::{Context, Done, Failure, out, place, wait};
use serde_json::{Value, json};
use std::time::Duration;
use ykcli::report::Report;
use ykval::clock;
use ykval::cluster::{Asked, Said, ask_all};
use ykval::config::Config;
use ykval::store::{Looked, Member, Standing, Store};
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Location, Severity};
use yubiotp::shown;

/// How far clocks may differ: what is logged and stored is compared by seconds.
const CLOCKS: Duration = Duration::from_secs(2);

/// An answer that took so long says nothing about a clock: nobody knows when in that time it was read.
const SLOW: Duration = Duration::from_secs(1);

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Show the servers that the configuration names, the store, and whether they agree. Exit status as that of check
    Status,
}

const AREAS: &[&str] = &["store", "servers", "agreement"];

/// What this host sees of the store.
struct Seen {
    standing: Standing,
    store_key: String,
    /// Of all keys: that of `ykvald checksum`.
    checksum: Option<String>,
    clients: u64,
    tokens: u64,
    members: Vec<Member>,
}

pub(crate) fn run(context: &Context, verb: &Verb) -> Done {
    let Verb::Status = verb;
    let config = context.settings(&[])?;
    let mut report = Report::new(AREAS);
    report.calls(Calls { ykvald: &context.ykvald(), ..Calls::PLAIN });
    let (seen, asked) = wait(async {
        let seen = match look(&config, &mut report).await {
            Ok(seen) => seen,
            Err(failure) => {
                add(&mut report, "store", failure);
                None
            }
        };
        Ok((seen, ask_all(&config.cluster).await?))
    })?;
    judge(&mut report, seen.as_ref(), &asked);
    if context.json {
        let Value::Object(mut all) = to_json(seen.as_ref(), &asked) else { return Err(Failure::Bad) };
        all.extend(report.json());
        out::json(&Value::Object(all));
    } else {
        tell(seen.as_ref(), &asked);
        report.print();
        out::line(&report.summary());
    }
    report.done()
}

/// Reads the store without changing it.
async fn look(config: &Config, report: &mut Report) -> Result<Option<Seen>, Failure> {
    let keys = place::store_key(config)?;
    let store = match Store::look(&config.store, keys.ids()).await {
        Ok(Looked::Current(store)) => store,
        Ok(Looked::Earlier { at, .. } | Looked::Restored { at }) => {
            let problem = "is opened by the next start of a server; until then it cannot be compared";
            report.add("store", Diagnostic::warning(Code::DatabaseFromEarlierVersion, problem).at(at));
            return Ok(None);
        }
        Err(fault) => return Err(place::lost_or_not_moved(config, &keys, &fault).await.into()),
    };
    for trap in store.traps().await {
        report.add("store", trap);
    }
    let count = store.count().await?;
    let checksum = match digest_of_keys(&store, &keys).await {
        Ok(digest) => Some(digest),
        Err(failure) => {
            add(report, "store", failure);
            None
        }
    };
    let seen = Seen {
        standing: store.standing().await?,
        store_key: store.store_key_now().await?.to_string(),
        checksum,
        clients: count.clients,
        tokens: count.tokens,
        members: store.members().await,
    };
    store.close().await;
    Ok(Some(seen))
}

fn judge(report: &mut Report, seen: Option<&Seen>, asked: &[Asked]) {
    if asked.is_empty() {
        let none = Diagnostic::warning(
            Code::ClusterServersUnknown,
            "no server is named, so only the store was looked at",
        );
        report
            .add("servers", none.advise("set servers in [cluster], such as [\"https://val1.example.com\"]"));
    }
    for Asked { url, said } in asked {
        match said {
            Err(found) => report.add("servers", Diagnostic::clone(found)),
            Ok(said) => judge_one(report, url, said, seen),
        }
    }
    let standings = asked.iter().filter_map(|one| {
        let standing = one.said.as_ref().ok()?.status.store.as_ref()?;
        Some((one.url.as_str(), standing))
    });
    let mut first: Option<(&str, &Standing)> = None;
    for (url, standing) in standings {
        match first {
            Some((other, known)) if known.identity != standing.identity => {
                let problem = format!(
                    "stores in {}, and {other} in {}: an OTP may be accepted by both",
                    shown::line(&standing.identity),
                    shown::line(&known.identity)
                );
                report.add(
                    "agreement",
                    Diagnostic::error(Code::ClusterServersDiffer, problem)
                        .at(Location::Url(url.to_owned()))
                        .advise("name the same store in the configuration of both, and restart them"),
                );
            }
            Some(_) => {}
            None => first = Some((url, standing)),
        }
    }
    let versions: std::collections::BTreeSet<_> = asked
        .iter()
        .filter_map(|one| one.said.as_ref().ok())
        .map(|said| said.status.version.as_str())
        .collect();
    if versions.len() > 1 {
        let versions: Vec<_> = versions.iter().map(|version| shown::line(version).to_string()).collect();
        let problem = format!("the servers are of versions {}", versions.join(" and "));
        let found = Diagnostic::warning(Code::ClusterServersDiffer, problem);
        report.add("agreement", found.advise("finish the upgrade, one server after the other"));
    }
    let all_are_known =
        asked.iter().filter_map(|one| one.said.as_ref().ok()).all(|said| said.status.store.is_some());
    if !report.has("agreement", Severity::Error) && asked.len() > 1 && first.is_some() && all_are_known {
        report.ok("agreement", None, "all servers that answered have the same store");
    }
}

fn judge_one(report: &mut Report, url: &str, said: &Said, seen: Option<&Seen>) {
    let (at, status) = (Location::Url(url.to_owned()), &said.status);
    let error = |code, problem: String| Diagnostic::error(code, problem).at(at.clone());
    if status.ready {
        report.ok("servers", Some(at.clone()), format!("ready, version {}", shown::line(&status.version)));
    } else {
        let why = status.problem.as_deref().unwrap_or("it does not say why");
        let code = status.code.as_deref().unwrap_or("");
        let problem = format!("is not ready: {} ({})", shown::line(why), shown::line(code));
        let found = error(Code::ClusterServerNotReady, problem);
        report.add("servers", found.advise("look at its log, and run ykvald check there"));
    }
    let apart = Duration::from_millis(said.ahead_ms.unsigned_abs());
    if said.took < SLOW && apart > CLOCKS {
        let problem = format!("its clock is {} from that of this host", difference(said.ahead_ms));
        let found = Diagnostic::warning(Code::ClusterClockDiffers, problem).at(at.clone());
        report.add("servers", found.advise("let both get their time by NTP"));
    }
    if status.ready && status.store.is_none() {
        let problem = "is ready, but its store did not say in time which one it is: it may be another than that of the others";
        let found = error(Code::DatabaseUnreachable, problem.to_owned());
        report.add("agreement", found.advise("run this again; if it stays so, run ykvald check there"));
    }
    let Some(seen) = seen else { return };
    if let Some(standing) = status.store.as_ref().filter(|theirs| theirs.identity != seen.standing.identity) {
        let problem = format!(
            "stores in {}, and the configuration of this host names {}",
            shown::line(&standing.identity),
            seen.standing.identity
        );
        report.add(
            "agreement",
            error(Code::ClusterServersDiffer, problem)
                .advise("name the same store in the configuration of both, and restart it"),
        );
    }
    if status.store_key.as_ref().is_some_and(|theirs| *theirs != seen.store_key) {
        let problem = format!("its store is sealed under another store key than {}", seen.store_key);
        report.add("agreement", error(Code::ClusterServersDiffer, problem));
    }
}

fn difference(ahead_ms: i64) -> String {
    let tenths = ahead_ms.unsigned_abs() / 100;
    format!("{}{}.{} s", if ahead_ms < 0 { '-' } else { '+' }, tenths / 10, tenths % 10)
}

fn time(at: Option<i64>) -> String {
    at.map_or_else(|| "none yet".to_owned(), |at| clock::written(at.div_euclid(1000)))
}

fn tell(seen: Option<&Seen>, asked: &[Asked]) {
    if let Some(Seen { standing, store_key, checksum, clients, tokens, members }) = seen {
        out::line(&format!("store     {}", standing.at));
        out::line(&format!("          {}, {}", standing.version, standing.identity));
        if !standing.revision.is_empty() {
            out::line(&format!("          {}", standing.revision));
        }
        let (clients, tokens) = (out::count(*clients, "client"), out::count(*tokens, "token"));
        out::line(&format!("          {clients}, {tokens}, store key {store_key}"));
        if let Some(checksum) = checksum {
            out::line(&format!("          checksum of all keys {checksum}"));
        }
        for Member { at, state, .. } in members {
            out::line(&format!("member    {}", shown::line(at)));
            out::line(&format!("          {}", shown::line(state)));
        }
    }
    for Asked { url, said } in asked {
        out::line(&format!("server    {}", shown::line(url)));
        let Ok(Said { status, ahead_ms, took }) = said else {
            out::line("          no answer");
            continue;
        };
        let ready = if status.ready { "ready" } else { "not ready" };
        out::line(&format!(
            "          {ready}, version {}, clock {}, answered in {} ms",
            shown::line(&status.version),
            if *took < SLOW { difference(*ahead_ms) } else { "unknown".to_owned() },
            took.as_millis()
        ));
        if let Some(store) = &status.store {
            let revision = shown::line(&store.revision).to_string();
            let revision = if revision.is_empty() { String::new() } else { format!(", {revision}") };
            out::line(&format!("          store {}{revision}", shown::line(&store.identity)));
        }
        out::line(&format!(
            "          last decision {}, last OK {}",
            time(status.last_decision_ms),
            time(status.last_ok_ms)
        ));
    }
    out::line("");
}

fn to_json(seen: Option<&Seen>, asked: &[Asked]) -> Value {
    let store = seen.map(|seen| {
        json!({
            "at": seen.standing.at, "version": seen.standing.version, "identity": seen.standing.identity,
            "revision": seen.standing.revision, "store_key": seen.store_key, "checksum": seen.checksum,
            "clients": seen.clients, "tokens": seen.tokens, "members": seen.members,
        })
    });
    let servers = asked.iter().map(|Asked { url, said }| match said {
        Ok(Said { status, ahead_ms, took }) => json!({
            "url": url, "reached": true, "status": status, "clock_ahead_ms": ahead_ms,
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }),
        Err(_) => json!({ "url": url, "reached": false }),
    });
    json!({ "store": store, "servers": servers.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ykval::cluster::ServerStatus;

    /// A server that is ready, with a store of this identity, as far as that is known.
    fn server(n: u8, identity: Option<&str>) -> Asked {
        let store = identity.map(|identity| Standing {
            at: "etcd://127.0.0.1:2379/ykvald".to_owned(),
            version: "etcd 3.5.16".to_owned(),
            identity: identity.to_owned(),
            revision: "revision 7".to_owned(),
        });
        let status = ServerStatus {
            version: "0.1.0".to_owned(),
            now_ms: 0,
            ready: true,
            code: None,
            problem: None,
            store,
            store_key: None,
            last_decision_ms: None,
            last_ok_ms: None,
        };
        let said = Ok(Said { status, ahead_ms: 0, took: Duration::from_millis(10) });
        Asked { url: format!("https://val{n}.example.com"), said }
    }

    /// The exit status, and whether it says that all agree.
    fn judged(identities: &[Option<&str>]) -> (u8, bool) {
        let asked: Vec<_> = (1..).zip(identities).map(|(n, identity)| server(n, *identity)).collect();
        let mut report = Report::new(AREAS);
        judge(&mut report, None, &asked);
        (report.exit_status(), report.has("agreement", Severity::Ok))
    }

    /// Nobody knows whether a server whose store is unknown has the same as the others.
    #[test]
    fn an_unknown_store_is_no_agreement() {
        assert_eq!(judged(&[Some("a"), Some("a")]), (0, true));
        assert_eq!(judged(&[Some("a"), Some("b")]), (2, false));
        for unknown in [
            &[None, None][..],
            &[Some("a"), None],
            &[None, Some("a")],
            &[Some("a"), None, Some("a")],
            &[None],
        ] {
            assert_eq!(judged(unknown), (2, false), "{unknown:?}");
        }
        assert_eq!(judged(&[Some("a"), None, Some("b")]), (2, false));
        let not_ready = server(2, None).said.map(|said| {
            let status = ServerStatus { ready: false, ..said.status };
            Said { status, ..said }
        });
        let mut report = Report::new(AREAS);
        let url = "https://val2.example.com".to_owned();
        judge(&mut report, None, &[server(1, Some("a")), Asked { url, said: not_ready }]);
        assert_eq!((report.exit_status(), report.has("agreement", Severity::Ok)), (2, false));
    }
}
