//! The files of `web-examples`, as tests run them: unchanged but for host names, ports and paths.

use super::names::DOMAIN;
use std::fs;
use std::path::PathBuf;

/// Where they are.
#[must_use]
pub fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../web-examples"))
}

/// The text of one.
///
/// # Panics
/// Where it cannot be read.
#[must_use]
pub fn text(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
}

/// One with hosts below [`DOMAIN`], and each of these texts replaced wherever it is.
///
/// # Panics
/// Where one of the texts is not there: the example and the test have come apart.
#[must_use]
pub fn with(name: &str, replaced: &[(&str, &str)]) -> String {
    // Certificates first: their paths name a host.
    let mut text = text(name);
    for (is, shall_be) in replaced {
        assert!(text.contains(is), "{name} does not contain {is:?}");
        text = text.replace(is, shall_be);
    }
    text.replace("example.com", DOMAIN).replace("EXAMPLE.COM", &DOMAIN.to_ascii_uppercase())
}
