//! `ykmap verify`

use super::service::{self, Service};
use super::{Context, Done, Failure, files, out};
use clap::ValueHint;
use serde_json::json;
use std::path::PathBuf;
use ykcli::diagnostic;
use ykhost::decide::{self, Decision, LoginUser};
use ykhost::remedies::Remedies;
use ykhost::store::plainly;
use ykhost::{Fault, clock, mapping, policy};
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Program, Severity};
use yubiotp::policy::{Need, Ruling};
use yubiotp::shown;
use yubiotp::verdict::Verdict;
use zeroize::Zeroizing;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Decide as this service does, by its line in pam.d: its configuration file, mapping, store and mode
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Folder of service files, in place of /etc/pam.d and those of the distribution; may be given several times
    #[arg(long = "pam-dir", value_name = "DIR", value_hint = ValueHint::DirPath, requires = "service")]
    pam_dirs: Vec<PathBuf>,
    /// The user who would log in
    #[arg(value_hint = ValueHint::Username)]
    user: String,
    /// What the user would type [default: ask]
    otp: Option<String>,
}

/// The decision, or the fault that kept this host from one.
struct Outcome {
    verdict: &'static str,
    token: Option<String>,
    found: Diagnostic,
    layout: Option<&'static str>,
    /// The answer or failure of each validation server.
    trail: Option<String>,
    /// After a recovery code: how many the user has left.
    codes_left: Option<usize>,
}

const ACCEPTED: &str = "accepted";
const FAULT: &str = "fault";

pub(crate) fn run(context: &Context, args: Args) -> Done {
    let (remedies, decided) = match service_of(context, &args) {
        Ok(service) => {
            let remedies = service.remedies.clone();
            (remedies, decide(context, service, args.service.as_deref(), &args.user, args.otp))
        }
        Err(failure) => (Remedies::new(context.config.clone(), None), Err(failure)),
    };
    let mut outcome = match decided.map_err(Failure::or_as_root) {
        Ok(outcome) => outcome,
        Err(Failure::Fault(found)) => Outcome {
            verdict: FAULT,
            token: None,
            found: *found,
            layout: None,
            trail: None,
            codes_left: None,
        },
        Err(shown) => return Err(shown),
    };
    outcome.found = remedies.for_user(outcome.found, args.user.as_bytes());
    let verdict = outcome.verdict;
    let ykmap = remedies.ykmap();
    outcome.show(context, &args.user, Calls { ykmap: &ykmap, ..Calls::PLAIN });
    match verdict {
        ACCEPTED => Ok(()),
        FAULT => Err(Failure::Bad),
        _ => Err(Failure::No),
    }
}

fn service_of(context: &Context, args: &Args) -> Result<Service, Failure> {
    match &args.service {
        Some(name) => service::of(context, name, &args.user, &service::pam_dirs(&args.pam_dirs)?),
        None => {
            let remedies = Remedies::new(context.config.clone(), None);
            Ok(Service { settings: context.settings()?, nullok: false, remedies })
        }
    }
}

fn decide(
    context: &Context,
    Service { settings, nullok, .. }: Service,
    service: Option<&str>,
    user: &str,
    otp: Option<String>,
) -> Result<Outcome, Failure> {
    let settings = settings.resolve_online().map_err(Fault::from)?;
    for warning in &settings.warnings {
        context.note(warning);
    }
    let answer = match otp {
        Some(otp) => Zeroizing::new(otp),
        None => files::answer(&settings.prompt.replace("%u", &shown::text(user).to_string()), settings.echo)?,
    };
    let service = service.unwrap_or_default().as_bytes();
    let host = Some(policy::UNKNOWN_HOST);
    let ruling = policy::ruling(&settings, user.as_bytes(), Some(service), host, clock::unix())?;
    if ruling.need == Need::Exempt {
        let problem = format!("a login would not ask the user: {}", ruling.rule_text(service));
        context.note(&Diagnostic::note(Code::UserExempt, problem));
    }
    let excused = nullok || ruling.need != Need::Required;
    let enrolment = mapping::enrolment(&settings, user.as_bytes(), excused)?;
    let login = LoginUser::new(user.as_bytes().to_vec());
    let Decision { judgement, warnings, codes_left, .. } =
        decide::judge(&settings, &login, answer.as_bytes(), &enrolment, ruling.methods, plainly)?;
    for warning in &warnings {
        context.note(warning);
    }
    let (verdict, token, found) = match judgement.verdict {
        Verdict::Accepted(receipt) => {
            let used = match codes_left {
                Some(left) => format!("{receipt}, {left} left"),
                None => receipt.to_string(),
            };
            (ACCEPTED, Some(receipt.token()), Diagnostic::new(Code::Accepted, Severity::Ok, used))
        }
        Verdict::Rejected(reason) => ("rejected", reason.token(), reason.diagnostic()),
        Verdict::NotEnrolled => match excuse(&ruling, nullok, service) {
            Some(found) => ("excused", None, found),
            None => {
                let found = Diagnostic::error(Code::UserNotListed, "the mapping does not list the user");
                ("not listed", None, found.run(Program::Ykmap, "add USER"))
            }
        },
    };
    let token = token.map(|token| token.to_string());
    let layout = judgement.layout.filter(|layout| *layout != "QWERTY");
    Ok(Outcome { verdict, token, found, layout, trail: judgement.trail, codes_left })
}

/// What lets a user pass whom the mapping does not list; `None` if nothing does.
pub(crate) fn excuse(ruling: &Ruling<'_>, nullok: bool, service: &[u8]) -> Option<Diagnostic> {
    let code = match ruling.need {
        Need::Exempt => Code::UserExempt,
        Need::IfEnrolled => Code::UserNotRequired,
        Need::Postponable { .. } => Code::UserMayPostpone,
        Need::Required => {
            let problem =
                "the mapping does not list the user, and nullok leaves the decision to the other modules";
            return nullok.then(|| Diagnostic::note(Code::UserExcused, problem));
        }
    };
    let rule = ruling.rule_text(service);
    let problem = format!("the mapping does not list the user, who needs no second factor now: {rule}");
    Some(Diagnostic::note(code, problem))
}

impl Outcome {
    fn show(self, context: &Context, user: &str, calls: Calls<'_>) {
        let Self { verdict, token, mut found, layout, trail, codes_left } = self;
        if context.json {
            out::json(&json!({ "user": user, "verdict": verdict, "token": token,
                "finding": diagnostic::json(&found, calls), "layout": layout, "servers": trail,
                "codes_left": codes_left }));
            return;
        }
        if verdict == FAULT {
            return diagnostic::fail("ykmap", &found, calls, false);
        }
        let token = token.map_or_else(String::new, |token| format!(" token {token}:"));
        let layout = layout.map_or_else(String::new, |layout| format!(" (typed on a {layout} keyboard)"));
        if let Some(trail) = trail {
            found.problem = format!("{}; {trail}", found.problem);
        }
        found.problem = format!("{verdict}: {}:{token} {}{layout}", shown::text(user), found.problem);
        out::line(&if verdict == ACCEPTED { found.problem } else { diagnostic::line(&found, calls) });
    }
}
