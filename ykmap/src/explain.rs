//! `ykmap explain`: whether a login needs a second factor, and by which rule. The policy and the mapping decide it, by
//! the code that a login runs.

mod at;
mod login;
mod place;
mod rule;
mod show;

pub(crate) use login::{Described, Enroll, Explained, HostState, Line, Outcome};
pub(crate) use place::Places;
pub(crate) use rule::{Decides, subjects, whom};

use super::doctor::pam::{auth_lines, first_factor, has_service};
use super::doctor::sshd;
use super::list::States;
use super::service::{self, ByLine};
use super::{Context, Done, Failure, assign, out};
use clap::ValueHint;
use clap::builder::NonEmptyStringValueParser;
use serde_json::Value;
use show::{One, Shown};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use ykhost::options::nearest;
use ykhost::settings::Settings;
use ykhost::{Fault, clock};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::shown;

#[derive(clap::Args)]
#[command(
    after_help = "Without --service, it shows the general rules, and each service that differs.\n\nExit status: 0, 1 if \
                  a user would be rejected whatever they type, 2 if a login would end in a fault, or something cannot \
                  be used."
)]
pub(crate) struct Args {
    /// Explain logins by this service, by its line in pam.d: its configuration file, mapping and nullok
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    service: Option<String>,
    /// Folder of service files, in place of /etc/pam.d and those of the distribution; may be given several times
    #[arg(long = "pam-dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pam_dirs: Vec<PathBuf>,
    /// Where the login is from, as PAM_RHOST has it: an address, or a name [default: this host]
    #[arg(long, value_name = "HOST", default_value = "", hide_default_value = true, value_hint = ValueHint::Hostname)]
    rhost: String,
    /// When the login is, in UTC: 2027-01-15, 2027-01-15T08:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = at::parse)]
    at: Option<u64>,
    /// The users who would log in
    #[arg(value_name = "USER", required = true, value_parser = NonEmptyStringValueParser::new(), value_hint = ValueHint::Username)]
    users: Vec<String>,
}

/// The settings that explain a login, and the line that they are by.
struct Source {
    settings: Settings,
    places: Places,
    line: Line,
    /// Why a line with `enroll` offers nothing.
    unoffered: Option<Diagnostic>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let pam_dirs = service::pam_dirs(&args.pam_dirs)?;
    let unix = args.at.unwrap_or_else(clock::unix);
    if let Some(name) = &args.service
        && service::line_of(name, &pam_dirs).is_none()
    {
        context.note(&unasked(name, &pam_dirs));
    }
    let (mut all, mut worst) = (Vec::new(), Ok(()));
    for (number, user) in args.users.iter().enumerate() {
        if number > 0 && !context.json {
            out::line("");
        }
        let (json, status) = of_user(context, &Asked { args, user, unix }, &pam_dirs)?;
        all.extend(json);
        if !matches!(worst, Err(Failure::Bad)) && status.is_err() {
            worst = status;
        }
    }
    match all.as_slice() {
        [] => {}
        [one] => out::json(one),
        _ => out::json(&all.into()),
    }
    worst
}

/// What a login from this host comes to now, by the general rules and by each service that differs: printed, or given as JSON
/// if that is asked for.
pub(crate) fn for_status(
    context: &Context,
    user: &str,
    pam_dirs: &[PathBuf],
) -> Result<Option<Value>, Failure> {
    let args = Args {
        service: None,
        pam_dirs: pam_dirs.to_vec(),
        rhost: String::new(),
        at: None,
        users: Vec::new(),
    };
    let asked = Asked { args: &args, user, unix: clock::unix() };
    Ok(of_user(context, &asked, pam_dirs)?.0)
}

/// Explains the logins of one user. Gives what `--json` prints, if it is asked for, and the exit status.
fn of_user(
    context: &Context,
    asked: &Asked<'_>,
    pam_dirs: &[PathBuf],
) -> Result<(Option<Value>, Done), Failure> {
    let Asked { args, user, unix } = *asked;
    let source = match &args.service {
        Some(name) => of_service(context, name, user, pam_dirs)?,
        None => general(context)?,
    };
    let states = States::new(context, &source.settings);
    let host = HostState { settings: &source.settings, states: Some(&states) };
    let main = asked.one(&host, &source.places, args.service.as_deref().unwrap_or_default(), source.line);
    let lines = match &args.service {
        Some(_) => BTreeMap::new(),
        None => services_of(&source.settings, of_lines(context, &source.settings, user, pam_dirs)),
    };
    let services: Vec<_> = lines
        .iter()
        .map(|(name, line)| asked.one(&host, &source.places, name, *line))
        .filter(|one| one.differs_from(&main))
        .collect();
    let status = match &main.explained.outcome {
        Outcome::Fault(_) => Err(Failure::Bad),
        Outcome::Rejected(_) => Err(Failure::No),
        Outcome::Exempt(_)
        | Outcome::Excused(..)
        | Outcome::Nullok
        | Outcome::MayPostpone(_)
        | Outcome::MustEnroll
        | Outcome::Asked => Ok(()),
    };
    if main.explained.tokens.is_none() && !matches!(main.explained.outcome, Outcome::Fault(_)) {
        assign::note_unknown(context, user);
    }
    let shown = Shown {
        user,
        rhost: &args.rhost,
        unix,
        settings: &source.settings,
        places: &source.places,
        unoffered: source.unoffered.as_ref(),
        enrolls: lines.values().chain([&source.line]).any(|line| line.enroll != Enroll::Never),
        main: &main,
        services: &services,
    };
    if context.json {
        return Ok((Some(shown.json(context)), status));
    }
    shown.print(context);
    Ok((None, status))
}

