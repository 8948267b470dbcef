//! Giving up root, before the first byte goes to the network.

use crate::files::{self, Kind};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};
use std::path::Path;
use yubiotp::account::{self, Account, NOBODY, PASSWD};

/// Becomes the user that it has for itself, if it is root, and makes sure that there is no way back. Where there is no
/// such user it becomes nobody, whose processes and limits are those of others too, and says why.
pub(crate) fn give_up() -> Result<Option<String>, String> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let found = files::read(Path::new(PASSWD), Kind::Found)
        .map_err(|unable| unable.why)
        .and_then(|passwd| account::find(&passwd).map_err(|why| why.to_string()));
    let (account, missing) = match found {
        Ok(account) => (account, None),
        Err(why) => (
            Account { uid: NOBODY, gid: NOBODY },
            Some(format!("yubiotp-ask runs as uid {NOBODY}, which others may share: {why}")),
        ),
    };
    become_for_good(account)?;
    Ok(missing)
}

fn become_for_good(account: Account) -> Result<(), String> {
    let step = |done: nix::Result<()>| done.map_err(|error| format!("cannot give up root: {}", error.desc()));
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    step(setgroups(&[]))?;
    step(setresgid(gid, gid, gid))?;
    step(setresuid(uid, uid, uid))?;
    // A change of user makes the process visible to that user's others.
    step(prctl::set_dumpable(false))?;

    let root = Uid::from_raw(0);
    let back = setresuid(root, root, root).is_ok()
        || setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0)).is_ok();
    let gone = getresuid().is_ok_and(|is| [is.real, is.effective, is.saved].iter().all(|is| *is == uid))
        && getresgid().is_ok_and(|is| [is.real, is.effective, is.saved].iter().all(|is| *is == gid))
        && getgroups().is_ok_and(|groups| groups.is_empty());
    if back || !gone {
        return Err("cannot give up root: the kernel says yes and does not do it".into());
    }
    Ok(())
}
