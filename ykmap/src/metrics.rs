//! `ykmap metrics`: the state of this host in the text format of Prometheus, for the textfile collector of node_exporter. No
//! user name, token ID or address of a user is in it.

mod file;
mod format;

use super::status::{self, Host, Places};
use super::{Context, Done, Failure, out};
use clap::ValueHint;
use format::Metrics;
use std::collections::BTreeMap;
use std::path::PathBuf;
use yubiotp::diagnostic::{Code, Severity};
use yubiotp::protocol::Server;
use yubiotp::shown;

/// In seconds: decisions of this time are counted.
const HOUR: u64 = 3600;

#[derive(clap::Args)]
#[command(
    after_help = "Run it as root, from a timer: yubiotp-metrics.timer. It asks no validation server.\n\nExit status: 0 \
                  written, whatever it says; 2 it could not look, or not write. Nothing is written then."
)]
pub(crate) struct Args {
    /// Write to this file, by renaming a new one; mode 0644. The collector reads names that end in .prom
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    #[command(flatten)]
    places: Places,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    if context.json {
        return Err(Failure::never_json("the text format of Prometheus"));
    }
    let host = status::of_host(context, &args.places, HOUR)?;
    // Half of the numbers would look like a change.
    if let Some(unread) = host.findings.iter().find(|(_, found, _)| found.code == Code::NotRoot) {
        return Err(unread.1.clone().into());
    }
    let text = of(&host).text();
    match &args.output {
        Some(path) => file::replace(path, &text),
        None => {
            out::raw(&text);
            Ok(())
        }
    }
}

fn of(host: &Host) -> Metrics {
    let mut metrics = Metrics::default();
    metrics.gauge(
        "yubiotp_metrics_timestamp_seconds",
        "When these metrics were made.",
        [(vec![], host.unix)],
    );
    services(&mut metrics, host);
    users(&mut metrics, host);
    tokens(&mut metrics, host);
    metrics.gauge(
        "yubiotp_pending_changes",
        "Changes of the host's files that are undone unless somebody keeps them.",
        [(vec![], number(host.changes.len()))],
    );
    backup(&mut metrics, host);
    servers(&mut metrics, host);
    findings(&mut metrics, host);
    decisions(&mut metrics, host);
    metrics
}

/// Of the last hour. A log that is rotated or emptied would make a counter go down, which Prometheus takes for a restart.
fn decisions(metrics: &mut Metrics, host: &Host) {
    let readable = u64::from(host.log.is_ok());
    metrics.gauge(
        "yubiotp_log_readable",
        "Whether the log of this host could be read.",
        [(vec![], readable)],
    );
    let Ok(log) = &host.log else { return };
    metrics.gauge(
        "yubiotp_decisions_last_hour",
        "Decisions about logins in the last hour, by outcome and code, as the log has them.",
        log.counts.iter().map(|((outcome, code), count)| {
            (vec![("outcome", (*outcome).to_owned()), ("code", code.clone())], number(*count))
        }),
    );
}

fn services(metrics: &mut Metrics, host: &Host) {
    let asking = host.asking.iter().map(|name| (name, 1));
    let silent = host.silent.iter().map(|name| (name, 0));
    metrics.gauge(
        "yubiotp_service_asks",
        "Whether a service of this host asks for a second factor.",
        asking.chain(silent).map(|(name, asks)| (vec![("service", name.clone())], asks)),
    );
}

