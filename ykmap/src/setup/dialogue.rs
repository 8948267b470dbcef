//! The steps at a terminal: the host is looked at, the first step that is to do is done, and again.
//!
//! Each step runs verbs, which change the host all or nothing. So the host is as it was, or a step further, wherever somebody
//! stops.

use super::console::Console;
use super::found::Found;
use super::plan::{Name, Status, Step, is_done, plan, words};
use super::survey::{Sources, survey};
use super::{show, steps};
use crate::doctor::ACCOUNTS;
use crate::enroll::talk::Gone;
use crate::out::{self, Style};
use crate::{Context, Done, Failure, diagnostic, run_guided};
use std::path::Path;
use yubiotp::diagnostic::Calls;

/// What the steps of one run have in common.
pub(super) struct Guide<'g> {
    pub(super) context: &'g Context,
    pub(super) sources: &'g Sources<'g>,
    pub(super) user: &'g str,
    pub(super) console: Console,
    /// The steps that the person has put off.
    pub(super) put_off: Vec<Name>,
    /// The person was asked whether more services should ask.
    pub(super) has_enough: bool,
}

/// How a step ends, if nobody stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The host shows what came of it.
    Look,
    /// The person puts it off.
    PutOff,
}

pub(super) fn run(context: &Context, sources: &Sources<'_>, user: &str) -> Done {
    let (put_off, has_enough) = (Vec::new(), false);
    let mut guide = Guide { context, sources, user, console: Console, put_off, has_enough };
    let found = guide.look();
    let steps = plan(&found);
    show::table(&found, &steps);
    show::paragraph(&guide.introduction(&steps));
    let stopped = guide.all().is_err();
    let found = guide.look();
    guide.end(&found, stopped)
}

impl Guide<'_> {
    pub(super) fn look(&self) -> Found {
        survey(self.context, self.user, self.sources)
    }

    /// Does one step after the other, until none is left that was not put off.
    fn all(&mut self) -> Result<(), Gone> {
        loop {
            let found = self.look();
            let steps = plan(&found);
            let is_due = |step: &&Step| step.status == Status::ToDo && !self.put_off.contains(&step.name);
            let Some(step) = steps.iter().find(is_due) else {
                if self.has_enough || !steps::offers_more(&found) {
                    return Ok(());
                }
                self.has_enough = true;
                steps::more_services(self, &found)?;
                continue;
            };
            let title = steps::title(step.name, &found);
            show::heading(&format!("Step {} of {}: {title}", show::number(&steps, step), steps.len()));
            if steps::run(self, step, &found)? == Ended::PutOff {
                self.put_off.push(step.name);
            }
        }
    }

    /// Runs a verb, and shows why it fails. Returns whether it did what it is for.
    pub(super) fn verb(&self, words: &[String]) -> bool {
        self.shows(words);
        match run_guided(self.context, &self.with_sources(words)) {
            Ok(()) | Err(Failure::Differs) => true,
            Err(failure) => {
                let ykmap = self.context.ykmap();
                if let Some(found) = failure.or_as_root().diagnostic() {
                    diagnostic::fail("ykmap", &found, Calls { ykmap: &ykmap, ..Calls::PLAIN }, false);
                }
                false
            }
        }
    }

    /// Names the command that is about to run.
    fn shows(&self, words: &[String]) {
        let line = self.line(words);
        out::raw(&format!(
            "\n  # {}\n\n",
            out::styled(Style::Bold, &yubiotp::shown::line(&line).to_string())
        ));
    }

    /// The same with the files and folders that this command was given.
    fn with_sources(&self, words: &[String]) -> Vec<String> {
        let verb = words.first().map(String::as_str).unwrap_or_default();
        let is_made = verb == "enable" && !words.iter().any(|word| word == "--keep" || word == "--undo");
        let takes = |option: &str| match option {
            "--pam-dir" => {
                is_made || matches!(verb, "add" | "init" | "recovery" | "doctor" | "setup" | "disable")
            }
            "--sshd-config" => is_made || matches!(verb, "doctor" | "setup" | "disable"),
            "--accounts" => matches!(verb, "doctor" | "setup"),
            _ => is_made || verb == "setup",
        };
        let Sources { pam_dirs, sshd_config, accounts, module, try_program } = self.sources;
        let accounts = Some(*accounts).filter(|accounts| *accounts != Path::new(ACCOUNTS));
        let named = pam_dirs.iter().map(|folder| ("--pam-dir", folder.as_path()));
        let files = [
            ("--sshd-config", *sshd_config),
            ("--accounts", accounts),
            ("--module", *module),
            ("--try-program", *try_program),
        ];
        let named = named.chain(files.into_iter().filter_map(|(option, file)| Some((option, file?))));
        let named = named.filter(|(option, _)| takes(option));
        let named = named.flat_map(|(option, path)| [option.to_owned(), path.display().to_string()]);
        words.iter().cloned().chain(named).collect()
    }

    /// The whole command line of a verb, for this host.
    pub(super) fn line(&self, words: &[String]) -> String {
        show::command(self.context, &self.with_sources(words))
    }

    fn introduction(&self, steps: &[Step]) -> String {
        let services = steps.iter().find(|step| step.name == Name::Services);
        let number = services.map_or(0, |step| show::number(steps, step));
        format!(
            "\nEach step is a command, and its line is shown before it runs. No login changes before step {number}.\n\
             q or Ctrl-C stops. To go on later, run the command again."
        )
    }

    /// The last screen.
    fn end(&self, found: &Found, stopped: bool) -> Done {
        let steps = plan(found);
        show::table(found, &steps);
        if is_done(&steps) {
            steps::farewell(self, found);
            return Ok(());
        }
        let how = if stopped { "Stopped" } else { "Not all is done" };
        show::paragraph(&format!("\n{how}. To go on:"));
        out::line(&format!("  {}", self.line(&words(["setup", self.user]))));
        Err(Failure::Differs)
    }
}
