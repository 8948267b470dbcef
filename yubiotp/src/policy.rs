//! Who needs a second factor, and by which methods: by user, group, network, PAM service and date.
//!
//! A [`Policy`] has rules for every PAM service, and others in their place for single services. [`Policy::ruling`] says
//! what holds for one login, and which rule decided, so that a login and `ykmap explain` cannot differ.

mod network;
#[cfg(test)]
mod tests;

pub use network::{BadFrom, From, RemoteHost};

use crate::mapping::Unlisted;
use crate::oath::Kind;
use crate::shown;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Display, Formatter};

/// Groups by name, each with its users. A group of the system is never looked up.
pub type Groups = BTreeMap<String, Vec<String>>;

/// A user or a group in a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A user, by exact name.
    User(String),
    /// A group of [`Groups`]; written `@NAME`.
    Group(String),
}

impl Subject {
    /// Reads `NAME` or `@NAME`. `None` for an empty name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('@') {
            Some("") => None,
            Some(group) => Some(Self::Group(group.into())),
            None if text.is_empty() => None,
            None => Some(Self::User(text.into())),
        }
    }

    /// Whether `user` is meant. A group that is not in `groups` has no users.
    #[must_use]
    pub fn is(&self, user: &[u8], groups: &Groups) -> bool {
        self.users(groups).iter().any(|name| name.as_bytes() == user)
    }

    /// Whether `user` may be meant in another spelling.
    fn may_mean(&self, user: &[u8], groups: &Groups) -> bool {
        self.users(groups).iter().any(|name| Unlisted::new(user).may_mean(name.as_bytes()))
    }

    fn users<'s>(&'s self, groups: &'s Groups) -> &'s [String] {
        match self {
            Self::User(name) => core::slice::from_ref(name),
            Self::Group(group) => groups.get(group).map_or(&[], Vec::as_slice),
        }
    }
}

impl Display for Subject {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => f.write_str(name),
            Self::Group(name) => write!(f, "@{name}"),
        }
    }
}

/// Who must have a second factor. Everybody who has one is asked for it, whatever this says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Require {
    /// Every user.
    All,
    /// Nobody but those who have one.
    Enrolled,
    /// These users.
    These(Vec<Subject>),
}

/// A time from which, and one until which, something holds: seconds since 1970. The first second of `until` is outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interval {
    /// The beginning.
    pub not_before: Option<u64>,
    /// The end.
    pub until: Option<u64>,
}

impl Interval {
    /// Whether `unix` is in it.
    #[must_use]
    pub fn contains(self, unix: u64) -> bool {
        self.not_before.is_none_or(|begin| begin <= unix) && self.until.is_none_or(|end| unix < end)
    }
}

/// Logins that need no second factor: all conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemption {
    /// The users; `None` for everybody.
    pub who: Option<Vec<Subject>>,
    /// The networks; `None` for every one.
    pub from: Option<Vec<From>>,
    /// When.
    pub when: Interval,
}

/// A kind of second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// OTPs of YubiKeys.
    YubiKey,
    /// Codes by time.
    Totp,
    /// Codes by counter.
    Hotp,
    /// Recovery codes.
    Recovery,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::YubiKey, Self::Totp, Self::Hotp, Self::Recovery];

    /// Its name in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::YubiKey => "yubikey",
            Self::Totp => "totp",
            Self::Hotp => "hotp",
            Self::Recovery => "recovery",
        }
    }

    /// The method of an OATH token.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Totp { .. } => Self::Totp,
            Kind::Hotp => Self::Hotp,
        }
    }

    /// What a user types, in words.
    #[must_use]
    pub const fn answer(self) -> &'static str {
        match self {
            Self::YubiKey => "an OTP of a YubiKey",
            Self::Totp => "a code of an authenticator app",
            Self::Hotp => "a code of a hardware token by counter (HOTP)",
            Self::Recovery => "a recovery code",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::YubiKey => 1,
            Self::Totp => 2,
            Self::Hotp => 4,
            Self::Recovery => 8,
        }
    }
}

/// A set of methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Methods(u8);

impl Methods {
    /// Every method.
    pub const ALL: Self = Self(15);

    /// These.
    #[must_use]
    pub fn of(methods: impl IntoIterator<Item = Method>) -> Self {
        Self(methods.into_iter().fold(0, |set, method| set | method.bit()))
    }

    /// Whether a method is in it.
    #[must_use]
    pub const fn has(self, method: Method) -> bool {
        self.0 & method.bit() != 0
    }

    /// Those in it.
    pub fn iter(self) -> impl Iterator<Item = Method> {
        Method::ALL.into_iter().filter(move |method| self.has(*method))
    }
}

/// The methods of some users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodsFor {
    /// The users.
    pub who: Vec<Subject>,
    /// What they may use.
    pub methods: Methods,
}

