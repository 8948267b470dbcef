//! Who is asked, by the policy, on auth and account lines.

use super::*;
use PamResultCode::*;
use ykhost::clock;

impl Place {
    fn policy(&self, text: &str) {
        let config = ykhost::file::read_untrusted(&self.path("config.toml"), 1 << 20).unwrap();
        self.write("config.toml", &format!("{}{text}\n", String::from_utf8(config).unwrap()));
    }
}

/// Today and some days, as the configuration file has dates.
fn day(off: i64) -> String {
    let days = (clock::unix() / 86_400).saturating_add_signed(off);
    // From a date that is known, so that no calendar of ours is needed.
    let made = std::process::Command::new("date")
        .args(["-u", "-d", &format!("@{}", days * 86_400), "+%F"])
        .output()
        .unwrap();
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

fn host(user: &str, rhost: Option<&'static str>) -> Scripted {
    Scripted { rhost, ..Scripted::new(user, &[]) }
}

/// Policy, user, PAM_RHOST → code on an auth line without an answer, and on an account line by itself; code in the log.
type Row = (&'static str, &'static str, Option<&'static str>, PamResultCode, PamResultCode, &'static str);

#[test]
fn who_is_asked() {
    let (past, future, later) = (day(-1), day(2), day(3));
    let groups = "[groups]\nrobots = ['r2', 'alice']\n[policy]\n";
    let rows: &[Row] = &[
        // As without a policy.
        ("", "bob", None, PAM_CONV_ERR, PAM_AUTH_ERR, "no-answer"),
        ("require = 'all'", "bob", None, PAM_CONV_ERR, PAM_AUTH_ERR, "no-answer"),
        // Exempt, with a token or without.
        ("exempt = ['@robots']", "r2", None, PAM_IGNORE, PAM_IGNORE, "user-exempt"),
        ("exempt = ['@robots']", "alice", None, PAM_IGNORE, PAM_IGNORE, "user-exempt"),
        ("exempt = ['@robots']", "Alice", None, PAM_CONV_ERR, PAM_AUTH_ERR, "no-answer"),
        ("exempt = ['@robots']", "bob", None, PAM_CONV_ERR, PAM_AUTH_ERR, "no-answer"),
        ("exempt = ['@robots']\non_exempt = 'success'", "r2", None, PAM_SUCCESS, PAM_SUCCESS, "user-exempt"),
        // By network.
        (
            "exempt = [{ from = ['10.0.0.0/8'] }]",
            "bob",
            Some("10.1.2.3"),
            PAM_IGNORE,
            PAM_IGNORE,
            "user-exempt",
        ),
        (
            "exempt = [{ from = ['10.0.0.0/8'] }]",
            "bob",
            Some("::ffff:10.1.2.3"),
            PAM_IGNORE,
            PAM_IGNORE,
            "user-exempt",
        ),
        (
            "exempt = [{ from = ['10.0.0.0/8'] }]",
            "bob",
            Some("11.1.2.3"),
            PAM_CONV_ERR,
            PAM_AUTH_ERR,
            "no-answer",
        ),
        (
            "exempt = [{ from = ['10.0.0.0/8'] }]",
            "bob",
            Some("10.example"),
            PAM_CONV_ERR,
            PAM_AUTH_ERR,
            "no-answer",
        ),
        ("exempt = [{ from = ['10.0.0.0/8'] }]", "bob", None, PAM_CONV_ERR, PAM_AUTH_ERR, "no-answer"),
        ("exempt = [{ from = ['local'] }]", "bob", None, PAM_IGNORE, PAM_IGNORE, "user-exempt"),
        ("exempt = [{ from = ['local'] }]", "bob", Some(""), PAM_IGNORE, PAM_IGNORE, "user-exempt"),
        (
            "exempt = [{ from = ['local'] }]",
            "bob",
            Some("localhost"),
            PAM_CONV_ERR,
            PAM_AUTH_ERR,
            "no-answer",
        ),
        // Only who has one.
        ("require = 'enrolled'", "bob", None, PAM_IGNORE, PAM_IGNORE, "user-not-required"),
        (
            "require = 'enrolled'\non_exempt = 'success'",
            "bob",
            None,
            PAM_SUCCESS,
            PAM_SUCCESS,
            "user-not-required",
        ),
        ("require = 'enrolled'", "alice", None, PAM_CONV_ERR, PAM_AUTH_ERR, "no-answer"),
        // Listed without a token is no excuse.
        ("require = 'enrolled'", "carol", None, PAM_CONV_ERR, PAM_AUTH_ERR, "no-answer"),
        ("require = ['@robots']", "bob", None, PAM_IGNORE, PAM_IGNORE, "user-not-required"),
        ("require = ['@robots']", "r2", None, PAM_CONV_ERR, PAM_AUTH_ERR, "no-answer"),
        // Who may be somebody else is a fault.
        (
            "require = 'enrolled'",
            "EX\\alice",
            None,
            PAM_AUTHINFO_UNAVAIL,
            PAM_AUTHINFO_UNAVAIL,
            "mapping-other-spelling",
        ),
        (
            "require = 'enrolled'",
            "b\u{f6}b",
            None,
            PAM_AUTHINFO_UNAVAIL,
            PAM_AUTHINFO_UNAVAIL,
            "mapping-name-not-plain",
        ),
        (
            "require = ['@robots']",
            "EX+R2",
            None,
            PAM_AUTHINFO_UNAVAIL,
            PAM_AUTHINFO_UNAVAIL,
            "policy-other-spelling",
        ),
        // By date.
        ("not_before = FUTURE", "bob", None, PAM_IGNORE, PAM_IGNORE, "user-not-required"),
        ("not_before = PAST", "bob", None, PAM_CONV_ERR, PAM_AUTH_ERR, "no-answer"),
        ("not_before = PAST\nuntil = FUTURE", "bob", None, PAM_IGNORE, PAM_IGNORE, "user-may-postpone"),
        ("not_before = PAST\nuntil = FUTURE", "alice", None, PAM_CONV_ERR, PAM_AUTH_ERR, "no-answer"),
        ("until = PAST", "bob", None, PAM_CONV_ERR, PAM_AUTH_ERR, "no-answer"),
        ("not_before = FUTURE\nuntil = LATER", "bob", None, PAM_IGNORE, PAM_IGNORE, "user-not-required"),
        ("exempt = [{ who = ['bob'], until = PAST }]", "bob", None, PAM_CONV_ERR, PAM_AUTH_ERR, "no-answer"),
        ("exempt = [{ who = ['bob'], until = FUTURE }]", "bob", None, PAM_IGNORE, PAM_IGNORE, "user-exempt"),
        // By service.
        ("[service.test]\nrequire = 'enrolled'", "bob", None, PAM_IGNORE, PAM_IGNORE, "user-not-required"),
        ("[service.other]\nrequire = 'enrolled'", "bob", None, PAM_CONV_ERR, PAM_AUTH_ERR, "no-answer"),
    ];
    for (policy, user, rhost, auth, account, code) in rows {
        let policy = policy.replace("PAST", &past).replace("FUTURE", &future).replace("LATER", &later);
        let place = Place::new();
        place.policy(&format!("{groups}{policy}"));
        let mut scripted = host(user, *rhost);
        let row = format!("{policy} {user} {rhost:?}");
        assert_eq!(place.login(&mut scripted, &[]), *auth, "{row}");
        let line = scripted.last_line();
        assert!(line.contains(&format!(" code={code} ")), "{row}: {line}");
        // Excused users are not asked and do not wait; everybody else is asked once, also for a fault.
        let is_excused = line.starts_with("excused ");
        assert_eq!(
            (scripted.asked(), scripted.delayed),
            (usize::from(!is_excused), *auth == PAM_AUTHINFO_UNAVAIL),
            "{row}"
        );
        // Who was refused has a line that says why.
        let after = if *account == PAM_AUTHINFO_UNAVAIL { &PAM_AUTH_ERR } else { account };
        assert_eq!(&place.account(&mut scripted, &[]), after, "account after auth: {row}");
        assert_eq!(place.account(&mut host(user, *rhost), &[]), *account, "account by itself: {row}");
    }
}

/// What excuses a user is decided once a login.
#[test]
fn an_account_line_does_as_the_auth_line_did() {
    let place = Place::new();
    place.policy("[policy]\nexempt = ['bob']");
    let mut scripted = host("bob", None);
    assert_eq!(place.login(&mut scripted, &[]), PAM_IGNORE);
    place.policy("[service.test]\nexempt = []");
    assert_eq!(place.account(&mut scripted, &[]), PAM_IGNORE);
    // Another user on the same handle, and another handle.
    scripted.user = b"dave".to_vec();
    assert_eq!(place.account(&mut scripted, &[]), PAM_AUTH_ERR);
    assert_eq!(place.account(&mut host("bob", None), &[]), PAM_AUTH_ERR);
}

/// `nullok` keeps its meaning beside a policy, and excuses nobody whom the policy exempts in another way.
#[test]
fn nullok_beside_a_policy() {
    let place = Place::new();
    place.policy("[policy]\nrequire = ['bob']\non_exempt = 'success'");
    for (user, args, auth, code) in [
        ("bob", &["nullok"][..], PAM_IGNORE, "user-excused"),
        ("bob", &[], PAM_CONV_ERR, "no-answer"),
        ("dave", &["nullok"], PAM_SUCCESS, "user-not-required"),
        ("alice", &["nullok"], PAM_CONV_ERR, "no-answer"),
    ] {
        let mut scripted = host(user, None);
        assert_eq!(place.login(&mut scripted, args), auth, "{user} {args:?}");
        assert!(scripted.last_line().contains(&format!(" code={code} ")), "{}", scripted.last_line());
    }
}

/// All of the answer is a password for the modules behind, as with `nullok`.
#[test]
fn always_prompt_asks_exempt_users() {
    let place = Place::new();
    place.policy("[policy]\nexempt = ['bob']");
    let mut scripted = Scripted::new("bob", &["hunter2"]);
    assert_eq!(place.login(&mut scripted, &["always_prompt"]), PAM_IGNORE);
    assert_eq!((scripted.asked(), scripted.authtok.as_deref()), (1, Some(&b"hunter2"[..])));
}

/// A mapping that cannot be read does not concern those who need no second factor, and refuses everybody else.
#[test]
fn exempt_users_need_no_mapping() {
    let place = Place::new();
    place.policy("[policy]\nrequire = 'enrolled'\nexempt = ['bob']");
    place.write("mapping", "alice vvcb\n");
    for (user, code) in [("bob", PAM_IGNORE), ("dave", PAM_AUTHINFO_UNAVAIL)] {
        assert_eq!(place.login(&mut host(user, None), &[]), code, "{user}");
    }
}

#[test]
fn an_otp_of_a_method_that_is_not_allowed() {
    let place = Place::new();
    place.policy("[policy]\nmethods_for = [{ who = ['alice'], methods = ['totp'] }]");
    let mut scripted = Scripted::new("alice", &[OTPS[0]]);
    assert_eq!(place.login(&mut scripted, &[]), PAM_AUTH_ERR);
    assert!(scripted.last_line().contains(" code=method-not-allowed "), "{}", scripted.last_line());
    // It was not used up.
    place.policy("[service.test]\nmethods_for = []");
    assert_eq!(place.login(&mut Scripted::new("alice", &[OTPS[0]]), &[]), PAM_SUCCESS);
}
