//! `ykmap add`

use super::{Context, Done, Failure, assign, event, files, out, service};
use clap::ValueHint;
use serde_json::json;
use std::path::PathBuf;
use ykhost::decide::{self, LoginUser};
use ykhost::remedies::Remedies;
use ykhost::settings::LoginSettings;
use ykhost::store::{Store, plainly};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, Severity, shell_word};
use yubiotp::mapping::Enrolment;
use yubiotp::otp;
use yubiotp::policy::Methods;
use yubiotp::verdict::Verdict;
use yubiotp::{Reason, TokenId, shown};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The user
    #[arg(value_hint = ValueHint::Username)]
    user: String,
    /// Print no note about a user without an account on this host
    #[arg(long)]
    quiet: bool,
    /// Folder of service files, in place of /etc/pam.d and those of the distribution; may be given several times
    #[arg(long = "pam-dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pam_dirs: Vec<PathBuf>,
    /// OTPs, which are checked as at a login and used up, or public IDs, which are taken as they are [default:
    /// ask for a touch]
    #[arg(value_name = "OTP|ID")]
    tokens: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let settings = context.settings()?;
    let pam_dirs = service::pam_dirs(&args.pam_dirs)?;
    let store = Store::new(&settings);
    // Before anybody touches a YubiKey in vain.
    assign::check(context, &settings, &args.user, &format!("add {}", shell_word(args.user.as_bytes())))?;
    if !args.quiet {
        assign::note_unknown(context, &args.user);
    }
    service::warn_of_others(context, &settings, Some(&args.user), &pam_dirs);
    let mut ids = Vec::new();
    if args.tokens.is_empty() {
        // Before anybody touches a YubiKey in vain.
        let login = context.login_settings()?;
        let question =
            format!("Touch the YubiKey of {} (slot 2: for two seconds): ", shown::text(&args.user));
        let typed = files::input_line(&question)?;
        ids.push(touched(&login, &store, typed.trim(), &args.user)?);
    }
    for token in &args.tokens {
        let id = match TokenId::parse(token.as_bytes()) {
            // 32 modhex characters are the longest ID and the OTP of a token without one; a touch is likelier.
            Ok(id) if token.len() < 32 || id.yubikey().is_none() => id,
            Err(why) if token.trim().len() < 32 => {
                return Err(Failure::input(format!("{}: {why}", shown::quoted(token))));
            }
            _ => touched(&context.login_settings()?, &store, token, &args.user)?,
        };
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    if let Some(id) = ids.iter().find(|id| !settings.allows(id)) {
        let found = Diagnostic::error(Code::TokenRuledOut, "token_id_length in the settings rules it out")
            .at(Location::Token(id.to_string()))
            .advise("remove token_id_length: the mapping says what to look for");
        return Err(found.into());
    }
    let assigned = assign::assign(&settings, &args.user, &ids, || Ok(()))?;
    let new = &assigned.new;
    if !new.is_empty() {
        event::log(context, "add", &args.user, &[("tokens", event::tokens(new))]);
    }
    if context.json {
        let names = |ids: &[TokenId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        out::json(&json!({ "user": args.user, "tokens": names(&ids), "added": names(new) }));
    } else {
        for id in &ids {
            let did = if new.contains(id) { "now has" } else { "already has" };
            out::line(&format!("{} {did} token {id}", shown::text(&args.user)));
        }
    }
    assigned.note(context);
    assign::warn_of_tokens(context, &settings, &args.user, &ids);
    for id in &ids {
        let is_here = match id {
            TokenId::RecoverySet(set) => !store.recovery_codes(set)?.is_empty(),
            id => store.keys()?.has(&id.to_string())?,
        };
        let is_asked_about = settings.mode.asks_servers() && id.yubikey().is_some();
        if !is_asked_about && !is_here {
            if id.yubikey().is_some_and(|id| id.factory_serial().is_some()) {
                context.note(&no_key(*id).with_severity(Severity::Warning));
                continue;
            }
            out::note(&format!(
                "nothing in the store for {id} yet: until it is imported, what it shows is rejected"
            ));
        }
    }
    Ok(())
}

/// The token that made this OTP. The OTP is decided about, and used up, as at a login.
fn touched(settings: &LoginSettings, store: &Store, typed: &str, user: &str) -> Result<TokenId, Failure> {
    let readings = otp::readings(typed.as_bytes())
        .map_err(|why| Failure::from(why.diagnostic().advise("type one OTP, or give a public ID")))?;
    let keys = store.keys()?;
    let mut candidates: Vec<_> =
        readings.filter_map(|reading| reading.whole_id().map(TokenId::from)).collect();
    candidates.dedup();
    let Some(first) = candidates.first().copied() else {
        return Err(Failure::input("more was typed than one OTP"));
    };
    let mut known = Vec::new();
    for id in candidates {
        if settings.mode.asks_servers() || keys.has(&id.to_string())? {
            known.push(id);
        }
    }
    if known.is_empty() {
        return Err(Remedies::default().for_user(no_key(first), user.as_bytes()).into());
    }
    let listed = Enrolment::Listed(known);
    let user = LoginUser::new(user.as_bytes().to_vec());
    let decided = decide::judge(settings, &user, typed.as_bytes(), &listed, Methods::ALL, plainly)?;
    match decided.judgement.verdict {
        Verdict::Accepted(receipt) => Ok(receipt.token()),
        Verdict::Rejected(reason @ Reason::Replayed { .. }) => {
            Err(reason.diagnostic().advise("touch the YubiKey again").into())
        }
        Verdict::Rejected(reason) => Err(reason.diagnostic().into()),
        Verdict::NotEnrolled => Err(Failure::input("not decided")),
    }
}

/// The store has no key for the token of an OTP. Of a YubiKey from the factory, that is slot 1: a short touch.
fn no_key(token: TokenId) -> Diagnostic {
    if let Some(serial) = token.yubikey().and_then(|id| id.factory_serial()) {
        return Diagnostic::error(
            Code::FactorySlot,
            format!("this is the factory slot of YubiKey {serial}, whose key only Yubico has"),
        )
        .advise("touch for two seconds to use slot 2")
        .run_when("to program slot 2 first", Program::Ykmap, "key new");
    }
    Diagnostic::error(Code::KeyMissing, format!("the store has no key for token {token}"))
        .run_when("if the token was used on this host", Program::Ykmap, "key import --used FILE")
        .run_when("if it never was", Program::Ykmap, "key import FILE")
        .run_when("to assign it without a check", Program::Ykmap, format!("add USER {token}"))
}
