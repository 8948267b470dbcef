//! `ykwebd user add-yubikey`, and what is done with one token.

use super::{Context, Done, Failure, OneToken, Opened, UserName, ask, none, out, parse_name};
use crate::cli::runtime;
use serde_json::json;
use std::sync::Arc;
use tokio::runtime::Runtime;
use ykweb::clock;
use ykweb::config::Validation;
use ykweb::second_factor::SecondFactor;
use ykweb::store::{Added, Store};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::seal::StoreKeys;
use yubiotp::{PublicId, Serial, TokenId, Verdict, otp, shown};
use zeroize::Zeroizing;

#[derive(clap::Args)]
pub(crate) struct AddYubikey {
    /// The user
    #[arg(value_name = "NAME", value_parser = parse_name)]
    name: UserName,
    /// Its public ID: what its OTPs begin with [default: ask for a touch, which validation servers check and use up]
    #[arg(value_name = "PUBLIC_ID", value_parser = parse_id)]
    id: Option<PublicId>,
    /// What the user calls it: `blue`
    #[arg(long, default_value = "", hide_default_value = true, value_parser = label)]
    label: String,
}

fn parse_id(text: &str) -> Result<PublicId, String> {
    PublicId::parse(text.as_bytes()).map_err(|why| why.to_string())
}

/// A token on the command line: a public ID, or `oath-SERIAL`, or only that serial number.
pub(super) fn parse_token(text: &str) -> Result<TokenId, String> {
    match TokenId::parse(text.as_bytes()) {
        Ok(token @ (TokenId::YubiKey(_) | TokenId::Oath(_))) => Ok(token),
        Ok(_) => Err("it names recovery codes: `ykwebd user new-recovery-codes` replaces them".to_owned()),
        Err(why) => Serial::new(text).map(TokenId::Oath).ok_or_else(|| why.to_string()),
    }
}

/// What a user calls a token: at most 60 characters, all of them printable.
pub(super) fn label(text: &str) -> Result<String, String> {
    let label = text.trim();
    if label.chars().count() > 60 || !label.chars().all(shown::is_printable) {
        return Err("a label has at most 60 characters, all of them printable".to_owned());
    }
    Ok(label.to_owned())
}

pub(super) fn add_yubikey(context: &Context, args: &AddYubikey) -> Done {
    let Opened { config, store, keys } = context.open()?;
    let name = &args.name;
    store.account(name)?.ok_or_else(|| none(name))?;
    let has_servers = config.validation.is_some();
    let (id, touch) = match args.id {
        Some(id) => (id, None),
        None => {
            // What keeps servers from deciding about the touch is found before anybody touches.
            let factor = Factor::new(name, store.clone(), keys, config.validation)?;
            let touched = ask::line("Touch the YubiKey: ")?;
            (id_in(&touched)?, Some((factor, touched)))
        }
    };
    let token = TokenId::YubiKey(id);
    let added = store.add_yubikey(name, id, &args.label, clock::now())?;
    if let (Added::Added, Some((factor, touched))) = (&added, &touch)
        && let Err(why) = factor.check(name, touched)
    {
        // Nobody gets a token that is not accepted.
        store.remove_token(name, &token)?;
        return Err(why);
    }
    tell_added(context, name, &token, added, true)?;
    if !has_servers {
        let problem = "no validation server is configured, so the OTPs of YubiKeys are not accepted yet";
        let found = Diagnostic::warning(Code::NoServers, problem);
        context.note(&found.advise("set servers, client_id and api_key_file in the table [validation]"));
    }
    Ok(())
}

/// The public ID of an OTP that is all of the answer.
fn id_in(answer: &str) -> Result<PublicId, Failure> {
    let readings = otp::readings(answer.as_bytes()).map_err(|why| Failure::from(why.diagnostic()))?;
    // What validation servers know is modhex, whatever the keyboard.
    let id = readings.into_iter().find_map(|reading| reading.whole_id());
    id.ok_or_else(|| Failure::input("more was typed than one OTP"))
}

