//! `ykmap import google-authenticator`: `~/.google_authenticator` of accounts.

use super::plan::{Coming, Plan, Remark};
use crate::homes::{self, Found};
use crate::{Context, Done, Failure, out};
use clap::ValueHint;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use ykcli::input::{self, SHOWN};
use ykhost::clock;
use ykhost::settings::Settings;
use ykhost::store::Store;
use ykseeds::google_authenticator as file;
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::key::OathKey;
use yubiotp::oath::{self, Kind};
use yubiotp::shown;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Read and check everything, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Folder of passwd, in place of /etc
    #[arg(long, value_name = "DIR", default_value = "/etc", value_hint = ValueHint::DirPath)]
    accounts: PathBuf,
    /// The users [default: every account that has the file]
    #[arg(value_name = "USER", value_hint = ValueHint::Username)]
    users: Vec<String>,
}

pub(super) fn run(context: &Context, args: &Args) -> Done {
    let settings = context.settings()?;
    let store = Store::new(&settings);
    let accounts = homes::accounts(&args.accounts, &args.users)?;
    let (mut coming, mut problems) = (Vec::new(), Vec::new());
    let mut remarks = BTreeMap::<String, Vec<Remark>>::new();
    for account in &accounts {
        let found = match homes::file_of(account, NAME, file::MAX_BYTES) {
            Ok(Some(found)) => found,
            // Of everybody, those who have the file.
            Ok(None) if args.users.is_empty() => continue,
            Ok(None) => {
                let found = Diagnostic::error(Code::FileMissing, "does not exist");
                problems.push(found.at(Location::file(account.path(NAME).as_os_str().as_bytes())));
                continue;
            }
            Err(found) => {
                problems.push(found);
                continue;
            }
        };
        let path = account.path(NAME);
        match read(&settings, &account.name, &path, &found, !args.users.is_empty()) {
            Ok((token, said)) => {
                coming.push(token);
                remarks.insert(account.name.clone(), said);
            }
            Err(found) => problems.extend(found),
        }
    }
    let refuse = |problems: &[Diagnostic]| -> Failure {
        input::refuse(Path::new(NAME), problems.iter().map(|found| context.line(found))).into()
    };
    if !problems.is_empty() {
        return Err(refuse(&problems));
    }
    if coming.is_empty() {
        let found = Diagnostic::error(Code::NothingImported, "no account has a file .google_authenticator");
        return Err(found.at(Location::file(args.accounts.join("passwd").as_os_str().as_bytes())).into());
    }
    let change = store.change()?;
    let mut plan = Plan::check(&settings, &store, &change, coming, "ga-", args.dry_run)?;
    let problems = plan.problems();
    if !problems.is_empty() {
        return Err(refuse(&problems));
    }
    for (user, remark) in plan.remarks() {
        remarks.entry(user).or_default().push(remark);
    }
    plan.warn(context, &settings);
    if !args.dry_run {
        plan.write(&settings, &store, &change)?;
    }
    plan.say(context, args.dry_run, &|user| {
        let names = remarks.get(user).into_iter().flatten().map(|remark| json!(remark.name));
        Value::Array(names.collect())
    });
    let all: Vec<_> =
        remarks.iter().flat_map(|(user, of)| of.iter().map(move |remark| (user, remark))).collect();
    for (user, remark) in all.iter().take(SHOWN) {
        out::note(&format!("{}: {}", shown::text(user), remark.text));
    }
    if let Some(more) = all.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        out::note(&format!("{more} more remarks like these (--json names all)"));
    }
    if !args.dry_run {
        out::note(
            "next: replace pam_google_authenticator.so in /etc/pam.d, and then have these users remove ~/.google_authenticator, which has the secret in the clear",
        );
    }
    Ok(())
}

/// The file in a home.
pub(crate) const NAME: &str = ".google_authenticator";

/// The widest window that is imported, in seconds in each direction: 17 steps of 30 s, which google-authenticator offers.
pub(crate) const MOST_SECONDS: u16 = 240;
/// The same in codes ahead.
pub(crate) const MOST_AHEAD: u16 = 100;
/// In seconds.
const DAY: u64 = 86_400;

/// Whether the codes of this moment are not accepted, because some of them may have been used.
fn waits(said: &file::Account) -> bool {
    let Kind::Totp { period } = said.parameters.kind else { return false };
    let now = period.step_at(clock::unix()).saturating_add_signed(said.progress.drift.into());
    said.progress.next.is_some_and(|next| next.to_stored() > now.saturating_add(1))
}

/// What the file of a user says.
pub(crate) fn read(
    settings: &Settings,
    user: &str,
    path: &Path,
    found: &Found,
    is_named: bool,
) -> Result<(Coming, Vec<Remark>), Vec<Diagnostic>> {
    let path = path.as_os_str().as_bytes();
    let now = clock::unix();
    let said = file::read(&found.text, now).map_err(|problems| problems.diagnostics(path))?;
    // A position that follows from what the file records does not change with the time.
    let is_recorded =
        file::read(&found.text, now.saturating_add(DAY)).is_ok_and(|later| later.progress == said.progress);
    let mut remarks = Vec::new();
    let mut remark = |name, text: &str| remarks.push(Remark { name, text: text.to_owned() });
    if found.is_open {
        remark(
            "file-readable-by-others",
            "others may read .google_authenticator: the secret may be known to them",
        );
    }
    if waits(&said) {
        remark(
            "waits-for-the-next-code",
            "it is not known which codes were used, so those of this moment are not accepted",
        );
    }
    if said.rate_limit.is_some() {
        remark(
            "rate-limit-not-imported",
            "RATE_LIMIT is not imported: this module counts wrong codes itself",
        );
    }
    if !said.unknown.is_empty() {
        remark("unknown-options", "some options of .google_authenticator are not known, and not imported");
    }
    let (window, usual, most, unit) = match said.parameters.kind {
        Kind::Totp { period } => {
            let steps = u64::from(said.window.behind.max(said.window.ahead));
            (steps.saturating_mul(period.seconds()), settings.codes.usual.seconds, MOST_SECONDS, "seconds")
        }
        Kind::Hotp => (u64::from(said.window.ahead), settings.codes.usual.ahead, MOST_AHEAD, "codes"),
    };
    if window > u64::from(most) {
        remark(
            "window-capped",
            &format!("WINDOW_SIZE is more than is imported: the window will be {most} {unit}"),
        );
    }
    let window = u16::try_from(window).unwrap_or(most).min(most);
    if window > usual {
        remark(
            "window-wider",
            &format!(
                "the window of the token ({window} {unit}) is wider than this host's ({usual}), so guessing is easier"
            ),
        );
    }
    let mut digits: Vec<_> = said.emergency_codes.iter().map(|code| *code.expose()).collect();
    // A code that is there twice is accepted once.
    digits.sort_unstable();
    digits.dedup();
    let emergency = digits.iter().filter_map(|code| oath::Code::read(code)).collect();
    zeroize::Zeroize::zeroize(&mut digits);
    let coming = Coming {
        users: vec![user.to_owned()],
        is_named,
        is_recorded,
        key: OathKey { secret: said.secret, parameters: said.parameters },
        window: Some(window),
        progress: said.progress,
        emergency,
        place: Location::file(path),
    };
    Ok((coming, remarks))
}
