//! What `yubiotp-ask` does to the world outside its process, by strace: files, sockets, programs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The trace of a login's processes.
const CALLS: &str = "trace=%file,%network,%process,mmap";

/// Calls with a path that need no rule: AppArmor lets everybody see what is there, and where links lead.
const LOOKS: [&str; 12] = [
    "stat",
    "lstat",
    "newfstatat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "statfs",
    "getcwd",
    "chdir",
];
/// Calls that need none: about sockets and processes that exist.
const OWN: [&str; 24] = [
    "clone",
    "clone3",
    "exit",
    "exit_group",
    "tgkill",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    "shutdown",
    "rt_sigqueueinfo",
    "wait4",
    "waitid",
    "pidfd_open",
    "pidfd_send_signal",
    "fstat",
    "mmap",
    "poll",
];

/// Something that a profile has to allow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    Read(String),
    /// To be run as code.
    Map(String),
    /// A socket that is a file, connected to.
    Connect(String),
    /// Family and type, as <sys/socket.h> numbers them.
    Socket(u16, u16),
    /// Anything else: no profile of ours allows it.
    Never(String),
}

/// strace around a command.
pub(crate) fn strace(log: &Path, command: &Command) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-qqq", "-s", "4096", "-e", "signal=none", "-e", CALLS, "-o"]).arg(log);
    strace.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            strace.env(name, value);
        }
    }
    strace
}

/// What the processes did that ran this program, from its start on. Paths are those of a host where the program is
/// installed: `here` is what `there` would be, for each pair.
pub(crate) fn needs(log: &Path, program: &Path, there: &[(&Path, &str)]) -> BTreeSet<Need> {
    let text = fs::read_to_string(log).unwrap();
    let lines: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(id, call)| (id, call.trim_start()))
        .collect();
    let starts = format!("execve({:?}, ", program.to_str().unwrap());
    let mut own: BTreeSet<&str> =
        lines.iter().filter(|(_, call)| call.starts_with(&starts)).map(|(id, _)| *id).collect();
    assert!(!own.is_empty(), "{} was not started: {text}", program.display());
    // Threads of threads: until nobody is found any more.
    loop {
        let made = lines.iter().filter(|(id, call)| {
            own.contains(id) && (call.starts_with("clone") || call.starts_with("<... clone"))
        });
        let made: Vec<&str> = made
            .filter_map(|(_, call)| {
                call.rsplit_once("= ").map(|(_, id)| id.split(['<', ' ']).next().unwrap())
            })
            .filter(|id| id.parse::<u32>().is_ok() && !own.contains(id))
            .collect();
        if made.is_empty() {
            break;
        }
        own.extend(made);
    }
    // Before a process runs the program it runs its parent's code.
    let mut before: BTreeSet<&str> =
        lines.iter().filter(|(_, call)| call.starts_with(&starts)).map(|(id, _)| *id).collect();
    let mut needs = BTreeSet::from([
        // The pair of sockets to the login process.
        Need::Socket(1, 1),
        Need::Map(path(program.to_str().unwrap(), there)),
        Need::Map(path(&interpreter(), there)),
    ]);
    for (id, call) in lines.iter().filter(|(id, _)| own.contains(id)) {
        if call.starts_with(&starts) {
            before.remove(id);
        } else if !before.contains(id) {
            needs.extend(need(call, there));
        }
    }
    needs
}

/// What one call needs. Whether it succeeded is no matter: on another host it would.
fn need(call: &str, there: &[(&Path, &str)]) -> Vec<Need> {
    // The second half of a call; an end; a call of a thread that was killed before strace could read which.
    if call.starts_with(['<', '+', '-']) || call.starts_with("???(") {
        return Vec::new();
    }
    let (name, arguments) = call.split_once('(').unwrap_or((call, ""));
    let quoted =
        || arguments.split_once('"').and_then(|(_, rest)| rest.split_once('"')).map(|(text, _)| text);
    let never = || vec![Need::Never(call.to_owned())];
    match name {
        // A descriptor that stands for a place and cannot be read; nothing asks AppArmor.
        "open" | "openat" if call.contains("O_PATH") => Vec::new(),
        "open" | "openat" => {
            let Some(named) = quoted().filter(|path| path.starts_with('/')) else { return never() };
            let file = path(named, there);
            if ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|how| call.contains(how)) {
                never()
            } else if named.contains(".so") && !named.contains("/ld.so.") {
                vec![Need::Read(file.clone()), Need::Map(file)]
            } else {
                // A folder has a slash at its end for AppArmor.
                let slash = if call.contains("O_DIRECTORY") || Path::new(named).is_dir() { "/" } else { "" };
                vec![Need::Read(file + slash)]
            }
        }
        "mmap" if call.contains("PROT_EXEC") && !call.contains("MAP_ANONYMOUS") => {
            let file = arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
            file.map_or_else(never, |(file, _)| vec![Need::Map(path(file, there))])
        }
        "socket" | "socketpair" => {
            let family =
                number(call, &[("AF_UNIX", 1), ("AF_INET6", 10), ("AF_INET", 2), ("AF_NETLINK", 16)]);
            let kind = number(call, &[("SOCK_STREAM", 1), ("SOCK_DGRAM", 2), ("SOCK_RAW", 3)]);
            family.zip(kind).map_or_else(never, |(family, kind)| vec![Need::Socket(family, kind)])
        }
        "connect" if call.contains("sun_path=\"") => vec![Need::Connect(path(quoted().unwrap(), there))],
        "connect" if ["AF_INET", "AF_UNSPEC"].iter().any(|family| call.contains(family)) => Vec::new(),
        // Of netlink, and of a datagram socket without a port.
        "bind" if call.contains("AF_NETLINK") || call.contains("port=htons(0)") => Vec::new(),
        name if LOOKS.contains(&name) || OWN.contains(&name) => Vec::new(),
        _ => never(),
    }
}

fn number(call: &str, names: &[(&str, u16)]) -> Option<u16> {
    names.iter().find(|(name, _)| call.contains(name)).map(|(_, number)| *number)
}

/// As AppArmor sees a path: without links.
fn path(named: &str, there: &[(&Path, &str)]) -> String {
    // The process that was traced is gone.
    if let Some(rest) = named.strip_prefix("/proc/self/") {
        return format!("/proc/4711/{rest}");
    }
    // Where it leads to is this host's affair.
    if named == "/etc/resolv.conf" {
        return named.to_owned();
    }
    let real = fs::canonicalize(named).unwrap_or_else(|_| named.into());
    for (here, there) in there {
        let here = fs::canonicalize(here).unwrap();
        if let Ok(rest) = real.strip_prefix(here) {
            return Path::new(there).join(rest).to_str().unwrap().trim_end_matches('/').to_owned();
        }
    }
    real.to_str().unwrap().to_owned()
}

/// The dynamic linker, which the kernel maps: that of this process.
fn interpreter() -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut paths = maps.lines().filter_map(|line| line.split_once('/')).map(|(_, rest)| format!("/{rest}"));
    paths.find(|path| path.contains("/ld-") || path.contains("/ld64.")).unwrap()
}

/// Waits until a file of a process holds a line.
pub(crate) fn until(child: &Child, file: &str, line: &str) -> bool {
    let file = format!("/proc/{}/{file}", child.id());
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        if fs::read_to_string(&file).is_ok_and(|text| text.contains(line)) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

#[test]
fn a_thread_that_was_gone_before_strace_looked() {
    assert_eq!(need("???( <unfinished ...>", &[]), []);
    assert_eq!(need("mount(\"/x\") = 0", &[]), [Need::Never("mount(\"/x\") = 0".to_owned())]);
}
