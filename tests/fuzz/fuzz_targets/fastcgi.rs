//! What web servers send to the authorizer of the web login, or whoever else reaches its port.
//!
//! The same requests are read in whatever pieces they come, within the limits, and their parameters read the same when they
//! are written again.
//!
//! Input: a byte of which the pieces are made, a line end, and what arrives.
#![no_main]

#[path = "fastcgi/read.rs"]
#[expect(dead_code, reason = "the server's connections use more of these files")]
mod fastcgi;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((pieces, text)) = input.split_first() else { return };
    let text = text.strip_prefix(b"\n").unwrap_or(text);
    let whole = fastcgi::read(text, usize::MAX);
    assert_eq!(fastcgi::read(text, usize::from(*pieces)), whole, "in pieces of {pieces}");
    for request in whole.0 {
        assert_eq!(fastcgi::read(&request, usize::MAX), (vec![request], vec![], None));
    }
});
