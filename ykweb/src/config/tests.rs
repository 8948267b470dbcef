//! What is read of a configuration file, and what is refused.

use super::{Config, Passwords};
use crate::session::{Factor, Requirement};
use std::path::Path;
use yubiotp::diagnostic::{Code, Location};
use zeroize::Zeroizing;

fn read(text: &str) -> Result<Config, Code> {
    let text = Zeroizing::new(text.as_bytes().to_vec());
    Config::read(Path::new("/x/config.toml"), &text, &[]).map_err(|fault| fault.diagnostic().code)
}

#[test]
fn defaults_and_paths() {
    let config = read("public_url = \"https://login.example.com\"").ok().unwrap();
    assert_eq!(config.public_url.to_string(), "https://login.example.com");
    assert_eq!(config.listen, ["127.0.0.1:8490".parse().unwrap()]);
    assert_eq!(
        (config.store.as_path(), config.store_key.as_path()),
        (Path::new("/x/ykweb.db"), Path::new("/x/store.key"))
    );
    assert!(
        matches!(config.password, Passwords::None) && config.validation.is_none() && config.hosts.is_empty()
    );
    assert_eq!((config.sessions.idle.as_secs(), config.sessions.most.as_secs()), (3600, 43_200));
}

#[test]
fn hosts_and_what_they_need() {
    let config = read(
        "public_url = \"https://login.example.com\"\n\
         [authorizer]\nhttp = \"127.0.0.1:8491\"\nfastcgi = \"127.0.0.1:8492\"\n\
         [identity]\nsocket = \"identity.sock\"\nusers = [\"0\", \"root\"]\nrealm = \"EXAMPLE.COM\"\n\
         [password]\npam = \"/run/ykweb-password/socket\"\n\
         [validation]\nservers = \"http://127.0.0.1:8000\"\nclient_id = 1\n\
         [sessions]\nidle = \"30m\"\n\
         [[host]]\nurl = \"https://Wiki.example.com:443/\"\n\
         [[host]]\nurl = \"https://pay.example.com\"\nrequire = \"yubikey fresh=10m\"\nallow = [\"alice\", \"@staff\"]\n",
    );
    let config = config.ok().unwrap();
    let hosts: Vec<_> = config.hosts.iter().map(|host| host.origin.to_string()).collect();
    assert_eq!(hosts, ["https://wiki.example.com", "https://pay.example.com"]);
    assert_eq!(
        (config.hosts[0].require, config.hosts[1].require.factor),
        (Requirement::LOGIN, Factor::YubiKey)
    );
    assert_eq!(config.hosts[1].allow.len(), 2);
    let identity = config.identity.unwrap();
    assert_eq!((identity.path.as_path(), identity.uids), (Path::new("/x/identity.sock"), vec![0, 0]));
    assert_eq!(config.sessions.idle.as_secs(), 1800);
}

#[test]
fn what_is_refused() {
    let with = |more: &str| read(&format!("public_url = \"https://login.example.com\"\n{more}")).err();
    for (more, code) in [
        ("listen = \"192.0.2.1:443\"", Code::ListenWithoutTls),
        ("listen = []", Code::SettingInvalid),
        ("listen = \"x\"", Code::AddressInvalid),
        ("lisen = \"127.0.0.1:1\"", Code::SettingUnknown),
        ("[authorizer]\nhttp = \"0.0.0.0:8491\"", Code::ListenWithoutTls),
        ("[authorizer]\nfastcgi = \"192.0.2.1:8492\"", Code::ListenWithoutTls),
        ("[identity]\nsocket = \"a\"\nusers = []", Code::SettingInvalid),
        ("[identity]\nsocket = \"a\"\nusers = \"no-such-user-here\"", Code::SettingInvalid),
        ("[password]\npam = \"a\"\nfile = \"b\"", Code::SettingsConflict),
        ("[validation]\nservers = \"https://val.example.com\"\nclient_id = 1", Code::SettingInvalid),
        ("[validation]\nservers = []\nclient_id = 1", Code::SettingInvalid),
        ("[validation]\nservers = \"val.example.com\"\nclient_id = 1", Code::SettingInvalid),
        ("[sessions]\nidle = \"0s\"", Code::SettingInvalid),
        ("[sessions]\nidle = 30", Code::SettingInvalid),
        ("[sessions]\nidle = \"30\"", Code::SettingInvalid),
        ("[[host]]\nurl = \"https://a.example.com\"\nrequire = \"otp fresh=10\"", Code::SettingInvalid),
        ("[[host]]\nurl = \"https://login.example.com\"", Code::SettingInvalid),
        ("[[host]]\nurl = \"http://wiki.example.com\"", Code::SettingInvalid),
        ("[[host]]\nurl = \"https://a.example.com\"\nrequire = \"OTP\"", Code::SettingInvalid),
        ("[[host]]\nurl = \"https://a.example.com\"\nrequire = \"webauthn\"", Code::SettingInvalid),
        (
            "[[host]]\nurl = \"https://a.example.com\"\n[[host]]\nurl = \"https://A.example.com:443\"",
            Code::SettingsConflict,
        ),
    ] {
        assert_eq!(with(more), Some(code), "{more}");
    }
    assert_eq!(read("").err(), Some(Code::SettingInvalid), "public_url has no default");
    assert_eq!(read("public_url = \"http://login.example.com\"").err(), Some(Code::SettingInvalid));
    assert_eq!(read("public_url = \"https://login.example.com/path\"").err(), Some(Code::SettingInvalid));
}

