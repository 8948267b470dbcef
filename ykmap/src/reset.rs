//! `ykmap reset`: a user loses every factor.

use super::exchange::{Exchange, tokens_of, warn_of_mode};
use super::recovery::NewSet;
use super::{Context, Done, Failure, event, files, out, service, unlock};
use crate::recovery::{print, print_json};
use clap::ValueHint;
use serde_json::json;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use ykhost::mapping;
use ykhost::store::Store;
use yubiotp::diagnostic::{Code, Diagnostic, Location, shell_word};
use yubiotp::{TokenId, shown};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Give the user one recovery code, which lets them in once
    #[arg(long)]
    temporary_code: bool,
    /// Remove the user from the mapping and from those who enrolled, so that they are offered enrollment at their next login
    ///
    /// Without it, a user stays listed and is rejected. With it, they log in without a token until they enroll, wherever
    /// nullok or the policy lets in users who have none.
    #[arg(long, conflicts_with = "temporary_code")]
    enroll_again: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Folder of service files, in place of /etc/pam.d and those of the distribution; may be given several times
    #[arg(long = "pam-dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pam_dirs: Vec<PathBuf>,
    /// The user
    #[arg(value_hint = ValueHint::Username)]
    user: String,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let settings = context.settings()?;
    let (store, user) = (Store::new(&settings), args.user.as_str());
    let path = mapping::path_of(&settings.mapping, user)?;
    files::check_rights(context, &settings, &path, &format!("reset {}", shell_word(user.as_bytes())))?;
    let tokens = match tokens_of(&settings, user) {
        Err(_) if store.end_offer(user.as_bytes())? => return only_offered(context, user),
        tokens => tokens?,
    };
    service::warn_of_others(context, &settings, Some(user), &service::pam_dirs(&args.pam_dirs)?);
    if args.temporary_code {
        warn_of_mode(context, &settings);
    }
    if !args.yes {
        confirm(args, &tokens)?;
    }
    let set = args.temporary_code.then(|| NewSet::draw(&store, 1)).transpose()?;
    let coming = match &set {
        Some(set) => set.keys(&store.store_key()?),
        None => Vec::new(),
    };
    let listed: Vec<_> = set.iter().map(NewSet::token).collect();
    let exchange = Exchange {
        settings: &settings,
        user,
        tokens: &tokens,
        going: &tokens,
        coming: &coming,
        listed: &listed,
        stays: !args.enroll_again,
    };
    let names: Vec<_> = tokens.iter().map(ToString::to_string).collect();
    // An app that they began to set up is not offered again, nor can it be taken: somebody else may have seen its secret.
    store.end_offer(user.as_bytes())?;
    let removed = exchange.run(&store, || match (&set, context.json) {
        (set, true) => print_json(&json!({
            "user": user,
            "unassigned": names,
            "stays_listed": !args.enroll_again,
            "set": listed.first().map(ToString::to_string),
            "codes": set.as_ref().map(NewSet::texts).unwrap_or_default(),
        })),
        (Some(set), false) => print(&set.page(user)),
        (None, false) => Ok(()),
    })?;
    event::log(
        context,
        "reset",
        user,
        &[
            ("tokens", event::tokens(&tokens)),
            ("removed", event::tokens(&removed)),
            ("temporary-code", event::tokens(&listed)),
            ("listed", if args.enroll_again { "no" } else { "yes" }.to_owned()),
        ],
    );
    if !tokens.is_empty() {
        event::notify(context, &store, user, "All your tokens and recovery codes were removed");
    }
    // Nor one that was offered meanwhile.
    store.end_offer(user.as_bytes())?;
    unlock::refill(&store, user)?;
    if !context.json {
        say(context, args, &names, &removed);
    }
    Ok(())
}

/// Says that a user who is not listed had begun to enroll, and has to begin anew.
fn only_offered(context: &Context, user: &str) -> Done {
    event::log(context, "reset", user, &[("tokens", event::tokens(&[])), ("listed", "no".to_owned())]);
    if context.json {
        return print_json(&json!({ "user": user, "unassigned": [], "stays_listed": false }));
    }
    out::line(&format!(
        "{} had no token. The app that they began to set up cannot be enrolled any more",
        shown::text(user)
    ));
    Ok(())
}

fn say(context: &Context, args: &Args, unassigned: &[String], removed: &[TokenId]) {
    let user = args.user.as_str();
    let (name, ykmap, word) = (shown::text(user), context.ykmap(), shell_word(user.as_bytes()));
    match unassigned {
        [] => out::line(&format!("{name} had no token")),
        tokens => out::line(&format!("{name} no longer has {}", tokens.join(", "))),
    }
    if !removed.is_empty() {
        let removed: Vec<_> = removed.iter().map(ToString::to_string).collect();
        out::line(&format!("removed from the store: {}", removed.join(", ")));
    }
    if args.enroll_again {
        out::note(&format!(
            "{name} is not listed any more: at their next login they are offered enrollment where pam.d has enroll. Where \
             nullok or the policy does not require a token, they log in without one until then"
        ));
        return;
    }
    out::note(&match args.temporary_code {
        true => format!("{name} has this one code and no other token"),
        false => format!("{name} stays listed and is rejected until they get a token"),
    });
    out::notes(&format!(
        "next: {ykmap} totp add {word}, or {ykmap} add {word}\n\
         To have {name} enroll at their next login:\n  {ykmap} reset --enroll-again {word}"
    ));
}

/// Asks whether to go on.
fn confirm(args: &Args, tokens: &[TokenId]) -> Result<(), Failure> {
    let user = args.user.as_str();
    let name = shown::text(user);
    needs_terminal("asks before it resets a user", Location::user(user.as_bytes()))?;
    out::note(&format!("{name} loses every factor:"));
    if tokens.is_empty() {
        out::note("  no token is assigned");
    }
    for token in tokens {
        let what = match token {
            TokenId::YubiKey(_) => "unassigned; its key stays in the store",
            TokenId::Oath(_) => "unassigned, and removed from the store unless somebody else has it",
            TokenId::RecoverySet(_) | TokenId::RecoveryCode(..) => "invalid, and removed from the store",
        };
        out::note(&format!("  {token}: {what}"));
    }
    out::note(&match (args.temporary_code, args.enroll_again) {
        (true, _) => format!("{name} then gets in with one recovery code, once"),
        (_, true) => format!("{name} is then not listed, and can enroll again"),
        (false, false) => {
            format!("{name} then stays listed, and every login is rejected until they get a token")
        }
    });
    says_yes(&format!("Type yes to reset {name}: "))
}

/// Fails unless somebody is there to answer a question about what is removed. `why` begins the message.
pub(crate) fn needs_terminal(why: &str, at: Location) -> Result<(), Failure> {
    if std::io::stdin().is_terminal() {
        return Ok(());
    }
    let problem = format!("{why}, and standard input is no terminal: nothing was changed");
    let found = Diagnostic::error(Code::NoTerminal, problem).at(at);
    Err(found.advise("run the command at a terminal, or with --yes").into())
}

/// Asks for a yes. Anything else is exit status 1.
pub(crate) fn says_yes(question: &str) -> Result<(), Failure> {
    let answer = files::input_line(question)?;
    if answer.trim().eq_ignore_ascii_case("yes") {
        return Ok(());
    }
    out::note("nothing was changed");
    Err(Failure::No)
}