/// What the module returns for an exempt user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnExempt {
    /// PAM_IGNORE: the other modules of the stack decide.
    #[default]
    Ignore,
    /// PAM_SUCCESS: for a stack in which no other module says yes.
    Success,
}

/// The settings of `[policy]`, or of one `[service.NAME]`: `None` where nothing is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// `require`; else every user.
    pub require: Option<Require>,
    /// `not_before`: before it, only those who have a second factor are asked.
    pub not_before: Option<u64>,
    /// `until`: before it, those who have no second factor may put enrolling off.
    pub until: Option<u64>,
    /// `exempt`; the first that holds counts.
    pub exempt: Option<Vec<Exemption>>,
    /// `methods`, for those whom no line of `methods_for` names; else every method.
    pub methods: Option<Methods>,
    /// `methods_for`; the first that names the user counts.
    pub methods_for: Option<Vec<MethodsFor>>,
    /// `on_exempt`
    pub on_exempt: Option<OnExempt>,
}

/// The whole policy. The default requires a second factor of everybody, by any method.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// `[groups]`
    pub groups: Groups,
    /// `[policy]`
    pub general: Rules,
    /// `[service.NAME]`: what is set there replaces the same setting of `general`.
    pub services: BTreeMap<String, Rules>,
}

/// One login, as far as the policy looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Login<'l> {
    /// The user, as PAM names them.
    pub user: &'l [u8],
    /// The PAM service.
    pub service: &'l [u8],
    /// Where the login is from.
    pub from: RemoteHost,
    /// The time, in seconds since 1970.
    pub unix: u64,
}

/// Whether a login needs a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// No, even if the user has one.
    Exempt,
    /// Only if the user has one.
    IfEnrolled,
    /// Only if the user has one. Who has none is offered enrollment, and may put it off until then: seconds since 1970.
    Postponable {
        /// From then on it is [`Need::Required`].
        until: u64,
    },
    /// Yes.
    Required,
}

/// The table that a setting is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// `[policy]`, or what holds where nothing is set.
    Policy,
    /// `[service.NAME]` of the login's service.
    Service,
}

/// The rule that decided about a [`Need`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule<'p> {
    /// This exemption holds. Counted from 1.
    Exempt(usize, &'p Exemption),
    /// `require` names every user.
    All,
    /// `require` names those who have a second factor.
    Enrolled,
    /// `require` names the user, or a group of theirs.
    Named(&'p Subject),
    /// `require` names others.
    NotNamed,
    /// `require` names the user, from this time on.
    NotYet {
        /// `not_before`
        not_before: u64,
    },
}

/// What holds for a login, and by which rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ruling<'p> {
    /// Whether it needs a second factor.
    pub need: Need,
    /// The rule that says so.
    pub rule: Rule<'p>,
    /// The table that the rule is in.
    pub table: Table,
    /// The methods that count.
    pub methods: Methods,
    /// The line of `methods_for` that names them, counted from 1, and its table; `None` if none names the user.
    pub methods_rule: Option<(usize, Table)>,
    /// What an exempt user gets.
    pub on_exempt: OnExempt,
}

impl Ruling<'_> {
    /// The rule, for a log or a terminal: `[policy] exempt, item 2`. `service` is that of the login.
    #[must_use]
    pub fn rule_text(&self, service: &[u8]) -> String {
        let table = self.table.text(service);
        match self.rule {
            Rule::Exempt(number, _) => format!("{table} exempt, item {number}"),
            Rule::All => format!("{table} require = \"all\""),
            Rule::Enrolled => format!("{table} require = \"enrolled\""),
            Rule::Named(subject) => format!("{table} require names {subject}"),
            Rule::NotNamed => format!("{table} require does not name the user"),
            Rule::NotYet { .. } => format!("{table} not_before is not reached"),
        }
    }
}

impl Table {
    /// Its name in the configuration file, if the login is of `service`.
    #[must_use]
    pub fn text(self, service: &[u8]) -> String {
        match self {
            Self::Policy => "[policy]".into(),
            Self::Service => format!("[service.{}]", shown::text(service)),
        }
    }
}

/// A setting does not name the user, and may name them in another spelling, in which they would need a second factor, or
/// might use fewer methods: nothing is decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} names {subject}, which may be another spelling of the user")]
pub struct Doubt {
    /// `require` or `methods_for`.
    pub setting: &'static str,
    /// The user, or the group with them.
    pub subject: Subject,
}

