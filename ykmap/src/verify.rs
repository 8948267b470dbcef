//! `ykmap verify`

use super::service::{self, Service};
use super::{Context, Done, Failure, files, out};
use clap::ValueHint;
use serde_json::json;
use std::path::PathBuf;
use ykcli::diagnostic;
use ykhost::remedies::Remedies;
use ykhost::store::plainly;
use ykhost::{Fault, decide, mapping};
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Program, Severity};
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

pub(crate) fn run(context: &Context, args: Args) -> Done {
    let Service { settings, nullok, remedies } = match &args.service {
        Some(name) => service::of(context, name, &args.user, &service::pam_dirs(&args.pam_dirs)?)?,
        None => {
            let remedies = Remedies::new(context.config.clone(), None);
            Service { settings: context.settings()?, nullok: false, remedies }
        }
    };
    let settings = settings.resolve_online().map_err(Fault::from)?;
    for warning in &settings.warnings {
        context.note(warning);
    }
    let answer = match args.otp {
        Some(otp) => Zeroizing::new(otp),
        None => files::input_line(&settings.prompt.replace("%u", &shown::text(&args.user).to_string()))?,
    };
    let enrolment = mapping::enrolment(&settings, args.user.as_bytes(), nullok)?;
    let judgement = decide::judge(&settings, answer.as_bytes(), &enrolment, plainly)?;
    if judgement.despite_answers {
        context.note(&decide::despite_answers());
    }
    let accepted = matches!(judgement.verdict, Verdict::Accepted(_));
    let (verdict, token, found) = match judgement.verdict {
        Verdict::Accepted(receipt) => {
            let position = receipt.position().to_string();
            ("accepted", Some(receipt.token()), Diagnostic::new(Code::Accepted, Severity::Ok, position))
        }
        Verdict::Rejected(reason) => ("rejected", reason.token(), reason.diagnostic()),
        Verdict::NotEnrolled if nullok => (
            "excused",
            None,
            Diagnostic::note(
                Code::UserExcused,
                "the mapping does not list the user, and nullok leaves the decision to the other modules",
            ),
        ),
        Verdict::NotEnrolled => {
            let found = Diagnostic::error(Code::UserNotListed, "the mapping does not list the user");
            ("not enrolled", None, found.run(Program::Ykmap, "add USER"))
        }
    };
    let found = remedies.for_user(found, args.user.as_bytes());
    let ykmap = remedies.ykmap();
    let calls = Calls { ykmap: &ykmap, ..Calls::PLAIN };
    let token = token.map(|token| token.to_string());
    let layout = judgement.layout.filter(|layout| *layout != "QWERTY");
    if context.json {
        let user = &args.user;
        out::json(&json!({ "user": user, "verdict": verdict, "token": token, "code": found.code.name(),
            "reason": found.problem, "finding": diagnostic::json(&found, calls), "layout": layout,
            "servers": judgement.trail }));
    } else {
        let token = token.map_or_else(String::new, |token| format!(" token {token}:"));
        let layout = layout.map_or_else(String::new, |layout| format!(" (typed on a {layout} keyboard)"));
        let mut shown = found;
        if let Some(trail) = judgement.trail {
            shown.problem = format!("{}; {trail}", shown.problem);
        }
        shown.problem = format!("{verdict}: {}:{token} {}{layout}", shown::text(&args.user), shown.problem);
        out::line(&if accepted { shown.problem } else { diagnostic::line(&shown, calls) });
    }
    if accepted { Ok(()) } else { Err(Failure::No) }
}
