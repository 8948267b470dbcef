//! `ykmap migrate`: a host that asks by another module asks by this one. Without `--write`, it shows what would change.

mod codes;
mod config;
mod old;
mod openbsd;
mod plan;
mod record;
mod rewrite;
mod show;
mod stacks;
mod u2f;
mod undo;
mod write;
mod yubico;

use crate::{Context, Done, service, system};
use clap::ValueHint;
use old::Old;
use plan::Plan;
use std::path::PathBuf;

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Replace pam_yubico: its lines in pam.d, its mappings, and the validation servers that it asks
    #[command(name = "pam_yubico", alias = "yubico")]
    Yubico(YubicoArgs),
    /// Replace pam_google_authenticator: its lines in pam.d, and the files in homes
    #[command(aliases = ["pam_google_authenticator", "google_authenticator"])]
    GoogleAuthenticator(CodeArgs),
    /// Replace pam_oath: its lines in pam.d, and its users file
    #[command(alias = "pam_oath")]
    Oath(CodeArgs),
    /// Take over the keys and counters of OpenBSD's login_yubikey
    #[command(name = "login_yubikey")]
    LoginYubikey(OpenBsdArgs),
    /// Say what to do about pam_u2f, whose keys cannot be moved
    #[command(aliases = ["pam_u2f", "u2f"], after_help = "Exit status: 0 nothing asks pam_u2f, 1 something does, 2 it could not look.")]
    U2fNotice(Hosts),
}

/// How every migration ends.
const EXIT_STATUS: &str = "\
Without --write it shows the plan and changes nothing. Nothing undoes a migration by itself: keep a root shell open until a \
login from a second terminal works; if it does not, run the command with --undo.

Exit status: 0 nothing is left to do; 1 all was done that can be, and a line or a user is left; 2 nothing was written; 3 \
there is something to do, or a file of another tool is left.";

/// What to do.
#[derive(clap::Args)]
struct How {
    /// Do it. All or nothing, with backups
    #[arg(long)]
    write: bool,
    /// Show the plan, and change nothing: the default
    #[arg(long, conflicts_with_all = ["write", "undo"])]
    dry_run: bool,
    /// Undo what --write did: pam.d, config.toml and the mapping are as before. Used OTPs stay used
    #[arg(long, conflicts_with = "write")]
    undo: bool,
}

/// Where pam.d and the accounts are.
#[derive(clap::Args)]
pub(crate) struct Hosts {
    /// Folder of service files, in place of /etc/pam.d and those of the distribution; may be given several times
    #[arg(long = "pam-dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pam_dirs: Vec<PathBuf>,
    /// Folder of passwd, in place of /etc
    #[arg(long, value_name = "DIR", default_value = "/etc", value_hint = ValueHint::DirPath)]
    accounts: PathBuf,
    /// Look into the homes of these users too, whom passwd does not list
    #[arg(value_name = "USER", value_hint = ValueHint::Username)]
    users: Vec<String>,
}

#[derive(clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(crate) struct YubicoArgs {
    #[command(flatten)]
    how: How,
    /// File of USER:ID lines, which a directory or a database had
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    mapping: Option<PathBuf>,
    /// Decide as config.toml says, and not by the servers of the lines
    #[arg(long)]
    keep_config: bool,
    #[command(flatten)]
    hosts: Hosts,
}

#[derive(clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(crate) struct CodeArgs {
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    hosts: Hosts,
}

#[derive(clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(crate) struct OpenBsdArgs {
    #[command(flatten)]
    how: How,
    /// Copy of the folder /var/db/yubikey
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, required_unless_present = "undo")]
    from: Option<PathBuf>,
    /// File of USER:ID lines: the public IDs, which login_yubikey does not know [default: those of the mapping]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    ids: Option<PathBuf>,
}

/// The name of the record of login_yubikey.
const LOGIN_YUBIKEY: &str = "migrate-login_yubikey";

pub(crate) fn run(context: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::Yubico(args) => {
            let source = plan::Request { keep_config: args.keep_config, exported: args.mapping.as_deref() };
            of_module(context, Old::Yubico, &args.how, &args.hosts, source)
        }
        Verb::GoogleAuthenticator(args) => {
            of_module(context, Old::GoogleAuthenticator, &args.how, &args.hosts, plan::Request::default())
        }
        Verb::Oath(args) => of_module(context, Old::Oath, &args.how, &args.hosts, plan::Request::default()),
        Verb::LoginYubikey(args) => of_login_yubikey(context, args),
        Verb::U2fNotice(hosts) => {
            let folders = service::pam_dirs(&hosts.pam_dirs)?;
            u2f::run(context, &folders, &yubico::accounts(&hosts.accounts, &hosts.users)?)
        }
    }
}

fn of_module(context: &Context, old: Old, how: &How, hosts: &Hosts, request: plan::Request<'_>) -> Done {
    let settings = context.settings()?;
    if how.undo {
        finish(context, &settings.store)?;
        return undo::run(context, &settings, &old.change());
    }
    if how.write {
        finish(context, &settings.store)?;
    }
    let folders = service::pam_dirs(&hosts.pam_dirs)?;
    let accounts = yubico::accounts(&hosts.accounts, &hosts.users)?;
    let place = plan::Place { old, folders: &folders, accounts: &accounts, named: &hosts.users };
    // Held until everything is written: of two at once, the second finds what the first did.
    let store = ykhost::store::Store::new(&settings);
    let change = store.change()?;
    let plan = Plan::of(context, &settings, (&store, &change), &place, request, how.write)?;
    let left = plan.left();
    if how.write && !plan.is_blocked() && !plan.is_done() {
        let done = write::run(context, &settings, (&store, &change), &place, plan)?;
        show::done(context, &place, &done);
        return left;
    }
    show::plan(context, &settings, &place, &plan, how.write)?;
    left
}

fn of_login_yubikey(context: &Context, args: &OpenBsdArgs) -> Done {
    let settings = context.settings()?;
    let Some(from) = args.from.as_deref().filter(|_| !args.how.undo) else {
        return undo::run(context, &settings, LOGIN_YUBIKEY);
    };
    let store = ykhost::store::Store::new(&settings);
    let change = store.change()?;
    if args.how.write {
        crate::exchange::finish(&settings, &change)?;
    }
    let keys = openbsd::Keys::of(&settings, &store, &change, from, args.ids.as_deref())?;
    if args.how.write && !keys.is_blocked() && !keys.is_done() {
        write::keys(context, &settings, &change, &keys)?;
        show::keys(context, &keys, true)?;
        return keys.left();
    }
    show::keys(context, &keys, false)?;
    keys.left()
}

/// Undoes changes of the host's files that were interrupted. One that cannot be undone was named before this verb began, and
/// is refused where it is met.
fn finish(context: &Context, store: &std::path::Path) -> Done {
    for undone in system::finish_interrupted(store)?.into_iter().flatten() {
        context.note(&undone.diagnostic());
    }
    Ok(())
}
