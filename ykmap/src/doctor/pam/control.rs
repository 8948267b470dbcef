//! The control field of a line in pam.d: what libpam does about each answer of a module.

/// The answers of a module (`pam_appl.h`), as the control field spells it; the place in the list is the code.
const ANSWERS: [&str; 32] = [
    "success",
    "open_err",
    "symbol_err",
    "service_err",
    "system_err",
    "buf_err",
    "perm_denied",
    "auth_err",
    "cred_insufficient",
    "authinfo_unavail",
    "user_unknown",
    "maxtries",
    "new_authtok_reqd",
    "acct_expired",
    "session_err",
    "cred_unavail",
    "cred_expired",
    "cred_err",
    "no_module_data",
    "conv_err",
    "authtok_err",
    "authtok_recover_err",
    "authtok_lock_busy",
    "authtok_disable_aging",
    "try_again",
    "ignore",
    "abort",
    "authtok_expired",
    "module_unknown",
    "bad_item",
    "conv_again",
    "incomplete",
];

/// An answer of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Answer(usize);

impl Answer {
    pub(crate) const SUCCESS: Self = Self(0);
    pub(crate) const SERVICE_ERR: Self = Self(3);
    pub(crate) const PERM_DENIED: Self = Self(6);
    pub(crate) const AUTH_ERR: Self = Self(7);
    pub(crate) const AUTHINFO_UNAVAIL: Self = Self(9);
    pub(crate) const USER_UNKNOWN: Self = Self(10);
    pub(crate) const MAXTRIES: Self = Self(11);
    pub(crate) const NEW_AUTHTOK_REQD: Self = Self(12);
    pub(crate) const CONV_ERR: Self = Self(19);
    pub(crate) const IGNORE: Self = Self(25);
    pub(crate) const ABORT: Self = Self(26);
    pub(crate) const MODULE_UNKNOWN: Self = Self(28);

    /// Every answer that a module gives but `incomplete`, after which libpam asks again.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..ANSWERS.len() - 1).map(Self)
    }

    /// As the control field spells it.
    pub(crate) fn name(self) -> &'static str {
        ANSWERS.get(self.0).copied().unwrap_or_default()
    }
}

/// The action of libpam for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Ignore,
    Ok,
    Done,
    Bad,
    Die,
    Reset,
    Jump(u32),
}

/// A control field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Control {
    actions: [Action; 32],
    /// The part that libpam does not understand. It then takes every answer for a no, a yes too.
    pub(crate) misread: Option<&'static str>,
}

impl Control {
    fn new(named: &[(Answer, Action)], default: Action) -> Self {
        let mut actions = [default; 32];
        for (answer, action) in named {
            if let Some(slot) = actions.get_mut(answer.0) {
                *slot = *action;
            }
        }
        Self { actions, misread: None }
    }

    /// Of a line without one.
    pub(crate) fn missing() -> Self {
        Self::new(&[], Action::Bad)
    }

    /// Reads a control field: one of the four words, or pairs `answer=action` without the brackets around them.
    pub(crate) fn read(text: &str) -> Self {
        use Action::{Bad, Die, Done, Ignore, Ok};
        let yes = |action| [(Answer::SUCCESS, action), (Answer::NEW_AUTHTOK_REQD, action)];
        let strict = [(Answer::SUCCESS, Ok), (Answer::NEW_AUTHTOK_REQD, Ok), (Answer::IGNORE, Ignore)];
        match text.to_ascii_lowercase().as_str() {
            "required" => Self::new(&strict, Bad),
            "requisite" => Self::new(&strict, Die),
            "optional" => Self::new(&yes(Ok), Ignore),
            "sufficient" => Self::new(&yes(Done), Ignore),
            _ => Self::pairs(text).unwrap_or_else(|why| Self { misread: Some(why), ..Self::new(&[], Bad) }),
        }
    }

    /// As libpam reads them: names are prefixes, blanks between pairs need not be, and `default` is what is not named
    /// so far.
    fn pairs(text: &str) -> Result<Self, &'static str> {
        let mut actions = [None; 32];
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let named = ANSWERS.iter().position(|name| rest.starts_with(name));
            let name = match named {
                Some(at) => ANSWERS.get(at).copied().unwrap_or_default(),
                None if rest.starts_with("default") => "default",
                None => return Err("an answer that no module gives"),
            };
            rest = rest.get(name.len()..).unwrap_or_default().trim_start();
            rest = rest.strip_prefix('=').ok_or("no = behind an answer")?.trim_start();
            let action;
            (action, rest) = take_action(rest)?;
            match named {
                Some(at) => actions.get_mut(at).into_iter().for_each(|slot| *slot = Some(action)),
                None => actions.iter_mut().for_each(|slot| *slot = slot.or(Some(action))),
            }
            rest = rest.trim_start();
        }
        Ok(Self { actions: actions.map(|action| action.unwrap_or(Action::Bad)), misread: None })
    }

    /// The same control, but whatever is `bad` is `die`: `requisite` in place of `required`.
    pub(crate) fn dying(&self) -> Self {
        let die = |action| if action == Action::Bad { Action::Die } else { action };
        Self { actions: self.actions.map(die), misread: self.misread }
    }

    /// Whether it jumps over lines, for whatever answer.
    pub(crate) fn jumps(&self) -> bool {
        self.actions.iter().any(|action| matches!(action, Action::Jump(_)))
    }

    /// The action for an answer.
    pub(crate) fn action(&self, answer: Answer) -> Action {
        self.actions.get(answer.0).copied().unwrap_or(Action::Bad)
    }
}

fn take_action(text: &str) -> Result<(Action, &str), &'static str> {
    let words = [
        ("ignore", Action::Ignore),
        ("ok", Action::Ok),
        ("done", Action::Done),
        ("bad", Action::Bad),
        ("die", Action::Die),
        ("reset", Action::Reset),
    ];
    for (word, action) in words {
        if let Some(rest) = text.strip_prefix(word) {
            return Ok((action, rest));
        }
    }
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text.strip_suffix(rest).unwrap_or_default();
    match number.parse() {
        Ok(lines @ 1..) => Ok((Action::Jump(lines), rest)),
        _ => Err("an action that there is not"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_as_libpam_reads_them() {
        let control = Control::read("success=1 default=ignore");
        assert_eq!(control.action(Answer::SUCCESS), Action::Jump(1));
        assert_eq!(control.action(Answer::AUTH_ERR), Action::Ignore);
        let close = Control::read(" success = ok default=die authinfo_unavail=ignore");
        assert_eq!(close.action(Answer::AUTHINFO_UNAVAIL), Action::Ignore, "what is named last counts");
        assert_eq!(close.action(Answer::AUTH_ERR), Action::Die);
        assert_eq!(Control::read("success=okdefault=bad").misread, None);
        for (text, why) in [
            ("requird", "an answer that no module gives"),
            ("success", "no = behind an answer"),
            ("success=0", "an action that there is not"),
            ("success=often", "an action that there is not"),
        ] {
            let control = Control::read(text);
            assert_eq!(
                (control.misread, control.action(Answer::SUCCESS)),
                (Some(why), Action::Bad),
                "{text}"
            );
        }
    }
}
