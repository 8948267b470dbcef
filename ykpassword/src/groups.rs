//! The groups of a user, as the host knows them (NSS): also those of SSSD and other directories.

use nix::unistd::{Group, User, getgrouplist};
use std::collections::BTreeSet;
use std::ffi::CString;

/// The names of all groups of a user, sorted. A user whom only PAM knows has none.
pub(crate) fn of(user: &str) -> Result<Vec<String>, String> {
    let fault = |why: nix::errno::Errno| format!("cannot look up the groups of {user}: {}", why.desc());
    let Some(account) = User::from_name(user).map_err(fault)? else { return Ok(Vec::new()) };
    let name = CString::new(user).map_err(|why| why.to_string())?;
    let mut names = BTreeSet::new();
    for gid in getgrouplist(&name, account.gid).map_err(fault)? {
        // A number without a name is nothing that a configuration could name.
        names.extend(Group::from_gid(gid).map_err(fault)?.map(|group| group.name));
    }
    Ok(names.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_root_and_of_nobody_known() {
        assert!(of("root").unwrap().contains(&"root".to_owned()));
        assert_eq!(of("no-such-user-here"), Ok(vec![]));
    }
}
