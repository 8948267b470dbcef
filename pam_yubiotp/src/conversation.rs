//! Getting answers, and handing on the password before an OTP.

use crate::handle::{Answer, Handle, Item};
use pam::constants::PamResultCode;
use std::time::{Duration, Instant};
use ykhost::random;
use ykhost::settings::Settings;
use yubiotp::shown;

/// How long a refusal takes: libpam waits for that before the application says no, and varies it; between the tries of
/// one call the module does. It hides what a refusal has cost, and slows down guessing.
pub(crate) const REFUSAL_DELAY: Duration = Duration::from_secs(2);

/// The refusal delay, varied by up to half of it, as libpam varies its own.
pub(crate) fn varied_delay() -> Duration {
    // Without a random source it is the plain one.
    let random = random::bytes().map_or(u32::MAX / 2, u32::from_le_bytes);
    REFUSAL_DELAY / 2 + REFUSAL_DELAY.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// The questions of one call. Each but the first follows a refusal, and waits: since the answer that was refused came,
/// so that how long it took to decide does not show.
#[derive(Default)]
pub(crate) struct Questions {
    answered: Option<Instant>,
}

impl Questions {
    /// Asks, after the wait that the refusal before it demands.
    pub(crate) fn ask(
        &mut self,
        host: &impl Handle,
        settings: &Settings,
        user: &[u8],
    ) -> Result<Answer, PamResultCode> {
        if let Some(answered) = self.answered.take() {
            host.wait(answered, varied_delay());
        }
        let answer = ask(host, settings, user)?;
        self.answered = Some(Instant::now());
        Ok(answer)
    }

    /// Asks with this prompt, without a wait: what was answered before was right so far.
    pub(crate) fn ask_at_once(
        &mut self,
        host: &impl Handle,
        prompt: &str,
        echo: bool,
        user: &[u8],
    ) -> Result<Answer, PamResultCode> {
        let answer = ask_text(host, prompt, echo, user)?;
        self.answered = Some(Instant::now());
        Ok(answer)
    }

    /// An answer that was not asked for here is looked at from now on.
    pub(crate) fn answered_elsewhere(&mut self) {
        self.answered = Some(Instant::now());
    }
}

/// Where an answer came from, and so what becomes of the password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The user was asked here, and no earlier module obtained a password.
    Asked,
    /// The user was asked here, after an earlier module obtained a password (PAM_AUTHTOK).
    AskedAgain,
    /// An earlier module asked, and left the answer in PAM_AUTHTOK.
    Stacked,
}

impl Source {
    /// That of an answer to our own question. Decided before the first of them: what a try leaves is ours, and the next
    /// try replaces it.
    pub(crate) fn of_our_question(host: &impl Handle) -> Self {
        if host.authtok().is_some() { Self::AskedAgain } else { Self::Asked }
    }
}

/// Asks once, with all there is to say in one prompt: text before it would be shown late, or never. An answer counts
/// only while the login is still this user's.
pub(crate) fn ask(host: &impl Handle, settings: &Settings, user: &[u8]) -> Result<Answer, PamResultCode> {
    let prompt = settings.prompt.replace("%u", &shown::text(user).to_string());
    ask_text(host, &prompt, settings.echo, user)
}

/// Asks once, with this prompt. `echo` is whether the answer may be seen.
pub(crate) fn ask_text(
    host: &impl Handle,
    prompt: &str,
    echo: bool,
    user: &[u8],
) -> Result<Answer, PamResultCode> {
    let answer = match host.ask(prompt, echo) {
        // That code has a meaning of its own below.
        Ok(None) | Err(PamResultCode::PAM_BAD_ITEM) => return Err(PamResultCode::PAM_CONV_ERR),
        Ok(Some(answer)) => answer,
        Err(code) => return Err(code),
    };
    // An application may set another user while it asks, and would log that one in by this one's token.
    let still = host.item(Item::User).is_some_and(|now| now == user);
    if still { Ok(answer) } else { Err(PamResultCode::PAM_BAD_ITEM) }
}

/// Shows a user something who was accepted. Returns whether the application took it; if not, that changes nothing.
pub(crate) fn tell(host: &impl Handle, text: &str) -> bool {
    host.tell(text).is_ok()
}

/// Leaves the password of an answer to the modules behind.
///
/// A password that an earlier module obtained is never replaced: a stray character before the OTP must not become the
/// password that keyrings and encrypted homes are opened with. Of a stacked answer the OTP is always taken away. Of
/// several answers to our own question, only the last counts.
pub(crate) fn set_authtok(
    host: &mut impl Handle,
    source: Source,
    password: &[u8],
) -> Result<(), PamResultCode> {
    match source {
        Source::AskedAgain => Ok(()),
        Source::Asked | Source::Stacked => host.set_authtok((!password.is_empty()).then_some(password)),
    }
}