/// The logins that are asked about.
#[derive(Clone, Copy)]
struct Asked<'a> {
    args: &'a Args,
    user: &'a str,
    unix: u64,
}

impl Asked<'_> {
    fn one<'h>(&self, host: &HostState<'h>, places: &Places, service: &'h str, line: Line) -> One<'h> {
        let Self { args: Args { rhost, .. }, user, unix } = *self;
        let explained = host.explain(&Described { user, service, rhost: rhost.as_bytes(), unix, line });
        let decides = Decides { policy: &host.settings.policy, places, service };
        let need = match &explained.ruling {
            Ok(ruling) => Some(decides.need(ruling)),
            Err(Fault::Policy { doubt, .. }) => Some(decides.doubt(user, doubt)),
            Err(_) => None,
        };
        let not_now = match &explained.outcome {
            Outcome::Exempt(_) => Vec::new(),
            _ => decides.not_now(user),
        };
        let methods = explained.ruling.as_ref().ok().map(|ruling| decides.methods(ruling));
        One { service, line, explained, need, not_now, methods, tries: host.settings.tries }
    }
}

/// The settings of the configuration file, without a line.
fn general(context: &Context) -> Result<Source, Failure> {
    let places = Places::of(context.config.as_deref());
    Ok(Source { settings: context.settings()?, places, line: Line::default(), unoffered: None })
}

/// The settings of a service. One that does not ask yet is explained by the configuration file.
fn of_service(context: &Context, name: &str, user: &str, pam_dirs: &[PathBuf]) -> Result<Source, Failure> {
    let Some(line) = service::line_of(name, pam_dirs) else { return general(context) };
    let by = service::settings(context, &line, user)?;
    let (enroll, unoffered) = enroll_of(name, &by, pam_dirs);
    let line = Line { nullok: by.service.nullok, enroll };
    let ByLine { service, config, .. } = by;
    Ok(Source { places: Places::of(config.as_deref()), settings: service.settings, line, unoffered })
}

/// That a service does not ask, and which one may be meant.
fn unasked(name: &str, pam_dirs: &[PathBuf]) -> Diagnostic {
    let about = |what: &str| {
        let what = format!("{what}. This is what the policy says of it");
        Diagnostic::note(Code::ServiceUnknown, what).at(Location::Service(name.to_owned()))
    };
    if has_service(pam_dirs, name) {
        return about(
            "no auth line of this service loads pam_yubiotp.so: its logins are not asked for a second factor",
        );
    }
    let lines = auth_lines(pam_dirs);
    let found = about("pam.d has no service of this name");
    match nearest(name, lines.iter().map(|line| line.service.as_str())) {
        Some(meant) => found.advise(format!("did you mean {}?", shown::text(meant))),
        None => found,
    }
}

/// Whether a line offers enrollment to users of a service, by the check that `yubiotp-enroll` makes at a login; and why it
/// does not, although it has `enroll`.
fn enroll_of(name: &str, by: &ByLine, pam_dirs: &[PathBuf]) -> (Enroll, Option<Diagnostic>) {
    if !by.enroll {
        return (Enroll::Never, None);
    }
    let folders = if pam_dirs.is_empty() { &by.service.settings.enroll.pam_dirs } else { pam_dirs };
    let stack = first_factor::of(folders, name);
    let enroll = match name {
        "sshd" => {
            let before = sshd::proven_before_prompts();
            Enroll::of(&before.iter().map(|is_proven| *is_proven || stack.is_ok()).collect::<Vec<_>>())
        }
        _ => Enroll::of(&[stack.is_ok()]),
    };
    let unoffered = match (enroll, stack) {
        (Enroll::Never, Err(found)) => Some(found),
        (Enroll::Never, Ok(())) => Some(Diagnostic::warning(
            Code::EnrollWithoutPrompt,
            "enroll: sshd runs the auth lines by no method that shows prompts",
        )),
        (Enroll::AfterSshKey | Enroll::Always, _) => None,
    };
    (enroll, unoffered)
}

/// What the auth lines of services say that use the same configuration file as this command.
fn of_lines(
    context: &Context,
    settings: &Settings,
    user: &str,
    pam_dirs: &[PathBuf],
) -> BTreeMap<String, Line> {
    // A file that is named may be for services of its own, which are not in /etc/pam.d.
    if context.config.is_some() && pam_dirs.is_empty() {
        return BTreeMap::new();
    }
    let mut lines = BTreeMap::new();
    for (line, by) in service::lines_with(context, settings, user, pam_dirs) {
        // The first line of a service counts.
        if let Entry::Vacant(entry) = lines.entry(line.service) {
            let (enroll, _) = enroll_of(entry.key(), &by, pam_dirs);
            entry.insert(Line { nullok: by.service.nullok, enroll });
        }
    }
    lines
}

/// With these lines, the services that have rules of their own.
fn services_of(settings: &Settings, mut lines: BTreeMap<String, Line>) -> BTreeMap<String, Line> {
    for name in settings.policy.services.keys() {
        lines.entry(name.clone()).or_default();
    }
    lines
}
