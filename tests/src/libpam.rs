//! A PAM application over the machine's own libpam: what sshd and sudo do, in the hands of a test.
//!
//! Service files come from a folder of the test's own (`pam_start_confdir`), so nothing under /etc is read or
//! changed. The one file of this package with unsafe code.

mod code;
mod conversation;
mod services;
#[cfg(test)]
mod tests;

pub use code::Code;
pub use conversation::{Conversation, Prompt, Reply, Script, Seen, Style};
pub use services::Services;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::ptr;
use std::time::Duration;

/// Flag: say nothing that is not a question.
pub const SILENT: c_int = 0x8000;
/// Flag of `authenticate`: refuse an empty password.
pub const DISALLOW_NULL_AUTHTOK: c_int = 0x0001;
/// Flag of `setcred`: give the user the credentials.
pub const ESTABLISH_CRED: c_int = 0x0002;
/// Flag of `setcred`: take them away.
pub const DELETE_CRED: c_int = 0x0004;

/// The items of a login that an application may read and set. Passwords are not among them: libpam keeps them from
/// applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "pam_get_item(3) explains them")]
pub enum Item {
    Service = 1,
    User = 2,
    Tty = 3,
    Rhost = 4,
    Ruser = 8,
    UserPrompt = 9,
}

/// One login: a handle of libpam from `pam_start_confdir` to `pam_end`.
pub struct Pam {
    handle: *mut c_void,
    shared: *mut Shared, // from Box::into_raw: libpam holds this address
    last: Code,
}

/// What libpam's callbacks reach through their `appdata_ptr`.
struct Shared {
    conversation: RefCell<Box<dyn Conversation>>,
    panic: RefCell<Option<Box<dyn Any + Send>>>,
    fail_delay: Cell<Duration>,
}

impl Pam {
    /// Begins a login to `service`, whose file is in `confdir`. Without a user the module has to ask.
    /// Modules are loaded when the first call needs them, so a broken service file shows there.
    #[must_use]
    pub fn start(
        confdir: &Path,
        service: &str,
        user: Option<&[u8]>,
        conversation: Box<dyn Conversation>,
    ) -> Self {
        let confdir = CString::new(confdir.as_os_str().as_bytes()).unwrap();
        let service = CString::new(service).unwrap();
        let user = user.map(|user| CString::new(user).unwrap());
        let shared = Box::into_raw(Box::new(Shared {
            conversation: RefCell::new(conversation),
            panic: RefCell::new(None),
            fail_delay: Cell::new(Duration::ZERO),
        }));
        let conv = PamConv { conv: converse, appdata: shared.cast() };
        let mut handle = ptr::null_mut();
        // SAFETY: the strings and `conv` outlive the call, which copies them; `shared` lives until `pam_end`.
        let code = Code(unsafe {
            pam_start_confdir(
                service.as_ptr(),
                user.as_ref().map_or(ptr::null(), |user| user.as_ptr()),
                &raw const conv,
                confdir.as_ptr(),
                &raw mut handle,
            )
        });
        assert_eq!(code, Code::SUCCESS, "pam_start_confdir");
        // SAFETY: the handle is open; this item is a function of just this type.
        let code = Code(unsafe { pam_set_item(handle, FAIL_DELAY, note_delay as DelayFn as *const c_void) });
        assert_eq!(code, Code::SUCCESS, "PAM_FAIL_DELAY");
        Self { handle, shared, last: Code::SUCCESS }
    }

    /// `pam_authenticate`: is it them?
    pub fn authenticate(&mut self, flags: c_int) -> Code {
        self.call(pam_authenticate, flags)
    }

    /// `pam_acct_mgmt`: may they, now?
    pub fn acct_mgmt(&mut self, flags: c_int) -> Code {
        self.call(pam_acct_mgmt, flags)
    }

    /// `pam_setcred`.
    pub fn setcred(&mut self, flags: c_int) -> Code {
        self.call(pam_setcred, flags)
    }

    /// `pam_open_session`.
    pub fn open_session(&mut self, flags: c_int) -> Code {
        self.call(pam_open_session, flags)
    }

    /// `pam_close_session`.
    pub fn close_session(&mut self, flags: c_int) -> Code {
        self.call(pam_close_session, flags)
    }

    /// `pam_chauthtok`: change the password.
    pub fn chauthtok(&mut self, flags: c_int) -> Code {
        self.call(pam_chauthtok, flags)
    }

    /// Sets an item, for instance the remote host.
    pub fn set_item_str(&mut self, item: Item, value: &str) {
        let value = CString::new(value).unwrap();
        // SAFETY: the handle is open; libpam copies the string.
        let code = Code(unsafe { pam_set_item(self.handle, item as c_int, value.as_ptr().cast()) });
        assert_eq!(code, Code::SUCCESS, "{item:?}");
    }

    /// Sets a variable of the environment that PAM keeps for the session, as sshd does: `NAME=VALUE`.
    pub fn set_variable(&mut self, variable: &str) {
        let variable = CString::new(variable).unwrap();
        // SAFETY: the handle is open; libpam copies the string.
        let code = Code(unsafe { pam_putenv(self.handle, variable.as_ptr()) });
        assert_eq!(code, Code::SUCCESS, "{variable:?}");
    }

    /// Reads an item; `None` where it is not set.
    #[must_use]
    pub fn item(&self, item: Item) -> Option<Vec<u8>> {
        let mut value = ptr::null();
        // SAFETY: the handle is open; `value` is a place for one pointer.
        let code = Code(unsafe { pam_get_item(self.handle, item as c_int, &raw mut value) });
        assert_eq!(code, Code::SUCCESS, "{item:?}");
        // SAFETY: the items of `Item` are strings, and stay until the next call on this handle.
        (!value.is_null()).then(|| unsafe { CStr::from_ptr(value.cast()) }.to_bytes().to_vec())
    }

