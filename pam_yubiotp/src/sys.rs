//! Where libpam enters, and all unsafe code of the project.
//!
//! `pam_hooks!` of pam-bindings makes the `pam_sm_*` functions, checks their arguments and stops panics; its handle
//! gives the conversation and module data. What it lacks is called here directly: users that are not UTF-8, setting
//! PAM_AUTHTOK, pam_getenv(3), pam_syslog(3) and pam_fail_delay(3). At the end is what `undisturbed` needs of the C library.

mod undisturbed;

use crate::handle::{Answer, Handle, Item, Priority, Remembered};
use crate::internal_error;
use crate::login;
use pam::constants::{
    PAM_PROMPT_ECHO_OFF, PAM_PROMPT_ECHO_ON, PAM_SILENT, PAM_TEXT_INFO, PamFlag, PamResultCode,
};
use pam::conv::Conv;
use pam::items::AuthTok;
use pam::module::{PamHandle, PamHooks};
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Once;
use std::time::{Duration, Instant};
use ykhost::store::Undisturbed;
use zeroize::{Zeroize, Zeroizing};

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_get_user(pamh: *mut PamHandle, user: *mut *const c_char, prompt: *const c_char) -> c_int;
    fn pam_get_item(pamh: *const PamHandle, item: c_int, value: *mut *const c_void) -> c_int;
    fn pam_set_item(pamh: *mut PamHandle, item: c_int, value: *const c_void) -> c_int;
    fn pam_getenv(pamh: *mut PamHandle, name: *const c_char) -> *const c_char;
    fn pam_fail_delay(pamh: *mut PamHandle, microseconds: c_uint) -> c_int;
    fn pam_syslog(pamh: *const PamHandle, priority: c_int, format: *const c_char, ...);
}

/// Under this name the handle keeps what happened on it, until `pam_end`.
const REMEMBERED: &str = "pam_yubiotp";
const PAM_AUTHTOK: c_int = 6;

struct Module;

pam::pam_hooks!(Module);

/// Panics are caught in `login`, and at the latest by `pam_hooks!`; this keeps their text off the stderr of sshd and
/// sudo. The hook is of the module's own copy of the standard library, not the host's.
fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(internal_error::note)));
}

/// More than a login has on the stack.
const STACK: usize = 48 << 10;

/// Overwrites what a call had on the stack. Secrets are wiped where they are dropped, but moving one leaves a copy that
/// nobody drops.
fn scrubbing_stack(call: impl FnOnce() -> PamResultCode) -> PamResultCode {
    /// Neither of the two is part of another function, so what both have on the stack is at the same place.
    #[inline(never)]
    fn call_isolated(call: impl FnOnce() -> PamResultCode) -> PamResultCode {
        call()
    }
    #[inline(never)]
    fn overwrite() {
        use std::hint::black_box;
        // The bytes that were copied last are still in the registers by which the C library copies, and the dynamic
        // linker writes all of these to the stack when a function is called for the first time. So zeroes are copied:
        // each length goes by other registers.
        let (zeroes, mut copy) = ([0_u8; 512], [0_u8; 512]);
        for length in [4, 8, 16, 32, 64, 128, 256, 512].map(black_box) {
            if let (Some(from), Some(to)) = (black_box(&zeroes).get(..length), copy.get_mut(..length)) {
                to.copy_from_slice(from);
                black_box(to);
            }
        }
        // The compiler must believe that somebody reads it.
        black_box(&mut [0_u8; STACK]);
    }
    /// Also where a panic ends the call.
    struct Leaving;
    impl Drop for Leaving {
        fn drop(&mut self) {
            overwrite();
        }
    }
    let _leaving = Leaving;
    call_isolated(call)
}

impl PamHooks for Module {
    fn sm_authenticate(pamh: &mut PamHandle, args: Vec<&CStr>, flags: PamFlag) -> PamResultCode {
        silence_panics();
        let is_silent = flags & PAM_SILENT != 0;
        scrubbing_stack(|| login::authenticate(pamh, &args, is_silent))
    }

    fn acct_mgmt(pamh: &mut PamHandle, args: Vec<&CStr>, _flags: PamFlag) -> PamResultCode {
        silence_panics();
        scrubbing_stack(|| login::account(pamh, &args))
    }

    /// There are no credentials to set. Success, because where this is the only module PAM_IGNORE would make
    /// `pam_setcred` fail and the login with it.
    fn sm_setcred(_pamh: &mut PamHandle, _args: Vec<&CStr>, _flags: PamFlag) -> PamResultCode {
        PamResultCode::PAM_SUCCESS
    }
}

impl Handle for PamHandle {
    fn user(&mut self) -> Result<Vec<u8>, PamResultCode> {
        let mut user: *const c_char = ptr::null();
        // SAFETY: `self` is the live handle that libpam passed in; `user` is written before success is returned, and
        // a null prompt means libpam's own.
        let code = unsafe { pam_get_user(self, &raw mut user, ptr::null()) };
        if code != 0 || user.is_null() {
            return Err(PamResultCode::try_from(code).unwrap_or(PamResultCode::PAM_SYSTEM_ERR));
        }
        // SAFETY: on success `user` is a C string owned by the handle, which nobody changes before it is copied here.
        Ok(unsafe { CStr::from_ptr(user) }.to_bytes().to_vec())
    }

