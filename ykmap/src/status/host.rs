//! What is known of the whole host.

use super::Query;
use super::backup::Backup;
use super::need::{Needs, RollOut, needs, roll_outs};
use super::recent::Recent;
use super::tokens::{self, Token};
use super::users::Users;
use crate::doctor::{AREAS, Asking, Examined, Scope, Sources, has_service};
use crate::list::{State, States};
use crate::system::{Pending, pending_changes};
use crate::unlock;
use crate::{Context, Done, Failure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use ykcli::report::Report;
use ykcli::time;
use ykhost::online::Failures;
use ykhost::settings::Settings;
use ykhost::store::{Store, StoreScan};
use ykhost::{Fault, clock};
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Location, Program, Severity, shell_word};
use yubiotp::protocol::Server;
use yubiotp::{TokenId, shown};

/// Services by which people log in or become root: those that do not ask are named, too.
const USUAL: [&str; 9] =
    ["sshd", "sudo", "sudo-i", "su", "su-l", "login", "gdm-password", "sddm", "polkit-1"];

/// A roll-out that ends within this time needs attention: a week.
const SOON: u64 = 7 * 86_400;

/// The area of what only this finds.
const USER: &str = "user";

/// The state of a host.
pub(crate) struct Host {
    /// Now, in seconds since 1970.
    pub(crate) unix: u64,
    pub(crate) settings: Settings,
    /// Services that ask for a second factor.
    pub(crate) asking: Vec<String>,
    /// Usual services of this host that do not.
    pub(crate) silent: Vec<String>,
    /// Services that ask by other settings than these.
    pub(super) others: Vec<String>,
    /// Who gets in with what, as JSON, and in a sentence for services that are alike.
    pub(super) access: (Value, Vec<(String, String)>),
    /// How many accounts can log in, if they were looked for.
    pub(super) accounts: usize,
    pub(crate) users: Users,
    pub(crate) tokens: Vec<Token>,
    pub(super) needs: Vec<Needs>,
    pub(crate) roll_outs: Vec<RollOut>,
    /// Users of recovery codes, and how many they have left.
    pub(crate) codes_left: BTreeMap<String, usize>,
    /// Users of whom single codes are not enough now.
    pub(crate) locked: Vec<String>,
    /// What the log says. An error is why it says nothing.
    pub(crate) log: Result<Recent, Diagnostic>,
    /// Changes of the host's files that are undone unless somebody keeps them.
    pub(crate) changes: Vec<Pending>,
    pub(crate) backup: Backup,
    /// The validation servers, and the failures of those that logins ask last now.
    pub(crate) servers: Vec<(Server, Option<Failures>)>,
    /// Each validation server was asked.
    pub(super) asked_servers: bool,
    /// Whether the store could be opened, and so the state of tokens is known.
    pub(crate) has_store: bool,
    /// Each with its area, and how `ykmap` is called for it.
    pub(crate) findings: Vec<(&'static str, Diagnostic, String)>,
}

impl Host {
    /// Looks at all of it.
    pub(crate) fn look(
        context: &Context,
        sources: &Sources,
        scope: &Scope<'_>,
        query: &Query,
    ) -> Result<Self, Failure> {
        let settings = context.settings()?;
        let unix = clock::unix();
        let examined = crate::doctor::examine(context, sources, scope);
        let mut found = Vec::new();
        let own;
        let states = match examined.states(&settings) {
            Ok(states) => states,
            Err(_) => {
                own = opened(&settings).map_err(|fault| found.push(fault.diagnostic())).ok();
                own.as_ref()
            }
        };
        let mut users = Users::read(&settings).unwrap_or_else(|failure| {
            found.extend(failure.diagnostic());
            Users::default()
        });
        let asks_servers = settings.mode.asks_servers();
        let tokens = states.map(|states| tokens::all(states, &users, asks_servers)).unwrap_or_default();
        let locked = states.map(|states| locked(&states.store, &users)).unwrap_or_default();
        let backup = states.map(|states| Backup::of(&settings, &states.store)).unwrap_or_default();
        users.add(examined.accounts(), &settings.policy);
        let by = examined.asking_by(&settings);
        let has_store = states.is_some();
        let mut host = Self::of(settings, unix, &examined, by, users);
        host.silent = USUAL
            .into_iter()
            .filter(|name| !host.asking.iter().any(|own| own == name) && has_service(&sources.pam_dirs, name))
            .map(str::to_owned)
            .collect();
        host.has_store = has_store;
        host.backup = backup;
        host.servers = examined.servers(&host.settings, unix);
        host.asked_servers = scope.asks_servers;
        host.codes_left = codes_left(&tokens);
        host.log = Recent::read(query, unix);
        // Without a store there is no change, and the doctor says that there is none. It names damaged records, too.
        host.changes = pending_changes(&host.settings.store).unwrap_or_default();
        let remarks = host.log.as_ref().map(|log| log.remarks.clone()).unwrap_or_default();
        found.extend(remarks.into_iter().map(|it| it.with_severity(Severity::Note)));
        (host.tokens, host.locked) = (tokens, locked);
        found.extend(host.own_findings());
        host.findings = examined.into_findings();
        let ykmap = context.ykmap();
        host.findings.extend(found.into_iter().map(|it| (USER, it, ykmap.clone())));
        Ok(host)
    }