    /// How long libpam wanted this application to wait after the last call, had it failed; nobody waits. libpam
    /// takes the longest that a module asked for and varies it by up to a half, so compare with zero or roughly.
    #[must_use]
    pub fn fail_delay(&self) -> Duration {
        self.shared().fail_delay.get()
    }

    fn call(&mut self, function: unsafe extern "C" fn(*mut c_void, c_int) -> c_int, flags: c_int) -> Code {
        self.shared().fail_delay.set(Duration::ZERO);
        // SAFETY: the handle is open, and `&mut self` keeps a conversation from calling back in.
        let code = Code(unsafe { function(self.handle, flags) });
        self.last = code;
        let panic = self.shared().panic.take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        code
    }

    fn shared(&self) -> &Shared {
        // SAFETY: it lives until `drop`, and is only ever shared.
        unsafe { &*self.shared }
    }
}

impl Drop for Pam {
    fn drop(&mut self) {
        // SAFETY: the handle is open and not used again.
        unsafe { pam_end(self.handle, self.last.0) };
        // SAFETY: from `Box::into_raw`; with the handle gone nobody else knows it.
        drop(unsafe { Box::from_raw(self.shared) });
    }
}

/// libpam's `pam_conv` callback.
extern "C" fn converse(
    count: c_int,
    messages: *const *const PamMessage,
    responses: *mut *mut PamResponse,
    appdata: *mut c_void,
) -> c_int {
    // SAFETY: `appdata` is the `Shared` of `Pam::start`, alive until `pam_end`.
    let shared = unsafe { &*appdata.cast::<Shared>() };
    let prompts: Vec<Prompt> = (0..usize::try_from(count).unwrap_or(0))
        .map(|index| {
            // SAFETY: libpam passes `count` pointers to messages, each with a text ending in NUL.
            let (style, text) = unsafe {
                let message = &**messages.add(index);
                (message.style, CStr::from_ptr(message.text))
            };
            let style = match style {
                1 => Style::EchoOff,
                2 => Style::EchoOn,
                3 => Style::Error,
                4 => Style::Info,
                other => Style::Other(other),
            };
            Prompt { style, text: text.to_string_lossy().into_owned() }
        })
        .collect();
    // A panic must not cross libpam: it is kept, and continues when the call is back.
    let reply = catch_unwind(AssertUnwindSafe(|| match shared.conversation.borrow_mut().answer(&prompts) {
        Reply::Answers(answers) => (Code::SUCCESS.0, allocate(prompts.len(), &answers)),
        Reply::Nothing => (Code::SUCCESS.0, ptr::null_mut()),
        Reply::Error(code) => (code, ptr::null_mut()),
    }));
    let (code, array) = reply.unwrap_or_else(|panic| {
        shared.panic.replace(Some(panic));
        (Code::CONV_ERR.0, ptr::null_mut())
    });
    // SAFETY: `responses` is a place for one pointer; the caller frees the responses.
    unsafe { *responses = array };
    code
}

/// The array of answers, in malloc's memory as pam_conv(3) demands.
fn allocate(count: usize, answers: &[Option<Vec<u8>>]) -> *mut PamResponse {
    let texts: Vec<_> =
        answers.iter().map(|answer| answer.clone().map(|text| CString::new(text).unwrap())).collect();
    // SAFETY: calloc has no precondition. Zeroed memory is `count` responses without text.
    let array: *mut PamResponse = unsafe { calloc(count.max(1), size_of::<PamResponse>()) }.cast();
    assert!(!array.is_null(), "out of memory");
    for (index, text) in texts.iter().take(count).enumerate() {
        let Some(text) = text else { continue };
        // SAFETY: `index` is below `count`; strdup copies up to the NUL of `text`.
        unsafe { (*array.add(index)).text = strdup(text.as_ptr()) };
    }
    array
}

/// libpam's way to let an application wait as it likes: this one takes a note and continues.
extern "C" fn note_delay(_code: c_int, microseconds: c_uint, appdata: *mut c_void) {
    // SAFETY: libpam passes the `appdata` of the conversation.
    let shared = unsafe { &*appdata.cast::<Shared>() };
    shared.fail_delay.set(Duration::from_micros(microseconds.into()));
}

const FAIL_DELAY: c_int = 10;
type DelayFn = extern "C" fn(c_int, c_uint, *mut c_void);

#[repr(C)]
struct PamMessage {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct PamResponse {
    text: *mut c_char,
    unused: c_int,
}

#[repr(C)]
struct PamConv {
    conv: extern "C" fn(c_int, *const *const PamMessage, *mut *mut PamResponse, *mut c_void) -> c_int,
    appdata: *mut c_void,
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start_confdir(
        service: *const c_char,
        user: *const c_char,
        conv: *const PamConv,
        confdir: *const c_char,
        handle: *mut *mut c_void,
    ) -> c_int;
    fn pam_end(handle: *mut c_void, status: c_int) -> c_int;
    fn pam_authenticate(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_acct_mgmt(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_putenv(handle: *mut c_void, variable: *const c_char) -> c_int;
    fn pam_setcred(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_open_session(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_close_session(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_chauthtok(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_set_item(handle: *mut c_void, item: c_int, value: *const c_void) -> c_int;
    fn pam_get_item(handle: *const c_void, item: c_int, value: *mut *const c_void) -> c_int;
}

unsafe extern "C" {
    fn calloc(count: usize, size: usize) -> *mut c_void;
    fn strdup(text: *const c_char) -> *mut c_char;
}
