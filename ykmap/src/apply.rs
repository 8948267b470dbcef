//! `ykmap apply`: users, tokens, their states and the policy as a file declares them, for configuration management.

mod config;
mod declared;
mod export;
mod json;
mod plan;
mod show;
mod warnings;
mod write;

use super::exchange::finish;
use super::{Context, Done, Failure, files};
use clap::ValueHint;
use declared::Declared;
use plan::{Host, Plan};
use std::path::{Path, PathBuf};
use ykhost::Fault;
use ykhost::enrolled::{AllLists, LockedFiles};
use ykhost::file::{self, Audience, FileFault};
use ykhost::settings::Settings;
use ykhost::store::{Change, Store};
use yubiotp::diagnostic::{Diagnostic, shell_word};
use zeroize::Zeroizing;

#[derive(clap::Args)]
#[command(
    after_help = "Exit status: 0 as declared, or changed to be; 1 problems, nothing was changed; 2 something cannot be \
                        used; 3 differs (--dry-run)."
)]
pub(crate) struct Args {
    /// Only compare: print a line for each difference, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Confirm that an exclusive file leaves out so many of the listed users
    ///
    /// It is needed if more than half of the users with tokens would lose them.
    #[arg(long, value_name = "N")]
    yes_remove: Option<usize>,
    /// Print this host as a file that declares it
    #[arg(long, conflicts_with_all = ["dry_run", "yes_remove", "file"])]
    export: bool,
    /// The file, in TOML or JSON; - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "export")]
    file: Option<PathBuf>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let settings = context.settings()?;
    let store = Store::new(&settings);
    let Some(path) = &args.file else { return export::run(context, &settings, &store) };
    let declared = declared::read(path, &settings)?;
    match args.dry_run {
        true => check(context, args, &settings, &store, &declared),
        false => apply(context, args, (&settings, &store), path, &declared),
    }
}

fn names(declared: &Declared) -> impl Iterator<Item = &str> + Clone {
    declared.users.keys().map(String::as_str)
}

/// Compares, and changes nothing.
fn check(context: &Context, args: &Args, settings: &Settings, store: &Store, declared: &Declared) -> Done {
    let lists = AllLists::read(settings, names(declared))?;
    let config = match file::read(&settings.config, 64 << 10, Audience::Everyone) {
        Err(FileFault::Missing(_)) => None,
        text => Some(Zeroizing::new(text?)),
    };
    let unfinished = match store.unfinished() {
        Err(Fault::NoStore { .. }) if settings.mode.asks_servers() => false,
        unfinished => unfinished?.is_some(),
    };
    let host = Host { settings, store, lists: &lists, config, unfinished };
    let plan = plan::compare(host, declared, args.yes_remove)?;
    let warnings = warnings_of(context, settings, declared, &plan);
    show::plan(context, &plan, &warnings, show::Run::Check);
    match (plan.problems.is_empty(), plan.is_empty()) {
        (false, _) => Err(Failure::No),
        (true, true) => Ok(()),
        (true, false) => Err(Failure::Differs),
    }
}

/// Compares and changes, as one change of this host.
fn apply(
    context: &Context,
    args: &Args,
    (settings, store): (&Settings, &Store),
    path: &Path,
    declared: &Declared,
) -> Done {
    let words = format!("apply {}", shell_word(path.as_os_str().as_encoded_bytes()));
    files::check_rights(context, settings, Path::new(&settings.mapping), &words)?;
    let change = match store.change() {
        // Servers decide about every token, and there is nothing in a store to change.
        Err(Fault::NoStore { .. }) if settings.mode.asks_servers() => None,
        change => Some(change?),
    };
    let unfinished = interrupted(settings, change.as_ref())?;
    let mut files = LockedFiles::begin(settings, names(declared))?;
    let lists = files.lists.clone();
    let host = Host { settings, store, lists: &lists, config: files.config()?, unfinished };
    let plan = plan::compare(host, declared, args.yes_remove)?;
    let warnings = warnings_of(context, settings, declared, &plan);
    if !plan.problems.is_empty() {
        show::plan(context, &plan, &warnings, show::Run::Refused);
        return Err(Failure::No);
    }
    let finished = write::carry_out(settings, store, change.as_ref(), &mut files, &plan)?;
    drop((files, change));
    write::tell(context, settings, store, &plan);
    show::plan(context, &plan, &warnings, show::Run::Applied);
    finished.map(drop)
}

/// The warnings about a plan. One with problems is not carried out, so nobody needs to know what it would lead to.
fn warnings_of(context: &Context, settings: &Settings, declared: &Declared, plan: &Plan) -> Vec<Diagnostic> {
    match plan.problems.is_empty() {
        true => warnings::of(context, settings, declared, plan),
        false => Vec::new(),
    }
}

/// Finishes a change of users' tokens that was interrupted, before anything is compared. Returns whether there was one.
fn interrupted(settings: &Settings, change: Option<&Change<'_>>) -> Result<bool, Failure> {
    let Some(change) = change else { return Ok(false) };
    let was_interrupted = change.unfinished()?.is_some();
    if was_interrupted {
        finish(settings, change)?;
    }
    Ok(was_interrupted)
}
