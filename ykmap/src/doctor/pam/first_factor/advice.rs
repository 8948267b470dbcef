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
            _ if self.passwords(auth).next().is_some() => match self.led_past(auth) {
                Some(by) => format!("{} leads past the line that checks the password", named(by)),
                None => "this line is reached without the one that checks the password".to_owned(),
            },
            _ => "no line above it checks a password".to_owned(),
        }
    }

    /// The last line that led past others.
    fn led_past<'a>(&self, auth: &'a [Entry]) -> Option<&'a Entry> {
        self.steps.iter().rev().find_map(|(at, answer)| {
            let entry = auth.get(*at)?;
            let leads = matches!(entry.control.action(*answer), Action::Jump(_) | Action::Done | Action::Die);
            leads.then_some(entry)
        })
    }

    /// What to change, each a step. Only edits after which the first factor is proven, and after which those whose
    /// password is right still reach the line; where there are none, the lines to write.
    pub(super) fn remedies(self, auth: &[Entry]) -> Vec<String> {
        let own = auth.iter().find(|entry| role::proves_password(entry)).map_or("pam_unix", Entry::module);
        let line = format!("auth requisite {}.so", shown::text(own));
        if self.passwords(auth).next().is_none() {
            return self.below(auth).unwrap_or_else(|| vec![format!("add above this line: {line}")]);
        }
        if let Some(words) = self.edits(auth).or_else(|| self.included(auth)) {
            return words;
        }
        match self.led_past(auth) {
            Some(by) if self.passed_over(auth).is_none() => {
                vec![format!("let {} lead past this line, too, or write above it: {line}", named(by))]
            }
            _ => vec![format!("in place of the lines that check the password above this one, write: {line}")],
        }
    }

    /// The advice to put the line behind all others, where that is enough, perhaps with edits of these.
    fn below(&self, auth: &[Entry]) -> Option<Vec<String>> {
        let mut moved = auth.to_vec();
        if self.line >= moved.len() {
            return None;
        }
        let line = moved.remove(self.line);
        moved.push(Entry { level: 0, ..line });
        let words = vec!["put this line below the other auth lines".to_owned()];
        match search(&moved) {
            Search::Proven => Some(words),
            Search::Gap(Gap::Way(way)) => Some([words, way.edits(&moved)?].concat()),
            Search::Gap(_) => None,
        }
    }

    /// The advice to include a file that is a substack, where that is enough, and a yes in it does not end the stack.
    fn included(&self, auth: &[Entry]) -> Option<Vec<String>> {
        let above = auth.get(..self.line)?;
        let mut substacks = above.iter().filter(|entry| entry.is_substack());
        let (substack, None) = (substacks.next()?, substacks.next()) else { return None };
        let ends = |entry: &Entry| entry.level > 0 && entry.control.action(Answer::SUCCESS) == Action::Done;
        if above.iter().any(ends) {
            return None;
        }
        let mut flat = auth.to_vec();
        flat.retain(|entry| !entry.is_substack());
        flat.iter_mut().for_each(|entry| entry.level = 0);
        let word = format!("write include in place of substack ({})", substack.place);
        matches!(search(&flat), Search::Proven).then(|| vec![word])
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

    /// The `pam_deny` behind the password, whose no does not end the stack.
    fn denied_in_vain<'a>(&self, auth: &'a [Entry]) -> Option<&'a Entry> {
        let (password, _) = self.passed_over(auth)?;
        let behind = self.steps.iter().filter(|(at, _)| *at > password);
        behind.filter_map(|(at, answer)| Some((auth.get(*at)?, *answer))).find_map(|(entry, answer)| {
            let goes_on = entry.control.action(answer) == Action::Bad;
            (entry.module() == "pam_deny" && goes_on).then_some(entry)
        })
    }

    /// The edit of a line that closes this way.
    fn edit(&self, auth: &[Entry]) -> Option<Edit> {
        if self.end.proof == Proof::UnlessEmpty && self.end.asked && !self.end.refused {
            let entry = self.passwords(auth).find(|entry| has_nullok(entry))?;
            let words = format!("remove nullok from the line of {}", named(entry));
            return Some(Edit { without_nullok: true, ..Edit::new(entry, entry.control.clone(), words) });
        }
        if let Some(entry) = self.denied_in_vain(auth) {
            return Some(Edit::of_bad(entry));
        }
        let blamed =
            if self.end.proof == Proof::Nothing { self.passed_over(auth) } else { self.refused_by(auth) };
        let (at, answer) = blamed?;
        let entry = auth.get(at)?;
        let written = |new: &str| Edit::written(entry, new);
        match entry.control.action(answer) {
            _ if entry.is_misread() => None,
            Action::Bad => Some(Edit::of_bad(entry)),
            Action::Ignore if answer == Answer::IGNORE => {
                Some(written("[success=ok new_authtok_reqd=ok default=die]"))
            }
            // With several, each may be for other users; and in another file, other services have the line, too.
            Action::Ignore if self.passwords(auth).count() == 1 => {
                let line = auth.get(self.line)?;
                (line.place.file == entry.place.file).then(|| written("requisite"))
            }
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

    fn written(entry: &Entry, new: &str) -> Self {
        let (line, control) = (named(entry), shown::text(&entry.control()).to_string());
        let words = format!("write {new} in place of {control} in the line of {line}");
        Self::new(entry, Control::read(new.trim_matches(['[', ']'])), words)
    }

    /// Lets the stack end where a refusal only counts so far.
    fn of_bad(entry: &Entry) -> Self {
        if entry.control_text.eq_ignore_ascii_case("required") {
            return Self::written(entry, "requisite");
        }
        let control = shown::text(&entry.control()).to_string();
        let words = format!("write die in place of bad in {control} in the line of {}", named(entry));
        Self::new(entry, entry.control.dying(), words)
    }
}
