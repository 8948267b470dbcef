//! The web login's packages: installed, set up, asked, removed, purged.

use crate::base;
use crate::root::{Root, TARGET};
use crate::server::{is_sound, same_files};
use crate::shipped::{web_deb, web_rpm};
use std::net::SocketAddr;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};
use tests::ykvald::{free_port, get};
use yubiotp::password::{PasswordAnswer, PasswordQuestion};

/// Runs a program with a socket as standard input, as systemd does, and passes on what is asked and answered.
const ASK: &str = "socketpair(A, B, AF_UNIX, SOCK_STREAM, 0); unless (fork) { close A; open STDIN, \"<&\", \\*B; exec @ARGV }
close B; A->autoflush; print A <STDIN>; shutdown(A, 1); print <A>";

const UNIT: &str = "/usr/lib/systemd/system/ykweb-password@.service";

fn install(root: &Root) -> String {
    root.run(&format!("apt-get install -qq {TARGET}/{}", web_deb())).ok().said
}

/// The server as the unit starts it, until it is ready: its user, and the store key handed over.
fn is_ready(root: &Root) {
    let at = SocketAddr::from(([127, 0, 0, 1], free_port()));
    // What LoadCredential= and RuntimeDirectory= do.
    root.run(
        "install -d -m 700 -o ykweb /run/credentials && install -m 400 -o ykweb /etc/ykweb/store.key /run/credentials",
    )
    .ok();
    let mut command = root.command_as("ykweb", "/usr/bin/ykwebd");
    command.env("CREDENTIALS_DIRECTORY", "/run/credentials").args(["serve", "--listen", &at.to_string()]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !get(at, "/readyz").is_ok_and(|reply| reply.status == 200) {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "it is not ready");
        thread::sleep(Duration::from_millis(50));
    }
    root.quietly("pkill -TERM -x ykwebd || kill $(pidof ykwebd)", "").ok();
    assert!(child.wait().unwrap().success());
}

/// What PAM says of a password, with the rights that the unit leaves root.
fn password(root: &Root, password: &str) -> PasswordAnswer {
    let unit = root.read(UNIT);
    let rights = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let rights = rights.split(' ').map(|right| right.strip_prefix("CAP_").unwrap().to_lowercase());
    let rights = rights.fold("-all".to_owned(), |all, right| format!("{all},+{right}"));
    let question = PasswordQuestion {
        user: "alice".to_owned(),
        password: password.as_bytes().to_vec().into(),
        from: "192.0.2.1".parse().ok(),
    };
    // The kernel names a peer of the same root only.
    let ask = format!(
        "perl -MSocket -MIO::Handle -e '{ASK}' setpriv --no-new-privs --bounding-set={rights} --inh-caps=-all"
    );
    let question = String::from_utf8(question.write().unwrap().to_vec()).unwrap();
    let ran = root.quietly(&format!("{ask} -- /usr/libexec/ykweb/ykweb-password"), &question).ok();
    let answer = ran.said.into_bytes();
    PasswordAnswer::read(&answer).unwrap()
}

#[test]
fn the_life_of_a_web_login() {
    let Some(root) = Root::start("web") else { return };
    root.story.step("install the web login");
    let said = install(&root);
    assert!(said.contains("Nothing is started"), "{said}");
    assert!(!root.exists("/etc/ykweb") && !root.exists("/etc/pam.d/ykweb"));

    root.story.step("set it up");
    root.run("ykwebd init --public-url https://login.example.com").ok();
    let modes = "stat -c '%a %U:%G %n' /etc/ykweb /etc/ykweb/* /var/lib/ykweb /var/lib/ykweb/ykweb.db";
    let modes = root.run(modes).ok().said;
    for line in [
        "755 root:ykweb /etc/ykweb\n",
        "640 root:ykweb /etc/ykweb/config.toml\n",
        "600 root:root /etc/ykweb/store.key\n",
        "700 ykweb:ykweb /var/lib/ykweb\n",
        "600 ykweb:ykweb /var/lib/ykweb/ykweb.db\n",
    ] {
        assert!(modes.contains(line), "{line} is not in {modes}");
    }
    root.run("ykwebd user add alice && ykwebd user add-yubikey alice ccccccdbjrgf").ok();
    // A password file that root writes, the server reads.
    root.run("printf '\\n[password]\\nfile = \"passwords\"\\n' >> /etc/ykweb/config.toml").ok();
    root.run("echo secret | ykwebd user set-password --stdin alice").ok();
    root.run("stat -c '%a %U:%G' /etc/ykweb/passwords").ok().says("640 root:ykweb\n");
    is_ready(&root);
    let files = root.run("stat -c '%U' /var/lib/ykweb/*").ok().said;
    assert!(files.lines().all(|owner| owner == "ykweb"), "root left something of its own: {files}");

    root.story.step("a password of the host, by the example for PAM");
    root.run("echo alice:secret | chpasswd").ok();
    root.run("cp /usr/share/doc/ykweb/pam.d-examples/ykweb /etc/pam.d/ykweb").ok();
    assert!(matches!(password(&root, "secret"), PasswordAnswer::Right { .. }));
    assert!(matches!(password(&root, "Secret"), PasswordAnswer::Wrong));

    root.story.step("every name of ykweb-check is there");
    for name in ["", "-cosign", "-pipe", "-pwauth", "-checkpassword"] {
        root.run(&format!("test -x /usr/bin/ykweb-check{name}")).ok();
    }

    root.story.step("purged and installed again: settings, store key and store are kept, to the byte");
    let sums = "cd / && find etc/ykweb var/lib/ykweb -type f | sort | xargs md5sum";
    let kept = root.quietly(sums, "").ok().said;
    let purged = root.run("apt-get purge -qq ykweb").ok();
    assert!(!root.exists("/usr/bin/ykwebd") && !root.exists("/usr/bin/ykweb-check-pipe"));
    assert_eq!(root.quietly(sums, "").ok().said, kept);
    install(&root);
    root.run("ykwebd user show alice").ok().says("ccccccdbjrgf");

    root.story.step("deleted as the purge says: nothing is left");
    root.run("apt-get purge -qq ykweb").ok();
    root.run(&purged.deletion()).ok();
    assert!(!root.exists("/etc/ykweb") && !root.exists("/var/lib/ykweb"));
}

/// systemd's own judgement of the units, as they are installed.
#[test]
fn the_units_are_units_and_confined() {
    if !base::installed("systemd-analyze") {
        return tests::skip("needs systemd-analyze");
    }
    let Some(root) = Root::start("web-unit") else { return };
    install(&root);
    is_sound(&root.inside("/usr/lib/systemd/system/ykwebd.service"), "ykweb", 20);
    // Root, with what PAM needs.
    is_sound(&root.inside(UNIT), "ykweb", 30);
    is_sound_socket(&root);
}

/// A socket has no exposure of its own.
fn is_sound_socket(root: &Root) {
    let socket = root.read("/usr/lib/systemd/system/ykweb-password.socket");
    for line in ["SocketUser=ykweb", "SocketMode=0600", "Accept=yes"] {
        assert!(socket.lines().any(|it| it == line), "{line}");
    }
}

/// The rpm holds the same files.
#[test]
fn the_rpm_is_the_same() {
    let files = same_files(&web_deb(), &web_rpm());
    assert!(files.is_none_or(|files| files.contains("/usr/bin/ykweb-check-cosign")));
}