    fn item(&self, item: Item) -> Option<Vec<u8>> {
        let mut value: *const c_void = ptr::null();
        // SAFETY: `self` is a live handle; `Item` names only items that are C strings; `value` is written on success.
        let code = unsafe { pam_get_item(self, item as c_int, &raw mut value) };
        if code != 0 || value.is_null() {
            return None;
        }
        // SAFETY: a string item is a C string owned by the handle, which nobody changes before it is copied here.
        Some(unsafe { CStr::from_ptr(value.cast()) }.to_bytes().to_vec())
    }

    fn environment(&self, name: &CStr) -> Option<Vec<u8>> {
        // SAFETY: `self` is a live handle, which pam_getenv(3) only reads; `name` is a C string that outlives the call.
        let value = unsafe { pam_getenv(ptr::from_ref(self).cast_mut(), name.as_ptr()) };
        if value.is_null() {
            return None;
        }
        // SAFETY: the value is a C string owned by the handle, which nobody changes before it is copied here.
        Some(unsafe { CStr::from_ptr(value) }.to_bytes().to_vec())
    }

    fn authtok(&self) -> Option<Answer> {
        let token = self.get_item::<AuthTok<'_>>().ok()??;
        Some(Zeroizing::new(token.as_bytes().to_vec()))
    }

    fn set_authtok(&mut self, password: Option<&[u8]>) -> Result<(), PamResultCode> {
        let mut owned = match password.map(CString::new) {
            None => None,
            Some(Ok(password)) => Some(password.into_bytes_with_nul()),
            Some(Err(_)) => return Err(PamResultCode::PAM_BUF_ERR),
        };
        let value = owned.as_ref().map_or(ptr::null(), |bytes| bytes.as_ptr());
        // SAFETY: `self` is a live handle; `value` is null or a C string that outlives the call; libpam copies it.
        let code = unsafe { pam_set_item(self, PAM_AUTHTOK, value.cast()) };
        owned.zeroize();
        match PamResultCode::try_from(code) {
            Ok(PamResultCode::PAM_SUCCESS) => Ok(()),
            Ok(code) => Err(code),
            Err(_) => Err(PamResultCode::PAM_SYSTEM_ERR),
        }
    }

    fn ask(&self, prompt: &str, echo: bool) -> Result<Option<Answer>, PamResultCode> {
        let style = if echo { PAM_PROMPT_ECHO_ON } else { PAM_PROMPT_ECHO_OFF };
        let conversation = self.get_item::<Conv<'_>>()?.ok_or(PamResultCode::PAM_CONV_ERR)?;
        let answer = conversation.send(style, prompt)?;
        Ok(answer.map(|answer| Zeroizing::new(answer.as_bytes().to_vec())))
    }

    fn tell(&self, text: &str) -> Result<(), PamResultCode> {
        let conversation = self.get_item::<Conv<'_>>()?.ok_or(PamResultCode::PAM_CONV_ERR)?;
        conversation.send(PAM_TEXT_INFO, text).map(drop)
    }

    fn log(&self, priority: Priority, line: &str) {
        // A NUL would end the line early, and `log` has escaped them.
        let Ok(line) = CString::new(line) else { return };
        // SAFETY: `self` is a live handle; the format takes one C string, which is given and outlives the call.
        unsafe { pam_syslog(self, priority as c_int, c"%s".as_ptr(), line.as_ptr()) }
    }

    fn delay_refusal(&mut self, microseconds: u32) {
        // SAFETY: `self` is a live handle. That a delay cannot be had changes nothing.
        let _ = unsafe { pam_fail_delay(self, microseconds) };
    }

    fn wait(&self, since: Instant, delay: Duration) {
        std::thread::sleep(delay.saturating_sub(since.elapsed()));
    }

    fn undisturbed(&self) -> Undisturbed {
        undisturbed::undisturbed
    }

    fn remember(&mut self, what: Remembered) -> Result<(), PamResultCode> {
        self.set_data(REMEMBERED, Box::new(what))
    }

    fn remembered(&self) -> Option<&Remembered> {
        // SAFETY: under this name `remember` above stores a `Remembered`, and nobody else stores anything.
        unsafe { self.get_data::<Remembered>(REMEMBERED) }.ok()
    }
}

/// The signals by which a terminal stops a process, blocked in this thread until dropped. One that comes meanwhile is
/// delivered then.
pub(crate) struct StopsBlocked(Option<libc::sigset_t>);

impl StopsBlocked {
    pub(crate) fn new() -> Self {
        let mut stops = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset(3) writes the whole of `stops`, which the others change; the signals are valid; on
        // success pthread_sigmask(3) has written the whole of `before`.
        Self(unsafe {
            libc::sigemptyset(stops.as_mut_ptr());
            for signal in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
                libc::sigaddset(stops.as_mut_ptr(), signal);
            }
            let code = libc::pthread_sigmask(libc::SIG_BLOCK, stops.as_ptr(), before.as_mut_ptr());
            (code == 0).then(|| before.assume_init())
        })
    }
}

impl Drop for StopsBlocked {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // SAFETY: `before` is a mask that the kernel gave out; nothing is written.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, ptr::null_mut()) };
        }
    }
}

/// By which uid this thread opens files.
pub(crate) fn file_system_uid() -> u32 {
    // SAFETY: takes and gives numbers; one that is no uid changes nothing.
    unsafe { libc::setfsuid(libc::uid_t::MAX) }.cast_unsigned()
}