impl Policy {
    /// What holds for a login.
    ///
    /// # Errors
    /// The user [may be another one](Doubt), for whom the policy is stricter.
    pub fn ruling(&self, login: &Login<'_>) -> Result<Ruling<'_>, Doubt> {
        let (methods, methods_rule) = self.methods(login);
        let (on_exempt, _) = self.pick(login, |rules| rules.on_exempt.as_ref());
        let ruling = |need, rule, table| Ruling {
            need,
            rule,
            table,
            methods,
            methods_rule,
            on_exempt: on_exempt.copied().unwrap_or_default(),
        };
        let (exempt, table) = self.pick(login, |rules| rules.exempt.as_ref());
        let exempt = exempt.map_or(&[][..], Vec::as_slice);
        if let Some((number, exemption)) = (1_usize..).zip(exempt).find(|(_, it)| self.holds(it, login)) {
            return Ok(ruling(Need::Exempt, Rule::Exempt(number, exemption), table));
        }
        if methods_rule.is_none() {
            self.no_narrower_methods(login, methods)?;
        }
        let (not_before, of_begin) = self.pick(login, |rules| rules.not_before.as_ref());
        let not_yet = not_before.filter(|begin| login.unix < **begin);
        let (until, _) = self.pick(login, |rules| rules.until.as_ref());
        let postponable = until.filter(|until| login.unix < **until);
        let (require, table) = self.pick(login, |rules| rules.require.as_ref());
        let rule = match require.unwrap_or(&Require::All) {
            Require::All => Rule::All,
            Require::Enrolled => return Ok(ruling(Need::IfEnrolled, Rule::Enrolled, table)),
            Require::These(who) => match self.named(who, login.user) {
                Some(subject) => Rule::Named(subject),
                // As long as nobody has to have a second factor, nobody is kept out by a doubt.
                None if not_yet.is_some() || postponable.is_some() => {
                    return Ok(ruling(Need::IfEnrolled, Rule::NotNamed, table));
                }
                None => match self.doubtful(who, login.user) {
                    Some(subject) => return Err(Doubt { setting: "require", subject: subject.clone() }),
                    None => return Ok(ruling(Need::IfEnrolled, Rule::NotNamed, table)),
                },
            },
        };
        if let Some(&not_before) = not_yet {
            return Ok(ruling(Need::IfEnrolled, Rule::NotYet { not_before }, of_begin));
        }
        Ok(match postponable {
            Some(&until) => ruling(Need::Postponable { until }, rule, table),
            None => ruling(Need::Required, rule, table),
        })
    }

    /// That no line of `methods_for` which may mean the user takes away one of `methods`.
    fn no_narrower_methods(&self, login: &Login<'_>, methods: Methods) -> Result<(), Doubt> {
        let (lines, _) = self.pick(login, |rules| rules.methods_for.as_ref());
        let narrower = |line: &&MethodsFor| methods.iter().any(|method| !line.methods.has(method));
        let lines = lines.map_or(&[][..], Vec::as_slice).iter().filter(narrower);
        match lines.filter_map(|line| self.doubtful(&line.who, login.user)).next() {
            Some(subject) => Err(Doubt { setting: "methods_for", subject: subject.clone() }),
            None => Ok(()),
        }
    }

    fn doubtful<'p>(&self, who: &'p [Subject], user: &[u8]) -> Option<&'p Subject> {
        who.iter().find(|subject| subject.may_mean(user, &self.groups))
    }

    /// A setting of the login's service, else of `[policy]`.
    fn pick<'p, T>(
        &'p self,
        login: &Login<'_>,
        of: impl Fn(&'p Rules) -> Option<&'p T>,
    ) -> (Option<&'p T>, Table) {
        let service = str::from_utf8(login.service).ok().and_then(|name| self.services.get(name));
        match service.and_then(&of) {
            Some(setting) => (Some(setting), Table::Service),
            None => (of(&self.general), Table::Policy),
        }
    }

    fn named<'p>(&self, who: &'p [Subject], user: &[u8]) -> Option<&'p Subject> {
        who.iter().find(|subject| subject.is(user, &self.groups))
    }

    fn holds(&self, exemption: &Exemption, login: &Login<'_>) -> bool {
        exemption.who.as_ref().is_none_or(|who| self.named(who, login.user).is_some())
            && exemption.from.as_ref().is_none_or(|from| from.iter().any(|from| from.has(login.from)))
            && exemption.when.contains(login.unix)
    }

    fn methods(&self, login: &Login<'_>) -> (Methods, Option<(usize, Table)>) {
        let (lines, table) = self.pick(login, |rules| rules.methods_for.as_ref());
        let lines = lines.map_or(&[][..], Vec::as_slice);
        let mut numbered = (1_usize..).zip(lines);
        match numbered.find(|(_, line)| self.named(&line.who, login.user).is_some()) {
            Some((number, line)) => (line.methods, Some((number, table))),
            None => {
                let (methods, _) = self.pick(login, |rules| rules.methods.as_ref());
                (methods.copied().unwrap_or(Methods::ALL), None)
            }
        }
    }
}
