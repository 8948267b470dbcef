//! The application's side of libpam: what `yubiotp-try` calls, and the conversation that libpam calls back.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use zeroize::Zeroizing;

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start_confdir(
        service: *const c_char,
        user: *const c_char,
        conversation: *const RawConversation,
        confdir: *const c_char,
        handle: *mut *mut c_void,
    ) -> c_int;
    fn pam_set_item(handle: *mut c_void, item: c_int, value: *const c_void) -> c_int;
    fn pam_authenticate(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_acct_mgmt(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_end(handle: *mut c_void, status: c_int) -> c_int;
}

const SUCCESS: c_int = 0;
const BUFFER_ERROR: c_int = 5;
const CONVERSATION_ERROR: c_int = 19;
/// As `PAM_MAX_NUM_MSG` of libpam.
const MOST_MESSAGES: usize = 32;

#[repr(C)]
struct RawMessage {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct RawResponse {
    text: *mut c_char,
    code: c_int,
}

type Callback = extern "C" fn(c_int, *mut *const RawMessage, *mut *mut RawResponse, *mut c_void) -> c_int;

#[repr(C)]
struct RawConversation {
    callback: Callback,
    data: *mut c_void,
}

/// How a module wants a message shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A question; the answer is not shown.
    EchoOff,
    /// A question; the answer is shown.
    EchoOn,
    /// An error. No answer.
    Error,
    /// A remark. No answer.
    Info,
}

/// Shows the messages of modules and reads the answers.
pub(crate) trait Conversation {
    /// Shows a message, and returns the answer if it is a question. `None` in place of an answer ends the login.
    fn message(&mut self, style: Style, text: &[u8]) -> Option<Zeroizing<Vec<u8>>>;
}

/// The items that an application sets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Item {
    Tty = 3,
    Rhost = 4,
    Ruser = 8,
}

/// One login. Its handle is open until this is dropped.
pub(crate) struct Application<'c> {
    handle: *mut c_void,
    /// From `Box::into_raw`: libpam keeps this address.
    conversation: *mut &'c mut dyn Conversation,
    last: c_int,
}

impl<'c> Application<'c> {
    /// Begins a login to a service whose file is in `confdir`.
    ///
    /// # Errors
    /// The code of libpam.
    pub(crate) fn start(
        confdir: &CStr,
        service: &CStr,
        user: &CStr,
        conversation: &'c mut dyn Conversation,
    ) -> Result<Self, c_int> {
        let conversation = Box::into_raw(Box::new(conversation));
        let raw = RawConversation { callback: converse, data: conversation.cast() };
        let mut handle = ptr::null_mut();
        // SAFETY: libpam copies the strings and `raw`; `conversation` lives until `drop`, after `pam_end`; `handle` is
        // written before success is returned.
        let code = unsafe {
            let confdir = confdir.as_ptr();
            pam_start_confdir(service.as_ptr(), user.as_ptr(), &raw const raw, confdir, &raw mut handle)
        };
        let login = Self { handle, conversation, last: code };
        if code == SUCCESS && !handle.is_null() { Ok(login) } else { Err(code) }
    }

    /// Sets an item. One that cannot be set is as if nobody had.
    pub(crate) fn set(&mut self, item: Item, value: &CStr) {
        // SAFETY: the handle is open, and the item is a C string, which libpam copies.
        self.last = unsafe { pam_set_item(self.handle, item as c_int, value.as_ptr().cast()) };
    }

    /// The code of `pam_authenticate`.
    pub(crate) fn authenticate(&mut self) -> c_int {
        // SAFETY: the handle is open.
        self.last = unsafe { pam_authenticate(self.handle, 0) };
        self.last
    }

    /// The code of `pam_acct_mgmt`.
    pub(crate) fn account(&mut self) -> c_int {
        // SAFETY: the handle is open.
        self.last = unsafe { pam_acct_mgmt(self.handle, 0) };
        self.last
    }
}

impl Drop for Application<'_> {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the handle is open, and nobody uses it after this.
            unsafe { pam_end(self.handle, self.last) };
        }
        // SAFETY: it is from `Box::into_raw`, and libpam, which had the address, is at its end.
        drop(unsafe { Box::from_raw(self.conversation) });
    }
}

