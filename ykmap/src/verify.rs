//! `ykmap verify`

use super::{Context, Done, Failure, files, out};
use clap::ValueHint;
use serde_json::json;
use ykhost::store::plainly;
use ykhost::{decide, mapping};
use yubiotp::shown;
use yubiotp::verdict::Verdict;
use zeroize::Zeroizing;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The user who would log in
    #[arg(value_hint = ValueHint::Username)]
    user: String,
    /// What the user would type [default: ask]
    otp: Option<String>,
}

pub(crate) fn run(context: &Context, args: Args) -> Done {
    let mut settings = context.settings()?;
    settings.prepare()?;
    for warning in &settings.warnings {
        out::note(warning);
    }
    let answer = match args.otp {
        Some(otp) => Zeroizing::new(otp),
        None => files::input_line(&settings.prompt.replace("%u", &shown::text(&args.user).to_string()))?,
    };
    let enrolment = mapping::enrolment(&settings, args.user.as_bytes(), false)?;
    let judgement = decide::judge(&settings, answer.as_bytes(), &enrolment, plainly)?;
    if judgement.despite_answers {
        out::note(decide::DESPITE_ANSWERS);
    }
    let accepted = matches!(judgement.verdict, Verdict::Accepted(_));
    let (verdict, token, reason) = match judgement.verdict {
        Verdict::Accepted(receipt) => ("accepted", Some(receipt.token()), receipt.position().to_string()),
        Verdict::Rejected(reason) => ("rejected", reason.token(), reason.to_string()),
        Verdict::NotEnrolled => {
            ("not enrolled", None, "the mapping does not list the user (ykmap add)".to_owned())
        }
    };
    let token = token.map(|token| token.to_string());
    let layout = judgement.layout.filter(|layout| *layout != "QWERTY");
    if context.json {
        let user = &args.user;
        out::json(
            &json!({ "user": user, "verdict": verdict, "token": token, "reason": reason, "layout": layout,
                "servers": judgement.trail }),
        );
    } else {
        let token = token.map_or_else(String::new, |token| format!(" token {token}:"));
        let layout = layout.map_or_else(String::new, |layout| format!(" (typed on a {layout} keyboard)"));
        let trail = judgement.trail.map_or_else(String::new, |trail| format!("; {trail}"));
        out::line(&format!("{verdict}: {}:{token} {reason}{trail}{layout}", shown::text(&args.user)));
    }
    if accepted { Ok(()) } else { Err(Failure::No) }
}
