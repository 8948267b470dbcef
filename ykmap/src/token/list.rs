//! `ykmap token list`, `ykmap series list`

use super::parse_series;
use crate::key::last_use;
use crate::list::States;
use crate::out::{self, Field};
use crate::{Context, Done, Failure, codes, files, key};
use serde_json::json;
use std::collections::BTreeMap;
use ykhost::settings::Settings;
use ykhost::store::{KeyFile, OathNotes, State, Store};
use yubiotp::diagnostic::{Diagnostic, Severity};
use yubiotp::oath::Parameters;
use yubiotp::{Series, TokenId};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only tokens of this series
    #[arg(long, value_name = "NAME", value_parser = parse_series)]
    series: Option<Series>,
    /// Only tokens that are nobody's
    #[arg(long)]
    unassigned: bool,
}

/// A token in the store that is no recovery code, and what is public of an OATH token; nothing if its file cannot be read.
struct Listed {
    id: TokenId,
    oath: Option<(Parameters, OathNotes)>,
}

fn listed(store: &Store) -> Result<Vec<Listed>, Failure> {
    let tokens = key::tokens(store)?.into_iter().filter(|id| id.recovery_set().is_none());
    let with_file = tokens.map(|id| {
        let oath = match store.key_file(&id) {
            Ok(KeyFile::Oath(_, record)) => Some((record.parameters, record.notes)),
            _ => None,
        };
        Listed { id, oath }
    });
    Ok(with_file.collect())
}

/// The tokens of a series.
pub(super) fn in_series(store: &Store, series: &Series) -> Result<Vec<TokenId>, Failure> {
    let of_series = |one: &Listed| one.series() == Some(*series);
    Ok(listed(store)?.into_iter().filter(of_series).map(|one| one.id).collect())
}

impl Listed {
    fn series(&self) -> Option<Series> {
        self.oath.and_then(|(_, notes)| notes.series)
    }

    fn words(&self) -> String {
        match self.oath {
            Some((parameters, _)) => codes::words(parameters),
            None if self.id.yubikey().is_some() => "YubiKey".to_owned(),
            None => "?".to_owned(),
        }
    }
}

pub(super) fn run(context: &Context, args: &Args) -> Done {
    let settings = context.settings()?;
    let states = States::new(context, &settings);
    let is_known = known_owners(context, &settings, args.unassigned)?;
    let owners = files::owners(&settings);
    let owners = |id: &TokenId| owners.get(id).map(Vec::as_slice).unwrap_or_default();
    let mut tokens = listed(&states.store)?;
    tokens.retain(|one| {
        args.series.is_none_or(|series| one.series() == Some(series))
            && (!args.unassigned || owners(&one.id).is_empty())
    });
    let state = |id: &TokenId| states.store.slots(id).ok().flatten().map(|slots| slots.state);
    let position = |id: &TokenId| {
        state(id).and_then(|state| state.position).filter(|position| *position != State::last(id))
    };
    if context.json {
        let tokens = tokens.iter().map(|one| {
            let parameters = one.oath.map(|(parameters, _)| parameters);
            let period = parameters.and_then(|parameters| codes::seconds(parameters.kind));
            let position = position(&one.id);
            json!({
                "id": one.id.to_string(),
                "kind": parameters.map_or("yubikey", |it| codes::kind_name(it.kind)),
                "algorithm": parameters.map(|it| it.algorithm.name()),
                "digits": parameters.map(|it| it.digits.get()),
                "period": period,
                "window": one.oath.and_then(|(_, notes)| notes.window),
                "series": one.series().map(|series| series.to_string()),
                "state": states.of(&one.id).to_string(),
                "owners": is_known.then(|| owners(&one.id)),
                "next_step": position.filter(|_| one.oath.is_some()).map(yubiotp::Position::to_stored),
                "drift": state(&one.id).filter(|_| one.oath.is_some()).map(|state| state.drift),
                "last_use": position.and_then(|_| last_use(&settings, &one.id)),
            })
        });
        out::json(&json!(tokens.collect::<Vec<_>>()));
        return Ok(());
    }
    if tokens.is_empty() {
        let is_all = args.series.is_none() && !args.unassigned;
        out::note(if is_all { "no token in the store" } else { "no such token in the store" });
        return Ok(());
    }
    let rows = tokens.iter().map(|one| {
        let owners = match owners(&one.id) {
            [] if !is_known => Field::Plain("?".to_owned()),
            [] => Field::Loud("-".to_owned()),
            owners => Field::Plain(owners.join(", ")),
        };
        let last = position(&one.id).and_then(|_| last_use(&settings, &one.id));
        vec![
            Field::Plain(one.id.to_string()),
            Field::Plain(one.words()),
            owners,
            states.field(&one.id),
            Field::Plain(one.series().map_or_else(|| "-".to_owned(), |series| series.to_string())),
            Field::Plain(last.unwrap_or_else(|| "-".to_owned())),
        ]
    });
    out::table(&["Token", "Kind", "Owner", "State", "Series", "Last use (UTC)"], rows.collect());
    Ok(())
}

/// Whether the owners of tokens are known. Notes why not, or fails if the answer needs them.
fn known_owners(context: &Context, settings: &Settings, is_needed: bool) -> Result<bool, Failure> {
    match files::mappings(settings) {
        Ok(_) => Ok(true),
        Err(Failure::Fault(found)) if !is_needed => {
            context.note(&Diagnostic { severity: Severity::Note, ..*found });
            Ok(false)
        }
        Err(failure) => Err(failure),
    }
}

/// Lists every series, with how many tokens it has and how many of them are somebody's.
pub(crate) fn series(context: &Context) -> Done {
    let settings = context.settings()?;
    let is_known = known_owners(context, &settings, false)?;
    let owners = files::owners(&settings);
    let mut all = BTreeMap::<Series, (usize, usize)>::new();
    let store = Store::new(&settings);
    let claimable = store.claimable_series()?;
    for one in listed(&store)? {
        if let Some(series) = one.series() {
            let (tokens, assigned) = all.entry(series).or_default();
            *tokens = tokens.saturating_add(1);
            *assigned = assigned.saturating_add(usize::from(owners.contains_key(&one.id)));
        }
    }
    if context.json {
        let all = all.iter().map(|(series, (tokens, assigned))| {
            json!({ "series": series.to_string(), "tokens": tokens, "assigned": is_known.then_some(assigned),
                "claims": claimable.contains(series) })
        });
        out::json(&json!(all.collect::<Vec<_>>()));
        return Ok(());
    }
    if all.is_empty() {
        out::note(&format!("no series in the store: {} token import --series NAME FILE", context.ykmap()));
        return Ok(());
    }
    let rows = all.iter().map(|(series, (tokens, assigned))| {
        vec![
            Field::Plain(series.to_string()),
            Field::Plain(tokens.to_string()),
            Field::Plain(if is_known { assigned.to_string() } else { "?".to_owned() }),
            Field::Plain(if claimable.contains(series) { "allowed" } else { "no" }.to_owned()),
        ]
    });
    out::table(&["Series", "Tokens", "Assigned", "Claims"], rows.collect());
    Ok(())
}
