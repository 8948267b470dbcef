//! Makes this process root's alone. A login starts it: under su, the caller's uid and limits are still those of this process.

use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, chdir, close, setresgid, setresuid, setsid};

/// The limits that could end a change half way.
const LIMITS: [Resource; 6] = [
    Resource::RLIMIT_FSIZE,
    Resource::RLIMIT_CPU,
    Resource::RLIMIT_AS,
    Resource::RLIMIT_DATA,
    Resource::RLIMIT_STACK,
    Resource::RLIMIT_NPROC,
];

/// Undoes what the caller of the login could have changed, and keeps secrets off the disk.
///
/// # Errors
/// This is not root's process, or cannot be.
pub(crate) fn harden() -> Result<(), String> {
    if !Uid::effective().is_root() {
        return Err("the login process is not root's, so nothing can be written".to_owned());
    }
    let step =
        |what: &str, done: nix::Result<()>| done.map_err(|error| format!("cannot {what}: {}", error.desc()));
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    step("become root", setresuid(uid, uid, uid))?;
    step("become root", setresgid(gid, gid, gid))?;
    // In the caller's session, their terminal could stop this process.
    let _ = setsid();
    let _ = SigSet::empty().thread_set_mask();
    for limit in LIMITS {
        raise(limit);
    }
    umask(Mode::from_bits_truncate(0o077));
    step("turn core dumps off", setrlimit(Resource::RLIMIT_CORE, 0, 0))?;
    step("hide from debuggers", prctl::set_dumpable(false))?;
    step("change to /", chdir("/"))?;
    close_strays();
    Ok(())
}

/// As far as it goes: a container's root may raise nothing.
fn raise(limit: Resource) {
    if setrlimit(limit, RLIM_INFINITY, RLIM_INFINITY).is_err()
        && let Ok((_, most)) = getrlimit(limit)
    {
        let _ = setrlimit(limit, most, most);
    }
}

/// Closes what the login process left open.
fn close_strays() {
    // The folder is read to its end, and closed, before anything else is.
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(|name| name.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        let _ = close(descriptor);
    }
}
