//! The module as the linker sees it.

use std::process::Command;
use tests::built;

fn readelf(flag: &str) -> String {
    let output = Command::new("readelf").arg("--wide").arg(flag).arg(built::module()).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// What it exports is in `tests/pam_module/hosts.rs`, with NODELETE and BIND_NOW.
#[test]
fn linked_so_that_nothing_can_be_slipped_in() {
    let dynamic = readelf("--dynamic");
    for tag in ["RPATH", "RUNPATH", "TEXTREL"] {
        assert!(!dynamic.contains(tag), "{tag}: {dynamic}");
    }
    let needed: Vec<_> = dynamic
        .lines()
        .filter_map(|line| line.split_once("Shared library: [")?.1.split(']').next())
        .collect();
    for library in &needed {
        let known = ["libpam.so.0", "libc.so.6", "libgcc_s.so.1", "ld-linux"];
        assert!(known.iter().any(|known| library.starts_with(known)), "{library} is new: {needed:?}");
    }
    let segments = readelf("--segments");
    let stack = segments.lines().find(|line| line.contains("GNU_STACK")).unwrap();
    assert!(stack.contains(" RW ") && !stack.contains("RWE"), "{stack}");
    assert!(segments.contains("GNU_RELRO"), "{segments}");
    let both = segments.lines().find(|line| line.contains("LOAD") && line.contains("RWE"));
    assert_eq!(both, None, "written to and executed");
}

/// No function of libc that runs a shell, asks a directory or the network, or changes what belongs to the application.
#[test]
fn what_is_not_called() {
    let output = Command::new("nm").args(["-D", "--undefined-only"]).arg(built::module()).output().unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    let names: Vec<_> = names.split_whitespace().map(|name| name.split('@').next().unwrap()).collect();
    for never in ["system", "popen", "setlocale", "umask", "setrlimit", "putenv", "getpwnam", "getaddrinfo"] {
        assert!(!names.contains(&never), "{never}");
    }
    assert!(names.contains(&"pam_get_item"), "{names:?}");
}
