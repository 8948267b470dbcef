//! `ykmap key export`

use crate::{Context, Done, Failure, files, out, parse_id};
use std::io::IsTerminal as _;
use ykhost::Fault;
use ykhost::store::KeyFile;
use yubiotp::verdict::Vault;
use yubiotp::{PublicId, TokenId, keyfile};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Public IDs [default: every key]
    #[arg(value_name = "ID", value_parser = parse_id)]
    ids: Vec<PublicId>,
    /// Print the secrets unsealed, for a host with another store key
    #[arg(long)]
    in_the_clear: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    if context.json {
        return Err(Failure::never_json("a key file"));
    }
    let store = context.store()?;
    let settings = context.settings()?;
    let known = |id: &PublicId| {
        let id = TokenId::YubiKey(*id);
        let settings = &settings;
        move |fault: Fault| files::if_unknown(settings, &id, fault.diagnostic())
    };
    let ids = if args.ids.is_empty() {
        super::tokens(&store)?.iter().filter_map(TokenId::yubikey).collect()
    } else {
        args.ids.clone()
    };
    if args.in_the_clear {
        let keys = ids
            .iter()
            .map(|id| Ok((*id, store.credential(id).map_err(known(id))?)))
            .collect::<Result<Vec<_>, Failure>>()?;
        out::raw(&keyfile::write_plain(keys));
    } else {
        let keys = ids
            .iter()
            .map(|id| match store.key_file(&(*id).into()).map_err(known(id))? {
                KeyFile::YubiKey(_, record) => Ok(Some((*id, record.under, record.sealed))),
                KeyFile::Oath(..) | KeyFile::RecoveryCode(..) => Ok(None),
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let keys: Vec<_> = keys.into_iter().flatten().collect();
        out::raw(&keyfile::write_sealed(keys));
        // A pipe leads to another command, most likely one with another store key.
        if !std::io::stdout().is_terminal() {
            out::note(
                "sealed under this host's store key: only a store with the same one can read it. For ykvald, or another store key: --in-the-clear",
            );
        }
    }
    Ok(())
}
