//! The validation server's packages: installed, asked, restarted, removed, purged.

use crate::base;
use crate::root::{Root, TARGET};
use crate::shipped::{server_deb, server_rpm};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{Client, Question, free_port, get};

/// The server as the unit starts it: its user, and the store key handed over.
struct Served {
    child: Child,
    at: SocketAddr,
}

impl Served {
    fn start(root: &Root) -> Self {
        let at = SocketAddr::from(([127, 0, 0, 1], free_port()));
        // What LoadCredential= does.
        root.run(
            "install -d -m 700 -o ykvald /run/credentials && install -m 400 -o ykvald /etc/ykvald/store.key /run/credentials",
        )
        .ok();
        let mut command = root.command_as("ykvald", "/usr/bin/ykvald");
        command.env("CREDENTIALS_DIRECTORY", "/run/credentials").args(["serve", "--listen", &at.to_string()]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !get(at, "/readyz").is_ok_and(|reply| reply.status == 200) {
            assert!(Instant::now() < deadline, "it is not ready");
            thread::sleep(Duration::from_millis(50));
        }
        Self { child, at }
    }

    fn says(&self, client: &Client, otp: &str) -> String {
        let asked = Question::new(client, otp).signed(&client.key);
        get(self.at, &format!("/wsapi/2.0/verify?{}", asked.query())).unwrap().says()
    }

    fn stop(mut self, root: &Root) {
        root.quietly("pkill -TERM -x ykvald || kill $(pidof ykvald)", "").ok();
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn the_life_of_a_server() {
    let Some(root) = Root::start("server") else { return };
    root.story.step("install the server");
    let said = root.run(&format!("apt-get install -qq {TARGET}/{}", server_deb())).ok().said;
    assert!(said.contains("Nothing is started"), "{said}");
    let modes = "stat -c '%a %U:%G %n' /etc/ykvald /etc/ykvald/* /var/lib/ykvald /var/lib/ykvald/ykvald.db";
    let modes = root.run(modes).ok().said;
    for line in [
        "755 root:root /etc/ykvald\n",
        "640 root:ykvald /etc/ykvald/config.toml\n",
        "600 root:root /etc/ykvald/store.key\n",
        "700 ykvald:ykvald /var/lib/ykvald\n",
        "600 ykvald:ykvald /var/lib/ykvald/ykvald.db\n",
    ] {
        assert!(modes.contains(line), "{line} is not in {modes}");
    }
    root.run("ykvald check || [ $? = 1 ]").ok().says("[no-clients]").says("0 errors");

    root.story.step("a client and a key, by root; questions, to the server's user");
    let mut token = SoftYubiKey::numbered(1);
    root.run_reading("ykvald key import -", &(token.traditional_log_line() + "\n")).ok();
    let added = root.run("ykvald client add --name web --json").ok().said;
    let added: serde_json::Value = serde_json::from_str(&added).unwrap();
    let client = Client { id: added["id"].as_u64().unwrap(), key: added["key"].as_str().unwrap().to_owned() };
    let served = Served::start(&root);
    let old = token.press();
    assert_eq!(served.says(&client, &old), "OK");
    // Root changes what the server has open.
    root.run(&format!("ykvald key disable {}", token.public_id())).ok();
    assert_eq!(served.says(&client, &token.press()), "BAD_OTP");
    root.run(&format!("ykvald key enable {}", token.public_id())).ok();
    assert_eq!(served.says(&client, &token.press()), "OK");
    served.stop(&root);
    let files = root.run("stat -c '%U' /var/lib/ykvald/*").ok().said;
    assert!(files.lines().all(|owner| owner == "ykvald"), "root left something of its own: {files}");

    root.story.step("removed and installed again: it goes on where it was");
    root.run("apt-get remove -qq ykvald").ok();
    assert!(!root.exists("/usr/bin/ykvald") && root.exists("/var/lib/ykvald/ykvald.db"));
    root.run(&format!("apt-get install -qq {TARGET}/{}", server_deb())).ok();
    let served = Served::start(&root);
    assert_eq!(served.says(&client, &old), "REPLAYED_OTP");
    served.stop(&root);

    root.story.step("purged: settings, store key and store are kept, to the byte");
    let sums = "cd / && find etc/ykvald var/lib/ykvald -type f | sort | xargs md5sum";
    let kept = root.quietly(sums, "").ok().said;
    let purged = root.run("apt-get purge -qq ykvald").ok();
    assert_eq!(root.quietly(sums, "").ok().said, kept);
    assert!(kept.contains("etc/ykvald/store.key\n") && kept.contains("var/lib/ykvald/ykvald.db\n"), "{kept}");

    root.story.step("installed once more: used OTPs stay invalid, and the client is known");
    root.run(&format!("apt-get install -qq {TARGET}/{}", server_deb())).ok();
    let served = Served::start(&root);
    assert_eq!(served.says(&client, &old), "REPLAYED_OTP");
    assert_eq!(served.says(&client, &token.press()), "OK");
    served.stop(&root);

    root.story.step("purged where another is installed from source: no advice to delete");
    root.run("install /usr/bin/ykvald /usr/local/bin/ykvald").ok();
    let said =
        root.run("apt-get purge -qq ykvald").ok().says("kept, because /usr/local/bin/ykvald needs them").said;
    assert!(!said.contains("rm -r"), "{said}");
    assert!(root.exists("/etc/ykvald/store.key"));

    root.story.step("deleted as the purge says: nothing is left");
    root.run(&purged.deletion()).ok();
    assert!(!root.exists("/etc/ykvald") && !root.exists("/var/lib/ykvald"));
}

/// systemd's own judgement of the unit, as it is installed.
#[test]
fn the_unit_is_one_and_is_confined() {
    if !base::installed("systemd-analyze") {
        return tests::skip("needs systemd-analyze");
    }
    let Some(root) = Root::start("unit") else { return };
    root.run(&format!("apt-get install -qq {TARGET}/{}", server_deb())).ok();
    is_sound(&root.inside("/usr/lib/systemd/system/ykvald.service"), "ykvald", 20);
}

/// The rpm holds the same files.
#[test]
fn the_rpm_is_the_same() {
    let files = same_files(&server_deb(), &server_rpm());
    assert!(files.is_none_or(|files| files.contains("/usr/lib/systemd/system/ykvald.service")));
}

/// That systemd understands a unit, and judges that it exposes no more than so many tenths of ten.
#[track_caller]
pub(crate) fn is_sound(unit: &Path, ours: &str, exposure: u32) {
    let security = Command::new("systemd-analyze")
        .args(["security", "--offline=true", &format!("--threshold={exposure}")])
        .arg(unit)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[security.stdout, security.stderr].concat()).into_owned();
    assert!(security.status.success(), "{said}");
    let verified = Command::new("systemd-analyze").arg("verify").arg(unit).output().unwrap();
    let said = String::from_utf8_lossy(&[verified.stdout, verified.stderr].concat()).into_owned();
    // Neither the program nor its page is on this machine.
    let others: Vec<_> = said
        .lines()
        .filter(|line| line.contains(ours))
        .filter(|line| !line.contains("is not executable") && !line.contains("'man "))
        .collect();
    assert!(others.is_empty(), "{others:#?}");
}

/// The files of a package for Debian, beside its documents, which are those of the one for rpm. `None`: there is no rpm here,
/// which was said.
#[track_caller]
pub(crate) fn same_files(deb: &str, rpm: &str) -> Option<BTreeSet<String>> {
    if !base::installed("rpm") {
        tests::skip("needs rpm");
        return None;
    }
    let lines = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let list = String::from_utf8(output.stdout).unwrap();
        // A link is shown with what it leads to.
        let list = list.lines().map(|line| line.split(" -> ").next().unwrap());
        let names = list.filter_map(|line| line.split_whitespace().last()).map(|name| {
            name.trim_start_matches('.')
                .replace("/vendor-completions/", "/site-functions/")
                .replace("vendor_functions", "")
        });
        names.filter(|name| !name.ends_with('/') && !name.contains("/share/doc/")).collect::<BTreeSet<_>>()
    };
    let rpm = lines(Command::new("rpm").args(["-qpl"]).arg(base::target().join(rpm)));
    let deb = lines(Command::new("dpkg-deb").arg("--contents").arg(base::target().join(deb)));
    assert_eq!(rpm, deb);
    Some(deb)
}
