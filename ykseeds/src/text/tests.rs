use super::*;
use data_encoding::HEXLOWER;
use yubiotp::Position;
use yubiotp::diagnostic::Code;
use yubiotp::oath::{Digits, Kind, Period};

const HEX: &str = "3132333435363738393031323334353637383930";
const BASE32: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const OTHER: &str = "3132333435363738393031323334353637383931";

fn take(text: &str) -> Seeds {
    with(text, &Options::default())
}

fn with(text: &str, options: &Options<'_>) -> Seeds {
    read(text.as_bytes(), options).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn wrong(text: &str) -> Vec<(usize, Why)> {
    wrong_with(text, &Options::default())
}

fn wrong_with(text: &str, options: &Options<'_>) -> Vec<(usize, Why)> {
    let problems = read(text.as_bytes(), options).err().expect("a problem");
    problems.list.into_iter().map(|problem| (problem.place.line.unwrap_or(0), problem.why)).collect()
}

/// Type, algorithm, digits, period, next.
fn shown(token: &TokenSecret) -> (Option<u64>, Algorithm, u8, Option<u64>) {
    let period = match token.parameters.kind {
        Kind::Totp { period } => Some(period.seconds()),
        Kind::Hotp => None,
    };
    let next = token.progress.next.map(Position::to_stored);
    (period, token.parameters.algorithm, token.parameters.digits.get(), next)
}

fn hex(token: &TokenSecret) -> String {
    HEXLOWER.encode(token.secret.expose())
}

#[test]
fn serial_and_secret_in_whatever_is_between() {
    for between in [",", ", ", ";", "\t", " ", "   ", " , "] {
        for (secret, encoding) in [(HEX, Encoding::Hex), (BASE32, Encoding::Base32)] {
            let file = take(&format!("\u{feff}# tokens\r\n\r\n00123{between}{secret}\r\n"));
            assert_eq!((file.encoding, file.tokens.len()), (Some(encoding), 1), "{between:?}");
            let token = &file.tokens[0];
            assert_eq!((token.serial.as_str(), hex(token).as_str()), ("00123", HEX));
            assert_eq!(shown(token), (Some(30), Algorithm::Sha1, 6, None));
            assert_eq!(token.place, Place::line(3));
        }
    }
}

/// As the documentation of privacyIDEA has it, and its test data.
#[test]
fn oath_csv() {
    let file = take(&format!(
        "token01, {HEX}, hotp, 6\ntoken02, {OTHER}, totp, 6, 30\n\
         token03, 4142434445464748494a4142434445464748494a, TOTP, 8, 60,sha256\n\
         token04,4142434445464748494a4142434445464748494b,HOTP,6,17\n\
         token05,ocra-1,ocra,OCRA-1:HOTP-SHA256-8:C-QN08\n"
    ));
    assert_eq!(file.format, Format::Csv);
    assert_eq!(
        file.tokens.iter().map(shown).collect::<Vec<_>>(),
        [
            (None, Algorithm::Sha1, 6, None),
            (Some(30), Algorithm::Sha1, 6, None),
            (Some(60), Algorithm::Sha256, 8, None),
            (None, Algorithm::Sha1, 6, Some(17)),
        ]
    );
    assert_eq!(file.passed_over, [(Place::line(5), PassedOver::OtherType)]);
}

#[test]
fn users_of_the_second_version() {
    let file = take(&format!("# version: 2\nalice,local,realm1,token01,{HEX},totp,6,30\n"));
    assert_eq!((file.tokens[0].serial.as_str(), file.tokens[0].user.as_deref()), ("token01", Some("alice")));
}

/// As Microsoft's directory takes it, which vendors send.
#[test]
fn columns_by_name() {
    let file = take(&format!(
        "upn,serial number,secret key,time interval,manufacturer,model\n\
         alice@example.org,1000001,{BASE32},60,\"Contoso, Inc\",HardwareKey\n"
    ));
    let token = &file.tokens[0];
    assert_eq!(shown(token), (Some(60), Algorithm::Sha1, 6, None));
    assert_eq!(
        (token.user.as_deref(), token.manufacturer.as_deref()),
        (Some("alice@example.org"), Some("Contoso, Inc"))
    );
    // A header may say how secrets are written.
    let file = take("Serial;Seed (hex)\nA1;ABCDEF2345ABCDEF2345\n");
    assert_eq!((file.encoding, hex(&file.tokens[0]).as_str()), (Some(Encoding::Hex), "abcdef2345abcdef2345"));
}

#[test]
fn hex_or_base32_is_never_guessed() {
    // Reads as both, as does every secret of the file.
    let both = "ABCDEF2345ABCDEF2345ABCDEF234567";
    assert_eq!(wrong(&format!("a,{both}\nb,{both}")), [(1, Why::EncodingUnclear { field: 2 })]);
    for encoding in Encoding::ALL {
        let file = with(&format!("a,{both}"), &Options { encoding: Some(encoding), ..Options::default() });
        assert_eq!(hex(&file.tokens[0]), HEXLOWER.encode(&encoding.decode(both).unwrap()));
    }
    // Another secret of the file decides.
    let file = take(&format!("a,{both}\nb,{BASE32}"));
    assert_eq!(file.encoding, Some(Encoding::Base32));
    let file = take(&format!("a,{both}\nb,{HEX}"));
    assert_eq!(file.encoding, Some(Encoding::Hex));
    // None for both.
    let mixed = wrong(&format!("a,{both}\nb,{HEX}\nc,{BASE32}\nd,?"));
    let other = BadLine::MixedEncodings { number: 2, here: Encoding::Base32, other: 2 };
    let neither = BadLine::Secret { number: 2, encoding: Some(Encoding::Hex) };
    assert_eq!(mixed, [(3, other.into()), (4, neither.into())]);
    let said = Options { encoding: Some(Encoding::Hex), ..Options::default() };
    assert_eq!(
        wrong_with(&format!("a,{BASE32}"), &said),
        [(1, BadLine::Secret { number: 2, encoding: Some(Encoding::Hex) }.into())]
    );
}

#[test]
fn the_hash_function_is_never_guessed() {
    let long = HEXLOWER.encode(b"12345678901234567890123456789012");
    let text = format!("a,{long},totp,8,30\nb,{HEX}");
    assert_eq!(wrong(&text), [(1, Why::HashUnclear { bytes: 32 })]);
    for (rule, algorithm) in [
        (HashRule::ByLength, Algorithm::Sha256),
        (HashRule::Is(Algorithm::Sha1), Algorithm::Sha1),
        (HashRule::Is(Algorithm::Sha512), Algorithm::Sha512),
    ] {
        let file = with(&text, &Options { hash: Some(rule), ..Options::default() });
        assert_eq!(file.tokens[0].parameters.algorithm, algorithm);
    }
    let said = take(&format!("a,{long},totp,8,30,SHA-1"));
    assert_eq!(said.tokens[0].parameters.algorithm, Algorithm::Sha1);
}

#[test]
fn what_the_administrator_says_is_for_what_the_file_does_not() {
    let options = Options {
        token_type: TokenType::Hotp,
        digits: Digits::new(8).unwrap(),
        period: Period::new(60).unwrap(),
        ..Options::default()
    };
    let file = with(&format!("a,{HEX}\nb,{OTHER},totp,6"), &options);
    assert_eq!(
        file.tokens.iter().map(shown).collect::<Vec<_>>(),
        [(None, Algorithm::Sha1, 8, None), (Some(60), Algorithm::Sha1, 6, None)]
    );
}

#[test]
fn every_bad_line_is_named() {
    let value = |number, field| Why::from(BadLine::Value { number, field });
    let text = format!(
        "a,{HEX},totp,9,30\n-b,{HEX}\nc,{HEX},tpot\nd\ne,{HEX},totp,6,0\nf,{HEX},hotp,6,-1\ng,{HEX},totp,6,30,md5\n\
         h,{HEX},totp,6,30,sha1,x\n\"i,{HEX}\nj\0,{HEX}\nk,00\n{long},{HEX}\nl,{HEX},totp,9,x\n",
        long = "m".repeat(5000),
    );
    assert_eq!(
        wrong(&text),
        [
            (1, value(4, Field::Digits)),
            (2, value(1, Field::Serial)),
            (3, value(3, Field::Type)),
            (4, BadLine::TooFewFields { found: 1 }.into()),
            (5, value(5, Field::Period)),
            (6, value(5, Field::Counter)),
            (7, value(6, Field::Hash)),
            (8, BadLine::TooManyFields { found: 7 }.into()),
            (9, BadLine::Quote.into()),
            (10, BadLine::Nul.into()),
            (11, BadLine::SecretLength(yubiotp::oath::BadSecretLength(1)).into()),
            (12, Limit::Line.into()),
            (13, value(4, Field::Digits)),
            (13, value(5, Field::Period)),
        ]
    );
    let first = format!("a,{HEX}\0\nb,{HEX}\nc,00\n");
    assert_eq!(wrong(&first).iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3]);
    let many = "x\n".repeat(1000);
    assert_eq!(wrong(&many).len(), MAX_PROBLEMS);
    assert_eq!(read(b"a,\xff", &Options::default()).err().unwrap().list[0].why, BadLine::NotUtf8.into());
    for empty in ["", "\n\n", "# only\n", "serial,secret\n"] {
        assert_eq!(wrong(empty), [(0, Why::Empty)], "{empty}");
    }
    assert_eq!(wrong("serial,secret,seed\n"), [(1, BadLine::ColumnTwice { first: 2, second: 3 }.into())]);
}

