//! Every command that README, docs/ and the manual show is run: all of them, taken from the text, against a table of
//! who runs which.

use crate::page::{PAGES, Page};
use crate::{markdown, text_of};
use std::collections::BTreeSet;

/// The test or job that runs a command.
#[derive(Clone, Copy)]
enum Run {
    /// A test: its file and its name.
    Test(&'static str, &'static str),
    /// The test of a file of pam.d-examples.
    Example(&'static str, &'static str),
    /// What must hold for a change to land: a line of `.ci/run`.
    Ci(&'static str),
    /// The life of a host in a root of its own: a file of `tests/packages`, which has this text.
    Life(&'static str, &'static str),
}

const BY_EXAMPLES: &str = "tests/documents/examples.rs";
const BY_README: &str = "tests/packages/readme.rs";
const BY_SWITCH: &str = "tests/pam_services/switch.rs";
const BY_SERVER_EXAMPLES: &str = "tests/documents/server_examples.rs";
const BY_WEB_EXAMPLES: &str = "tests/documents/web_examples.rs";
const BY_WEB_COMMANDS: &str = "ykweb/tests/commands.rs";

/// Each command, without sudo before it.
const RUN: &[(&str, Run)] = &[
    ("make demo", Run::Ci("make demo")),
    ("make test", Run::Ci("make test")),
    ("make build", Run::Test(BY_README, "from_source")),
    ("make install", Run::Test(BY_README, "from_source")),
    ("systemd-sysusers yubiotp-ask.conf", Run::Test(BY_README, "from_source")),
    (
        "ykmap setup alice",
        Run::Test("tests/pam_services/setup.rs", "from_an_empty_store_to_a_protected_sudo"),
    ),
    ("ykmap init", Run::Test(BY_EXAMPLES, "the_readmes_first_login")),
    ("ykmap explain-code otp-replayed", Run::Test("tests/cli/newcomers.rs", "codes_are_explained")),
    ("ykmap key new", Run::Test(BY_EXAMPLES, "the_readmes_first_login")),
    ("ykmap add alice", Run::Test(BY_EXAMPLES, "the_readmes_first_login")),
    ("ykmap verify alice", Run::Test(BY_EXAMPLES, "the_readmes_first_login")),
    ("apt-get install ./target/debian/libpam-yubiotp_0.1.0-1_amd64.deb", Run::Test(BY_README, "debian")),
    ("dnf install ./target/generate-rpm/pam_yubiotp-0.1.0-1.x86_64.rpm", Run::Test(BY_README, "fedora")),
    (
        "install -b -m 644 /usr/share/doc/pam_yubiotp/pam.d-examples/sudo /etc/pam.d/sudo",
        Run::Test(BY_README, "fedora"),
    ),
    ("man 8 pam_yubiotp", Run::Test(BY_README, "debian")),
    ("sudo -i", Run::Test(BY_README, "debian")),
    ("sudo -k true", Run::Test(BY_README, "debian")),
    (
        "journalctl -t sudo | grep 'pam_yubiotp(' | tail -n 1",
        Run::Test(BY_EXAMPLES, "the_reason_is_found_in_the_log"),
    ),
    ("ykmap doctor alice", Run::Test(BY_EXAMPLES, "what_the_other_pages_show")),
    ("ykmap doctor", Run::Test(BY_EXAMPLES, "what_the_other_pages_show")),
    ("ykmap enable sudo", Run::Test(BY_SWITCH, "sudo_asks_for_both_until_it_is_disabled")),
    ("ykmap disable sudo", Run::Test(BY_SWITCH, "sudo_asks_for_both_until_it_is_disabled")),
    (
        "ykmap enable --no-try --keep --yes sudo",
        Run::Test(BY_SWITCH, "without_a_terminal_and_undone_by_hand"),
    ),
    (
        "mv /etc/pam.d/sudo.ykmap-20261130-142200 /etc/pam.d/sudo",
        Run::Test(BY_SWITCH, "without_a_terminal_and_undone_by_hand"),
    ),
    ("ls /etc/pam.d/*.ykmap-20261130-142200", Run::Test(BY_SWITCH, "without_a_terminal_and_undone_by_hand")),
    (
        "mv /etc/pam.d/sudo-i.ykmap-20261130-142200 /etc/pam.d/sudo-i",
        Run::Test(BY_SWITCH, "without_a_terminal_and_undone_by_hand"),
    ),
    (
        "rm /var/lib/yubiotp/changes/enable-sudo",
        Run::Test(BY_SWITCH, "without_a_terminal_and_undone_by_hand"),
    ),
    ("umask 077", Run::Test(BY_EXAMPLES, "ykmap_1_is_run")),
    (
        "ykmap key rotate-store-key --keep-former /root/former-store.key",
        Run::Test("tests/replay/rotate.rs", "killed_at_each_system_call"),
    ),
    ("ykvald key rotate-store-key begin", Run::Test("tests/server/rotate.rs", "replaced_under_load")),
    (
        "ykvald key rotate-store-key finish --distributed --keep-former /root/former-store.key",
        Run::Test("tests/server/rotate.rs", "replaced_under_load"),
    ),
    ("ykmap key export > keys.txt", Run::Test(BY_EXAMPLES, "ykmap_1_is_run")),
    ("ykmap check", Run::Test(BY_EXAMPLES, "what_the_other_pages_show")),
    (
        "ykmap backup /var/backups/yubiotp.backup",
        Run::Test("tests/restore/refused.rs", "what_is_no_backup_is_not_overwritten"),
    ),
    (
        "/usr/libexec/yubiotp/yubiotp-ask --version",
        Run::Ci("\"$folder\"/usr/libexec/yubiotp/yubiotp-ask --version"),
    ),
    (
        "pam-auth-update --enable yubiotp",
        Run::Life("tests/packages/deb/life.rs", "pam-auth-update --enable yubiotp"),
    ),
    (
        "pam-auth-update --enable yubiotp-rollout",
        Run::Life("tests/packages/deb/rollout.rs", "pam-auth-update --enable yubiotp-rollout"),
    ),
    (
        "pam-auth-update --disable yubiotp-rollout --enable yubiotp",
        Run::Life(
            "tests/packages/deb/rollout.rs",
            "pam-auth-update --disable yubiotp-rollout --enable yubiotp",
        ),
    ),
    (
        "pam-auth-update --disable yubiotp",
        Run::Life("tests/packages/deb/life.rs", "pam-auth-update --disable yubiotp"),
    ),
    (
        "pam-auth-update --disable yubiotp --enable yubiotp-one-field",
        Run::Test("tests/pam_services/profiles.rs", "one_of_them_at_a_time"),
    ),
    ("ykmap init --dir ~/.yubiotp", Run::Example("screen-locker", "own::screen_locker")),
    ("ykmap --config ~/.yubiotp/config.toml key new", Run::Example("screen-locker", "own::screen_locker")),
    ("ykmap --config ~/.yubiotp/config.toml add alice", Run::Example("screen-locker", "own::screen_locker")),
    (
        "ykmap --config ~/.yubiotp/config.toml verify alice",
        Run::Example("screen-locker", "own::screen_locker"),
    ),
    ("ykmap status", Run::Test("tests/cli/status.rs", "it_only_looks")),
    ("ykmap status alice", Run::Test("tests/cli/status.rs", "all_about_a_user")),
    (
        "systemctl enable --now yubiotp-metrics.timer",
        Run::Test("tests/cli/metrics.rs", "the_units_are_units_and_confined"),
    ),
    ("ykmap recovery new alice", Run::Test("tests/cli/recovery.rs", "each_code_lets_in_once")),
    (
        "ykmap recovery status alice",
        Run::Test("tests/cli/recovery.rs", "status_and_list_say_how_many_are_left"),
    ),
    (
        "ykmap import google-authenticator --dry-run",
        Run::Test("tests/cli/moving.rs", "a_code_that_google_authenticator_took_is_used_here"),
    ),
    (
        "ykmap import google-authenticator",
        Run::Test("tests/cli/moving.rs", "a_code_that_google_authenticator_took_is_used_here"),
    ),
    (
        "ykmap import oath /etc/users.oath",
        Run::Test("tests/cli/moving.rs", "a_code_that_pam_oath_took_is_used_here"),
    ),
    ("ykmap migrate pam_yubico", Run::Test("tests/migrate/yubico.rs", "a_host_is_moved_and_moved_back")),
    (
        "ykmap migrate pam_yubico --write",
        Run::Test("tests/migrate/yubico.rs", "a_host_is_moved_and_moved_back"),
    ),
    (
        "ykmap migrate pam_yubico --undo",
        Run::Test("tests/migrate/yubico.rs", "a_host_is_moved_and_moved_back"),
    ),
    (
        "ykmap migrate pam_yubico --mapping FILE --write",
        Run::Test("tests/migrate/plans.rs", "users_of_a_directory"),
    ),
    (
        "ykmap migrate google-authenticator",
        Run::Test("tests/migrate/codes.rs", "an_app_of_google_authenticator"),
    ),
    (
        "ykmap migrate google-authenticator --write",
        Run::Test("tests/migrate/codes.rs", "an_app_of_google_authenticator"),
    ),
    ("ykmap migrate oath", Run::Test("tests/migrate/codes.rs", "a_users_file_of_pam_oath")),
    ("ykmap migrate oath --write", Run::Test("tests/migrate/codes.rs", "a_users_file_of_pam_oath")),
    (
        "ykmap migrate login_yubikey --from DIR --ids FILE",
        Run::Test("tests/migrate/openbsd.rs", "keys_and_counters_come"),
    ),
    (
        "ykmap migrate login_yubikey --from DIR --ids FILE --write",
        Run::Test("tests/migrate/openbsd.rs", "keys_and_counters_come"),
    ),
    ("ykmap migrate u2f-notice", Run::Test("tests/migrate/openbsd.rs", "keys_of_pam_u2f_cannot_come")),
    (
        "systemctl enable --now yubiotp-self.socket",
        Run::Test("tests/self_service/units.rs", "they_are_units_and_confined"),
    ),
    // The validation server
    ("make build-server", Run::Ci("make test-packages")),
    ("make install-server", Run::Ci("make install-server DESTDIR=\"$folder\" >/dev/null")),
    ("systemd-sysusers", Run::Test(BY_SERVER_EXAMPLES, "the_pages_server")),
    ("ykvald init", Run::Test(BY_SERVER_EXAMPLES, "the_pages_server")),
    ("ykvald key import FILE", Run::Test(BY_SERVER_EXAMPLES, "the_pages_server")),
    ("ykvald check", Run::Test(BY_SERVER_EXAMPLES, "the_pages_server")),
    (
        "ykvald move-store /etc/ykvald/config.toml /etc/ykvald/new.toml",
        Run::Test("tests/server/moved.rs", "under_load_from_sqlite_to_postgres"),
    ),
    ("ykvald cluster status", Run::Test("tests/ykvald/cluster.rs", "servers_of_one_store_agree")),
    (
        "ykmap key export --in-the-clear > keys.txt",
        Run::Test(BY_SERVER_EXAMPLES, "a_host_moves_to_the_server"),
    ),
    ("ykmap --json key list > positions.json", Run::Test(BY_SERVER_EXAMPLES, "a_host_moves_to_the_server")),
    (
        "ykvald key import --positions positions.json keys.txt",
        Run::Test(BY_SERVER_EXAMPLES, "a_host_moves_to_the_server"),
    ),
    ("systemctl enable --now ykvald", Run::Test(BY_SERVER_EXAMPLES, "the_pages_server")),
    ("ykvald serve", Run::Test(BY_SERVER_EXAMPLES, "ykvald_8_is_run")),
    // The web login
    ("make build-web", Run::Ci("make test-packages")),
    ("make install-web", Run::Ci("make install-web DESTDIR=\"$folder\" >/dev/null")),
    ("ykwebd serve", Run::Test(BY_WEB_EXAMPLES, "ykwebd_8_is_run")),
    ("ykwebd init --public-url https://login.example.com", Run::Test(BY_WEB_EXAMPLES, "ykwebd_8_is_run")),
    ("ykwebd check", Run::Test(BY_WEB_EXAMPLES, "ykwebd_8_is_run")),
    ("ykwebd user add alice", Run::Test(BY_WEB_EXAMPLES, "ykwebd_8_is_run")),
    ("ykwebd user add-yubikey --label blue alice", Run::Test(BY_WEB_EXAMPLES, "a_token_by_a_touch")),
    (
        "ykwebd user add-app alice",
        Run::Test(BY_WEB_COMMANDS, "what_is_shown_once_is_accepted_once_and_not_in_the_store"),
    ),
    ("ykwebd user new-recovery-codes alice", Run::Test(BY_WEB_EXAMPLES, "ykwebd_8_is_run")),
    ("ykwebd user show alice", Run::Test(BY_WEB_EXAMPLES, "a_token_by_a_touch")),
    (
        "systemctl enable --now ykweb-password.socket ykwebd",
        Run::Test("tests/packages/web.rs", "the_units_are_units_and_confined"),
    ),
];

/// Pages whose every command a test takes from them and runs unchanged.
const RUN_AS_A_WHOLE: [(&str, Run); 5] = [
    ("ykmap.1", Run::Test(BY_EXAMPLES, "ykmap_1_is_run")),
    ("ykvald.8", Run::Test(BY_SERVER_EXAMPLES, "ykvald_8_is_run")),
    ("ykwebd.8", Run::Test(BY_WEB_EXAMPLES, "ykwebd_8_is_run")),
    ("docs/log-and-report.md", Run::Test("tests/reading/page.rs", "the_page_is_followed")),
    ("docs/moving-from-yk-val.md", Run::Test("tests/ykvald/moving.rs", "the_page_is_followed")),
];

/// A line after a prompt; not a comment in a file that is shown.
pub(crate) fn prompted(line: &str) -> Option<&str> {
    let command = line.strip_prefix("# ").or(line.strip_prefix("$ "))?;
    let first = command.split(' ').next()?;
    let plain = first.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.'));
    let begins = first.starts_with(|c: char| c.is_ascii_lowercase()) || first.starts_with("/usr/");
    (plain && begins).then_some(command)
}

/// The commands of README.md, a page in docs/, or one section of it, one by one.
pub(crate) fn of_markdown(page: &str, heading: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    for (language, block) in markdown::blocks(page, heading) {
        for line in block.lines() {
            let line = match language.as_str() {
                "sh" => line.split("  #").next().filter(|line| !line.starts_with('#')),
                "" => prompted(line),
                _ => None,
            };
            found.extend(line.into_iter().flat_map(one_by_one));
        }
    }
    found
}

/// The commands of a page.
fn of_page(page: &Page) -> Vec<String> {
    page.displays()
        .iter()
        .flat_map(|display| display.lines())
        .filter_map(prompted)
        .flat_map(one_by_one)
        .collect()
}

fn one_by_one(line: &str) -> Vec<String> {
    let bare = |command: &str| {
        let command = command.trim();
        let behind = command.strip_prefix("sudo ").filter(|behind| !behind.starts_with('-'));
        behind.unwrap_or(command).to_owned()
    };
    line.split(" && ").map(bare).filter(|command| !command.is_empty()).collect()
}

#[test]
fn every_command_has_somebody_who_runs_it() {
    let is_run_as_a_whole = |name: &str| RUN_AS_A_WHOLE.iter().any(|(page, _)| name == *page);
    let mut shown = BTreeSet::new();
    for page in markdown::pages().iter().filter(|page| !is_run_as_a_whole(page)) {
        shown.extend(of_markdown(page, None));
    }
    assert!(shown.len() > 8, "{shown:?}");
    for name in PAGES.into_iter().filter(|name| !is_run_as_a_whole(name)) {
        let Some(page) = Page::read(name) else { return };
        shown.extend(of_page(&page));
    }
    let known: BTreeSet<_> = RUN.iter().copied().map(|(command, _)| command.to_owned()).collect();
    crate::same(("README.md, docs/ and the manual", &shown), ("the table of who runs which", &known));
}

/// Every test that is to run a command exists.
#[test]
fn whoever_runs_one_is_there() {
    let ci = text_of(".ci/run");
    let ci: BTreeSet<_> = ci.lines().map(bare).collect();
    for (command, run) in RUN.iter().copied().chain(RUN_AS_A_WHOLE) {
        match run {
            Run::Test(file, name) => {
                let test = format!("#[test]\nfn {name}() {{");
                assert!(text_of(file).contains(&test), "{command}: {file} has no test {name}");
            }
            Run::Example(file, name) => {
                let line = format!("\"{file}\" => {name}: ");
                assert!(
                    text_of("tests/pam_services/examples.rs").contains(&line),
                    "{command}: no test of {file}"
                );
            }
            Run::Ci(line) => assert!(ci.contains(line), "{command}: .ci/run has no line {line}"),
            Run::Life(file, text) => {
                let line = format!("root.run(\"{text}\")");
                assert!(text_of(file).contains(&line), "{command}: {file} does not run {text}");
            }
        }
    }
}

/// A line of a script without its comment and the variables that it sets.
fn bare(line: &str) -> &str {
    let mut bare = if line.starts_with('#') { "" } else { line.split(" #").next().unwrap() }.trim();
    while let Some((variable, behind)) = bare.split_once(' ') {
        let Some((name, _)) = variable.split_once('=') else { break };
        if !name.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
            break;
        }
        bare = behind.trim_start();
    }
    bare
}

#[test]
fn lines_of_a_script_are_commands() {
    for (line, command) in [
        ("make test", "make test"),
        ("A_B=1 make test # so", "make test"),
        ("  A=1 B= make test-packages", "make test-packages"),
        ("make fuzz FUZZ_SECONDS=20", "make fuzz FUZZ_SECONDS=20"),
        ("# make test", ""),
    ] {
        assert_eq!(bare(line), command, "{line}");
    }
}

#[test]
fn commands_are_told_from_comments() {
    for (line, command) in [
        ("# ykmap list", Some("ykmap list")),
        ("$ /usr/libexec/x --version", Some("/usr/libexec/x --version")),
        ("# user:id:id", None),
        ("# /etc/yubiotp/config.toml", None),
        ("accepted: alice", None),
    ] {
        assert_eq!(prompted(line), command, "{line}");
    }
    assert_eq!(one_by_one("make build && sudo make install"), ["make build", "make install"]);
    assert_eq!(one_by_one("sudo -k true "), ["sudo -k true"]);
}
