//! A [`Reason`] as a finding for the administrator: code, problem and remedies.

use super::Reason;
use crate::diagnostic::{Code, Diagnostic, Program};
use crate::freshness::{MOST_TRIES, Stale};
use crate::otp::{MAX_ANSWER, NoOtp};
use crate::{Position, PublicId};
use alloc::borrow::ToOwned as _;
use alloc::format;
use core::fmt::{self, Display};

impl Reason {
    /// The reason as a finding. It has no location: the log and `--json` name user and token beside it.
    pub fn diagnostic(&self) -> Diagnostic {
        match self {
            Self::NoOtp(why) => why.diagnostic(),
            Self::AnswerIsPassword => Diagnostic::error(
                Code::AnswerIsPassword,
                "the answer is the password again: the application asks only once, and gives one answer to every prompt",
            )
            .advise("for sshd, set KbdInteractiveAuthentication yes in sshd_config, and reload sshd")
            .advise("for an application that asks only once, take password and OTP in one answer: pam_yubiotp(8), EXAMPLES"),
            Self::NoTokens => Diagnostic::error(
                Code::UserWithoutToken,
                "the mapping lists the user without a token, or only with tokens that token_id_length rules out",
            )
            .run(Program::Ykmap, "add USER"),
            Self::NotTheirToken(Some(token)) => not_their_token(token),
            Self::NotTheirToken(None) => Diagnostic::error(
                Code::OtherUsersToken,
                "the OTP is from no token that the mapping lists for this user",
            ),
            Self::NotGenuine(token) => Diagnostic::error(
                Code::OtpNotGenuine,
                "the OTP is not genuine: it was mistyped, or the token was reprogrammed after its key was imported",
            )
            .advise("try once more")
            .run_when("if the token was reprogrammed, remove its old key", Program::Ykmap, format!("key remove {token}"))
            .run_when("then import the new one", Program::Ykmap, "key import FILE"),
            Self::Replayed { token, offered, stored } | Self::Behind { token, offered, stored }
                if *stored == Position::LAST && offered < stored =>
            {
                needs_resync(token)
            }
            Self::Replayed { offered, stored, .. } => Diagnostic::error(
                Code::OtpReplayed,
                format!("the OTP was used before: {offered} is not above {stored}"),
            ),
            Self::Behind { token, offered, stored } => Diagnostic::error(
                Code::OtpBehind,
                format!(
                    "the OTP was used before, or the position that this host has is false (the YubiKey was reprogrammed, or a validation server named a false position): {offered} is below {stored}"
                ),
            )
            .run_when("if the YubiKey is here", Program::Ykmap, format!("token resync {token}")),
            Self::BadSaysServer(_) => Diagnostic::error(
                Code::ServerSaysBad,
                "a validation server does not know the token, considers the OTP forged, or the token is disabled there",
            )
            .advise("look at the token on the validation server"),
            Self::Restored { token, tries, stale, .. } => restored(token, *tries, *stale),
            Self::ReplayedSaysServer(_) => Diagnostic::error(
                Code::ServerSaysReplayed,
                "a validation server has seen this OTP, or a later one, or the token is restored there",
            )
            .advise("look at the log of the validation server before the YubiKey is touched again"),
            Self::NotTheirCode => Diagnostic::error(
                Code::CodeWrong,
                "the code is wrong: no token of the user shows it now",
            )
            .advise("let the user compare the clock of the phone, or type two successive codes with a blank between them"),
            Self::CodeUsed { step, .. } => Diagnostic::error(
                Code::CodeUsed,
                format!("the code was used before (step {step}), or a later one was"),
            )
            .advise("wait for the next code"),
            Self::ClockBehind { steps, .. } => Diagnostic::error(
                Code::ClockBehind,
                format!("the token's codes are accepted only in {steps} steps: its stored position is ahead of this host's clock"),
            )
            .advise("compare this host's clock: chronyc tracking, or timedatectl")
            .advise("if the clock is right, wait: the token was imported or resynchronized a short time ago, or the clock was ahead before"),
            Self::PositionUnknown(token) => Diagnostic::error(
                Code::TokenNeedsResync,
                "no code of this token is accepted until its position is recorded: nobody knows which of them were used on this host",
            )
            .run_when("if the token is here, with two successive codes of it", Program::Ykmap, format!("token resync oath-{token}")),
            Self::TwoCodesNeeded => Diagnostic::error(
                Code::CodesNeeded,
                "too many wrong codes were tried for this user, so one code is not enough now",
            )
            .advise("let the user type two successive codes with a blank between them")
            .run_when("if the user mistyped them all", Program::Ykmap, "unlock USER"),
            Self::NotTheirRecoveryCode => Diagnostic::error(
                Code::RecoveryCodeWrong,
                "the answer has the shape of a recovery code, and is none of this user's",
            )
            .run_when("if the user has lost them", Program::Ykmap, "recovery new USER"),
            Self::RecoveryCodeUsed(_, number) => Diagnostic::error(
                Code::RecoveryCodeUsed,
                format!("the recovery code was used before: it is code {number} of the set"),
            )
            .advise("let the user take another code of the set"),
            Self::CodesNotHere => Diagnostic::error(
                Code::CodesNotHere,
                "the answer is a code, and validation servers, which know no codes, decide about every login (mode = online)",
            )
            .advise("to have this host decide about codes, set local = true in the table [codes]"),
            Self::MethodNotAllowed(method) => Diagnostic::error(
                Code::MethodNotAllowed,
                format!("the answer is like {}, and the policy does not allow the user that method", method.answer()),
            )
            .advise("let the user take another of their tokens")
            .advise(format!("if the method may count, add \"{}\" to methods or methods_for in config.toml", method.name())),
            Self::Disabled(token) => Diagnostic::error(Code::TokenDisabled, "the token is disabled")
                .run_when("to enable it", Program::Ykmap, format!("key enable {token}")),
        }
    }
}