#[test]
fn duplicates_are_named() {
    let first = Place::line(1);
    assert_eq!(wrong(&format!("a,{HEX}\na,{OTHER}")), [(2, Why::OtherSecret { first: first.clone() })]);
    assert_eq!(wrong(&format!("a,{HEX}\nb,{HEX}")), [(2, Why::SameSecret { first: first.clone() })]);
    assert_eq!(
        wrong(&format!("a,{HEX},totp\na,{HEX},hotp")),
        [(2, Why::OtherParameters { first: first.clone() })]
    );
    let again = take(&format!("a,{HEX}\n\na,{HEX}"));
    assert_eq!(again.tokens.len(), 1);
    assert_eq!(again.passed_over, [(Place::line(3), PassedOver::Repetition { first: first.clone() })]);
    // An HMAC pads its key with zeros.
    assert_eq!(wrong(&format!("a,{HEX}\nb,{HEX}00")), [(2, Why::SameSecret { first })]);
}

#[test]
fn files_of_other_kinds() {
    let line = format!("HOTP/T30/6 alice - {HEX}");
    assert_eq!(wrong(&line), [(1, Foreign::UsersFile.into())]);
    let google = format!("{BASE32}\n\" TOTP_AUTH\n");
    assert!(wrong(&google).contains(&(2, Foreign::GoogleAuthenticator.into())));
}

/// The example of the design.
#[test]
fn a_problem_as_it_is_shown() {
    let text = "# a\n# b\n# c\nA1,ABCDEF2345ABCDEF2345ABCDEF234567";
    let problems = read(text.as_bytes(), &Options::default()).err().unwrap();
    let found = problems.diagnostics(b"seeds.csv");
    assert_eq!(found[0].code, Code::TokenFileEncodingUnclear);
    assert!(found[0].to_string().starts_with("seeds.csv:4: "), "{}", found[0]);
    assert!(!found[0].to_string().contains("2345"));
}