/// Browsers send the cookies of a host to all its ports.
#[test]
fn ports_of_one_name_are_not_two_hosts() {
    for (portal, hosts, shall_be) in [
        (
            "https://site.test",
            &["https://site.test:8443"][..],
            Some(["https://site.test:8443", "public_url"]),
        ),
        ("https://site.test:8443", &["https://Site.test"], Some(["https://site.test", "public_url"])),
        ("http://localhost:8490", &["https://localhost"], Some(["https://localhost", "public_url"])),
        ("http://[::1]:8490", &["http://[::1]:8491"], Some(["http://[::1]:8491", "public_url"])),
        (
            "https://site.test",
            &["https://app.test:1", "https://x.test", "https://app.test:2"],
            Some(["https://app.test:2", "https://app.test:1"]),
        ),
        ("https://site.test", &["https://app.site.test:8443", "https://site.test.app.test:8443"], None),
        ("http://localhost:8490", &["http://app.localhost:8490", "http://127.0.0.1:8490"], None),
    ] {
        let hosts: String = hosts.iter().map(|url| format!("[[host]]\nurl = \"{url}\"\n")).collect();
        let text = Zeroizing::new(format!("public_url = \"{portal}\"\n{hosts}").into_bytes());
        let found =
            Config::read(Path::new("/x/config.toml"), &text, &[]).err().map(|fault| fault.diagnostic());
        assert_eq!(found.is_some(), shall_be.is_some(), "{portal} {hosts}");
        if let (Some(found), Some(names)) = (found, shall_be) {
            assert_eq!(found.code, Code::SettingsConflict, "{found}");
            assert!(names.iter().all(|name| found.problem.contains(name)), "{found}");
        }
    }
}

/// A finding about a host says which one, and where.
#[test]
fn a_host_is_named_by_its_url_and_line() {
    let begin = "public_url = \"https://login.example.com\"\n\n[[host]]\nurl = \"https://a.example.com\"\n\n[[host]]\n";
    for (host, line, url) in [
        ("url = \"https://b.example.com\"\nrequire = \"OTP\"", 8, "https://b.example.com"),
        ("require = \"otp\"\nurl = \"b.example.com\"", 8, "b.example.com"),
        ("url = \"https://b.example.com\"\nallow = [\n\"alice\",\n\"@\",\n]", 10, "https://b.example.com"),
        ("url = \"https://b.example.com\"\nallow = []", 8, "https://b.example.com"),
        ("url = \"https://A.example.com\"", 7, "https://a.example.com"),
    ] {
        let text = Zeroizing::new(format!("{begin}{host}\n").into_bytes());
        let fault = Config::read(Path::new("/x/config.toml"), &text, &[]).err().unwrap().diagnostic();
        assert_eq!(fault.location, Some(Location::line(b"/x/config.toml", line)), "{fault}");
        assert!(fault.problem.contains(url), "{fault}");
    }
}
