//! `ykmap self add`, `remove` and `recovery`: what changes something. Each first asks for a factor that the user has now.
//! Only `enrolled` is written: the mapping belongs to the administrator.

use super::session::Session;
use crate::enroll::dialogue::{Choice, choose, menu};
use crate::enroll::offers::{Offers, Proved, Stop};
use crate::enroll::talk::{Talk, trimmed};
use crate::enroll::write;
use crate::list::{State, States};
use crate::recovery::NewSet;
use crate::{Failure, codes, exchange};
use ykhost::enrolled::{self, Lists, Only, Proof};
use ykhost::settings::OwnVerb;
use ykhost::store::{KeyFile, Unfinished};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};
use yubiotp::dialogue::End;
use yubiotp::ledger::Ledger as _;
use yubiotp::mapping::Enrolment;
use yubiotp::{SetId, TokenId, recovery};

/// The most tokens of one user: their line in `enrolled` stays short.
const MOST: usize = 16;

fn refused(code: Code, problem: impl Into<String>) -> Stop {
    Stop::Refused(Diagnostic::error(code, problem))
}

/// Whether a finding about a token is a decision, and no fault of the host's.
const fn is_refusal(code: Code) -> bool {
    matches!(code, Code::TokenAssigned | Code::TokenUsedMeanwhile | Code::TokenDisabled)
}

fn of_token(code: Code, problem: impl Into<String>, token: &TokenId) -> Diagnostic {
    Diagnostic::error(code, problem).at(Location::Token(token.to_string()))
}