    fn of(settings: Settings, unix: u64, examined: &Examined, by: Vec<Asking>, users: Users) -> Self {
        let asking = examined.services();
        let others = asking.iter().filter(|name| !by.iter().any(|own| own.shown().as_ref() == Some(name)));
        let (needs, roll_outs) =
            (needs(&settings.policy, &users, &by, unix), roll_outs(&settings.policy, &users, &by, unix));
        Self {
            unix,
            others: others.cloned().collect(),
            asking,
            silent: Vec::new(),
            access: examined.access(),
            accounts: examined.accounts().len(),
            users,
            tokens: Vec::new(),
            needs,
            roll_outs,
            codes_left: BTreeMap::new(),
            locked: Vec::new(),
            log: Ok(Recent::default()),
            changes: Vec::new(),
            backup: Backup::default(),
            servers: Vec::new(),
            asked_servers: false,
            has_store: false,
            findings: Vec::new(),
            settings,
        }
    }

    /// What the doctor does not look for.
    fn own_findings(&self) -> Vec<Diagnostic> {
        let mut found: Vec<_> =
            self.changes.iter().map(|it| it.diagnostic().with_severity(Severity::Warning)).collect();
        found.extend(self.backup.finding());
        for user in &self.locked {
            let it =
                Diagnostic::warning(Code::CodesNeeded, unlock::few(0)).at(Location::user(user.as_bytes()));
            let unlock = format!("unlock {}", shell_word(user.as_bytes()));
            found.push(it.run_when("to give back all", Program::Ykmap, unlock));
        }
        for it in self.roll_outs.iter().filter(|it| !it.missing.is_empty()) {
            if it.end() <= self.unix.saturating_add(SOON) {
                let by = super::show::by(&it.services);
                let what = format!(
                    "{by}the roll-out ends on {} UTC. From then on, logins reject these users, who have no token: {}",
                    time::utc(it.end()),
                    super::show::names(&it.missing)
                );
                let it = Diagnostic::warning(Code::RollOutEndsSoon, what);
                found.push(it.run(Program::Ykmap, "add USER").advise("or set until to a later date"));
            }
        }
        found
    }

    /// Users with a token that a login accepts, as far as its state says.
    pub(crate) fn covered(&self) -> usize {
        self.with_usable().values().filter(|is_usable| **is_usable).count()
    }

    /// Each user who has tokens, and whether one of them can be used.
    fn with_usable(&self) -> BTreeMap<&str, bool> {
        let mut users = BTreeMap::<&str, bool>::new();
        for token in &self.tokens {
            for user in &token.owners {
                *users.entry(user).or_default() |= token.is_usable;
            }
        }
        users
    }

