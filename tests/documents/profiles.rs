//! The profiles of pam-auth-update, as its dialog takes them.

use crate::{root, text_of};

/// The dialog's list is cut at commas: after a name that has one, each choice would be that of the line above.
#[test]
fn no_name_has_a_comma() {
    let profiles = std::fs::read_dir(root().join("packaging/pam-configs")).unwrap();
    let names: Vec<_> = profiles
        .map(|file| {
            text_of(&format!("packaging/pam-configs/{}", file.unwrap().file_name().to_str().unwrap()))
        })
        .map(|text| text.lines().find_map(|line| line.strip_prefix("Name: ")).unwrap().to_owned())
        .collect();
    let different: std::collections::BTreeSet<_> = names.iter().collect();
    assert!(names.len() == 3 && different.len() == 3, "{names:?}");
    assert!(names.iter().all(|name| !name.contains(',') && name.is_ascii()), "{names:?}");
}
