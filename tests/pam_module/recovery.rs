//! Recovery codes through the real libpam: each once, and a word to the user who is about to run out.

use tests::place::Place;
use tests::soft_yubikey::SoftYubiKey;

fn codes(place: &Place) -> Vec<String> {
    let made = place.ykmap(&["recovery", "new", "alice"]);
    assert!(made.status.success(), "{made:?}");
    let is_code = |word: &&str| word.len() == 14 && word.match_indices('-').count() == 3;
    let text = String::from_utf8(made.stdout).unwrap();
    text.split_whitespace().filter(is_code).map(str::to_owned).collect()
}

fn place() -> (Place, SoftYubiKey, Vec<String>) {
    let (place, key) = (Place::new(), SoftYubiKey::numbered(1));
    place.enrol("alice", &key);
    let codes = codes(&place);
    assert_eq!(codes.len(), 4);
    // The notice of these codes is of another test.
    std::fs::remove_file(place.path("notices/alice")).unwrap();
    (place, key, codes)
}

/// What was shown beside prompts.
fn shown(said: &[String]) -> Vec<&str> {
    said.iter()
        .map(String::as_str)
        .filter(|line| line.starts_with("info ") || line.starts_with("error "))
        .collect()
}

#[test]
fn each_lets_in_once_and_the_last_two_are_announced() {
    let (place, mut key, codes) = place();
    for (at, left, told) in [(3, 3, 0), (0, 2, 0), (2, 1, 1), (1, 0, 1)] {
        let login = place.login("otp", "alice", &[&codes[at]]);
        assert_eq!((login.code("authenticate"), login.code("acct_mgmt")), ("PAM_SUCCESS", "PAM_SUCCESS"));
        let line = login.decisions()[0];
        let set_and_number = format!("-{} ", at + 1);
        assert!(line.contains(" token=rec-") && line.contains(&set_and_number), "{line}");
        assert!(line.contains(&format!("reason=\"recovery code {}, {left} left", at + 1)), "{line}");
        assert!(!line.contains(&codes[at]), "{line}");
        assert_eq!(shown(&login.said).len(), told, "{:?}", login.said);
        // After the prompt, before the result.
        let place_of = |begins: &str| login.said.iter().position(|line| line.starts_with(begins));
        assert!(
            told == 0
                || place_of("prompt ") < place_of("info ") && place_of("info ") < place_of("authenticate ")
        );

        let again = place.login("otp", "alice", &[&codes[at]]);
        assert_eq!(again.code("authenticate"), "PAM_AUTH_ERR");
        assert!(again.decisions()[0].contains(" code=recovery-code-used "), "{:?}", again.decisions());
        assert_eq!(shown(&again.said), Vec::<&str>::new());
    }
    assert_eq!(place.login("otp", "alice", &[key.press()]).code("authenticate"), "PAM_SUCCESS");
}

/// What a stranger sees is the same for a user with recovery codes and for everybody else.
#[test]
fn a_stranger_sees_no_difference() {
    let (place, ..) = place();
    let bobs = SoftYubiKey::numbered(2);
    place.enrol("bob", &bobs);
    let seen = |user: &str, answer: &str| {
        let login = place.login("otp", user, &[answer]);
        login.said.iter().map(|line| line.replace(user, "USER")).collect::<Vec<_>>()
    };
    for answer in ["1-AAAA-AAAA-AA", "123456", "", "hunter2"] {
        assert_eq!(seen("alice", answer), seen("bob", answer), "{answer}");
    }
}
