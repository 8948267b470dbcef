//! `ykmap explain`: whether a login needs a second factor, and by which rule. The policy and the mapping decide it, by
//! the code that a login runs.

mod at;
mod login;
mod place;
mod rule;
mod show;

pub(crate) use login::{Described, Explained, HostState, Line, Outcome};
pub(crate) use place::Places;
pub(crate) use rule::{Decides, subjects, whom};

use super::list::States;
use super::service::{self, ByLine};
use super::{Context, Done, Failure};
use clap::ValueHint;
use clap::builder::NonEmptyStringValueParser;
use show::{One, Shown};
use std::collections::BTreeMap;
use std::path::PathBuf;
use ykhost::settings::Settings;
use ykhost::{Fault, clock};
use yubiotp::diagnostic::{Code, Diagnostic, Location};

#[derive(clap::Args)]
#[command(
    after_help = "Without --service, it shows the general rules, and each service that differs.\n\nExit status: 0, 1 if \
                  the user would be rejected whatever they type, 2 if a login would end in a fault, or something cannot \
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
    /// The user who would log in
    #[arg(value_name = "USER", value_parser = NonEmptyStringValueParser::new(), value_hint = ValueHint::Username)]
    user: String,
}

/// The settings that explain a login, and the line that they are by.
struct Source {
    settings: Settings,
    places: Places,
    line: Line,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let pam_dirs = service::pam_dirs(&args.pam_dirs)?;
    let source = match &args.service {
        Some(name) => of_service(context, name, &args.user, &pam_dirs)?,
        None => {
            let places = Places::of(context.config.as_deref());
            Source { settings: context.settings()?, places, line: Line::default() }
        }
    };
    let states = States::new(context, &source.settings);
    let host = HostState { settings: &source.settings, states: Some(&states) };
    let asked = Asked { args, unix: args.at.unwrap_or_else(clock::unix) };
    let main = asked.one(&host, &source.places, args.service.as_deref().unwrap_or_default(), source.line);
    let lines = match &args.service {
        Some(_) => BTreeMap::new(),
        None => services_of(&source.settings, of_lines(context, &source.settings, &args.user, &pam_dirs)),
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
        | Outcome::Offered { .. }
        | Outcome::Asked => Ok(()),
    };
    let shown = Shown {
        user: &args.user,
        rhost: &args.rhost,
        unix: asked.unix,
        settings: &source.settings,
        places: &source.places,
        main: &main,
        services: &services,
    };
    if context.json {
        shown.json(context)
    } else {
        shown.print(context)
    }
    status
}

/// The logins that are asked about.
struct Asked<'a> {
    args: &'a Args,
    unix: u64,
}

impl Asked<'_> {
    fn one<'h>(&self, host: &HostState<'h>, places: &Places, service: &'h str, line: Line) -> One<'h> {
        let Args { user, rhost, .. } = self.args;
        let explained =
            host.explain(&Described { user, service, rhost: rhost.as_bytes(), unix: self.unix, line });
        let decides = Decides { policy: &host.settings.policy, places, service };
        let need = match &explained.ruling {
            Ok(ruling) => Some(decides.need(ruling)),
            Err(Fault::Policy { doubt, .. }) => Some(decides.doubt(user, doubt)),
            Err(_) => None,
        };
        let methods = explained.ruling.as_ref().ok().map(|ruling| decides.methods(ruling));
        One { service, line, explained, need, methods, tries: host.settings.tries }
    }
}

/// The settings of a service. One that does not ask yet is explained by the configuration file.
fn of_service(context: &Context, name: &str, user: &str, pam_dirs: &[PathBuf]) -> Result<Source, Failure> {
    if let Some(line) = service::line_of(name, pam_dirs) {
        let ByLine { service, config, enroll } = service::settings(context, &line, user)?;
        let line = Line { nullok: service.nullok, enroll };
        return Ok(Source { places: Places::of(config.as_deref()), settings: service.settings, line });
    }
    let what = "no auth line of this service loads pam_yubiotp.so: its logins are not asked for a second factor. This is what the policy says of it";
    context.note(&Diagnostic::note(Code::ServiceUnknown, what).at(Location::Service(name.to_owned())));
    let places = Places::of(context.config.as_deref());
    Ok(Source { settings: context.settings()?, places, line: Line::default() })
}

/// What the auth lines of services say that use the same configuration file as this command.
pub(crate) fn of_lines(
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
        let said = Line { nullok: by.service.nullok, enroll: by.enroll };
        lines.entry(line.service).or_insert(said);
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
