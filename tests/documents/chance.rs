//! The chances of a guesser that docs/codes-and-tokens.md prints, worked out from what the code counts.

use crate::text_of;
use yubiotp::guesses::{Bucket, CAPACITY, REFILL};
use yubiotp::oath::window::{MOST_AHEAD, RESYNC_STEPS, Usual, Window};
use yubiotp::oath::{Kind, Period};

const YEAR: u64 = 365 * 86_400;

/// How many codes a guesser can try in a year who tries one as soon as a try is there.
fn charged() -> f64 {
    let now = 1_790_000_000;
    let (mut bucket, mut tries) = (Bucket::FULL, 0_u32);
    for unix in (now..now + YEAR).step_by(600) {
        while let Ok(next) = bucket.charge(unix) {
            (bucket, tries) = (next, tries + 1);
        }
    }
    f64::from(tries)
}

/// The chance that one of so many guesses is right, each with this chance, in percent with two digits.
fn percent(each: f64, guesses: f64) -> String {
    let chance = -(guesses * (-each).ln_1p()).exp_m1() * 100.0;
    let digits = (1.0 - chance.log10().floor()).clamp(0.0, 4.0);
    format!("{chance:.*} %", digits as usize)
}

#[test]
fn the_page_has_the_chances() {
    let page = text_of("docs/codes-and-tokens.md");
    let chance_of = |begins: &str| {
        let row = page.lines().find(|line| line.starts_with(&format!("| {begins}"))).unwrap();
        let fields: Vec<_> = row.split('|').map(str::trim).collect();
        (fields[2].replace(',', ""), fields[3].to_owned())
    };
    assert_eq!((CAPACITY, REFILL), (10, 43_200), "ten tries, and two a day");
    let totp = Usual::DEFAULT.window(Kind::Totp { period: Period::USUAL }, None);
    let hotp = Usual::DEFAULT.window(Kind::Hotp, None);
    assert_eq!((totp, hotp), (Window { behind: 2, ahead: 2 }, Window { behind: 0, ahead: 4 }));
    let valid = f64::from(totp.behind + totp.ahead + 1);
    assert!((valid - 5.0).abs() < 0.1 && hotp.ahead == 4, "five at a time");
    let tries = charged();
    for (begins, expected) in [
        ("one code of six digits", percent(valid / 1e6, tries)),
        ("one code of eight digits", percent(valid / 1e8, tries)),
        ("two codes of a token that is a day out", percent((RESYNC_STEPS + MOST_AHEAD) as f64 / 1e12, tries)),
    ] {
        let (said, chance) = chance_of(begins);
        assert_eq!(chance, expected, "{begins}");
        assert!(said.starts_with("740") && (739.0..=741.0).contains(&tries), "{said}, {tries}");
    }
    // A pair has one place less than the window has codes.
    for (begins, each, rate) in [
        ("two codes within the window, one guess", (valid - 1.0) / 1e12, 1.0),
        ("two codes within the window, ten", (valid - 1.0) / 1e12, 10.0),
        ("two codes within the window, a hundred", (valid - 1.0) / 1e12, 100.0),
        ("a recovery code, a hundred", 0.5_f64.powi(50), 100.0),
    ] {
        let guesses = rate * YEAR as f64;
        assert_eq!(chance_of(begins), (format!("{guesses}"), percent(each, guesses)), "{begins}");
    }
}