    /// Users who have tokens, none of which can be used.
    pub(crate) fn unusable(&self) -> Vec<String> {
        let users = self.with_usable().into_iter().filter(|(_, is_usable)| !is_usable);
        users.map(|(user, _)| user.to_owned()).collect()
    }

    /// Users whom a list names without a token.
    pub(crate) fn without_token(&self) -> Vec<String> {
        let users = self.users.listed().filter(|user| user.tokens.is_empty());
        users.map(super::users::User::shown).collect()
    }

    /// Accounts that can log in, and users whom the policy names, whom no list names.
    pub(crate) fn not_listed(&self) -> Vec<String> {
        self.users.iter().filter(|user| !user.is_listed()).map(super::users::User::shown).collect()
    }

    /// Users with fewer than two recovery codes left.
    pub(crate) fn few_codes(&self) -> Vec<String> {
        let few = self.codes_left.iter().filter(|(_, left)| **left < 2);
        few.map(|(user, _)| user.clone()).collect()
    }

    /// How many tokens are of each kind and state.
    pub(crate) fn kinds_and_states(&self) -> BTreeMap<(&'static str, String), usize> {
        let mut counts = BTreeMap::new();
        for token in &self.tokens {
            let count: &mut usize = counts.entry((token.kind(), state_name(token.state))).or_default();
            *count = count.saturating_add(1);
        }
        counts
    }

    /// How many findings there are of a severity.
    pub(crate) fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|(_, found, _)| found.severity == severity).count()
    }

    /// Some of the findings.
    pub(super) fn report(&self, is_shown: impl Fn(&Diagnostic) -> bool, most_alike: usize) -> Report {
        let mut report = Report::new(&AREAS).showing_at_most(most_alike);
        for (area, found, ykmap) in self.findings.iter().filter(|(_, found, _)| is_shown(found)) {
            report.calls(Calls { ykmap, ..Calls::PLAIN });
            report.add(area, found.clone());
        }
        report
    }

    /// Whether root has to look: something could not be read.
    pub(super) fn is_blind(&self) -> bool {
        self.findings.iter().any(|(_, found, _)| found.code == Code::NotRoot)
    }

    /// The exit status.
    pub(super) fn done(&self) -> Done {
        if self.is_blind() {
            return Err(Failure::Bad);
        }
        match self.count(Severity::Error).saturating_add(self.count(Severity::Warning)) {
            0 => Ok(()),
            _ => Err(Failure::No),
        }
    }

    pub(super) fn json(&self) -> Value {
        let mut json = self.report(|_| true, usize::MAX).json();
        let mut kinds = BTreeMap::<_, usize>::new();
        let mut states = BTreeMap::<_, usize>::new();
        for ((kind, state), count) in self.kinds_and_states() {
            let kind = kinds.entry(kind).or_default();
            *kind = kind.saturating_add(count);
            let state = states.entry(state).or_default();
            *state = state.saturating_add(count);
        }
        let user = |user: &super::users::User| {
            let tokens: Vec<_> = user.tokens.iter().map(ToString::to_string).collect();
            json!({ "user": user.shown(), "in_mapping": user.is_in_mapping, "enrolled": user.is_enrolled, "tokens": tokens })
        };
        let own = json!({
            "at": time_of(self.unix),
            "services": { "asking": self.asking, "not_asking": self.silent, "with_other_settings": self.others },
            "access": self.access.0,
            "users": {
                "listed": self.users.listed().count(),
                "in_mapping": self.users.listed().filter(|user| user.is_in_mapping).count(),
                "enrolled": self.users.listed().filter(|user| user.is_enrolled).count(),
                "covered": self.covered(),
                "without_token": self.without_token(),
                "unusable": self.unusable(),
                "not_listed": self.not_listed(),
                "accounts": self.accounts,
                "list": self.users.iter().map(user).collect::<Vec<_>>(),
            },
            "policy": self.needs.iter().map(Needs::json).collect::<Vec<_>>(),
            "roll_outs": self.roll_outs.iter().map(RollOut::json).collect::<Vec<_>>(),
            "tokens": {
                "known": self.has_store,
                "kinds": kinds,
                "states": states,
                "unassigned": self.tokens.iter().filter(|token| token.owners.is_empty()).count(),
                "near_end": self.tokens.iter().filter(|token| token.is_near_end).count(),
                "list": self.tokens.iter().map(|token| self.token_json(token)).collect::<Vec<_>>(),
            },
            "codes": { "left": self.codes_left, "few": self.few_codes(), "two_needed": self.locked },
            "backup": self.backup.json(),
            "decisions": match &self.log {
                Ok(log) => log.json(),
                Err(why) => json!({ "unreadable": ykcli::diagnostic::json(why, Calls::PLAIN) }),
            },
            "changes": self.changes.iter().map(|it| json!({ "name": it.name, "undone_at": time_of(it.deadline) })).collect::<Vec<_>>(),
            "servers": {
                "mode": self.settings.mode.name(),
                "asked_last": self.servers.iter().filter_map(asked_last).collect::<Vec<_>>(),
                "asked": self.asked_servers && self.settings.mode.asks_servers(),
            },
        });
        if let Value::Object(own) = own {
            json.extend(own);
        }
        Value::Object(json)
    }
}