/// Called by libpam with the messages of a module. A panic ends the process, because it must not get into libpam.
extern "C" fn converse(
    count: c_int,
    messages: *mut *const RawMessage,
    responses: *mut *mut RawResponse,
    data: *mut c_void,
) -> c_int {
    let count = usize::try_from(count).unwrap_or_default();
    if count == 0 || count > MOST_MESSAGES || messages.is_null() || responses.is_null() || data.is_null() {
        return CONVERSATION_ERROR;
    }
    // SAFETY: libpam hands back the address given to `pam_start_confdir`, which is alive until `pam_end`, and calls this
    // only while a method of the login that borrows it runs.
    let conversation = unsafe { &mut *data.cast::<&mut dyn Conversation>() };
    let mut answers = Vec::with_capacity(count);
    for at in 0..count {
        // SAFETY: libpam gives an array of `count` pointers to messages.
        let message = unsafe { (*messages.add(at)).as_ref() };
        let Some(message) = message.filter(|message| !message.text.is_null()) else {
            return CONVERSATION_ERROR;
        };
        // SAFETY: the text of a message is a C string that lives during this call.
        let text = unsafe { CStr::from_ptr(message.text) }.to_bytes();
        let style = match message.style {
            1 => Style::EchoOff,
            2 => Style::EchoOn,
            3 => Style::Error,
            4 => Style::Info,
            _ => return CONVERSATION_ERROR,
        };
        let answer = conversation.message(style, text);
        if matches!(style, Style::EchoOff | Style::EchoOn) && answer.is_none() {
            return CONVERSATION_ERROR;
        }
        answers.push(match answer {
            None => None,
            Some(answer) => match c_string(answer) {
                None => return CONVERSATION_ERROR,
                answer => answer,
            },
        });
    }
    hand_over(&answers, responses)
}

/// An answer as a C string; wiped on drop. `None` if it holds a NUL.
fn c_string(answer: Zeroizing<Vec<u8>>) -> Option<Zeroizing<Vec<u8>>> {
    if answer.contains(&0) {
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(answer.len().saturating_add(1)));
    bytes.extend_from_slice(&answer);
    bytes.push(0);
    Some(bytes)
}

/// Gives libpam the answers, in memory that the module frees.
fn hand_over(answers: &[Option<Zeroizing<Vec<u8>>>], responses: *mut *mut RawResponse) -> c_int {
    // SAFETY: takes and gives numbers and addresses; the memory is zeroed, so every text in it is null.
    let array = unsafe { libc::calloc(answers.len(), size_of::<RawResponse>()) }.cast::<RawResponse>();
    if array.is_null() {
        return BUFFER_ERROR;
    }
    for (at, answer) in answers.iter().enumerate() {
        let Some(answer) = answer else { continue };
        // SAFETY: a new block of that many bytes.
        let text = unsafe { libc::calloc(answer.len(), 1) }.cast::<c_char>();
        if text.is_null() {
            // SAFETY: `array` has so many entries, each with a null text or a C string from calloc(3).
            unsafe { discard(array, answers.len()) };
            return BUFFER_ERROR;
        }
        // SAFETY: `text` has as many bytes as `answer`, and `array` more than `at` entries.
        unsafe {
            ptr::copy_nonoverlapping(answer.as_ptr(), text.cast(), answer.len());
            (*array.add(at)).text = text;
        }
    }
    // SAFETY: libpam gave the address to write to.
    unsafe { *responses = array };
    SUCCESS
}

/// Wipes and frees answers that nobody takes.
///
/// # Safety
/// `array` is from calloc(3) with `count` entries, each with a null text or a C string from calloc(3).
unsafe fn discard(array: *mut RawResponse, count: usize) {
    for at in 0..count {
        // SAFETY: by the contract of this function.
        unsafe {
            let text = (*array.add(at)).text;
            if !text.is_null() {
                libc::explicit_bzero(text.cast(), libc::strlen(text));
                libc::free(text.cast());
            }
        }
    }
    // SAFETY: by the contract of this function.
    unsafe { libc::free(array.cast()) };
}
