//! What the documents name is there.
#![expect(clippy::disallowed_methods, reason = "a test that fails must stop")]

use std::path::Path;

/// Every file that SECURITY.md names in backticks.
#[test]
fn security_md_names_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let named: Vec<_> = text.split('`').skip(1).step_by(2).filter(|word| is_path_of_ours(word)).collect();
    assert!(named.len() > 30, "{named:?}");
    let missing: Vec<_> = named.iter().filter(|path| !root.join(path).exists()).collect();
    assert!(missing.is_empty(), "SECURITY.md names what is not there: {missing:?}");
}

/// As `ykmap/src/file.rs` and `clippy.toml`; not as `/etc/yubiotp/store.key`.
fn is_path_of_ours(word: &str) -> bool {
    let is_file = [".rs", ".toml", ".md"].iter().any(|end| word.ends_with(end));
    is_file && !word.starts_with('/')
}
