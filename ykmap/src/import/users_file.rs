//! `ykmap import oath`: the users file of pam_oath.

use super::plan::{Coming, Plan};
use crate::{Context, Done, out};
use clap::ValueHint;
use serde_json::json;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use ykcli::input::{self, SHOWN};
use ykhost::clock;
use ykhost::store::Store;
use ykseeds::usersfile::{self, Pin};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::key::OathKey;
use yubiotp::oath::Kind;
use yubiotp::shown;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Read and check everything, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// The users file, such as /etc/users.oath; - for standard input
    #[arg(value_name = "USERSFILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// The users [default: everybody in the file]
    #[arg(value_name = "USER", value_hint = ValueHint::Username)]
    users: Vec<String>,
}

pub(super) fn run(context: &Context, args: &Args) -> Done {
    let name = args.file.as_os_str().as_bytes();
    let file = input::named(&args.file)?;
    let refuse =
        |problems: Vec<_>| input::refuse(&args.file, problems.iter().map(|found| context.line(found)));
    let tokens =
        usersfile::read(&file.text, clock::unix()).map_err(|problems| refuse(problems.diagnostics(name)))?;
    if file.is_open {
        input::note_open(&args.file, "secrets");
    }
    let settings = context.settings()?;
    let store = Store::new(&settings);
    let change = store.change()?;
    let (mut coming, mut pins, mut found) = (Vec::new(), Vec::new(), BTreeSet::new());
    for token in tokens {
        let place = match token.users.first() {
            Some(user) => Location::line(name, user.line),
            None => Location::file(name),
        };
        let is_wanted = |name: &String| args.users.is_empty() || args.users.contains(name);
        let users = token.users.iter().filter(|user| is_wanted(&user.name));
        pins.extend(users.clone().filter(|user| user.pin != Pin::None).cloned());
        let mut users: Vec<_> = users.map(|user| user.name.clone()).collect();
        users.sort_unstable();
        users.dedup();
        found.extend(users.iter().cloned());
        if users.is_empty() {
            continue;
        }
        coming.push(Coming {
            users,
            is_named: !args.users.is_empty(),
            is_recorded: token.parameters.kind == Kind::Hotp,
            key: OathKey { secret: token.secret, parameters: token.parameters },
            window: None,
            progress: token.progress,
            emergency: Vec::new(),
            place,
        });
    }
    if let Some(missing) = args.users.iter().find(|user| !found.contains(*user)) {
        let found = Diagnostic::error(Code::UserUnknown, "has no line in the file: nothing was imported");
        return Err(found.at(Location::user(missing.as_bytes())).advise("check the spelling").into());
    }
    let mut plan = Plan::check(&settings, &store, &change, coming, "pam-", args.dry_run)?;
    let problems = plan.problems();
    if !problems.is_empty() {
        return Err(refuse(problems).into());
    }
    plan.warn(context, &settings);
    if !args.dry_run {
        plan.write(&settings, &store, &change)?;
    }
    let pin_of = |name: &str| pins.iter().find(|user| user.name == name).map(|user| user.pin);
    plan.say(context, args.dry_run, &|user| match pin_of(user) {
        Some(_) => json!(["pin-not-imported"]),
        None => json!([]),
    });
    for user in pins.iter().take(SHOWN) {
        let what = match user.pin {
            Pin::CheckedElsewhere => {
                "pam_oath had another module check a password in front of the code; this module hands it on"
            }
            Pin::Stored | Pin::None => "the PIN is not imported: nobody asks for it any more",
        };
        out::note(&format!(
            "{}: line {}: {}: {what}",
            args.file.display(),
            user.line,
            shown::text(&user.name)
        ));
    }
    if let Some(more) = pins.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        out::note(&format!("{}: {more} more PINs are not imported", args.file.display()));
    }
    if !args.dry_run {
        out::note(&format!(
            "next: replace pam_oath.so in /etc/pam.d, and then remove {}, which has the secrets in the clear",
            args.file.display()
        ));
    }
    Ok(())
}
