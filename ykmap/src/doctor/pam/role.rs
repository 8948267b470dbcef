//! The role of a line in pam.d at a login: it asks for something, looks at who it is, or always says the same.

use super::control::Answer;
use super::service::{Entry, Kind, What};
use ykhost::options::{FirstPass, Options};

/// A set of things that somebody shows to get in: bits, with the names in [`Factors::NAMES`]; from [`Factors::OTHER`]
/// on those of other modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Factors(pub(crate) u32);

impl Factors {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const SSH_KEY: Self = Self(1);
    pub(crate) const KERBEROS: Self = Self(2);
    pub(crate) const HOST_KEY: Self = Self(4);
    pub(crate) const PASSWORD: Self = Self(8);
    pub(crate) const OTP: Self = Self(16);
    /// A token that the user enrolls in this login.
    pub(crate) const ENROLLMENT: Self = Self(32);
    /// The proofs that sshd wants before the auth lines, or in place of them.
    pub(crate) const PROOFS: Self = Self(7);
    pub(crate) const NAMES: [&str; 6] =
        ["ssh key", "Kerberos ticket", "host key", "password", "OTP", "enrollment"];
    /// The bit of the first other module.
    pub(crate) const OTHER: u32 = 6;

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// All sets of what is in this one.
    pub(crate) fn subsets(self) -> impl Iterator<Item = Self> {
        (0..=self.0).map(Self).filter(move |set| self.has(*set))
    }
}

/// Modules that ask for nothing that somebody knows or has: they say yes or no by who, where and when.
const GATES: [&str; 42] = [
    "pam_access",
    "pam_cap",
    "pam_echo",
    "pam_env",
    "pam_faildelay",
    "pam_faillock",
    "pam_group",
    "pam_issue",
    "pam_keyinit",
    "pam_lastlog",
    "pam_limits",
    "pam_listfile",
    "pam_localuser",
    "pam_loginuid",
    "pam_mail",
    "pam_mkhomedir",
    "pam_motd",
    "pam_nologin",
    "pam_rootok",
    "pam_rhosts",
    "pam_securetty",
    "pam_selinux",
    "pam_selinux_permit",
    "pam_sepermit",
    "pam_setquota",
    "pam_shells",
    "pam_succeed_if",
    "pam_systemd",
    "pam_tally2",
    "pam_time",
    "pam_umask",
    "pam_usertype",
    "pam_warn",
    "pam_wheel",
    // These use the password that another module asked for, and decide nothing.
    "pam_ecryptfs",
    "pam_fscrypt",
    "pam_gnome_keyring",
    "pam_kwallet",
    "pam_kwallet5",
    "pam_mount",
    "pam_reauthorize",
    "pam_systemd_loadkey",
];

/// Gates that are put there to leave some people out, by name or by group. What another gate leaves out is seldom
/// meant.
const DELIBERATE: [&str; 6] =
    ["pam_access", "pam_listfile", "pam_rootok", "pam_selinux_permit", "pam_succeed_if", "pam_wheel"];

/// Modules that ask for the password of the account, and take one that was asked for before.
const PASSWORDS: [&str; 9] = [
    "pam_unix",
    "pam_sss",
    "pam_ldap",
    "pam_krb5",
    "pam_winbind",
    "pam_systemd_home",
    "pam_pwdb",
    "pam_lsass",
    "pam_himmelblau",
];

/// Modules that check a password of their own, beside [`PASSWORDS`], in the same way.
const OTHER_PASSWORDS: [&str; 3] = ["pam_pwdfile", "pam_tcb", "pam_userdb"];

/// The question of a deliberate gate about the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// Equal for lines that ask the same; for people.
    pub(crate) text: String,
    /// Whether the line says yes if the answer is no: `notingroup`, `sense=deny`.
    pub(crate) reversed: bool,
}

/// The question of `pam_rootok`.
pub(crate) const CALLED_BY_ROOT: &str = "called by root";

/// How many modules have a factor of their own.
pub(crate) const MOST_OTHERS: u32 = 4;

/// Whose logins end in a fault at a line of ours, from the fewest to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fails {
    /// Those with a token that would be accepted.
    WithToken,
    /// Everybody's.
    Everybody,
    /// Everybody's: libpam cannot load the module.
    Unloaded,
}

/// The role of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    Ours {
        nullok: bool,
        first_pass: FirstPass,
        always_prompt: bool,
        enroll: bool,
        /// Its arguments are not understood.
        broken: bool,
        /// What its arguments name, or the module, cannot be used.
        fails: Option<Fails>,
    },
    Permit,
    Deny,
    /// libpam does not understand it.
    MustFail,
    Substack,
    /// A deliberate gate.
    Gate {
        question: Question,
        yes: Answer,
        no: Answer,
    },
    /// Another gate, or in account lines whatever else there is: it may say anything.
    Incidental,
    /// Asks for the password of the account.
    Password {
        only_stacked: bool,
    },
    /// Asks for what only this module knows. `nullok` is whether it lets pass who has none.
    Other {
        factor: Factors,
        nullok: bool,
    },
}

