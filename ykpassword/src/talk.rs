//! The socket to `ykwebd`: standard input. Standard output is not used, which a module may print on.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Uid;
use rustix::net::sockopt::socket_peercred;
use std::io;
use std::os::fd::AsFd as _;
use yubiotp::password::{BadMessage, MAX_QUESTION, PasswordAnswer, PasswordQuestion};
use zeroize::Zeroizing;

/// Refuses a peer that is neither root's nor `asker`'s.
pub(crate) fn check_peer(asker: Option<Uid>) -> Result<(), String> {
    let peer = socket_peercred(io::stdin())
        .map_err(|why| format!("standard input is not a socket in the file system: {why}"))?;
    let uid = peer.uid.as_raw();
    // An address of another kind of socket has no user: the system then says that there is no process either.
    if peer.pid.as_raw_pid() > 0 && (uid == 0 || asker.is_some_and(|asker| asker.as_raw() == uid)) {
        return Ok(());
    }
    Err(format!("the user with uid {uid} may not ask (--for)"))
}

/// Reads the question; `None` if the peer left without one.
pub(crate) fn question() -> Result<Option<Result<PasswordQuestion, BadMessage>>, String> {
    // Room for all of it, so that no part stays behind in memory that was too small. One byte more is too many.
    let mut text = Zeroizing::new([0; MAX_QUESTION + 1]);
    let mut length = 0;
    loop {
        let room = text.get_mut(length..).filter(|room| !room.is_empty());
        let room = room.ok_or("the question is too long")?;
        match nix::unistd::read(io::stdin(), room) {
            Ok(0) => return Ok(None),
            Ok(read) => length = length.saturating_add(read),
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN) => {
                wait(PollFlags::POLLIN);
                continue;
            }
            Err(why) => return Err(format!("cannot read the question: {}", why.desc())),
        }
        if let Some(read) = PasswordQuestion::read(text.get(..length).unwrap_or_default()).transpose() {
            return Ok(Some(read));
        }
    }
}

/// Writes the answer, whole.
pub(crate) fn tell(answer: &PasswordAnswer) -> Result<(), String> {
    let text = answer.write();
    let mut rest = text.as_slice();
    while !rest.is_empty() {
        match rustix::net::send(io::stdin(), rest, rustix::net::SendFlags::NOSIGNAL) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => wait(PollFlags::POLLOUT),
            Err(why) => return Err(format!("cannot write the answer: {why}")),
        }
    }
    Ok(())
}

fn wait(for_what: PollFlags) {
    let socket = io::stdin();
    let _ = poll(&mut [PollFd::new(socket.as_fd(), for_what)], PollTimeout::NONE);
}
