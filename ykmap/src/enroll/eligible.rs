//! Who may enroll at a login. Everything that can be looked up is looked up here: the module's word counts only for what it
//! alone can see.

use super::log::Log;
use super::write::already;
use std::ffi::CString;
use ykhost::options::Options;
use ykhost::settings::{LoginSettings, Settings, config_of};
use ykhost::store::Origin;
use ykhost::{Fault, clock, mapping, policy};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::dialogue::LoginFacts;
use yubiotp::mapping::Enrolment;
use yubiotp::policy::{Methods, Need};

/// A user who may enroll now.
pub(super) struct Eligible {
    pub(super) settings: LoginSettings,
    pub(super) user: String,
    /// Until when they may put it off, in seconds since 1970.
    pub(super) until: Option<u64>,
    /// What they may use.
    pub(super) methods: Methods,
    /// Where they log in.
    pub(super) origin: Origin,
    /// Where the log says what became of it.
    pub(super) log: Log,
}

impl Eligible {
    /// The user of a login, or why they may not enroll.
    pub(super) fn new(facts: &LoginFacts) -> Result<Self, Diagnostic> {
        let arguments: Vec<_> =
            facts.arguments.iter().filter_map(|argument| CString::new(argument.as_slice()).ok()).collect();
        let arguments: Vec<_> = arguments.iter().map(CString::as_c_str).collect();
        let options = Options::read(&arguments).map_err(|bad| bad.diagnostic())?;
        let not_needed = |why: &str| Err(Diagnostic::error(Code::EnrollmentNotNeeded, why));
        if !options.enroll || options.nullok {
            return not_needed("the line in pam.d offers no enrollment: it has no enroll, or nullok");
        }
        let Ok(user) = str::from_utf8(&facts.user) else {
            let found = Diagnostic::error(Code::UserNameInvalid, "the name is not UTF-8");
            return Err(found.at(Location::user(&facts.user)));
        };
        let config = options.config.map(|config| config_of(config, &facts.user)).transpose();
        let settings =
            config.and_then(|config| settings(config, options.given)).map_err(|fault| fault.diagnostic())?;
        super::first_factor::check(facts, &settings)?;
        let ruling = policy::ruling(
            &settings,
            &facts.user,
            Some(&facts.service),
            facts.rhost.as_deref(),
            clock::unix(),
        )
        .map_err(|fault| fault.diagnostic())?;
        let (until, methods) = match ruling.need {
            Need::Required => (None, ruling.methods),
            Need::Postponable { until } => (Some(until), ruling.methods),
            Need::Exempt | Need::IfEnrolled => {
                return not_needed("the policy does not require a second factor of the user");
            }
        };
        // As for a user whom nullok excuses: no line may mean them in another spelling.
        match mapping::enrolment(&settings, &facts.user, true).map_err(|fault| fault.diagnostic())? {
            Enrolment::Listed(_) => Err(already(user)),
            Enrolment::NotListed => {
                let origin = Origin::login(&facts.service, facts.rhost.as_deref());
                let log = Log::new(user, &facts.service, facts.rhost.as_deref());
                Ok(Self { user: user.to_owned(), settings, until, methods, origin, log })
            }
        }
    }
}

fn settings(
    config: Option<std::path::PathBuf>,
    given: ykhost::settings::PartialConfig,
) -> Result<LoginSettings, Fault> {
    Ok(Settings::load(config.as_deref(), given)?.resolve_online()?)
}
