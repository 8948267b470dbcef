//! A whole login: any arguments, mapping and answers, through the module's own files, with a script in libpam's place.
//!
//! PAM_SUCCESS only for an answer that ends with an OTP, a code or two successive codes of a token which the mapping, read a
//! second time and slowly, gives to this user, and which is above the token's position; then that is the position, and the
//! same answer is never accepted again. PAM_IGNORE only with `nullok`, for a user who is not listed in a mapping without fault. And a
//! plain login that should succeed does. The log never holds the encrypted part of an OTP that was typed.
//!
//! Input: lines: the user; arguments with tabs between them; answers with tabs between them, one with `^` before it is
//! what a module before this one left; the mapping. In answers `%` and two digits stand for an OTP: whose, and the
//! how manieth of theirs; `%h` and a digit for a code. In the mapping `$` and a digit, or an h, stand for a token's id.
#![no_main]
// As much of the module as knows nothing of libpam.
#[path = "../../../pam_yubiotp/src/code.rs"]
mod code;
#[path = "../../../pam_yubiotp/src/conversation.rs"]
mod conversation;
#[path = "../../../pam_yubiotp/src/enroll.rs"]
mod enroll;
#[path = "../../../pam_yubiotp/src/handle.rs"]
mod handle;
#[path = "../../../pam_yubiotp/src/log.rs"]
mod log;
#[path = "../../../pam_yubiotp/src/login.rs"]
mod login;
#[path = "mapping/model.rs"]
mod model;
#[path = "../../../pam_yubiotp/src/login/scripted.rs"]
mod scripted;
#[path = "../../src/soft_yubikey.rs"]
#[expect(dead_code, unreachable_pub, reason = "the fixtures' YubiKey can do more than is asked of it here")]
mod soft_yubikey;
#[path = "login/world.rs"]
mod world;

/// Panics are not caught here, because the fuzzer looks for them.
mod internal_error {
    pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
        Ok(call())
    }
}

/// Nobody stops a fuzzer while it holds a lock.
mod undisturbed {
    pub(crate) fn undisturbed(call: &mut dyn FnMut()) {
        call();
    }
}

use libfuzzer_sys::fuzz_target;
use pam::constants::PamResultCode;
use scripted::Scripted;
use std::cell::RefCell;
use std::ffi::{CStr, CString};
use world::{OTPS, TOKENS, WORLD, World};

/// Everything before what is typed, and it.
struct Script<'a> {
    user: &'a [u8],
    args: Vec<CString>,
    /// Left by a module before this one.
    stacked: Option<Vec<u8>>,
    answers: Vec<Vec<u8>>,
    mapping: Vec<u8>,
}

impl<'a> Script<'a> {
    fn read(input: &'a [u8]) -> Option<Self> {
        let mut lines = input.splitn(4, |byte| *byte == b'\n');
        let user = lines.next()?;
        let config = format!("config={}", WORLD.config().display());
        let args = lines.next()?.split(|byte| *byte == b'\t').filter(|arg| !arg.is_empty());
        // No other file, and no program or server: those are for other tests.
        let elsewhere = ["config", "mapping", "authfile", "store", "ask", "mode", "url", "urllist"];
        let args = args.filter(|arg| !elsewhere.iter().any(|name| arg.starts_with(name.as_bytes())));
        let args = std::iter::once(config.as_bytes()).chain(args).map(CString::new);
        let args: Vec<_> = args.collect::<Result<_, _>>().ok()?;
        let typed = world::with_otps(lines.next()?);
        let (stacked, answers): (Vec<&[u8]>, Vec<&[u8]>) =
            typed.split(|byte| *byte == b'\t').partition(|answer| answer.starts_with(b"^"));
        Some(Self {
            user,
            args,
            stacked: stacked.first().map(|answer| answer[1..].to_vec()),
            answers: answers.into_iter().map(<[u8]>::to_vec).collect(),
            mapping: world::with_ids(lines.next().unwrap_or_default()),
        })
    }

