//! `ykwebd user`

pub(crate) mod app;
mod ask;
mod codes;
mod show;
mod tokens;
mod unlock;

use super::{Context, Done, Failure, Opened, out, set_password};
use serde_json::json;
use ykweb::clock;
use ykweb::user::UserName;
use yubiotp::TokenId;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Add a user. They sign in with the password that PAM or the password file has
    Add(One),
    /// List users, and how many tokens and recovery codes they have
    List,
    /// Show what a user has: tokens with their last use, and recovery codes left
    Show(One),
    /// Let a user sign in again
    Enable(One),
    /// Let a user not sign in any more, until they are enabled again
    Disable(One),
    /// Remove a user, their tokens and their recovery codes. Used OTPs and codes stay used
    Remove(One),
    /// Give a user a password in the password file, asked for twice and not shown
    SetPassword(set_password::Args),
    /// Give a user a YubiKey, by its public ID or by a touch
    AddYubikey(tokens::AddYubikey),
    /// Set up an authenticator app for a user: show a new secret once, and keep it after one right code
    AddApp(app::Args),
    /// Give a user four new recovery codes, shown once. Codes from before end
    NewRecoveryCodes(One),
    /// Accept single codes of a user again, after too many wrong ones. Used codes stay used
    Unlock(One),
    /// Accept a token of a user again
    EnableToken(OneToken),
    /// Accept a token of a user not any more, until it is enabled again
    DisableToken(OneToken),
    /// Take a token from a user. Its used OTPs and codes stay used if it comes back
    RemoveToken(OneToken),
}

#[derive(clap::Args)]
pub(crate) struct One {
    /// The user
    #[arg(value_name = "NAME", value_parser = parse_name)]
    name: UserName,
}

#[derive(clap::Args)]
pub(crate) struct OneToken {
    /// The user
    #[arg(value_name = "NAME", value_parser = parse_name)]
    name: UserName,
    /// The token, as `ykwebd user show` names it
    #[arg(value_name = "TOKEN", value_parser = tokens::parse_token)]
    token: TokenId,
}

pub(crate) fn parse_name(text: &str) -> Result<UserName, String> {
    UserName::parse(text).map_err(|why| format!("it {why}"))
}

pub(crate) fn run(context: &Context, verb: Verb) -> Done {
    match verb {
        Verb::Add(One { name }) => add(context, &name),
        Verb::List => show::list(context),
        Verb::Show(One { name }) => show::show(context, &name),
        Verb::Enable(One { name }) => set_enabled(context, &name, true),
        Verb::Disable(One { name }) => set_enabled(context, &name, false),
        Verb::Remove(One { name }) => remove(context, &name),
        Verb::SetPassword(args) => set_password::run(context, &args),
        Verb::AddYubikey(args) => tokens::add_yubikey(context, &args),
        Verb::AddApp(args) => app::add(context, &args),
        Verb::NewRecoveryCodes(One { name }) => codes::renew(context, &name),
        Verb::Unlock(One { name }) => unlock::run(context, &name),
        Verb::EnableToken(one) => tokens::set_enabled(context, &one, true),
        Verb::DisableToken(one) => tokens::set_enabled(context, &one, false),
        Verb::RemoveToken(one) => tokens::remove(context, &one),
    }
}

/// There is no user of this name.
fn none(name: &UserName) -> Failure {
    Diagnostic::error(Code::UserNotListed, "the web login does not know this user")
        .at(Location::User(name.to_string()))
        .run_when("to see which users there are", Program::Ykwebd, "user list")
        .run_when("to add them", Program::Ykwebd, format!("user add {name}"))
        .into()
}

fn add(context: &Context, name: &UserName) -> Done {
    let Opened { store, .. } = context.open()?;
    if !store.add_user(name, clock::now())? {
        let found = Diagnostic::error(Code::UserExists, "there is such a user already");
        return Err(found
            .at(Location::User(name.to_string()))
            .run_when("to see what they have", Program::Ykwebd, format!("user show {name}"))
            .into());
    }
    done(context, name, "added");
    if !context.json {
        let ykwebd = context.ykwebd();
        out::paragraphs(&format!(
            "Next, give them a second factor:\n  {ykwebd} user add-yubikey {name}\n  {ykwebd} user add-app {name}\n  \
             {ykwebd} user new-recovery-codes {name}"
        ));
    }
    Ok(())
}

fn set_enabled(context: &Context, name: &UserName, is_enabled: bool) -> Done {
    let Opened { store, .. } = context.open()?;
    if !store.set_user_enabled(name, is_enabled)? {
        return Err(none(name));
    }
    done(context, name, if is_enabled { "enabled" } else { "disabled" });
    Ok(())
}

fn remove(context: &Context, name: &UserName) -> Done {
    let Opened { store, .. } = context.open()?;
    if !store.remove_user(name)? {
        return Err(none(name));
    }
    done(context, name, "removed");
    Ok(())
}

fn done(context: &Context, name: &UserName, what: &str) {
    if context.json {
        out::json(&json!({ "user": name.as_str(), "done": what }));
    } else {
        out::line(&format!("user {name}: {what}"));
    }
}
