//! `ykmap key`

mod export;
mod import;
mod new;
mod program;
mod rotate;
mod show;
mod show_oath;

pub(crate) use rotate::unfinished as rotation_unfinished;
pub(crate) use show::last_use;

use super::touches::{self, Prover};
use super::{Context, Done, Failure, assign, event, files, out};
use serde_json::json;
use ykhost::Fault;
use ykhost::settings::Settings;
use ykhost::store::{Enrolled, Removed, Store, TokenKey};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::mapping::{self, Line};
use yubiotp::verdict::Vault;
use yubiotp::{PublicId, TokenId};

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Import keys from a file of a programming tool, YK-KSM or `key export`
    Import(import::Args),
    /// Print keys, sealed under the store key
    Export(export::Args),
    /// Create a key for a YubiKey's second slot, and program it or print the commands for that
    New(new::Args),
    /// List the keys of YubiKeys in the store; `token list` lists tokens of every kind
    List,
    /// Show a key's details (never its secrets)
    Show(Ids),
    /// Reject a token's OTPs until it is enabled again
    Disable(Ids),
    /// Accept a token's OTPs again
    Enable(Ids),
    /// Remove a key. Its position is kept, so that used OTPs stay invalid if the key comes back
    Remove(Ids),
    /// Give a position to keys that came here without an import, or whose position was lost
    ///
    /// If the token has a position here, of this key or from validation servers, it continues from there. Otherwise
    /// nobody knows which OTPs were used, and two touches of the YubiKey prove its position. It asks for the second
    /// touch after a pause of 5 to 15 seconds.
    Adopt(Adopt),
    /// Replace the store key by a new one, and seal everything anew, while logins go on
    ///
    /// The former key opens nothing in the store afterwards. After an interruption, logins work; run it again to finish.
    RotateStoreKey(rotate::Args),
}

#[derive(clap::Args)]
pub(crate) struct Adopt {
    /// Do not ask for touches: the token was never used on this host. If it was, every OTP that it ever typed becomes
    /// valid once more
    #[arg(long)]
    new: bool,
    /// Public IDs
    #[command(flatten)]
    ids: Ids,
}

#[derive(clap::Args)]
pub(crate) struct Ids {
    /// Public IDs
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

impl Ids {
    fn read(&self, context: &Context) -> Result<Vec<TokenId>, Failure> {
        self.ids.iter().map(|id| files::token_id(context, id)).collect()
    }