    fn run(&self) -> (PamResultCode, Scripted) {
        let mut host = Scripted {
            user: self.user.to_vec(),
            answers: RefCell::new(self.answers.iter().cloned().collect()),
            authtok: self.stacked.clone(),
            ..Scripted::default()
        };
        let args: Vec<&CStr> = self.args.iter().map(CString::as_c_str).collect();
        let code = login::authenticate(&mut host, &args, false);
        // A user comes to the account line by the auth line, or by nothing.
        let account = login::account(&mut host, &args);
        match account {
            PamResultCode::PAM_SUCCESS | PamResultCode::PAM_IGNORE => assert_eq!(account, code),
            _ => assert!(
                !matches!(code, PamResultCode::PAM_SUCCESS | PamResultCode::PAM_IGNORE),
                "{account:?}"
            ),
        }
        (code, host)
    }

    /// Whether the administrator wrote it, or the application calls the user so.
    fn names(&self, block: &str) -> bool {
        let has = |text: &[u8]| text.windows(block.len()).any(|part| part == block.as_bytes());
        has(self.user) || self.args.iter().any(|arg| has(arg.as_bytes()))
    }

    fn has(&self, arg: &CStr) -> bool {
        self.args.iter().any(|given| given.as_c_str() == arg)
    }
}

fuzz_target!(|input: &[u8]| {
    let Some(script) = Script::read(input) else { return };
    WORLD.restore(&script.mapping);
    let before = WORLD.positions();
    let lines = model::lines(&script.mapping);
    let tokens = model::tokens(&lines, script.user);
    let (code, host) = script.run();
    for line in host.log.borrow().iter() {
        let mut blocks = OTPS.iter().flatten().map(|otp| &otp[otp.len() - 32..]);
        let secret = blocks.any(|block| line.contains(block) && !script.names(block));
        assert!(!secret && !line.contains('\n') && !line.contains('\0'), "{line:?}");
    }
    let after = WORLD.positions();
    let moved: Vec<_> = (0..=TOKENS).filter(|token| before[*token] != after[*token]).collect();
    match code {
        PamResultCode::PAM_SUCCESS => {
            let [token] = moved[..] else { panic!("one position moves: {moved:?}") };
            let position = after[token].expect("a position");
            assert!(before[token].is_none_or(|before| before < position));
            let (typed, id) = if token == TOKENS {
                (world::code(position - 1), world::OATH.to_owned())
            } else {
                (OTPS[token][usize::try_from(position >> 8).unwrap() - 1].clone(), World::id(token))
            };
            let ends = |answer: &Vec<u8>| {
                let blanks = |byte: &u8| token == TOKENS && *byte == b' ';
                let answer: Vec<_> = answer.iter().copied().filter(|byte| !blanks(byte)).collect();
                answer.trim_ascii_end().to_ascii_lowercase().ends_with(typed.as_bytes())
            };
            assert!(script.answers.iter().chain(&script.stacked).any(ends), "nobody typed {typed}");
            assert!(tokens.is_some_and(|ids| ids.contains(&id.into_bytes())), "not this user's");
            assert_eq!(model::bad_line_of(&lines, script.user), None);
            // The same again: whatever happens, not by this OTP.
            let (code, _) = script.run();
            let once_more = WORLD.positions();
            assert_eq!(
                once_more[token] > after[token] || once_more != after,
                code == PamResultCode::PAM_SUCCESS
            );
        }
        PamResultCode::PAM_IGNORE => {
            assert!(script.has(c"nullok") && moved.is_empty() && model::is_plain(script.user));
            assert_eq!((tokens, model::in_the_way(&lines, script.user)), (None, None));
        }
        _ => {
            assert!(moved.is_empty(), "{code:?}, and a position moved: {moved:?}");
            plain(&script, tokens.as_deref(), &lines, code);
        }
    }
});

/// A login without anything unusual about it succeeds.
fn plain(
    script: &Script<'_>,
    tokens: Option<&[Vec<u8>]>,
    lines: &[(&[u8], model::Line)],
    code: PamResultCode,
) {
    let Some(answer) = script.answers.first() else { return };
    let fresh = (0..TOKENS).find(|token| {
        tokens.is_some_and(|ids| ids.contains(&World::id(*token).into_bytes()))
            && OTPS[*token].iter().skip(world::USED[*token]).any(|otp| otp.as_bytes() == answer)
    });
    let usual = script.args.len() == 1 && script.stacked.is_none() && !script.user.contains(&b'\0');
    if usual && fresh.is_some() && model::bad_line_of(lines, script.user).is_none() {
        panic!("{code:?}, and it should have been accepted");
    }
}
