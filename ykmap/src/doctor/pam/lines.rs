//! What is wrong with single lines: those that libpam does not understand, or that do nothing.

use super::super::report::Level;
use super::findings::StackAnalysis;
use super::role::{self, Role};
use super::service::{Broken, Entry, Kind, What, names_us};
use super::walk::Stack;
use std::path::Path;
use ykhost::options::{FirstPass, nearest};
use yubiotp::shown;

impl StackAnalysis<'_> {
    /// libpam does not take the service as it is written.
    pub(super) fn broken(&mut self, Broken { place, what, change }: &Broken) {
        // What an application has no file for comes from `other`, and libpam reads it each time.
        let all = if self.service.name == "other" { ", and with it every other one" } else { "" };
        self.say(Level::Error, Kind::Auth, place, format!("{what}{all}"), change);
    }

    /// Every line by itself.
    pub(super) fn lines(&mut self) {
        for entry in &self.service.entries {
            self.misread(entry);
            if entry.is_ours() && matches!(entry.kind, Kind::Session | Kind::Password) {
                let what = "the module does nothing in such a line";
                self.say(Level::Note, entry.kind, &entry.place, what, "take it out");
            }
        }
    }

    /// Lines that libpam does not understand, wherever they stand in a service that asks for a YubiKey, or was to.
    fn misread(&mut self, entry: &Entry) {
        let always_fails = self.always_fails && entry.kind == Kind::Auth;
        match (&entry.what, entry.control.misread) {
            (What::MustFail(why), _) => {
                let who = if always_fails { "who is asked gets in" } else { "gets in who comes to it" };
                let what = format!("{why}: libpam takes it for a no, and nobody {who}");
                self.say(Level::Error, entry.kind, &entry.place, what, &entry.mend());
            }
            (What::Module { path, .. }, _) if entry.suspect && !entry.is_ours() => {
                self.other_module(entry, path);
            }
            (What::Module { .. }, Some(why)) => {
                let control = &entry.control_text;
                let end = if always_fails { ": nobody who is asked gets in" } else { "" };
                let what = format!(
                    "libpam does not understand {} ({why}), and takes every answer for a no{end}",
                    shown::quoted(control)
                );
                let words = ["required", "requisite", "sufficient", "optional", "include", "substack"];
                let change = nearest(control, words).map_or_else(
                    || format!("write {} or [answer=action …]", words.join(", ")),
                    |word| format!("write {word}"),
                );
                self.say(Level::Error, entry.kind, &entry.place, what, &change);
            }
            _ => {}
        }
    }

    /// A line that names the module, more or less, and loads something else.
    fn other_module(&mut self, entry: &Entry, path: &str) {
        let (kind, place) = (entry.kind, &entry.place);
        if names_us(path) && path.starts_with('/') && Path::new(path).exists() {
            let what = format!("loads {path}, which is not named pam_yubiotp.so, and is not looked at");
            return self.say(Level::Note, kind, place, what, "");
        }
        let (what, change) = if names_us(path) {
            let what = format!("loads {path}, and the name of the module is pam_yubiotp.so");
            (what, "write pam_yubiotp.so: until then libpam takes the line for a no".to_owned())
        } else if names_us(&entry.control_text) {
            let what =
                format!("has no control field before pam_yubiotp, and loads {} instead", shown::quoted(path));
            (what, format!("write {} required {} …", kind.name(), entry.control_text))
        } else {
            let what =
                format!("names pam_yubiotp, and loads {} instead: one word too many", shown::quoted(path));
            (what, format!("take {} out", shown::quoted(path)))
        };
        self.say(Level::Error, kind, place, what, &change);
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
        if nullok {
            let what = "nullok: users whom the mapping does not list pass this line without a token";
            self.say(Level::Note, Kind::Auth, &entry.place, what, "");
        }
        match first_pass {
            FirstPass::Use if !asked_before => {
                let what = "use_first_pass, and no line above asks for anything: everybody is refused";
                self.say(Level::Error, Kind::Auth, &entry.place, what, "take use_first_pass out");
            }
            FirstPass::Try if !asked_before => {
                let what = "try_first_pass, and no line above asks for anything";
                self.say(Level::Note, Kind::Auth, &entry.place, what, "take try_first_pass out");
            }
            _ => {}
        }
    }
}