    fn yubikeys(&self, context: &Context) -> Result<Vec<PublicId>, Failure> {
        self.ids.iter().map(|id| files::public_id(context, id)).collect()
    }
}

pub(crate) fn run(context: &Context, verb: Verb) -> Done {
    match verb {
        Verb::Import(args) => import::run(context, &args),
        Verb::Export(args) => export::run(context, &args),
        Verb::New(args) => new::run(context, &args),
        Verb::List => show::list(context),
        Verb::Show(ids) => show::show(context, &ids.read(context)?),
        Verb::Disable(ids) => disable(context, &ids.read(context)?),
        Verb::Enable(ids) => enable(context, &ids.read(context)?),
        Verb::Remove(ids) => each(context, &ids.read(context)?, |settings, store, id| {
            // There is nothing to remove: whoever owns it, a key to import would be of no use.
            let removed = store.change()?.remove(id).map_err(|fault| match fault {
                Fault::NoKey { .. } => files::not_here(id),
                fault => fault.diagnostic(),
            })?;
            Ok(match removed {
                Removed::Key if settings.mode.asks_servers() && id.yubikey().is_some() => {
                    "removed: validation servers decide about it now; to keep it out, disable it (key disable) or take it from its user (remove)"
                }
                Removed::Key => "removed",
                Removed::Position => {
                    "no key here; its position is set aside, and goes on when a validation server accepts its OTP"
                }
            })
        }),
        Verb::Adopt(args) => adopt(context, args),
        Verb::RotateStoreKey(args) => rotate::run(context, &args),
    }
}

/// Rejects what these tokens type or show until they are enabled again.
pub(crate) fn disable(context: &Context, ids: &[TokenId]) -> Done {
    each(context, ids, |settings, store, id| {
        let did = match store.set_enabled(id, false) {
            // Servers may still accept a token that this host has never seen.
            Err(Fault::NoKey { .. }) if id.yubikey().is_some() && servers_may_decide(settings, id)? => {
                store.follow(id)?;
                store.set_enabled(id, false)?;
                "disabled (no key here, and no OTP of it was accepted here yet)"
            }
            done => done.map(|()| "disabled")?,
        };
        for user in log_of_owners(context, settings, "token-disable", id) {
            event::notify(context, store, &user, &format!("{} was disabled", event::yours(id)));
        }
        Ok(did)
    })
}

/// Accepts what these tokens type or show again.
pub(crate) fn enable(context: &Context, ids: &[TokenId]) -> Done {
    each(context, ids, |settings, store, id| {
        store.set_enabled(id, true)?;
        log_of_owners(context, settings, "token-enable", id);
        Ok("enabled")
    })
}

/// Logs a change of a token for each user who has it, or for none. Returns these users.
pub(crate) fn log_of_owners(
    context: &Context,
    settings: &Settings,
    event: &str,
    id: &TokenId,
) -> Vec<String> {
    // The change was made, also if a mapping cannot be read.
    let owners = assign::owners(settings, id).unwrap_or_default();
    let fields = [("tokens", id.to_string())];
    match owners.as_slice() {
        [] => event::log_host(context, event, &fields),
        owners => owners.iter().for_each(|user| event::log(context, event, user, &fields)),
    }
    owners
}

fn adopt(context: &Context, Adopt { new, ids }: Adopt) -> Done {
    let ids = ids.yubikeys(context)?;
    let settings = context.settings()?;
    let store = Store::new(&settings);
    // Before anything changes.
    for id in &ids {
        let known = store
            .change()?
            .is_known(&(*id).into())
            .map_err(|fault| files::if_unknown(&settings, &(*id).into(), fault.diagnostic()))?;
        if !new && !known {
            touches::needs_terminal(id).map_err(|_| {
                Failure::from(
                    Diagnostic::error(
                        Code::NoTerminal,
                        "nobody knows which of its OTPs were used, and standard input is no terminal: nothing was changed",
                    )
                    .at(Location::Token(id.to_string()))
                    .advise("run this at a terminal, where two touches of the YubiKey show it (key adopt in ykmap(1))"),
                )
            })?;
        }
    }
    let tokens: Vec<_> = ids.iter().copied().map(TokenId::from).collect();
    each(context, &tokens, |_, store, token| {
        let known = store.change()?.is_known(token)?;
        if known || new {
            return Ok(match store.change()?.adopt(token)? {
                Enrolled::Added if known => "adopted",
                Enrolled::Added => {
                    "adopted as new: if it was used on this host before, every OTP that it ever typed is valid once more"
                }
                Enrolled::Returned => "adopted, and goes on from where it was",
                Enrolled::Unchanged | Enrolled::Mended => "has its position already",
            });
        }
        let Some(id) = token.yubikey() else { return Err(Failure::input("only a YubiKey can be adopted")) };
        let credential = store.credential(&id)?;
        let position = touches::prove(&id, &Prover::Key(&credential))?;
        let change = store.change()?;
        let key = TokenKey::YubiKey(id, credential);
        change.is_known_as_no_other(&key)?;
        // Its position, if there is one, was never proved.
        change.prove(token, key.fingerprint(), position, None)?;
        Ok("adopted, and goes on from the second touch")
    })
}

/// Whether validation servers may decide about a token: by the settings, or, for all that is known here, by the
/// arguments in pam.d, if it is somebody's.
pub(crate) fn servers_may_decide(settings: &Settings, id: &TokenId) -> Result<bool, Failure> {
    if settings.mode.asks_servers() {
        return Ok(true);
    }
    for (_, text) in files::texts(settings)? {
        let lines = mapping::entries(&text).filter_map(|(_, line)| line.ok());
        for line in lines {
            if let Line::Entry { fields, .. } = line
                && fields.tokens().any(|own| own == *id)
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Does something to each token, and stops at the first that it cannot be done to.
fn each(
    context: &Context,
    ids: &[TokenId],
    act: impl Fn(&Settings, &Store, &TokenId) -> Result<&'static str, Failure>,
) -> Done {
    let settings = context.settings()?;
    let store = Store::new(&settings);
    let mut done = Vec::new();
    let all = ids.iter().enumerate().try_for_each(|(at, id)| {
        let did = act(&settings, &store, id).map_err(|failure| match failure {
            Failure::Fault(found) => files::if_unknown(&settings, id, *found).into(),
            shown => shown,
        });
        let did = did.inspect_err(|_| {
            let left: Vec<_> = ids.iter().skip(at).map(ToString::to_string).collect();
            if ids.len() > 1 {
                out::note(&format!("not done: {}", left.join(", ")));
            }
        })?;
        done.push(json!({ "id": id.to_string(), "done": did }));
        if !context.json {
            out::line(&format!("{id}: {did}"));
        }
        Ok(())
    });
    // Of a failure, the error is all that a script reads.
    if context.json && all.is_ok() {
        out::json(&json!(done));
    }
    all
}

/// Every token that has a key. What else lies among the keys is remarked on.
pub(crate) fn tokens(store: &Store) -> Result<Vec<TokenId>, Failure> {
    let (tokens, strays) = store.tokens()?;
    for stray in strays {
        out::note(&format!("{}: not a key: nothing reads it", stray.display()));
    }
    Ok(tokens)
}
