//! Validation servers behind the real sshd and sudo: they decide, they go, and nothing is accepted twice.

use crate::site::Site;
use crate::ways::{SOON, TALKATIVE};
use tests::host::Sshd;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::manners::NO;
use tests::validation::{CLIENT, KEY, Server};

const PAM: &str =
    "auth required pam_yubiotp.so\naccount required pam_yubiotp.so\nsession required pam_permit.so\n";

/// A host that asks this server, with alice's token.
fn site(mode: &str, server: &Server) -> Option<Site> {
    let site = Site::start(&["sshd", "ssh", "ssh-keygen", "sudo"])?;
    let ask = site.ask.display();
    site.host.write("/etc/yubiotp/client.key", KEY, 0o600);
    site.host.write(
        "/etc/yubiotp/config.toml",
        format!(
            "mode = \"{mode}\"\n[online]\nurls = [\"{}\"]\nclient_id = {CLIENT}\napi_key_file = \"client.key\"\nask = \"{ask}\"\n",
            server.url()
        ),
        0o644,
    );
    site.pam("sshd", PAM);
    site.pam("sudo", PAM);
    Some(site)
}

fn ssh(site: &Site, sshd: &Sshd, otp: &str) -> tests::terminal::Terminal {
    let mut terminal = site.ssh(sshd, "alice", &[]);
    site.answer(&mut terminal, "YubiKey for alice: ", &[otp]);
    terminal
}

/// The line of a decision in an ssh login.
fn line(outcome: &str, token: &SoftYubiKey, mode: &str, code: &str, reason: &str) -> String {
    let id = token.public_id();
    let fields = format!("user=alice token={id} mode={mode} service=sshd rhost=127.0.0.1 tty=ssh");
    format!("{outcome} {fields} code={code} reason=\"{reason}\"")
}

#[test]
fn the_servers_go_and_nothing_is_accepted_twice() {
    const MODE: &str = "online-then-offline";
    let mut token = SoftYubiKey::numbered(1);
    let server = Server::start(&[&token]);
    let Some(site) = site(MODE, &server) else { return };
    let _its_key_is_here = site.token(1, "alice");
    let (base, sshd) = (server.base(), site.host.sshd(TALKATIVE));

    let first = token.press();
    site.assert_in(ssh(&site, &sshd, &first), "alice");
    let ok = format!("usage counter 1, session counter 0; {base}: OK (* ms)");
    site.assert_decided(&[&line("accepted", &token, MODE, "accepted", &ok)]);

    site.assert_out(ssh(&site, &sshd, &first));
    let known = format!("*; {base}: REPLAYED_OTP (* ms). *");
    site.assert_decided(&[&line("refused", &token, MODE, "server-says-replayed", &known)]);

    drop(server);
    let second = token.press();
    site.assert_in(ssh(&site, &sshd, &second), "alice");
    let fell = format!(
        "decided offline, as no server answered: {base}: connection refused [server-unreachable] (* ms)"
    );
    let here = format!("usage counter 1, session counter 1; {fell}");
    site.assert_decided(&[&line("accepted", &token, MODE, "accepted", &here)]);

    for used in [&first, &second] {
        site.assert_out(ssh(&site, &sshd, used));
        let replayed = line("refused", &token, MODE, "otp-replayed", &format!("*; {fell}"));
        site.assert_decided(&[&replayed]);
    }
    site.assert_nothing_leaked(&sshd);
}

/// An OTP that was used on another host, tried many times at once while the server is busy.
#[test]
fn a_busy_server_leaves_no_used_otp_to_this_host() {
    const MODE: &str = "online-then-offline";
    let mut token = SoftYubiKey::numbered(1);
    let server = Server::start(&[&token]);
    let Some(site) = site(MODE, &server) else { return };
    let _its_key_is_here = site.token(1, "alice");
    let used_elsewhere = token.press();
    server.will(|x| x.honest().status("429 Too Many Requests"));
    let sshd = site.host.sshd(&[TALKATIVE, "MaxStartups 30\n"].concat());
    let attempts: Vec<_> = (0..14).map(|_| site.ssh(&sshd, "alice", &[])).collect();
    let answered: Vec<_> = attempts
        .into_iter()
        .map(|mut terminal| {
            site.answer(&mut terminal, "YubiKey for alice: ", &[&used_elsewhere]);
            terminal
        })
        .collect();
    for terminal in answered {
        site.assert_out(terminal);
    }
    let withheld = line("fault", &token, MODE, "undecided-withheld", "*HTTP status 429 *");
    site.assert_decided(&vec![withheld.as_str(); 14]);
}

