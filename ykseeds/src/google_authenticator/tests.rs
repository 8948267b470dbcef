use super::*;
use crate::lines::MAX_LINE;
use yubiotp::oath::BadSecretLength;

/// What `google-authenticator -t -d -f -r 3 -R 30 -w 3 -e 5` writes.
const FILE: &str = "UZCB3JPEPYME7CTRWFSR4W3DTU\n\" RATE_LIMIT 3 30\n\" WINDOW_SIZE 3\n\" STEP_SIZE 30\n\
                    \" DISALLOW_REUSE\n\" TOTP_AUTH\n16125912\n44031748\n58860846\n98544290\n83988117\n";

/// A moment in the middle of step 1000.
const NOW: u64 = 30_015;

fn take(file: &str) -> Account {
    read(file.as_bytes(), NOW).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn wrong(file: &str) -> Vec<(usize, Why)> {
    let problems = read(file.as_bytes(), NOW).err().expect("a problem");
    problems.list.into_iter().map(|problem| (problem.place.line.unwrap_or(0), problem.why)).collect()
}

fn next(account: &Account) -> u64 {
    account.progress.next.map_or(0, Position::to_stored)
}

/// With these options instead of `DISALLOW_REUSE`.
fn with(options: &str) -> Account {
    take(&FILE.replace("\" DISALLOW_REUSE\n", options))
}

#[test]
fn a_new_file() {
    let account = take(FILE);
    assert_eq!(account.secret.expose().len(), 16);
    let kind = Kind::Totp { period: Period::USUAL };
    assert_eq!(account.parameters, Parameters { kind, algorithm: Algorithm::Sha1, digits: Digits::SIX });
    assert_eq!(account.window, Window { behind: 1, ahead: 1 });
    assert_eq!((account.rate_limit, account.unknown.len()), (Some((3, 30)), 0));
    let codes: Vec<_> = account.emergency_codes.iter().map(|code| *code.expose()).collect();
    assert_eq!(codes, [*b"16125912", *b"44031748", *b"58860846", *b"98544290", *b"83988117"]);
}

#[test]
fn a_used_code_stays_used() {
    for (options, expected) in [
        // The steps of the record, and all before them.
        ("\" DISALLOW_REUSE 998 999\n", 1000),
        ("\" DISALLOW_REUSE 1001 999\n", 1002),
        // No record: nothing that the module would accept now.
        ("", 1002),
        ("\" DISALLOW_REUSE\n", 1002),
        // A learned skew: the codes by which it was learned are in no record.
        ("\" DISALLOW_REUSE 999\n\" TIME_SKEW 5\n", 1007),
        ("\" DISALLOW_REUSE 1009\n\" TIME_SKEW 5\n", 1010),
        ("\" DISALLOW_REUSE 999\n\" TIME_SKEW -5\n", 1000),
        ("\" DISALLOW_REUSE 900\n\" RESETTING_TIME_SKEW 999+7\n", 1002),
    ] {
        assert_eq!(next(&with(options)), expected, "{options}");
    }
    let wide = FILE.replace("SIZE 3\n", "SIZE 17\n").replace("\" DISALLOW_REUSE\n", "");
    assert_eq!((take(&wide).window, next(&take(&wide))), (Window { behind: 8, ahead: 8 }, 1009));
    let narrow = FILE.replace("SIZE 3\n", "SIZE 1\n");
    assert_eq!((take(&narrow).window, next(&take(&narrow))), (Window { behind: 0, ahead: 0 }, 1002));
    assert!(with("\" DISALLOW_REUSE 5\n").keeps_record && !with("").keeps_record);
    let minute = FILE.replace("STEP_SIZE 30", "STEP_SIZE 60");
    assert_eq!(next(&take(&minute)), 502);
    assert_eq!(wrong(&FILE.replace("REUSE", "REUSE 99999999")), [(5, Why::ClockBehind)]);
}

#[test]
fn skews_become_drift() {
    assert_eq!(with("\" TIME_SKEW -3\n").progress.drift, -3);
    assert_eq!(with("\" DISALLOW_REUSE 999\n").progress.drift, 0);
}

/// A position further ahead than an hour would let no code in.
#[test]
fn a_skew_of_more_than_an_hour_is_refused() {
    let file = |skew: &str| format!("{FILE}\" TIME_SKEW {skew}\n");
    let line = FILE.lines().count() + 1;
    assert_eq!(take(&file("119")).progress.drift, 119);
    assert_eq!(wrong(&file("120")), [(line, BadEntry::TooFarAhead.into())]);
    assert_eq!(take(&file("-1500")).progress.drift, -1500);
}

#[test]
fn counters() {
    let account = take("GEZDGNBVGY3TQOJQ\n\" HOTP_COUNTER 12\n\" WINDOW_SIZE 17\n\" TOTP_AUTH\n");
    assert_eq!((account.parameters.kind, next(&account)), (Kind::Hotp, 12));
    assert_eq!(account.window, Window { behind: 0, ahead: 16 });
    assert_eq!(
        wrong("GEZDGNBVGY3TQOJQ\n\" HOTP_COUNTER 0\n")[0],
        (2, BadEntry::OptionValue("HOTP_COUNTER").into())
    );
}

#[test]
fn every_bad_line_is_named() {
    let value = |name| Why::from(BadEntry::OptionValue(name));
    let file = format!(
        "!\n\" WINDOW_SIZE 101\n\" STEP_SIZE 0\n\" TIME_SKEW x\n\" RATE_LIMIT 3\n\" DISALLOW_REUSE -1\n\" TOTP_AUTH\n\
         \" TOTP_AUTH\nwords\n12345678\n02345678\n123456789\n\n\" LAST0 host 17\n\n{}\n",
        "1".repeat(MAX_LINE + 1)
    );
    assert_eq!(
        wrong(&file),
        [
            (1, BadEntry::FirstLine.into()),
            (2, value("WINDOW_SIZE")),
            (3, value("STEP_SIZE")),
            (4, value("TIME_SKEW")),
            (5, value("RATE_LIMIT")),
            (6, value("DISALLOW_REUSE")),
            (8, BadEntry::OptionTwice("TOTP_AUTH").into()),
            (9, BadEntry::NotAnOption.into()),
            (11, BadEntry::NotAnOption.into()),
            (12, BadEntry::NotAnOption.into()),
            (16, Limit::Line.into()),
        ]
    );
    assert_eq!(wrong("GEZDGNBVGY3TQOJQ\n12345678\n"), [(0, BadEntry::NoCodes.into())]);
    assert_eq!(wrong("")[1..], [(1, BadEntry::FirstLine.into())]);
    assert_eq!(wrong("GEZDGNBV\n\" TOTP_AUTH"), [(1, BadEntry::SecretLength(BadSecretLength(5)).into())]);
    assert_eq!(take(&FILE.replace("16125912", "\" LAST0 host 17")).unknown, [7]);
    assert_eq!(
        read(&vec![b'\n'; MAX_BYTES + 1], NOW).err().unwrap().list[0].why,
        Limit::Bytes { most: MAX_BYTES }.into()
    );
}
