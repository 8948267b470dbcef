//! The system calls that are left, by seccomp.
//!
//! A call that is not in the list fails with EPERM instead of killing the process: a C library that does something
//! unforeseen then gets an error, and nobody is locked out.

use nix::errno::Errno;
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is, SeccompCondition as Condition,
    SeccompFilter, SeccompRule as Rule, TargetArch, apply_filter,
};
use std::collections::BTreeMap;

/// Calls that are allowed with any arguments: threads, memory, time, reading, sockets that connect.
const ALWAYS: &[libc::c_long] = &[
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    // Threads, and their end. Signals can be handled, and sent to nobody but by `tgkill` below.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Time and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // Who and where it is.
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getcwd,
    // Reading files, and descriptors.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    // Sockets that connect. `bind` is for netlink, by which getaddrinfo learns of this host's addresses; it is of no
    // use without `listen`, and landlock forbids it for TCP.
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_socketpair,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
];

/// Calls of the same meaning that only older machines have.
#[cfg(target_arch = "x86_64")]
const OLDER: &[libc::c_long] = &[
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_time,
    libc::SYS_arch_prctl,
];
#[cfg(target_arch = "riscv64")]
const OLDER: &[libc::c_long] = &[libc::SYS_riscv_flush_icache, libc::SYS_riscv_hwprobe];
#[cfg(not(any(target_arch = "x86_64", target_arch = "riscv64")))]
const OLDER: &[libc::c_long] = &[];

/// Whether the kernel has seccomp: it then says in which mode this process is. Where that cannot be read, it has.
#[expect(clippy::disallowed_methods, reason = "the kernel's words, not a file of this host's")]
pub(super) fn are_filtered() -> bool {
    let status = std::fs::read_to_string("/proc/self/status");
    status.map_or(true, |status| status.lines().any(|line| line.starts_with("Seccomp:")))
}

/// Puts the filters in force for all threads to come. On a machine that the crate does not know, it goes on without.
pub(super) fn confine() -> Result<(), String> {
    let Ok(machine) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(()) };
    // The first of the two, for the second forbids it. What both have a say in, the stricter decides.
    let programs = [clone3(machine), list(machine)];
    for program in programs {
        let program = program.map_err(|error| error.to_string())?;
        apply_filter(&program).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// `clone3` hides its flags behind a pointer. Told that there is none, the C library takes `clone`.
fn clone3(machine: TargetArch) -> Result<BpfProgram, seccompiler::BackendError> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    SeccompFilter::new(rules, SeccompAction::Allow, errno(Errno::ENOSYS), machine)?.try_into()
}

fn list(machine: TargetArch) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<_, _> = ALWAYS.iter().chain(OLDER).map(|call| (*call, Vec::new())).collect();
    // Decided above.
    rules.insert(libc::SYS_clone3, Vec::new());
    // A thread, never a process.
    rules.insert(libc::SYS_clone, vec![Rule::new(vec![bits(0, libc::CLONE_THREAD, libc::CLONE_THREAD)?])?]);
    // To itself, as `abort` does.
    let own = nix::unistd::getpid().as_raw();
    rules.insert(libc::SYS_tgkill, vec![Rule::new(vec![equal(0, own)?])?]);
    // For reading, and nothing is made.
    let writing = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;
    rules.insert(libc::SYS_openat, vec![Rule::new(vec![bits(2, writing, libc::O_RDONLY)?])?]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, vec![Rule::new(vec![bits(1, writing, libc::O_RDONLY)?])?]);
    // Names of threads.
    rules.insert(libc::SYS_prctl, vec![Rule::new(vec![equal(0, libc::PR_SET_NAME)?])?]);
    // Waiting or not, and how much there is.
    rules.insert(libc::SYS_ioctl, vec![request(libc::FIONBIO)?, request(libc::FIONREAD)?]);
    rules.insert(libc::SYS_socket, sockets()?);
    // Landlock's ports count for `connect`, and TCP Fast Open goes without one: with the first data, or by an option.
    for (call, flags) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)] {
        rules.insert(call, vec![Rule::new(vec![bits(flags, libc::MSG_FASTOPEN, 0)?])?]);
    }
    let options = vec![
        Rule::new(vec![condition(1, Is::Ne, libc::IPPROTO_TCP)?])?,
        Rule::new(vec![equal(2, libc::TCP_NODELAY)?])?,
    ];
    rules.insert(libc::SYS_setsockopt, options);
    SeccompFilter::new(rules, errno(Errno::EPERM), SeccompAction::Allow, machine)?.try_into()
}

/// TCP and UDP, for landlock's ports do not count for MPTCP, SCTP and the like. Of netlink: this host's own addresses.
/// Of this host's own sockets any: those of nscd and systemd-resolved are files, as others are that cannot be told from
/// them.
fn sockets() -> Result<Vec<Rule>, seccompiler::BackendError> {
    /// Of a type, without CLOEXEC and NONBLOCK.
    const TYPE: libc::c_int = 0xf;
    let mut rules = vec![
        Rule::new(vec![equal(0, libc::AF_UNIX)?])?,
        Rule::new(vec![equal(0, libc::AF_NETLINK)?, equal(2, libc::NETLINK_ROUTE)?])?,
    ];
    for family in [libc::AF_INET, libc::AF_INET6] {
        for (kind, protocol) in
            [(libc::SOCK_STREAM, libc::IPPROTO_TCP), (libc::SOCK_DGRAM, libc::IPPROTO_UDP)]
        {
            // Number 0 is the default of the type.
            for protocol in [0, protocol] {
                let all = vec![equal(0, family)?, bits(1, TYPE, kind)?, equal(2, protocol)?];
                rules.push(Rule::new(all)?);
            }
        }
    }
    Ok(rules)
}

fn errno(error: Errno) -> SeccompAction {
    SeccompAction::Errno((error as i32).unsigned_abs())
}

fn equal(argument: u8, value: libc::c_int) -> Result<Condition, seccompiler::BackendError> {
    condition(argument, Is::Eq, value)
}

fn condition(argument: u8, is: Is, value: libc::c_int) -> Result<Condition, seccompiler::BackendError> {
    Condition::new(argument, Length::Dword, is, u64::from(value.unsigned_abs()))
}

fn bits(argument: u8, mask: libc::c_int, value: libc::c_int) -> Result<Condition, seccompiler::BackendError> {
    let mask = u64::from(mask.unsigned_abs());
    Condition::new(argument, Length::Dword, Is::MaskedEq(mask), u64::from(value.unsigned_abs()))
}

fn request(number: libc::Ioctl) -> Result<Rule, seccompiler::BackendError> {
    Rule::new(vec![Condition::new(1, Length::Dword, Is::Eq, u64::from(number as u32))?])
}
