//! A panic is a mistake in this module. It ends the call, is logged with the place in the source, and lets nobody in.
//!
//! Its message is dropped: it may hold a secret.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

/// Where a panic came from: the end of the file's name, as far as there is room, and the line. Plain bytes, so that the
/// thread keeps nothing that has to be dropped when it ends.
#[derive(Clone, Copy)]
struct At {
    file: [u8; Self::ROOM],
    length: usize,
    line: u32,
}

impl At {
    const ROOM: usize = 120;
}

thread_local! {
    static LAST: Cell<Option<At>> = const { Cell::new(None) };
}

/// For the panic hook: keeps the place for [`caught`] on this thread, and says nothing.
pub(crate) fn note(info: &PanicHookInfo<'_>) {
    let at = info.location().map(|location| {
        let name = location.file().as_bytes();
        let end = name.get(name.len().saturating_sub(At::ROOM)..).unwrap_or_default();
        let mut file = [0; At::ROOM];
        for (to, from) in file.iter_mut().zip(end) {
            *to = *from;
        }
        At { file, length: end.len(), line: location.line() }
    });
    LAST.set(at);
}

/// Makes a call. If it panics, the place is the error: `file:line`.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    LAST.set(None);
    // A call may leave only the handle half changed, and libpam changes that in whole steps.
    catch_unwind(AssertUnwindSafe(call)).map_err(|message| {
        // Dropping what was thrown may throw again.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(message)));
        LAST.take().map_or_else(
            || "an unknown place".to_owned(),
            |at| {
                let file = String::from_utf8_lossy(at.file.get(..at.length).unwrap_or_default()).into_owned();
                format!("{file}:{}", at.line)
            },
        )
    })
}
