//! Findings about `enroll`: where nothing proves who enrolls, and where nobody can.

use super::access::{Methods, Step};
use super::advice::text;
use super::analysis::StackAnalysis;
use super::role;
use super::service::{Entry, Kind};
use ykhost::options::FirstPass;
use yubiotp::diagnostic::{Code, Diagnostic, Severity};

/// What sshd can do in place of the lines in pam.d.
const AFTER_A_KEY: &str = "or let sshd ask for an ssh key first: write AuthenticationMethods publickey,keyboard-interactive above the first Match line of sshd_config, and no other methods";

impl StackAnalysis<'_> {
    /// Lines with `enroll` that a login can reach before its first factor is proven: neither by the lines above, nor by
    /// what the application asked before.
    pub(super) fn enroll(&mut self) {
        let access = self.access;
        let Some(line) = access.auth.entries.iter().find(|entry| role::enrolls(entry)) else { return };
        let lists = || {
            let asking = self.fronts.iter().filter(|(front, _)| front.use_pam);
            asking.flat_map(|(front, _)| front.methods.iter()).filter(|list| !list.steps.is_empty())
        };
        if let Some(Err(found)) = &access.first_factor {
            let found = found.clone();
            let safe = lists().filter(|list| access.offers_enrollment_after(list)).count();
            if safe < lists().count() {
                let severity = if safe == 0 { Severity::Error } else { Severity::Warning };
                let who = match safe {
                    0 => "nobody is offered enrollment",
                    _ => "only users whose ssh key sshd has accepted are offered enrollment",
                };
                let problem = format!("{}, so {who}", found.problem);
                let place = found.location.clone().unwrap_or_else(|| line.place.location());
                let by_key = if self.service.name == "sshd" { text(AFTER_A_KEY) } else { Vec::new() };
                self.say_at(Kind::Auth, place, Diagnostic { severity, problem, ..found }, by_key);
            }
        }
        let prompts = |list: &Methods| list.steps.contains(&Step::Prompts);
        if lists().next().is_some() && !lists().any(prompts) {
            let what = "enroll has no effect: sshd's method password shows no prompts";
            let change =
                "write KbdInteractiveAuthentication yes and PasswordAuthentication no in sshd_config";
            let found = Diagnostic::warning(Code::EnrollWithoutPrompt, what);
            self.say(Kind::Auth, &line.place, found, text(change));
        }
    }

    /// A line whose other arguments, or kind, leave `enroll` without effect.
    pub(super) fn enroll_without_offer(&mut self, entry: &Entry) {
        let options = role::options(entry).filter(|options| entry.is_ours() && options.enroll);
        let Some(options) = options else { return };
        let (code, what, change) = if entry.kind != Kind::Auth {
            let change = "remove enroll here, and write it into the auth line of pam_yubiotp";
            (Code::EnrollNotInAuth, "enroll has no effect: only auth lines offer enrollment", change)
        } else if options.nullok {
            let what = "enroll has no effect: nullok lets the users pass who would enroll";
            let change = "remove nullok, and say in [policy] of config.toml who needs a token";
            (Code::EnrollWithNullok, what, change)
        } else if options.first_pass == FirstPass::Use {
            let what = "enroll has no effect: with use_first_pass, the module shows no prompts";
            (
                Code::EnrollWithoutPrompt,
                what,
                "write try_first_pass in place of use_first_pass, or remove enroll",
            )
        } else {
            return;
        };
        self.say(entry.kind, &entry.place, Diagnostic::warning(code, what), text(change));
    }
}
