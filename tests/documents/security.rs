//! What SECURITY.md names is there.

use crate::{root, text_of};

/// Every file that SECURITY.md names in backticks.
#[test]
fn security_md_names_files_that_exist() {
    let text = text_of("SECURITY.md");
    let named: Vec<_> = text.split('`').skip(1).step_by(2).filter(|word| is_path_of_ours(word)).collect();
    assert!(named.len() > 30, "{named:?}");
    let missing: Vec<_> = named.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "SECURITY.md names what is not there: {missing:?}");
}

/// As `ykhost/src/file.rs` and `clippy.toml`; not as `/etc/yubiotp/store.key`.
fn is_path_of_ours(word: &str) -> bool {
    let is_file = [".rs", ".toml", ".md"].iter().any(|end| word.ends_with(end));
    is_file && !word.starts_with('/')
}
