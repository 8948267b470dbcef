use super::*;
use ykhost::options::Options;
use yubiotp::diagnostic::Severity::{Note, Warning};

fn line(old: Old, control: &str, args: &str) -> Translated {
    let mut words = crate::doctor::pam::Words(args.as_bytes());
    let args: Vec<_> =
        std::iter::from_fn(|| words.next()).map(|word| String::from_utf8(word).unwrap()).collect();
    translate(old, true, control, &args)
}

/// What the new line says must be understood by the module.
fn is_understood(line: &Translated) {
    let args: Vec<_> = line.args.iter().map(|arg| std::ffi::CString::new(arg.as_str()).unwrap()).collect();
    let args: Vec<_> = args.iter().map(std::ffi::CString::as_c_str).collect();
    if let Err(bad) = Options::read(&args) {
        panic!("{:?}: {bad}", line.args);
    }
}

#[test]
fn lines_of_pam_yubico() {
    let cloud = |pairs: &[(&'static str, &str)]| {
        let mut servers: Servers = pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        servers.entry("urllist").or_insert_with(|| yubico::YUBICLOUD.to_owned());
        servers
    };
    let central = |path: &str| Source::Mapping(path.to_owned());
    for (args, new, servers, source, found) in [
        ("", &[][..], cloud(&[]), Source::Homes, &[][..]),
        ("id=16 debug", &["debug"], cloud(&[("id", "16")]), Source::Homes, &[]),
        (
            "mode=client id=1 key=abc= authfile=/etc/map urllist=https://a/x;https://b/y capath=/ca nullok",
            &["nullok"],
            cloud(&[("id", "1"), ("key", "abc="), ("urllist", "https://a/x;https://b/y"), ("capath", "/ca")]),
            central("/etc/map"),
            &[],
        ),
        // The last of two counts, as in pam_yubico.
        (
            "id=1 id=2 try_first_pass use_first_pass authfile=/a authfile=/b",
            &["use_first_pass"],
            cloud(&[("id", "2")]),
            central("/b"),
            &[],
        ),
        (
            "verbose_otp always_prompt token_id_length=12",
            &["echo", "always_prompt", "token_id_length=12"],
            cloud(&[]),
            Source::Homes,
            &[],
        ),
        ("alwaysok debug_file=/x speed=9", &[], cloud(&[]), Source::Homes, &[Warning, Note, Note]),
        (
            "proxy=p cainfo=/ca.pem",
            &[],
            cloud(&[("proxy", "http://p:1080"), ("capath", "/ca.pem")]),
            Source::Homes,
            &[],
        ),
        ("proxy=socks5h://u:p@p:9", &[], cloud(&[("proxy", "socks5://u:p@p:9")]), Source::Homes, &[]),
    ] {
        let translated = line(Old::Yubico, "required", args);
        is_understood(&translated);
        assert_eq!(translated.args, new, "{args}");
        assert_eq!((&translated.servers, &translated.source), (&servers, &source), "{args}");
        let severities: Vec<_> = translated.findings.iter().map(|found| found.severity).collect();
        assert_eq!(severities, found, "{args}");
        assert!(translated.is_movable(), "{args}");
    }
    let template = line(Old::Yubico, "required", "url=https://v/wsapi/2.0/verify?id=%d&otp=%s");
    assert_eq!(template.servers["urllist"], "https://v/wsapi/2.0/verify");
}

#[test]
fn lines_that_cannot_move() {
    for (old, args) in [
        (Old::Yubico, "mode=challenge-response chalresp_path=/var/yubico"),
        (Old::Oath, "usersfile=${HOME}/.oath"),
    ] {
        let translated = line(old, "required", args);
        assert!(!translated.is_movable(), "{args}");
        assert_eq!(translated.findings[0].code, Code::LineNotMovable, "{args}");
    }
    let ldap = line(
        Old::Yubico,
        "required",
        "id=1 ldap_uri=ldaps://ldap.example.org ldapdn=ou=people,dc=example,dc=org ldap_filter=(uid=%u) yubi_attr=yubiKeyId yubi_attr_prefix=yk: ldap_bind_user=cn=r ldap_bind_password=s3cret",
    );
    let Source::Elsewhere { what: "LDAP", export } = &ldap.source else { panic!("{:?}", ldap.source) };
    for part in [
        "-H ldaps://ldap.example.org",
        "-b ou=people,dc=example,dc=org",
        "'(yubiKeyId=*)' uid yubiKeyId",
        "-W -D cn=r",
        "substr($2,4)",
    ] {
        assert!(export.contains(part), "{part}: {export}");
    }
    assert!(!export.contains("s3cret"), "{export}");
    let mysql = line(
        Old::Yubico,
        "required",
        "mysql_server=db mysql_user=otp mysql_password=s3cret mysql_database=keys",
    );
    let Source::Elsewhere { what: "MySQL", export } = &mysql.source else { panic!("{:?}", mysql.source) };
    assert!(export.contains("-h db -u otp -p") && !export.contains("s3cret"), "{export}");
    let file = line(Old::Yubico, "required", "mysql_server=db authfile=/etc/map");
    assert_eq!(file.source, Source::Mapping("/etc/map".to_owned()));
}

#[test]
fn lines_of_google_authenticator() {
    let usual = "prompt=Verification code: ";
    let homes = || Source::Secrets { path: None, owner: None, any_owner: false };
    for (args, new, source, found) in [
        ("", &[usual][..], homes(), 0),
        ("nullok debug echo_verification_code", &[usual, "nullok", "debug", "echo"], homes(), 0),
        ("use_first_pass", &[usual, "use_first_pass"], homes(), 0),
        ("try_first_pass forward_pass", &["prompt=Password & verification code: "], homes(), 0),
        ("[authtok_prompt=Your secret token: ] forward_pass", &["prompt=Your secret token: "], homes(), 0),
        (
            "secret=/var/lib/ga/${USER} user=root no_strict_owner allowed_perm=0400 no_increment_hotp noskewadj grace_period=60 x",
            &[usual],
            Source::Secrets {
                path: Some("/var/lib/ga/${USER}".to_owned()),
                owner: Some("root".to_owned()),
                any_owner: true,
            },
            5,
        ),
    ] {
        let translated = line(Old::GoogleAuthenticator, "required", args);
        is_understood(&translated);
        assert_eq!(
            (translated.args.as_slice(), &translated.source),
            (&new.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()[..], &source),
            "{args}"
        );
        assert_eq!(translated.findings.len(), found, "{args}: {:?}", translated.findings);
    }
}

#[test]
fn lines_of_pam_oath() {
    let usual = "prompt=One-time password (OATH) for `%u': ";
    let file = |path: &str, window| Source::UsersFile { path: path.to_owned(), window };
    for (args, new, source, found) in [
        ("", &[usual][..], file("/etc/users.oath", None), 0),
        (
            "usersfile=/etc/liboath/users window=20 digits=6",
            &[usual],
            file("/etc/liboath/users", Some(20)),
            1,
        ),
        (
            "alwaysok use_first_pass debug window=x y=z",
            &[usual, "use_first_pass", "debug"],
            file("/etc/users.oath", None),
            3,
        ),
    ] {
        let translated = line(Old::Oath, "required", args);
        is_understood(&translated);
        assert_eq!(
            (translated.args.as_slice(), &translated.source),
            (&new.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()[..], &source),
            "{args}"
        );
        assert_eq!(translated.findings.len(), found, "{args}: {:?}", translated.findings);
    }
}

#[test]
fn control_fields_that_name_answers() {
    for (control, new, nullok, found) in [
        ("required", None, false, 0),
        ("success=1 default=ignore", None, false, 0),
        // As pam_oath's README shows.
        ("user_unknown=ignore success=ok", Some("user_unknown=ignore success=ok ignore=ignore"), true, 0),
        ("user_unknown=ignore default=ignore success=done", None, true, 0),
        ("user_unknown=ignore ignore=ignore success=ok", None, true, 0),
        ("success=ok authinfo_unavail=ignore default=die", None, false, 1),
    ] {
        let translated = line(Old::Oath, control, "");
        assert_eq!(translated.control.as_deref(), new, "{control}");
        assert_eq!(translated.args.iter().any(|arg| arg == "nullok"), nullok, "{control}");
        assert_eq!(translated.findings.len(), found, "{control}");
    }
}

/// Other lines than auth ask nobody.
#[test]
fn lines_of_other_kinds() {
    let translated = translate(Old::Yubico, false, "required", &["id=1".to_owned()]);
    assert_eq!((translated.args.len(), translated.source, translated.servers.len()), (0, Source::Nothing, 0));
}
