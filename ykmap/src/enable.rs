//! `ykmap enable`

use super::doctor::{ACCOUNTS, PATIENCE, without_token};
use super::switch::plan::{After, Plan, Request, plan};
use super::switch::stage::Stage;
use super::switch::trial::Trial;
use super::switch::{
    Host, Places, changes_of, config_argument, deadline, files_of, shown_name, shown_names, store,
};
use super::system::{self, FileChange, UNDONE_AFTER};
use super::{Context, Done, Failure, account, event, out};
use clap::ValueHint;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;
use std::path::{Path, PathBuf};
use ykcli::time;
use ykhost::store::Store;
use ykhost::{clock, mapping};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};
use yubiotp::mapping::Enrolment;
use yubiotp::shown;

#[derive(clap::Args)]
#[command(
    after_help = "The change is undone after ten minutes unless you keep it. Log in from a second terminal; if that works: \
                  ykmap enable --keep SERVICE.\n\nExit status: 0 done, 1 the trial was rejected, 2 it cannot be enabled, 3 \
                  --dry-run would change something."
)]
pub(crate) struct Args {
    /// The service: sudo (and sudo -i), ssh, su (and su -), login, polkit, or the name of a file in pam.d. ssh is the file sshd
    /// with its sshd_config, polkit the file polkit-1
    #[arg(value_name = "SERVICE", value_parser = NonEmptyStringValueParser::new(), required_unless_present = "undo_due")]
    service: Option<String>,
    /// Keep the change: it is no longer undone
    #[arg(long, conflicts_with_all = ["undo", "dry_run"])]
    keep: bool,
    /// Undo the change: the files are as before
    #[arg(long, conflicts_with_all = ["dry_run", "yes"])]
    undo: bool,
    /// Show the difference, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The user whose login is tried [default: you, before sudo; for su, root]
    #[arg(long, value_name = "USER", value_parser = NonEmptyStringValueParser::new(), value_hint = ValueHint::Username)]
    user: Option<String>,
    /// Try no login; needs --yes
    #[arg(long)]
    no_try: bool,
    /// Confirm --no-try, or --keep of a change that is made now
    #[arg(long)]
    yes: bool,
    /// For ssh: what users show before the OTP. It sets AuthenticationMethods
    #[arg(long, value_name = "FACTOR")]
    after: Option<After>,
    /// Accept that users whom a line of pam.d or a Match of sshd_config exempts are not asked
    #[arg(long)]
    with_exemptions: bool,
    /// Module to name in the line [default: pam_yubiotp.so]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    module: Option<PathBuf>,
    /// Program that tries a login [default: /usr/libexec/yubiotp/yubiotp-try]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    try_program: Option<PathBuf>,
    /// Wait until the deadlines of changes that nobody has kept, and undo these: for yubiotp-undo.service
    #[arg(long, exclusive = true)]
    undo_due: bool,
    /// Folder of passwd and shadow: which accounts have no token [default: /etc; none with --pam-dir]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    accounts: Option<PathBuf>,
    #[command(flatten)]
    places: Places,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let Some(service) = args.service.as_deref().filter(|_| !args.undo_due) else {
        return deadline::wait(context);
    };
    let host = args.places.host()?;
    let names = changes_of(service);
    if args.undo {
        let (store, mut names) = (store(context)?, names.into_iter());
        let mut undone = system::undo(&store, &names.next().unwrap_or_default());
        if let (Err(Failure::Fault(found)), Some(name)) = (&undone, names.next())
            && found.code == Code::ChangeUnknown
        {
            undone = system::undo(&store, &name);
        }
        let undone = undone?;
        deadline::log(context, &undone);
        return say_undone(context, service, &undone);
    }
    if args.keep {
        let store = store(context)?;
        for name in &names {
            if system::keep(&store, name)? {
                event::log_host(context, "service-kept", &[("service", service.to_owned())]);
                return say_kept(context, &host, service);
            }
        }
    }
    let module = module(context, args)?;
    let request = Request { service, module: &module, after: args.after, exempt: args.with_exemptions };
    let plan = plan(&host, &request).or_else(|why| {
        // More likely that it was never enabled.
        check_consent(args, service)?;
        Err(why)
    })?;
    if plan.set.is_empty() {
        return asks_already(context, service, &plan);
    }
    if args.dry_run {
        show(context, service, &plan, &without(context, args, &host), true);
        return Err(Failure::Differs);
    }
    check_consent(args, service)?;
    // Before anybody reads a difference.
    Store::new(&context.settings()?).positions()?;
    // Setup has shown it, before its question.
    if !context.is_guided {
        show(context, service, &plan, &without(context, args, &host), false);
    }
    make(context, args, &host, service, plan)
}