/// An OTP below the last position there is, which means that nobody knows the right one.
fn needs_resync(token: &PublicId) -> Diagnostic {
    Diagnostic::error(
        Code::TokenNeedsResync,
        "no OTP of this token is accepted until its position is recorded: nobody knows which of them were used on this host",
    )
    .run_when("if the YubiKey is here, with two touches of it", Program::Ykmap, format!("token resync {token}"))
}

/// A genuine OTP of a token that is restored, which is used up now.
fn restored(token: &PublicId, tries: u8, stale: Option<Stale>) -> Diagnostic {
    let problem = match stale {
        Some(why) => format!("the touches do not show that the YubiKey is here now: {why}"),
        None if tries >= MOST_TRIES => "this host was restored from a backup, and nobody knows which OTPs of this token were used since; the timed touches of a login failed, so logins do not ask for them any more".to_owned(),
        None => "this host was restored from a backup, and nobody knows which OTPs of this token were used since: three more touches are needed, with a pause between each".to_owned(),
    };
    let found = Diagnostic::error(stale.map_or(Code::TokenRestored, |why| why.code()), problem);
    let found = if tries >= MOST_TRIES {
        found
    } else {
        found.advise("let the user log in where the module can ask again, as ssh with KbdInteractiveAuthentication, sudo and su can")
    };
    found.run_when(
        "if the YubiKey is here, with two touches of it",
        Program::Ykmap,
        format!("token resync {token}"),
    )
}

/// An OTP of a token that the mapping does not list for the user. A host has no key of a factory slot.
fn not_their_token(token: &PublicId) -> Diagnostic {
    let add = format!("add USER {token}");
    match token.factory_serial() {
        Some(serial) => Diagnostic::error(
            Code::OtherUsersToken,
            format!(
                "the OTP is from token {token}, the factory slot of YubiKey {serial}, which the mapping does not list for this user"
            ),
        )
        .advise("touch for two seconds to use slot 2; only Yubico has the key of the factory slot")
        .run_when("if the token is theirs and validation servers know its key, as YubiCloud does", Program::Ykmap, add),
        None => Diagnostic::error(
            Code::OtherUsersToken,
            format!("the OTP is from token {token}, which the mapping does not list for this user"),
        )
        .run_when("if the token is theirs", Program::Ykmap, add),
    }
}

impl Stale {
    /// The code of a log line.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::NotLater => Code::TouchNotLater,
            Self::Replugged => Code::TouchAfterPowerLoss,
            Self::UsedBetween => Code::TouchAfterOtherUse,
            Self::WornOut => Code::CounterWornOut,
            Self::Early => Code::TouchTooEarly,
            Self::Late => Code::TouchTooLate,
            Self::OtherTime { .. } => Code::TouchTimeDiffers,
        }
    }
}

impl NoOtp {
    /// Why there is no OTP, as a finding.
    pub fn diagnostic(&self) -> Diagnostic {
        match self {
            Self::Empty => Diagnostic::error(Code::AnswerEmpty, "the answer was empty"),
            Self::SshdDummy => Diagnostic::error(
                Code::AnswerIsDummy,
                "sshd had already rejected this user and sent a dummy answer",
            )
            .advise("look at AllowUsers, DenyUsers, AllowGroups and PermitRootLogin in sshd_config, and whether the account exists"),
            Self::TooShort => Diagnostic::error(Code::AnswerTooShort, "the answer is too short to hold an OTP"),
            Self::TooLong => Diagnostic::error(
                Code::AnswerTooLong,
                format!("the answer is longer than {MAX_ANSWER} bytes"),
            ),
            Self::NotModhex => Diagnostic::error(
                Code::AnswerWithoutOtp,
                "the answer does not end with an OTP: it was a password, or only a part of an OTP",
            ),
        }
    }
}

/// In one line, with remedies: for logs.
impl Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic().fmt(f)
    }
}

/// In one line, with remedies: for logs.
impl Display for NoOtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic().fmt(f)
    }
}

impl core::error::Error for Reason {}
impl core::error::Error for NoOtp {}
