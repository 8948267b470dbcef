//! Findings about single lines: those that libpam does not understand, or that do nothing.

use super::advice::text;
use super::analysis::StackAnalysis;
use super::role::{self, Role};
use super::service::{Broken, Entry, Kind, What, names_us};
use super::walk::Stack;
use std::path::Path;
use ykhost::options::{FirstPass, nearest};
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::shown;

impl StackAnalysis<'_> {
    /// libpam does not take the service as it is written.
    pub(super) fn broken(&mut self, Broken { place, what, change }: &Broken) {
        // For an application without a file, libpam reads `other` each time.
        let all = if self.service.name == "other" { ", and with it every other service" } else { "" };
        let found = Diagnostic::error(Code::ServiceFileBroken, format!("{what}{all}"));
        self.say_at(Kind::Auth, place.clone(), found, text(*change));
    }

    /// Every line by itself.
    pub(super) fn lines(&mut self) {
        for entry in &self.service.entries {
            self.misread(entry);
            self.enroll_without_offer(entry);
            if entry.is_ours() && matches!(entry.kind, Kind::Session | Kind::Password) {
                let found = Diagnostic::note(Code::PamLineUnused, "the module does nothing in such a line");
                self.say(entry.kind, &entry.place, found, text("remove it"));
            }
        }
    }

    /// Lines that libpam does not understand, anywhere in a service that asks for a YubiKey, or was to.
    fn misread(&mut self, entry: &Entry) {
        let always_fails = self.always_fails && entry.kind == Kind::Auth;
        let error = |what: String| Diagnostic::error(Code::PamLineMisread, what);
        let who = if always_fails { "nobody who is asked gets in" } else { "nobody gets in who reaches it" };
        match (&entry.what, entry.control.misread) {
            (What::MustFail(misread), _) => {
                let what = format!("{}: libpam takes the line for a rejection, and {who}", misread.why);
                let change =
                    misread.meant.map_or_else(|| "fix the line".to_owned(), |kind| format!("write {kind}"));
                self.say(entry.kind, &entry.place, error(what), text(change));
            }
            (What::Module { path, .. }, _) if entry.suspect && !entry.is_ours() => {
                self.other_module(entry, path);
            }
            (What::Module { .. }, Some(why)) => {
                let control = &entry.control_text;
                let end = if always_fails { ": nobody who is asked gets in" } else { "" };
                let what = format!(
                    "libpam does not understand {} ({why}), and takes every answer for a rejection{end}",
                    shown::quoted(control)
                );
                let words = ["required", "requisite", "sufficient", "optional", "include", "substack"];
                let change = nearest(control, words).map_or_else(
                    || format!("write {} or [answer=action ...]", words.join(", ")),
                    |word| format!("write {word}"),
                );
                self.say(entry.kind, &entry.place, error(what), text(change));
            }
            _ => {}
        }
    }

    /// A line that names the module, more or less, and loads something else.
    fn other_module(&mut self, entry: &Entry, path: &str) {
        let (kind, place) = (entry.kind, &entry.place);
        let quoted = shown::quoted(path);
        if names_us(path) && path.starts_with('/') && Path::new(path).exists() {
            let what = format!("loads {quoted}, which is not named pam_yubiotp.so, and was not checked");
            return self.say(kind, place, Diagnostic::note(Code::NotChecked, what), Vec::new());
        }
        let (what, change) = if names_us(path) {
            let what = format!(
                "loads {quoted}, but the name of the module is pam_yubiotp.so: libpam takes the line for a rejection"
            );
            (what, "write pam_yubiotp.so".to_owned())
        } else if names_us(&entry.control_text) {
            let what = format!("has no control field before pam_yubiotp, and loads {quoted} instead");
            (what, format!("write {} required {} ...", kind.name(), shown::text(&entry.control_text)))
        } else {
            (
                format!("names pam_yubiotp, and loads {quoted} instead: one word too many"),
                format!("remove {quoted}"),
            )
        };
        self.say(kind, place, Diagnostic::error(Code::PamLineMisread, what), text(change));
    }

    /// `nullok`, and `*_first_pass` where nothing was asked for.
    pub(super) fn arguments(&mut self, auth: &Stack) {
        let mut asked_before = false;
        for (entry, role) in auth.entries.iter().zip(&auth.roles) {
            if let Role::Ours { nullok, first_pass, broken: false, .. } = role {
                self.first_pass(entry, *nullok, *first_pass, asked_before);
            }
            asked_before |= role::asks(entry) || entry.is_ours();
        }
    }

    fn first_pass(&mut self, entry: &Entry, nullok: bool, first_pass: FirstPass, asked_before: bool) {
        if nullok && !self.nullok_is_idle {
            let what = "nullok: users whom the mapping does not list pass this line without a token";
            self.say(Kind::Auth, &entry.place, Diagnostic::note(Code::UnlistedExcused, what), Vec::new());
        }
        match first_pass {
            FirstPass::Use if !asked_before => {
                let what = "use_first_pass, but no line above asks for anything: everybody is rejected";
                let found = Diagnostic::error(Code::FirstPassWithoutPassword, what);
                self.say(Kind::Auth, &entry.place, found, text("remove use_first_pass"));
            }
            FirstPass::Try if !asked_before => {
                let what = "try_first_pass, but no line above asks for anything";
                let found = Diagnostic::note(Code::FirstPassWithoutPassword, what);
                self.say(Kind::Auth, &entry.place, found, text("remove try_first_pass"));
            }
            _ => {}
        }
    }
}
