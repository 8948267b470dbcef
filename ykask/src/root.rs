//! Giving up root, before the first byte goes to the network.

use nix::sys::prctl;
use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};

/// Nobody, by number: a look-up by name could ask a directory.
const NOBODY: u32 = 65534;

/// Becomes nobody, if it is root, and makes sure that there is no way back.
pub(crate) fn give_up() -> Result<(), String> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let step = |done: nix::Result<()>| done.map_err(|error| format!("cannot give up root: {}", error.desc()));
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
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