fn users(metrics: &mut Metrics, host: &Host) {
    let state = |name: &str, count: usize| (vec![("state", name.to_owned())], number(count));
    metrics.gauge(
        "yubiotp_users",
        "Users by whether they can use a token: covered, listed without_token, with unusable tokens only, not_listed.",
        [
            state("covered", host.covered()),
            state("without_token", host.without_token().len()),
            state("unusable", host.unusable().len()),
            state("not_listed", host.not_listed().len()),
        ],
    );
    let enrolled = host.users.listed().filter(|user| user.is_enrolled).count();
    metrics.gauge("yubiotp_enrolled_users", "Users who enrolled on this host.", [(vec![], number(enrolled))]);
    metrics.gauge(
        "yubiotp_recovery_codes_few_users",
        "Users of recovery codes who have fewer than two left.",
        [(vec![], number(host.few_codes().len()))],
    );
    metrics.gauge(
        "yubiotp_two_codes_needed_users",
        "Users who need two successive codes now, after too many wrong ones.",
        [(vec![], number(host.locked.len()))],
    );
    let of_service = |name: &String, rest: Option<&str>| {
        let state = rest.map(|state| ("state", state.to_owned()));
        std::iter::once(("service", name.clone())).chain(state).collect::<Vec<_>>()
    };
    let roll_outs = || host.roll_outs.iter().flat_map(|it| it.services.iter().map(move |name| (name, it)));
    metrics.gauge(
        "yubiotp_roll_out_users",
        "In a roll-out that has not ended, users who will need a token, by whether they have one: enrolled, missing.",
        roll_outs().flat_map(|(name, it)| {
            [
                (of_service(name, Some("enrolled")), number(it.enrolled.len())),
                (of_service(name, Some("missing")), number(it.missing.len())),
            ]
        }),
    );
    metrics.gauge(
        "yubiotp_roll_out_end_timestamp_seconds",
        "When a roll-out ends: from then on, users without a token are rejected.",
        roll_outs().map(|(name, it)| (of_service(name, None), it.end())),
    );
}

fn tokens(metrics: &mut Metrics, host: &Host) {
    if !host.has_store {
        return;
    }
    metrics.gauge(
        "yubiotp_tokens",
        "Tokens by kind and state. A set of recovery codes is one token.",
        host.kinds_and_states()
            .into_iter()
            .map(|((kind, state), count)| (vec![("kind", kind.to_owned()), ("state", state)], number(count))),
    );
    metrics.gauge(
        "yubiotp_unassigned_tokens",
        "Tokens that no user has.",
        [(vec![], number(host.tokens.iter().filter(|token| token.owners.is_empty()).count()))],
    );
    metrics.gauge(
        "yubiotp_worn_tokens",
        "YubiKeys whose usage counter is above 30,000 of 32,767.",
        [(vec![], number(host.tokens.iter().filter(|token| token.is_near_end).count()))],
    );
}

fn backup(metrics: &mut Metrics, host: &Host) {
    if host.has_store {
        let made = host.backup.last.as_ref().map_or(0, |last| last.made);
        metrics.gauge(
            "yubiotp_last_backup_timestamp_seconds",
            "When the last backup of this host was made; 0 if there is none.",
            [(vec![], made)],
        );
    }
}

fn servers(metrics: &mut Metrics, host: &Host) {
    let label = |server: &Server| vec![("server", shown::text(&server.address()).to_string())];
    metrics.gauge(
        "yubiotp_server_asked_last",
        "Whether logins ask a validation server after the others now, since it failed.",
        host.servers.iter().map(|(server, failures)| (label(server), u64::from(failures.is_some()))),
    );
    let failed = host.servers.iter().filter_map(|(server, failures)| Some((server, (*failures)?)));
    metrics.gauge(
        "yubiotp_server_failed_timestamp_seconds",
        "Of a validation server that is asked last, when the first of its failures was.",
        failed.map(|(server, failures)| (label(server), failures.since)),
    );
}

fn findings(metrics: &mut Metrics, host: &Host) {
    let all = [Severity::Error, Severity::Warning, Severity::Note];
    metrics.gauge(
        "yubiotp_findings",
        "Findings of ykmap status by severity.",
        all.map(|severity| (vec![("severity", severity.name().to_owned())], number(host.count(severity)))),
    );
    let mut codes = BTreeMap::<_, usize>::new();
    for (_, found, _) in host.findings.iter().filter(|(_, found, _)| found.severity > Severity::Note) {
        let count = codes.entry((found.code.name(), found.severity.name())).or_default();
        *count = count.saturating_add(1);
    }
    metrics.gauge(
        "yubiotp_findings_by_code",
        "Errors and warnings of ykmap status by code: docs/reference/codes.md explains each.",
        codes.into_iter().map(|((code, severity), count)| {
            (vec![("code", code.to_owned()), ("severity", severity.to_owned())], number(count))
        }),
    );
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