/// The role of a line. `others` are the names of the modules whose factors are known, and get those that are new.
pub(crate) fn role(entry: &Entry, others: &mut Vec<String>) -> Role {
    let args = match &entry.what {
        What::MustFail(_) => return Role::MustFail,
        What::Substack => return Role::Substack,
        What::Module { args, .. } => args,
    };
    let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    match entry.module() {
        "pam_yubiotp" => match options(entry) {
            Some(Options { nullok, first_pass, always_prompt, enroll, .. }) => {
                Role::Ours { nullok, first_pass, always_prompt, enroll, broken: false, fails: None }
            }
            None => {
                let first_pass = FirstPass::Never;
                let (nullok, always_prompt, enroll) = (false, false, false);
                Role::Ours { nullok, first_pass, always_prompt, enroll, broken: true, fails: None }
            }
        },
        "pam_permit" => Role::Permit,
        "pam_deny" => Role::Deny,
        name if DELIBERATE.contains(&name) && !has("onerr=succeed") => {
            let (yes, no) = match name {
                "pam_access" => (Answer::SUCCESS, Answer::PERM_DENIED),
                "pam_wheel" if has("trust") => (Answer::SUCCESS, Answer::PERM_DENIED),
                "pam_wheel" => (Answer::IGNORE, Answer::PERM_DENIED),
                "pam_selinux_permit" => (Answer::SUCCESS, Answer::IGNORE),
                _ => (Answer::SUCCESS, Answer::AUTH_ERR),
            };
            Role::Gate { question: question(name, &args), yes, no }
        }
        name if GATES.contains(&name) || entry.kind == Kind::Account => Role::Incidental,
        // A script that asks sshd whether it accepted an ssh key in this login.
        "pam_exec" if ["SSH_AUTH_INFO_0", "publickey"].iter().all(|word| args.concat().contains(word)) => {
            Role::Other { factor: Factors::SSH_KEY, nullok: false }
        }
        name if PASSWORDS.contains(&name) => Role::Password { only_stacked: has("use_first_pass") },
        name => {
            let known = others.iter().position(|other| other == name);
            let at = known.unwrap_or_else(|| {
                others.push(name.to_owned());
                others.len().saturating_sub(1)
            });
            // Of very many, the last ones are one.
            let bit = u32::try_from(at).unwrap_or_default().min(MOST_OTHERS.saturating_sub(1));
            let factor = Factors(1_u32 << Factors::OTHER.saturating_add(bit));
            Role::Other { factor, nullok: has("nullok") }
        }
    }
}

/// The question of a gate, so that lines with the same arguments in auth and account are one question.
fn question(module: &str, args: &[String]) -> Question {
    let noise = ["quiet", "quiet_fail", "quiet_success", "debug", "audit", "use_uid", "onerr=fail", "trust"];
    let mut args: Vec<_> = args.iter().filter(|arg| !noise.contains(&arg.as_str())).cloned().collect();
    let mut reversed = false;
    match (module, args.as_mut_slice()) {
        ("pam_rootok", _) => return Question { text: CALLED_BY_ROOT.to_owned(), reversed },
        ("pam_succeed_if", [_, verb, _]) => {
            for (no, yes) in [("notingroup", "ingroup"), ("notin", "in"), ("!=", "="), ("ne", "eq")] {
                if verb == no {
                    yes.clone_into(verb);
                    reversed = true;
                }
            }
        }
        ("pam_succeed_if", _) => {}
        _ => {
            reversed = args.iter().any(|arg| arg == "sense=deny");
            args.retain(|arg| !arg.starts_with("sense="));
            args.sort_unstable();
        }
    }
    let text = match module {
        "pam_succeed_if" => args.join(" "),
        _ => [vec![module.to_owned()], args].concat().join(" "),
    };
    Question { text, reversed }
}

/// Whether a line asks for something that somebody knows or has, other than an OTP.
pub(crate) fn asks(entry: &Entry) -> bool {
    matches!(role(entry, &mut Vec::new()), Role::Password { .. } | Role::Other { .. })
}

/// Whether a success of this line proves that the user typed the right password.
pub(crate) fn proves_password(entry: &Entry) -> bool {
    let name = entry.module();
    (PASSWORDS.contains(&name) || OTHER_PASSWORDS.contains(&name)) && !takes_a_ticket(entry)
}

/// Whether a Kerberos ticket that is there already is enough for this line.
fn takes_a_ticket(entry: &Entry) -> bool {
    let What::Module { args, .. } = &entry.what else { return false };
    entry.module() == "pam_krb5" && args.iter().any(|arg| arg.to_bytes().starts_with(b"existing_ticket"))
}

/// Whether this line asks for nothing, and says yes or no by who, where and when.
pub(crate) fn is_gate(entry: &Entry) -> bool {
    GATES.contains(&entry.module())
}

/// Whether this is an auth line of ours that offers enrollment.
pub(crate) fn enrolls(entry: &Entry) -> bool {
    entry.kind == Kind::Auth && entry.is_ours() && options(entry).is_some_and(|options| options.enroll)
}

/// The arguments of a line of ours, if they are understood.
pub(crate) fn options(entry: &Entry) -> Option<Options> {
    let What::Module { args, .. } = &entry.what else { return None };
    Options::read(&args.iter().map(|arg| arg.as_c_str()).collect::<Vec<_>>()).ok()
}

pub(crate) fn has_nullok(entry: &Entry) -> bool {
    options(entry).is_some_and(|options| options.nullok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_ask_the_same() {
        for (module, args, text, reversed) in [
            ("pam_succeed_if", "quiet user notingroup keys", "user ingroup keys", true),
            ("pam_succeed_if", "user ingroup keys use_uid", "user ingroup keys", false),
            ("pam_succeed_if", "uid >= 1000", "uid >= 1000", false),
            (
                "pam_listfile",
                "onerr=fail item=user sense=allow file=/f",
                "pam_listfile file=/f item=user",
                false,
            ),
            ("pam_listfile", "file=/f item=user sense=deny", "pam_listfile file=/f item=user", true),
            ("pam_access", "accessfile=/f", "pam_access accessfile=/f", false),
            ("pam_rootok", "", "called by root", false),
        ] {
            let args: Vec<_> = args.split_whitespace().map(str::to_owned).collect();
            assert_eq!(question(module, &args), Question { text: text.to_owned(), reversed }, "{args:?}");
        }
    }
}