/// Tries the change, and makes it.
fn make(context: &Context, args: &Args, host: &Host, service: &str, plan: Plan) -> Done {
    let store = store(context)?;
    check_root(context, host, service)?;
    plan.set.check()?;
    let stage = Stage::new(&store)?;
    plan.check_sshd(&stage)?;
    if !args.no_try {
        plan.stage(host, &stage)?;
        let user = user_to_try(args, &plan.service)?;
        has_token(context, &user)?;
        let program = args.try_program.as_deref();
        Trial { program, service: &plan.service, user: &user }.run(context, &stage)?;
    }
    drop(stage);
    let keeps_it = args.keep;
    let guard = deadline::guard(context)?;
    let until = (!keeps_it).then(|| clock::unix().saturating_add(UNDONE_AFTER));
    let exempt = exempt_json(&plan);
    let asked = plan.asked;
    let is_new = |file: &&FileChange| file.before.is_none() && file.after.is_some();
    let new: Vec<_> = plan.set.files.iter().filter(is_new).map(|file| file.path.clone()).collect();
    let made = plan.set.commit(&store, until)?;
    drop(guard);
    if until.is_some() && host.is_usual {
        deadline::at_boot(context);
    }
    event::log_host(context, "service-enabled", &[("service", service.to_owned())]);
    if context.json {
        out::json(&json!({
            "service": service, "changed": true, "deadline": made.deadline, "backups": made.backups,
            "new_files": new,
            "keep": made.deadline.map(|_| keep_command(context, service)),
            "exempt": exempt,
        }));
        return Ok(());
    }
    for (name, both) in &asked {
        let name = shown_name(name);
        out::line(&format!("{name} now asks for a YubiKey: users get in by {}", both.ways));
        for whom in &both.exempt {
            out::line(&format!("{name}: not asked: {whom}"));
        }
    }
    for backup in &made.backups {
        out::line(&format!("the former file is {}", backup.display()));
    }
    for file in &new {
        out::line(&format!("new file {}", file.display()));
    }
    if let Some(until) = made.deadline.filter(|_| !context.is_guided) {
        say_deadline(context, service, until);
    }
    Ok(())
}

/// `14:32`, of seconds since 1970.
fn clock_time(seconds: u64) -> String {
    time::utc(seconds).split(' ').nth(1).unwrap_or_default().to_owned()
}

fn keep_command(context: &Context, service: &str) -> String {
    format!("{} enable --keep {}", context.ykmap(), shell_word(service.as_bytes()))
}

/// Each service that has users whom a line exempts, and these, in words.
fn exempt(plan: &Plan) -> impl Iterator<Item = (&String, &String)> {
    plan.asked.iter().flat_map(|(name, both)| both.exempt.iter().map(move |whom| (name, whom)))
}

fn exempt_json(plan: &Plan) -> Vec<serde_json::Value> {
    exempt(plan).map(|(name, whom)| json!({ "service": name, "users": whom })).collect()
}

/// The accounts that have no token.
fn without(context: &Context, args: &Args, host: &Host) -> Vec<String> {
    let folder = args.accounts.as_deref().or(host.is_usual.then_some(Path::new(ACCOUNTS)));
    let settings = context.settings().ok();
    folder.and_then(|folder| without_token(settings.as_ref(), folder, PATIENCE)).unwrap_or_default()
}

/// Shows the difference.
fn show(context: &Context, service: &str, plan: &Plan, without: &[String], is_dry: bool) {
    let diff = plan.set.diff();
    match context.json {
        true if is_dry => {
            let files: Vec<_> = plan.set.files.iter().map(|file| &file.path).collect();
            out::json(&json!({
                "service": service, "changed": true, "diff": diff, "files": files, "without_token": without,
                "exempt": exempt_json(plan),
            }));
        }
        true => {}
        false => {
            show_diff(&diff);
            for (name, whom) in exempt(plan) {
                out::note(&format!("{name} will not ask users whom a line exempts, as now: {whom}"));
            }
            if !without.is_empty() {
                out::note(&rejects(service, without));
            }
        }
    }
}

/// Whom a service rejects from now on.
pub(crate) fn rejects(service: &str, without: &[String]) -> String {
    let (names, service) = (account::first_of(without), shown_name(files_of(service).0));
    format!("{service} will reject accounts that need a token and have none. Without one are: {names}.")
}

/// Prints a difference, with its tabs.
pub(crate) fn show_diff(diff: &str) {
    for line in diff.lines() {
        let parts: Vec<_> = line.split('\t').map(|part| shown::line(part).to_string()).collect();
        out::raw(&format!("{}\n", parts.join("\t")));
    }
}

