//! `ykvald import ykval`

use crate::cli::{Context, Done, Failure, Opened, client, files, out, wait};
use clap::ValueHint;
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use ykval::import::{self, ClientEntry, Positions};
use ykval::store::{Client, ClientChange, ImportedCounts, Store};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::protocol::ClientId;
use yubiotp::seal::StoreKeys;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The output of `ykval-export`; - for standard input
    #[arg(value_hint = ValueHint::FilePath, required_unless_present = "clients")]
    file: Option<PathBuf>,
    /// The output of `ykval-export-clients`; - for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    clients: Option<PathBuf>,
    /// Read and check everything, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// The changes to clients.
#[derive(Default)]
struct Plan {
    new: Vec<ClientEntry>,
    /// Clients that exist here, and are disabled there.
    to_disable: Vec<ClientId>,
    unchanged: usize,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let is_stdin = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
    if is_stdin(&args.file) && is_stdin(&args.clients) {
        let both = "only one of the two files can be standard input";
        return Err(Diagnostic::error(Code::CommandLineInvalid, both).into());
    }
    let problems = |path: &Path, problems: Vec<import::Problem>| {
        let name = path.as_os_str().as_encoded_bytes();
        files::refuse(context, path, problems.iter().map(|problem| problem.diagnostic(name)))
    };
    let positions = match &args.file {
        Some(path) => {
            let text = files::named(path, None)?;
            import::positions(&text).map_err(|them| problems(path, them))?
        }
        None => Positions { known: Vec::new(), repeated: 0 },
    };
    let clients = match &args.clients {
        Some(path) => {
            let text = files::named(path, Some("clients' keys"))?;
            import::clients(&text).map_err(|them| problems(path, them))?
        }
        None => Vec::new(),
    };
    wait(async {
        let Opened { store, key, .. } = context.open().await?;
        let path = args.clients.as_deref().unwrap_or(Path::new("-"));
        let plan = plan(context, &store, &key, path, clients).await?;
        let lines = positions.known.len();
        let mut raised = ImportedCounts::default();
        let (new, disabled) = (plan.new.len(), plan.to_disable.len());
        let unchanged = plan.unchanged;
        if !args.dry_run {
            raised = store.raise(positions.known).await?;
            write(&store, &key, plan).await?;
        }
        store.close().await;
        if context.json {
            out::json(&json!({
                "dry_run": args.dry_run,
                "tokens": if args.dry_run {
                    json!({ "read": lines, "repeated": positions.repeated })
                } else {
                    json!({
                        "read": lines, "repeated": positions.repeated, "added": raised.added, "raised": raised.raised,
                        "unchanged": raised.unchanged, "disabled": raised.disabled,
                    })
                },
                "clients": { "added": new, "disabled": disabled, "unchanged": unchanged },
            }));
            return Ok(());
        }
        if args.file.is_some() {
            let found = out::count(lines, "token");
            out::line(&if args.dry_run {
                format!("would import {found}")
            } else {
                format!(
                    "{found}: {} new, {} raised, {} unchanged, {} disabled",
                    raised.added, raised.raised, raised.unchanged, raised.disabled
                )
            });
            if positions.repeated > 0 {
                out::line(&format!("{} about a token twice", out::count(positions.repeated, "line")));
            }
        }
        if args.clients.is_some() {
            let would = if args.dry_run { "would add " } else { "" };
            out::line(&format!("clients: {would}{new} new, {unchanged} unchanged, {disabled} disabled"));
        }
        Ok(())
    })
}

/// Compares with the clients in the store. If one of them has another key, nothing is imported.
async fn plan(
    context: &Context,
    store: &Store,
    key: &StoreKeys,
    path: &Path,
    clients: Vec<ClientEntry>,
) -> Result<Plan, Failure> {
    let mut plan = Plan::default();
    if clients.is_empty() {
        return Ok(plan);
    }
    let here: HashMap<_, _> = store.clients().await?.into_iter().map(|client| (client.id, client)).collect();
    let line = |number| Location::line(path.as_os_str().as_encoded_bytes(), number);
    let mut problems = Vec::new();
    for entry in clients {
        let Some(old) = here.get(&entry.id) else {
            plan.new.push(entry);
            continue;
        };
        let id = entry.id;
        match key.open_client(&old.sealed_key, id) {
            Ok(same) if same.expose() == entry.key.expose() => {
                plan.unchanged = plan.unchanged.saturating_add(1);
                if old.enabled && !entry.enabled {
                    plan.to_disable.push(id);
                }
            }
            Ok(_) => {
                let problem = format!("client {id} exists here with another key ({})", old.name);
                problems.push(
                    Diagnostic::error(Code::ClientHasOtherKey, problem)
                        .at(line(entry.line))
                        .advise("remove the line, and give the client's host the key that it has here")
                        .run_when(
                            "if that key is lost, create a new one",
                            Program::Ykvald,
                            format!("client rotate {id}"),
                        ),
                );
            }
            Err(_) => {
                let problem = format!("the key of client {id} in the store cannot be opened");
                problems.push(
                    Diagnostic::error(Code::ClientKeyUnreadable, problem).at(line(entry.line)).run_when(
                        "to give it a new one",
                        Program::Ykvald,
                        format!("client rotate {id}"),
                    ),
                );
            }
        }
    }
    if problems.is_empty() { Ok(plan) } else { Err(files::refuse(context, path, problems.into_iter())) }
}

/// One client after the other: the next import finds those unchanged that were written before a fault.
async fn write(store: &Store, key: &StoreKeys, plan: Plan) -> Done {
    for entry in plan.new {
        let id = entry.id;
        let name = if entry.name.is_empty() { format!("client {id} of YK-VAL") } else { entry.name };
        let described = Client { enabled: entry.enabled, created: entry.created, ..client::plain(name)? };
        let new = client::NewKey::of(entry.key, key)?;
        if client::store(store, Some(id), new, described).await?.is_none() {
            let problem = format!("client {id} was created by another command just now");
            return Err(Diagnostic::error(Code::ClientExists, problem)
                .advise("import the file again")
                .into());
        }
    }
    for id in plan.to_disable {
        let change = ClientChange { enabled: Some(false), ..ClientChange::default() };
        store.change_client(id, change).await?;
    }
    Ok(())
}
