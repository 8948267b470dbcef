//! What a way without a proven first factor is in words, and which lines to change.

use super::super::control::{Action, Answer, Control};
use super::super::role;
use super::super::service::{Entry, Place, What};
use super::{Gap, Proof, Search, Way, accepts, has_nullok, refuses, search};
use yubiotp::shown;

/// Of more edits, no remedy is made.
const MOST_EDITS: usize = 6;

fn named(entry: &Entry) -> String {
    format!("{} ({})", shown::text(entry.module()), entry.place)
}

impl Way {
    /// The last line that checked a password, and did not find it right.
    fn passed_over(&self, auth: &[Entry]) -> Option<(usize, Answer)> {
        let not_accepted = |(at, answer): &&(usize, Answer)| {
            auth.get(*at).is_some_and(role::proves_password) && !accepts(*answer)
        };
        self.steps.iter().rev().find(not_accepted).copied()
    }

    /// The first line that refused the login in vain.
    fn refused_by(&self, auth: &[Entry]) -> Option<(usize, Answer)> {
        let says_no = |(at, answer): &&(usize, Answer)| {
            auth.get(*at).is_some_and(|entry| !entry.is_substack() && refuses(entry, *answer))
        };
        self.steps.iter().find(says_no).copied()
    }

    /// The lines above the one with `enroll` that check passwords.
    fn passwords<'a>(&self, auth: &'a [Entry]) -> impl Iterator<Item = &'a Entry> {
        auth.iter().take(self.line).filter(|entry| role::proves_password(entry))
    }

    pub(super) fn in_words(&self, auth: &[Entry]) -> String {
        let name = |at: usize| auth.get(at).map(named).unwrap_or_default();
        let nullok = self.passwords(auth).find(|entry| has_nullok(entry));
        match (self.end.proof, self.passed_over(auth), self.refused_by(auth)) {
            (Proof::UnlessEmpty, ..) if self.end.asked && !self.end.refused => {
                let line = nullok.map(named).unwrap_or_default();
                format!(
                    "{line} has nullok and accepts accounts without a password, and another line may ask for one"
                )
            }
            (Proof::Password | Proof::UnlessEmpty, _, refused_by) => {
                let by = refused_by.map_or_else(|| "a line".to_owned(), |(at, _)| name(at));
                format!("the stack goes on after {by} has refused the login")
            }
            (Proof::Nothing, Some((at, _)), _) => {
                format!("the stack goes on after {} did not accept the password", name(at))
            }
            _ if self.passwords(auth).next().is_some() => {
                let by = self.steps.iter().rev().find_map(|(at, answer)| {
                    let entry = auth.get(*at)?;
                    let leaps =
                        matches!(entry.control.action(*answer), Action::Jump(_) | Action::Done | Action::Die);
                    leaps.then(|| named(entry))
                });
                let by = by.map(|by| format!(" ({by} leads past it)")).unwrap_or_default();
                format!("the stack reaches this line without the one that checks the password{by}")
            }
            _ => "no line above it checks a password".to_owned(),
        }
    }

    /// What to change, each a step: edits of single lines where they are enough.
    pub(super) fn remedies(self, auth: &[Entry]) -> Vec<String> {
        let below = auth.iter().skip(self.line).find(|entry| role::proves_password(entry));
        let none = self.passwords(auth).next().is_none();
        if let (true, Some(below)) = (none, below) {
            return vec![format!(
                "put this line below that of {}, and write requisite in that one",
                named(below)
            )];
        }
        self.edits(auth).unwrap_or_else(|| {
            let module = self.passwords(auth).next().map_or("pam_unix", Entry::module);
            let change = if none {
                "add above this line"
            } else {
                "in place of the lines above this one that check the password (an include or substack of them, too), write"
            };
            vec![format!("{change}: auth requisite {}.so", shown::text(module))]
        })
    }

    /// The edits of single lines after which the first factor is proven; `None` if there are none.
    fn edits(&self, auth: &[Entry]) -> Option<Vec<String>> {
        let mut edited = auth.to_vec();
        let mut words = Vec::new();
        let mut edit = self.edit(&edited)?;
        for _ in 0..MOST_EDITS {
            for entry in edited.iter_mut().filter(|entry| entry.place == edit.place) {
                entry.control = edit.control.clone();
                if edit.without_nullok
                    && let What::Module { args, .. } = &mut entry.what
                {
                    args.retain(|arg| !arg.to_bytes().starts_with(b"nullok"));
                }
            }
            words.push(edit.words);
            match search(&edited) {
                Search::Proven => return Some(words),
                Search::Gap(Gap::Way(way)) => edit = way.edit(&edited)?,
                Search::Gap(_) => return None,
            }
        }
        None
    }

    /// The edit of a line that closes this way.
    fn edit(&self, auth: &[Entry]) -> Option<Edit> {
        if self.end.proof == Proof::UnlessEmpty && self.end.asked && !self.end.refused {
            let entry = self.passwords(auth).find(|entry| has_nullok(entry))?;
            let words = format!("remove nullok from the line of {}", named(entry));
            return Some(Edit { without_nullok: true, ..Edit::new(entry, entry.control.clone(), words) });
        }
        let blamed =
            if self.end.proof == Proof::Nothing { self.passed_over(auth) } else { self.refused_by(auth) };
        let (at, answer) = blamed?;
        let entry = auth.get(at)?;
        let (line, control) = (named(entry), shown::text(&entry.control()).to_string());
        let written = |new: &str| {
            let words = format!("write {new} in place of {control} in the line of {line}");
            Edit::new(entry, Control::read(new.trim_matches(['[', ']'])), words)
        };
        match entry.control.action(answer) {
            _ if entry.is_misread() => None,
            Action::Bad if entry.control_text.eq_ignore_ascii_case("required") => Some(written("requisite")),
            Action::Bad => {
                let words = format!("write die in place of bad in {control} in the line of {line}");
                Some(Edit::new(entry, entry.control.dying(), words))
            }
            Action::Ignore if answer == Answer::IGNORE => {
                Some(written("[success=ok new_authtok_reqd=ok default=die]"))
            }
            // With several, each may be for other users.
            Action::Ignore if self.passwords(auth).count() == 1 => Some(written("requisite")),
            _ => None,
        }
    }
}

/// Another control for a line.
struct Edit {
    place: Place,
    control: Control,
    without_nullok: bool,
    words: String,
}

impl Edit {
    fn new(entry: &Entry, control: Control, words: String) -> Self {
        Self { place: entry.place.clone(), control, without_nullok: false, words }
    }
}