/// Whoever changes a login says so, unless a trial proves that it works.
fn check_consent(args: &Args, service: &str) -> Result<(), Failure> {
    let confirm = |problem: &str| {
        Err(Diagnostic::error(Code::InputInvalid, problem)
            .at(Location::Service(service.to_owned()))
            .run_when(
                "to enable it first, undone unless you keep it",
                Program::Ykmap,
                format!("enable {}", shell_word(service.as_bytes())),
            )
            .advise("or add --yes")
            .into())
    };

    if args.keep && !args.yes {
        return confirm("no change of it waits to be kept, and --keep would make one that is never undone");
    }
    if args.no_try && !args.yes {
        return confirm("--no-try would change a login that nobody has tried");
    }
    Ok(())
}

fn check_root(context: &Context, host: &Host, service: &str) -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() || !host.is_usual {
        return Ok(());
    }
    let call = format!("sudo {} enable {}", context.ykmap(), shell_word(service.as_bytes()));
    let found = Diagnostic::error(Code::NotRoot, "you may not change the files of pam.d");
    Err(found.run_when("as root", Program::System, call).into())
}

/// The word that names the module, and its arguments.
fn module(context: &Context, args: &Args) -> Result<String, Failure> {
    let module = match &args.module {
        None => "pam_yubiotp.so".to_owned(),
        Some(path) if path.file_name().is_some_and(|name| name == "pam_yubiotp.so") && is_plain(path) => {
            path.display().to_string()
        }
        Some(_) => {
            return Err(Failure::input(
                "--module: name a file pam_yubiotp.so, by an absolute path without blanks",
            ));
        }
    };
    let config = config_argument(context).map(|argument| format!(" {argument}"));
    Ok(module + &config.unwrap_or_default())
}

fn is_plain(path: &Path) -> bool {
    let text = path.to_string_lossy();
    path.is_absolute() && !text.contains([' ', '\t', '\n', '#', '[', ']', '\\'])
}

/// Whom to try: su asks for the token of the account that one becomes.
fn user_to_try(args: &Args, service: &str) -> Result<String, Failure> {
    let user = match &args.user {
        Some(user) => user.clone(),
        None if service == "su" || service == "su-l" => "root".to_owned(),
        None => event::administrator().to_owned(),
    };
    match account::exists(&user) {
        false if args.user.is_none() => Err(Failure::input("whose login is to be tried? Give --user USER")),
        _ => Ok(user),
    }
}

/// A login of somebody without a token shows nothing.
fn has_token(context: &Context, user: &str) -> Result<(), Failure> {
    match mapping::enrolment(&context.settings()?, user.as_bytes(), false) {
        Ok(Enrolment::Listed(tokens)) if !tokens.is_empty() => Ok(()),
        Ok(_) => Err(Diagnostic::error(
            Code::UserWithoutToken,
            "has no token, so a login of theirs cannot be tried",
        )
        .at(Location::user(user.as_bytes()))
        .run_when("to give them one", Program::Ykmap, format!("add {}", shell_word(user.as_bytes())))
        .advise("to try the login of somebody else, add --user USER")
        .into()),
        Err(fault) => Err(fault.into()),
    }
}

fn asks_already(context: &Context, service: &str, plan: &Plan) -> Done {
    // Without a store, nothing waits.
    let waiting = store(context).and_then(|store| system::pending_changes(&store)).unwrap_or_default();
    let waiting = waiting.into_iter().find(|change| changes_of(service).contains(&change.name));
    if context.json {
        let deadline = waiting.map(|change| change.deadline);
        out::json(&json!({ "service": service, "changed": false, "deadline": deadline }));
        return Ok(());
    }
    for (name, both) in &plan.asked {
        let places: Vec<_> = both.places.iter().map(ToString::to_string).collect();
        let (name, places) = (shown_name(name), places.join(", "));
        out::line(&format!("{name} asks for a YubiKey already ({places}): nothing changed"));
    }
    if let Some(change) = waiting {
        say_deadline(context, service, change.deadline);
    }
    Ok(())
}

/// How to keep a change, and what happens otherwise.
fn say_deadline(context: &Context, service: &str, deadline: u64) {
    out::line("Log in from a second terminal. If that works, keep the change:");
    out::line(&format!("  {}", keep_command(context, service)));
    out::line(&format!("Otherwise it is undone at {} UTC.", clock_time(deadline)));
}

fn say_kept(context: &Context, host: &Host, service: &str) -> Done {
    match context.json {
        true => out::json(&json!({ "service": service, "changed": true, "kept": true })),
        false => out::line(&format!("kept: a YubiKey is needed for {}", shown_names(service, host))),
    }
    Ok(())
}

pub(crate) fn say_undone(context: &Context, service: &str, undone: &system::Undone) -> Done {
    match context.json {
        true => out::json(&json!({ "service": service, "changed": true, "files": undone.files })),
        false => out::line(&undone.diagnostic().problem),
    }
    Ok(())
}