impl Session<'_> {
    pub(super) fn add(&self, talk: &mut impl Talk) -> Result<End, Stop> {
        self.factors()?;
        if self.tokens().len() >= MOST {
            let problem = format!("you have {MOST} tokens, the most there may be: remove one first");
            return Err(refused(Code::TooManyTokens, problem));
        }
        let offers = Offers::new(self.settings, self.user, self.methods);
        let choices = offers.choices()?;
        if choices.is_empty() {
            return Err(refused(Code::NothingToOffer, "there is no kind of token that you may add here"));
        }
        let proof = self.prove(None, talk)?;
        let proved = loop {
            talk.say(&menu(&choices))?;
            let typed = talk.ask("What to add: type its number, or Enter to stop: ", true)?;
            let (offer, first) = match choose(&typed, &choices) {
                Choice::Enter => return Err(Stop::Back),
                Choice::Unknown => {
                    talk.say("Type one of the numbers.\n")?;
                    continue;
                }
                Choice::Offer(offer, first) => (offer, first),
            };
            // Nobody sees a secret, or uses up what they typed, for nothing.
            self.may_still(OwnVerb::Add, &proof)?;
            match offers.make(offer, first, talk) {
                Err(Stop::Back) => {}
                made => break made?,
            }
        };
        self.keep(proved, &proof, talk)
    }

    fn keep(&self, proved: Proved, proof: &Proof, talk: &mut impl Talk) -> Result<End, Stop> {
        let token = proved.token;
        let written = self.settings_allow(OwnVerb::Add).and_then(|()| {
            let written = write::write(self.settings, self.user, proved, false, Only::Proved(proof));
            written.map_err(|failure| match Stop::from(failure) {
                Stop::Fault(found) if is_refusal(found.code) => Stop::Refused(found),
                stop => stop,
            })
        });
        // A secret that was shown and not kept is not offered again. An offer that stays is removed when it is an hour old. The
        // one that is there after the run's own ended is of another dialogue.
        let has_ended = matches!(&written, Err(Stop::Refused(found)) if found.code == Code::OfferEnded);
        if matches!(written, Ok(_) | Err(Stop::Refused(_))) && !has_ended {
            let _ = self.store.end_offer(self.user.as_bytes());
        }
        written?;
        self.log.changed(&token, &proof.by());
        let _ = talk
            .say(&format!("{token} is yours now. Log in with it once, while you still have the other.\n"));
        Ok(End::Done(token.to_string()))
    }

    pub(super) fn remove(&self, typed: &str, talk: &mut impl Talk) -> Result<End, Stop> {
        self.factors()?;
        let token = self.own_token(typed)?;
        let lists = enrolled::read(self.settings, self.user.as_bytes())?;
        self.may_lose(&lists, &token)?;
        self.keeps_one(self.tokens(), &token)?;
        let proof = self.prove(Some(&token), talk)?;
        self.settings_allow(OwnVerb::Remove)?;
        let change = self.store.change()?;
        exchange::finish(self.settings, &change)?;
        // Before anything is said to be unfinished.
        self.may_go(&enrolled::read(self.settings, self.user.as_bytes())?, &token, &proof)?;
        if self.goes_from_the_store(&token) {
            let unfinished = Unfinished { users: vec![self.user.to_owned()], tokens: vec![token] };
            change.begin_unfinished(&unfinished)?;
        }
        let unlisted: Result<(), Stop> = enrolled::edit(self.settings, self.user.as_bytes(), |lists| {
            self.may_go(lists, &token, &proof)?;
            lists.enrolled.remove(self.user.as_bytes(), Some(&token));
            Ok(())
        });
        let finished = exchange::finish(self.settings, &change);
        unlisted?;
        self.log.changed(&token, &proof.by());
        // The user does not have it any more; what is left in the store lets nobody in, and goes at the next change.
        if let Err(failure) = finished {
            self.log_fault(failure.into());
        }
        let _ = talk.say(&format!("{token} is not yours any more.\n"));
        Ok(End::Done(token.to_string()))
    }

    /// A token on the command line, if it is the user's.
    fn own_token(&self, typed: &str) -> Result<TokenId, Stop> {
        let parsed = TokenId::parse(typed.as_bytes()).ok();
        let token = parsed.or_else(|| codes::serial(typed).ok().map(TokenId::Oath));
        token.filter(|token| self.tokens().contains(token)).ok_or_else(|| {
            let found = Diagnostic::error(Code::TokenNotAssigned, "you have no such token");
            Stop::Refused(found.run_when("to see yours", Program::Ykmap, "self status"))
        })
    }

    /// Fails if the mapping lists the token for the user, or nothing does.
    fn may_lose(&self, lists: &Lists, token: &TokenId) -> Result<(), Stop> {
        let user = self.user.as_bytes();
        let has = |listed: Enrolment| matches!(listed, Enrolment::Listed(tokens) if tokens.contains(token));
        if has(lists.mapping.tokens(user)?) {
            let problem = format!("the administrator assigned it, in {}", lists.mapping.path().display());
            let found = of_token(Code::TokenInMapping, problem, token);
            let command = format!("remove {} {token}", shell_word(user));
            return Err(Stop::Refused(found.run_when(
                "the administrator can unassign it",
                Program::Ykmap,
                command,
            )));
        }
        if has(lists.enrolled.tokens(user)?) {
            return Ok(());
        }
        Err(Stop::Refused(of_token(Code::TokenNotAssigned, "it is not yours any more", token)))
    }

    /// Fails unless the token may go now: another run, or the administrator, may have taken one meanwhile.
    fn may_go(&self, lists: &Lists, token: &TokenId, proof: &Proof) -> Result<(), Stop> {
        self.may_lose(lists, token)?;
        let Enrolment::Listed(tokens) = lists.tokens(self.user.as_bytes())? else { return Err(last(token)) };
        self.keeps_one(&tokens, token)?;
        self.counts(lists, proof)
    }

    /// Fails unless one of these tokens lets the user in without this one. Recovery codes do not count: they come to an end.
    fn keeps_one(&self, tokens: &[TokenId], token: &TokenId) -> Result<(), Stop> {
        let states = States::new(self.context, self.settings);
        let keeps = tokens.iter().any(|other| {
            other != token
                && other.recovery_set().is_none()
                && self.allows(other)
                && matches!(states.of(other), State::Enabled | State::Elsewhere)
        });
        if keeps { Ok(()) } else { Err(last(token)) }
    }

    /// Whether a token leaves the store with its owner: recovery codes, and apps, whose secret nobody else has. A YubiKey and
    /// a hardware token can be another user's next.
    fn goes_from_the_store(&self, token: &TokenId) -> bool {
        match token {
            TokenId::RecoverySet(_) => true,
            TokenId::Oath(serial) => {
                let file = self.store.key_file(token);
                serial.as_str().starts_with("app-")
                    && matches!(file, Ok(KeyFile::Oath(_, record)) if record.notes.series.is_none())
            }
            TokenId::YubiKey(_) | TokenId::RecoveryCode(..) => false,
        }
    }

    pub(super) fn recovery(&self, talk: &mut impl Talk) -> Result<End, Stop> {
        self.factors()?;
        if !Offers::new(self.settings, self.user, self.methods).has_recovery() {
            return Err(refused(Code::MethodNotAllowed, "you may not have recovery codes on this host"));
        }
        let proof = self.prove(None, talk)?;
        let set = NewSet::draw(&self.store, recovery::USUAL)?;
        // Nothing is stored before the user has seen them: the old ones stay good until then.
        talk.say(&set.page(self.user))?;
        let answer = talk.ask("Type yes once you have written them down: ", true)?;
        if !trimmed(&answer).eq_ignore_ascii_case(b"yes") {
            let problem =
                "nothing was changed: the codes above are invalid, and those that you had stay valid";
            return Err(refused(Code::EnrollmentBrokenOff, problem));
        }
        self.settings_allow(OwnVerb::Recovery)?;
        let in_mapping = self.replace_codes(&set, &proof)?;
        self.log.changed(&set.token(), &proof.by());
        let used_up =
            in_mapping.iter().filter_map(TokenId::recovery_set).try_for_each(|set| self.use_up(&set));
        let _ = talk.say(match used_up {
            Ok(()) => "These codes are valid now. Any that you had before are invalid.\n",
            Err(stop) => {
                self.log_fault(stop);
                "These codes are valid now. Some that you had may be valid, too: tell the administrator.\n"
            }
        });
        Ok(End::Done(set.token().to_string()))
    }

    /// A fault after the change, which stays made.
    fn log_fault(&self, stop: Stop) {
        if let Stop::Fault(found) = stop {
            self.log.fault(&found);
        }
    }

    /// Lists the new set in place of the old ones in `enrolled`, in one step. Returns the sets that the mapping lists.
    fn replace_codes(&self, set: &NewSet, proof: &Proof) -> Result<Vec<TokenId>, Stop> {
        let user = self.user.as_bytes();
        let new = set.token();
        let change = self.store.change()?;
        exchange::finish(self.settings, &change)?;
        let sets_in = |listed: Enrolment| -> Vec<TokenId> {
            let Enrolment::Listed(tokens) = listed else { return Vec::new() };
            tokens.into_iter().filter(|token| token.recovery_set().is_some()).collect()
        };
        let lists = enrolled::read(self.settings, user)?;
        // Before anything comes into the store.
        self.counts(&lists, proof)?;
        let mut tokens = sets_in(lists.enrolled.tokens(user)?);
        tokens.push(new);
        change.begin_unfinished(&Unfinished { users: vec![self.user.to_owned()], tokens })?;
        let listed: Result<_, Stop> = (|| {
            let keys = set.keys(&self.store.store_key()?);
            change.enrol(&keys, &|| {}).map_err(Failure::from)?;
            enrolled::edit(self.settings, user, |lists| {
                self.counts(lists, proof)?;
                for old in sets_in(lists.enrolled.tokens(user)?) {
                    lists.enrolled.remove(user, Some(&old));
                }
                let in_mapping = sets_in(lists.mapping.tokens(user)?);
                let added = lists.enrolled.add(user, &[new]);
                added.map_err(|why| refused(Code::UserNameInvalid, why.to_string()))?;
                Ok::<_, Stop>(in_mapping)
            })
        })();
        // Whichever of them nothing lists now: the old ones, or the new ones if something failed.
        let finished = exchange::finish(self.settings, &change);
        let in_mapping = listed?;
        if let Err(failure) = finished {
            self.log_fault(failure.into());
        }
        Ok(in_mapping)
    }

    /// Uses up every code of a set, as if it had been typed.
    fn use_up(&self, set: &SetId) -> Result<(), Stop> {
        for number in self.store.recovery_codes(set)? {
            let token = TokenId::RecoveryCode(*set, number);
            let key = self.store.token_key(&token)?.fingerprint();
            // Used already is as good.
            let _ = self.store.advance(&token, key, recovery::USED)?;
        }
        Ok(())
    }
}

fn last(token: &TokenId) -> Stop {
    let problem = "without it, you would have no token that lets you in: add another first";
    Stop::Refused(of_token(Code::LastToken, problem, token))
}