/// What decides about the touch, as at a login.
struct Factor {
    factor: SecondFactor,
    /// Where it asks servers.
    _runtime: Runtime,
}

impl Factor {
    /// Fails if no server could be asked.
    fn new(
        name: &UserName,
        store: Store,
        keys: StoreKeys,
        validation: Option<Validation>,
    ) -> Result<Self, Failure> {
        if validation.is_none() {
            let problem = "no validation server is configured, so nobody can say whether a touch is good";
            let found = Diagnostic::error(Code::NoServers, problem);
            let found = found.at(Location::Setting("validation".to_owned()));
            return Err(found
                .advise("set servers, client_id and api_key_file in the table [validation]")
                .run_when(
                    "to add it unchecked",
                    Program::Ykwebd,
                    format!("user add-yubikey {name} PUBLIC_ID"),
                )
                .into());
        }
        let runtime = runtime()?;
        let factor = SecondFactor::new(store, Arc::new(keys), validation, runtime.handle().clone())?;
        Ok(Self { factor, _runtime: runtime })
    }

    /// Has validation servers decide about an OTP of a token that the user has now. It is used up.
    fn check(&self, name: &UserName, otp: &Zeroizing<String>) -> Done {
        let refused = match self.factor.judge(name, otp.as_bytes(), clock::now().unsigned_abs()) {
            Err(fault) => fault,
            Ok(judged) => match (judged.verdict, judged.finding) {
                (Verdict::Accepted(_), _) => return Ok(()),
                (_, Some(found)) => found,
                (_, None) => return Err(Failure::No),
            },
        };
        Err(Diagnostic { problem: format!("the token was not added: {}", refused.problem), ..refused }.into())
    }
}

/// Says what became of adding a token. Who has it already is a failure.
pub(super) fn tell_added(
    context: &Context,
    name: &UserName,
    token: &TokenId,
    added: Added,
    says_so: bool,
) -> Done {
    match added {
        Added::Added => {
            if says_so {
                tell(context, name, token, "added");
            }
            Ok(())
        }
        Added::NoUser => Err(none(name)),
        Added::Taken(owner) => {
            let whose =
                if owner == *name { "is this user's already".to_owned() } else { format!("is {owner}'s") };
            let found = Diagnostic::error(Code::TokenAssigned, whose).at(Location::Token(token.to_string()));
            let verb = format!("user remove-token {owner} {token}");
            Err(found.run_when("if it changes hands", Program::Ykwebd, verb).into())
        }
    }
}

pub(super) fn set_enabled(context: &Context, one: &OneToken, is_enabled: bool) -> Done {
    let Opened { store, .. } = context.open()?;
    store.account(&one.name)?.ok_or_else(|| none(&one.name))?;
    if !store.set_token_enabled(&one.name, &one.token, is_enabled)? {
        return Err(not_theirs(one));
    }
    tell(context, &one.name, &one.token, if is_enabled { "enabled" } else { "disabled" });
    Ok(())
}

pub(super) fn remove(context: &Context, one: &OneToken) -> Done {
    let Opened { store, .. } = context.open()?;
    store.account(&one.name)?.ok_or_else(|| none(&one.name))?;
    if !store.remove_token(&one.name, &one.token)? {
        return Err(not_theirs(one));
    }
    tell(context, &one.name, &one.token, "removed");
    Ok(())
}

fn not_theirs(one: &OneToken) -> Failure {
    Diagnostic::error(Code::TokenNotAssigned, format!("user {} does not have this token", one.name))
        .at(Location::Token(one.token.to_string()))
        .run_when("to see their tokens", Program::Ykwebd, format!("user show {}", one.name))
        .into()
}

fn tell(context: &Context, name: &UserName, token: &TokenId, what: &str) {
    if context.json {
        out::json(&json!({ "user": name.as_str(), "token": token.to_string(), "done": what }));
    } else {
        out::line(&format!("user {name}: token {token} {what}"));
    }
}