/// Used offline, and then tried where a server has not heard of it.
#[test]
fn what_was_used_offline_is_refused_though_a_server_says_ok() {
    let mut token = SoftYubiKey::numbered(1);
    let server = Server::start(&[&token]);
    let Some(site) = site("offline", &server) else { return };
    let _its_key_is_here = site.token(1, "alice");
    let sshd = site.host.sshd(TALKATIVE);
    let otp = token.press();
    site.assert_in(ssh(&site, &sshd, &otp), "alice");
    assert!(server.requests().is_empty(), "offline asks nobody");
    site.skip_decisions();
    for mode in ["online", "online-then-offline"] {
        site.pam(
            "sshd",
            &PAM.replace(
                "auth required pam_yubiotp.so",
                &format!("auth required pam_yubiotp.so mode={mode}"),
            ),
        );
        site.assert_out(ssh(&site, &sshd, &otp));
        let reason = "* usage counter 1, session counter 0 is not above usage counter 1, session counter 0; *: OK (* ms)";
        site.assert_decided(&[&line("refused", &token, mode, "otp-replayed", reason)]);
        server.token(&token);
    }
}

/// Without a key here, and with sudo, whose caller owns the environment.
#[test]
fn sudo_asks_for_a_token_whose_key_is_not_here() {
    const MODE: &str = "offline-then-online";
    let mut token = SoftYubiKey::numbered(7);
    let server = Server::start(&[&token]);
    let Some(site) = site(MODE, &server) else { return };
    site.ykmap(&["add", "alice", &token.public_id()], "");
    let otp = token.press();
    let mut terminal = site.sudo("alice");
    site.answer(&mut terminal, "YubiKey for alice: ", &[&otp]);
    site.assert_in(terminal, "root");
    server.token(&token);
    let mut terminal = site.sudo("alice");
    site.answer(&mut terminal, "YubiKey for alice: ", &[&otp]);
    site.assert_out(terminal);
    let id = token.public_id();
    let line = |outcome: &str, code: &str, reason: &str| {
        let fields = format!("user=alice token={id} mode={MODE} service=sudo rhost=none tty=*");
        format!("{outcome} {fields} code={code} reason=\"{reason}; *: OK (* ms)\"")
    };
    site.assert_decided(&[
        &line("accepted", "accepted", "usage counter 1, session counter 0"),
        &line("refused", "otp-replayed", "*"),
    ]);
}

/// The servers know that the OTP was used, and this host does not. Limits in which no program can live must not leave
/// it to this host.
#[test]
fn the_caller_of_sudo_does_not_choose_who_decides() {
    let mut token = SoftYubiKey::numbered(1);
    let server = Server::start(&[&token]);
    let Some(site) = site("online-then-offline", &server) else { return };
    let _its_key_is_here = site.token(1, "alice");
    let (_, used_elsewhere) = NO.iter().find(|(name, _)| *name == "signed REPLAYED_OTP").unwrap();
    server.will(*used_elsewhere);
    let mut asked = 0;
    for limit in
        ["-i 0", "-u 1", "-u 0", "-n 8", "-n 7", "-n 6", "-d 1000", "-v 60000", "-s 64", "-t 1", "-l 0"]
    {
        let mut terminal = site.sudo_within("alice", limit);
        // Under some of them sudo itself cannot live, and asks nobody.
        if terminal.comes("YubiKey for alice: ", SOON) {
            asked += 1;
            terminal.type_line(&token.press());
        }
        let (code, transcript) = terminal.finish(SOON);
        assert!(code != Some(0) && !transcript.contains("in-42"), "{limit}: {transcript}");
    }
    assert!(asked >= 5, "only {asked} were asked at all");
    let lines = site.host.log_lines();
    let ours: Vec<_> = lines.iter().filter(|line| line.contains(" pam_yubiotp(")).collect();
    println!("{ours:#?}");
    // Each was refused by the servers' word, or nobody decided; and some of both.
    let [known, faults] =
        ["REPLAYED_OTP", "): fault "].map(|words| ours.iter().filter(|line| line.contains(words)).count());
    assert_eq!(known + faults, ours.len(), "{ours:#?}");
    assert!(known > 0 && ours.iter().all(|line| !line.contains("decided offline")), "{ours:#?}");
    server.will_be_honest();
    let mut terminal = site.sudo("alice");
    site.answer(&mut terminal, "YubiKey for alice: ", &[&token.press()]);
    site.assert_in(terminal, "root");
}
