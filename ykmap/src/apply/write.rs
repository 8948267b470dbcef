//! Carries a plan out, in an order in which a crash after any step lets nobody in whom neither the old nor the new
//! state lets in. A run after the crash finds what is left to do.
//!
//! 1. Tokens are disabled.
//! 2. Users lose tokens, and stay listed. Users who become listed are listed. They all get their tokens, but if a policy has
//!    methods: the old one may take a token that the new one does not.
//! 3. The policy changes. By now nobody is unlisted whom the new policy would excuse by mistake, and nobody was unlisted while
//!    the old one would have excused them.
//! 4. Users get the tokens that they do not have yet, and those who are absent go from the lists.
//! 5. Tokens are enabled: by now each is its new owner's.
//! 6. Recovery codes that nobody has any more leave the store.
//!
//! Steps 2 and 4 are one if the policy stays: a list is replaced as a whole.

use super::plan::Plan;
use crate::exchange::finish;
use crate::{Context, Failure, event, key};
use ykhost::Fault;
use ykhost::enrolled::{AllLists, LockedFiles};
use ykhost::settings::Settings;
use ykhost::store::{Change, Store, Unfinished};
use yubiotp::TokenId;

/// A step that is taken back if a later one fails.
enum Step {
    /// A token had this state.
    State(TokenId, bool),
    /// The lists were these.
    Lists(Box<AllLists>),
    Config,
}

/// Makes the change, all or nothing. Returns what was removed from the store; if that fails, everything else is done.
pub(super) fn carry_out(
    settings: &Settings,
    store: &Store,
    change: Option<&Change<'_>>,
    files: &mut LockedFiles,
    plan: &Plan,
) -> Result<Result<Vec<TokenId>, Failure>, Failure> {
    let mut run = Run { store, change, files, plan, done: Vec::new() };
    let going = going(plan);
    let begun = run.change.filter(|_| !going.tokens.is_empty());
    if let Some(change) = begun {
        change.begin_unfinished(&going)?;
    }
    let made = run.steps();
    if made.is_err() {
        run.take_back();
    }
    // Whichever codes no list has now.
    let finished = begun.map_or(Ok(Vec::new()), |change| finish(settings, change));
    made?;
    Ok(finished)
}

/// The sets of recovery codes that users lose.
fn going(plan: &Plan) -> Unfinished {
    let mut going = Unfinished { users: Vec::new(), tokens: Vec::new() };
    for user in &plan.users {
        let sets: Vec<_> =
            user.loses().into_iter().filter(|id| matches!(id, TokenId::RecoverySet(_))).collect();
        if !sets.is_empty() {
            going.users.push(String::from_utf8_lossy(&user.name).into_owned());
            going.tokens.extend(sets);
        }
    }
    going
}

struct Run<'r, 's> {
    store: &'r Store,
    change: Option<&'r Change<'s>>,
    files: &'r mut LockedFiles,
    plan: &'r Plan,
    /// In their order.
    done: Vec<Step>,
}

impl Run<'_, '_> {
    fn steps(&mut self) -> Result<(), Fault> {
        let plan = self.plan;
        for (id, _) in plan.states.iter().filter(|(_, enabled)| !enabled) {
            self.done.push(Step::State(*id, true));
            self.disable(id)?;
        }
        for user in plan.users.iter().filter(|user| user.gets.iter().any(|id| id.oath().is_some())) {
            self.store.make_guesses(&user.name)?;
        }
        if let Some(config) = &plan.config {
            self.write(&plan.between)?;
            self.done.push(Step::Config);
            let before = config.before.as_ref().map(|text| text.as_slice());
            self.files.replace_config(before, config.after.as_bytes())?;
        }
        self.write(&plan.after)?;
        for (id, _) in plan.states.iter().filter(|(_, enabled)| *enabled) {
            self.done.push(Step::State(*id, false));
            self.set_enabled(id, true)?;
        }
        Ok(())
    }

    fn write(&mut self, lists: &AllLists) -> Result<(), Fault> {
        self.done.push(Step::Lists(Box::new(self.files.lists.clone())));
        self.files.write(self.store, lists)
    }

    fn set_enabled(&self, id: &TokenId, enabled: bool) -> Result<(), Fault> {
        match self.change {
            Some(change) => change.set_enabled(id, enabled),
            None => self.store.set_enabled(id, enabled),
        }
    }

    fn disable(&self, id: &TokenId) -> Result<(), Fault> {
        match (self.set_enabled(id, false), self.change) {
            // Servers may still accept a token that this host has never seen.
            (Err(Fault::NoKey { .. }), Some(change)) if id.yubikey().is_some() => {
                change.follow(id)?;
                change.set_enabled(id, false)
            }
            (disabled, _) => disabled,
        }
    }

    /// Takes the steps back, the last one first. The first error is the one that is reported.
    fn take_back(&mut self) {
        while let Some(step) = self.done.pop() {
            let _ = match step {
                Step::State(id, was_enabled) => self.set_enabled(&id, was_enabled),
                Step::Lists(lists) => self.files.write(self.store, &lists),
                Step::Config => self.plan.config.as_ref().map_or(Ok(()), |config| {
                    let before = config.before.as_ref().map_or(&b""[..], |text| text.as_slice());
                    self.files.replace_config(Some(config.after.as_bytes()), before)
                }),
            };
        }
    }
}

/// Logs each change of a user, and leaves notices, as the verbs do that make one change.
pub(super) fn tell(context: &Context, settings: &Settings, store: &Store, plan: &Plan) {
    let listed = plan.after.listed();
    for user in &plan.users {
        let name = String::from_utf8_lossy(&user.name);
        let loses = user.loses();
        let now = listed.get(&user.name);
        let is_listed = now.is_some();
        if !loses.is_empty() || user.is_listed_no_more() {
            let tokens = if is_listed { event::tokens(&loses) } else { "all".to_owned() };
            let stays = if is_listed { "yes" } else { "no" }.to_owned();
            event::log(context, "remove", &name, &[("tokens", tokens), ("listed", stays)]);
        }
        if !user.gets.is_empty() || user.is_new {
            event::log(context, "add", &name, &[("tokens", event::tokens(&user.gets))]);
        }
        match now.copied().unwrap_or_default() {
            _ if loses.is_empty() => {}
            false => event::notify(context, store, &name, "All your tokens were removed"),
            true => loses.iter().for_each(|id| {
                event::notify(context, store, &name, &format!("{} was removed", event::yours(id)));
            }),
        }
    }
    for (id, enabled) in &plan.states {
        let event = if *enabled { "token-enable" } else { "token-disable" };
        let owners = key::log_of_owners(context, settings, event, id);
        for user in owners.iter().filter(|_| !enabled) {
            event::notify(context, store, user, &format!("{} was disabled", event::yours(id)));
        }
    }
    if let Some(config) = &plan.config {
        let mut tables: Vec<_> = config.settings.iter().map(|setting| setting.table.clone()).collect();
        tables.dedup();
        event::log_host(context, "policy", &[("tables", tables.join(","))]);
    }
}
