//! `ykmap self test`: what a login would say to an answer, by the rules of `ykmap test`. Tokens stay as they are.
//!
//! One thing differs: a wrong code costs a try, as at a login, and what a code would come to without tries left is not told.
//! Otherwise whoever runs programs as the user could try every code there is, and log in with the right one.

use super::session::Session;
use crate::enroll::offers::Stop;
use crate::enroll::talk::Talk;
use crate::test::{Stop as Undecided, Test};
use serde_json::json;
use std::cell::Cell;
use ykcli::out;
use ykhost::clock;
use ykhost::store::UserGuesses;
use yubiotp::TokenId;
use yubiotp::diagnostic::{Calls, Diagnostic};
use yubiotp::dialogue::End;
use yubiotp::verdict::{Charge, Guesses};

impl Session<'_> {
    pub(super) fn test(&self, json: bool, talk: &mut impl Talk) -> Result<End, Stop> {
        let enrolment = self.factors()?;
        let answer = talk.ask(&self.prompt(), self.settings.echo)?;
        let unix = clock::unix();
        let taken = Cell::new(0);
        let guesses = Counted(UserGuesses::new(&self.store, self.user.as_bytes(), unix, &taken));
        let test = Test {
            settings: self.settings,
            store: &self.store,
            enrolment: &enrolment,
            methods: self.methods,
            excuse: None,
            unix,
        };
        let tested = test.judge(&answer.0, &guesses)?;
        if tested.is_accepted {
            guesses.refund();
        } else {
            Self::wait();
        }
        let found = Diagnostic { remedies: Vec::new(), ..tested.found.clone() };
        if json {
            let answers = [tested.json(Calls::PLAIN)];
            talk.say(&out::json_text(&json!({ "user": self.user, "answers": answers })))?;
        }
        if !tested.is_accepted {
            return Err(Stop::Refused(Diagnostic {
                problem: format!("{}: {}", tested.verdict, found.problem),
                ..found
            }));
        }
        if !json {
            let what = match tested.token {
                // Counters and steps are for administrators.
                Some(token @ (TokenId::YubiKey(_) | TokenId::Oath(_))) => format!("token {token}"),
                Some(token) => format!("token {token}, {}", found.problem),
                None => found.problem,
            };
            talk.say(&format!("accepted: {what}\nNothing was used up.\n"))?;
        }
        Ok(self.done())
    }
}

/// The user's tries, as a login takes them.
struct Counted<'s>(UserGuesses<'s>);

impl Guesses for Counted<'_> {
    type Fault = Undecided;

    fn charge(&self) -> Result<Charge, Undecided> {
        Ok(self.0.charge()?)
    }

    fn refund(&self) {
        self.0.refund();
    }

    fn refund_one(&self) {
        self.0.refund_one();
    }
}