impl Host {
    /// A token, and its last login if the log has it.
    pub(super) fn token_json(&self, token: &Token) -> Value {
        let used = self.log.as_ref().ok().and_then(|log| log.uses.get(&token.id));
        token.json(used.map(super::recent::Decision::json))
    }
}

/// A server that is asked last, for `--json`.
fn asked_last((server, failures): &(Server, Option<Failures>)) -> Option<Value> {
    let Failures { count, since, until } = (*failures)?;
    let url = shown::text(&server.address()).to_string();
    Some(json!({ "url": url, "failures": count, "since": time_of(since), "until": time_of(until) }))
}

/// A point in time for `--json`.
pub(super) fn time_of(unix: u64) -> Value {
    json!({ "unix": unix, "utc": format!("{}Z", time::utc(unix).replace(' ', "T")) })
}

/// The name of a state, without a number.
pub(super) fn state_name(state: State) -> String {
    match state {
        State::CodesLeft(0) => "used up".to_owned(),
        State::CodesLeft(_) => State::Enabled.to_string(),
        state => state.to_string(),
    }
}

/// The store of settings that no line has.
fn opened(settings: &Settings) -> Result<States, Fault> {
    let store = Store::new(settings);
    let scan = StoreScan::open(store.clone())?;
    let key = match store.store_key() {
        Ok(key) => Some(key.id()),
        Err(Fault::NoStoreKey { .. }) if settings.mode.asks_servers() => None,
        Err(fault) => return Err(fault),
    };
    Ok(States::with(settings, store, scan, key))
}

/// Users of whom one code is not enough, after too many wrong ones.
fn locked(store: &Store, users: &Users) -> Vec<String> {
    // Without a file in it, nobody has tried a code.
    let is_empty = store.guesses().and_then(|folder| Ok(folder.names()?.is_empty())).unwrap_or(true);
    if is_empty {
        return Vec::new();
    }
    let has_codes = |id: &TokenId| id.yubikey().is_none();
    let of_codes = users.listed().filter(|user| user.tokens.iter().any(has_codes));
    let is_locked = |user: &&super::users::User| {
        matches!(unlock::tries_left(store, &user.name), Ok(0))
            && unlock::has_counted_codes(store, &user.tokens)
    };
    of_codes.filter(is_locked).map(super::users::User::shown).collect()
}

/// How many recovery codes each user has left who has a set of them.
fn codes_left(tokens: &[Token]) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::<String, usize>::new();
    for token in tokens {
        let State::CodesLeft(left) = token.state else { continue };
        for user in &token.owners {
            let of_user = all.entry(user.clone()).or_default();
            *of_user = of_user.saturating_add(left);
        }
    }
    all
}
