use super::*;
use crate::problem::Locked;
use crate::token::TokenSecret;
use data_encoding::HEXLOWER;
use yubiotp::oath::window::Progress;
use yubiotp::oath::{Algorithm, BadSecretLength, Digits, Kind, Parameters, Period};

const KEY: &str = "12345678901234567890123456789012";
const SECRET: &[u8] = b"12345678901234567890";

/// RFC 6030, figure 6: a pre-shared key, AES-128-CBC and HMAC-SHA1.
const FIGURE_6: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<KeyContainer Version="1.0" xmlns="urn:ietf:params:xml:ns:keyprov:pskc"
    xmlns:ds="http://www.w3.org/2000/09/xmldsig#" xmlns:xenc="http://www.w3.org/2001/04/xmlenc#">
  <EncryptionKey><ds:KeyName>Pre-shared-key</ds:KeyName></EncryptionKey>
  <MACMethod Algorithm="http://www.w3.org/2000/09/xmldsig#hmac-sha1"><MACKey>
    <xenc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>
    <xenc:CipherData><xenc:CipherValue>
      ESIzRFVmd4iZABEiM0RVZgKn6WjLaTC1sbeBMSvIhRejN9vJa2BOlSaMrR7I5wSX
    </xenc:CipherValue></xenc:CipherData>
  </MACKey></MACMethod>
  <KeyPackage>
    <DeviceInfo><Manufacturer>Manufacturer</Manufacturer><SerialNo>987654321</SerialNo></DeviceInfo>
    <CryptoModuleInfo><Id>CM_ID_001</Id></CryptoModuleInfo>
    <Key Id="12345678" Algorithm="urn:ietf:params:xml:ns:keyprov:pskc:hotp">
      <Issuer>Issuer</Issuer>
      <AlgorithmParameters><ResponseFormat Length="8" Encoding="DECIMAL"/></AlgorithmParameters>
      <Data>
        <Secret>
          <EncryptedValue>
            <xenc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>
            <xenc:CipherData><xenc:CipherValue>
              AAECAwQFBgcICQoLDA0OD+cIHItlB3Wra1DUpxVvOx2lef1VmNPCMl8jwZqIUqGv
            </xenc:CipherValue></xenc:CipherData>
          </EncryptedValue>
          <ValueMAC>Su+NvtQfmvfJzF6bmQiJqoLRExc=
          </ValueMAC>
        </Secret>
        <Counter><PlainValue>0</PlainValue></Counter>
      </Data>
    </Key>
  </KeyPackage>
</KeyContainer>
"#;

/// RFC 6030, figure 7: the password `qwerty`.
const FIGURE_7: &str = r##"<?xml version="1.0" encoding="UTF-8"?>
<pskc:KeyContainer xmlns:pskc="urn:ietf:params:xml:ns:keyprov:pskc" xmlns:xenc11="http://www.w3.org/2009/xmlenc11#"
    xmlns:pkcs5="http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5v2-0#"
    xmlns:xenc="http://www.w3.org/2001/04/xmlenc#" Version="1.0">
  <pskc:EncryptionKey><xenc11:DerivedKey>
    <xenc11:KeyDerivationMethod Algorithm="http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5v2-0#pbkdf2">
      <pkcs5:PBKDF2-params>
        <Salt><Specified>Ej7/PEpyEpw=</Specified></Salt>
        <IterationCount>1000</IterationCount>
        <KeyLength>16</KeyLength>
        <PRF/>
      </pkcs5:PBKDF2-params>
    </xenc11:KeyDerivationMethod>
    <xenc:ReferenceList><xenc:DataReference URI="#ED"/></xenc:ReferenceList>
    <xenc11:MasterKeyName>My Password 1</xenc11:MasterKeyName>
  </xenc11:DerivedKey></pskc:EncryptionKey>
  <pskc:MACMethod Algorithm="http://www.w3.org/2000/09/xmldsig#hmac-sha1"><pskc:MACKey>
    <xenc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>
    <xenc:CipherData><xenc:CipherValue>
      2GTTnLwM3I4e5IO5FkufoOEiOhNj91fhKRQBtBJYluUDsPOLTfUvoU2dStyOwYZx
    </xenc:CipherValue></xenc:CipherData>
  </pskc:MACKey></pskc:MACMethod>
  <pskc:KeyPackage>
    <pskc:DeviceInfo>
      <pskc:Manufacturer>TokenVendorAcme</pskc:Manufacturer><pskc:SerialNo>987654321</pskc:SerialNo>
    </pskc:DeviceInfo>
    <pskc:Key Algorithm="urn:ietf:params:xml:ns:keyprov:pskc:hotp" Id="123456">
      <pskc:Issuer>Example-Issuer</pskc:Issuer>
      <pskc:AlgorithmParameters><pskc:ResponseFormat Length="8" Encoding="DECIMAL"/></pskc:AlgorithmParameters>
      <pskc:Data><pskc:Secret>
        <pskc:EncryptedValue Id="ED">
          <xenc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>
          <xenc:CipherData><xenc:CipherValue>
            oTvo+S22nsmS2Z/RtcoF8Hfh+jzMe0RkiafpoDpnoZTjPYZu6V+A4aEn032yCr4f
          </xenc:CipherValue></xenc:CipherData>
        </pskc:EncryptedValue>
        <pskc:ValueMAC>LP6xMvjtypbfT9PdkJhBZ+D6O4w=
        </pskc:ValueMAC>
      </pskc:Secret></pskc:Data>
    </pskc:Key>
  </pskc:KeyPackage>
</pskc:KeyContainer>
"##;

/// A plain key, as in RFC 6030, figure 5, with other values.
fn key(id: &str, serial: &str, algorithm: &str, parameters: &str, data: &str, policy: &str) -> String {
    format!(
        r#"<KeyPackage><DeviceInfo><Manufacturer>Manufacturer</Manufacturer>{serial}</DeviceInfo>
<Key Id="{id}" Algorithm="urn:ietf:params:xml:ns:keyprov:pskc:{algorithm}"><Issuer>Issuer</Issuer>
<AlgorithmParameters>{parameters}</AlgorithmParameters><Data>{data}</Data>{policy}</Key></KeyPackage>
"#
    )
}

fn serial(serial: &str) -> String {
    format!("<SerialNo>{serial}</SerialNo>")
}

/// A secret in base64.
fn plain(secret: &str) -> String {
    format!("<Secret><PlainValue>{secret}</PlainValue></Secret>")
}

const EIGHT: &str = r#"<ResponseFormat Length="8" Encoding="DECIMAL"/>"#;
const BASE64: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=";

fn container(keys: &str) -> String {
    format!(
        "<KeyContainer Version=\"1.0\" xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\">\n{keys}</KeyContainer>"
    )
}

/// Reads with a password or key, which may be asked for once.
fn with(xml: &str, secret: Option<&str>) -> Result<Seeds, Vec<(Option<String>, Why)>> {
    let mut asked = 0;
    let mut ask = |_: Wanted<'_>| {
        asked += 1;
        assert_eq!(asked, 1);
        secret.map(|secret| Password::new(secret.as_bytes().to_vec().into()))
    };
    read(xml.as_bytes(), &Options::default(), &mut ask).map_err(|problems| {
        problems.list.into_iter().map(|problem| (problem.place.key, problem.why)).collect()
    })
}

fn take(xml: &str, secret: Option<&str>) -> Seeds {
    with(xml, secret).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn wrong(xml: &str, secret: Option<&str>) -> Vec<(Option<String>, Why)> {
    with(xml, secret).err().expect("a problem")
}

/// What is wrong with the file, not with one of its keys.
fn whole(xml: &str, secret: Option<&str>) -> Why {
    let mut problems = wrong(xml, secret);
    assert_eq!((problems.len(), &problems[0].0), (1, &None), "{problems:?}");
    problems.remove(0).1
}

fn hotp(digits: u8) -> Parameters {
    Parameters { kind: Kind::Hotp, algorithm: Algorithm::Sha1, digits: Digits::new(digits).unwrap() }
}

#[test]
fn figure_5_plain_with_a_pin_that_the_token_asks_for() {
    let policy = "<Policy><PINPolicy MinLength=\"4\" PINKeyId=\"123456781\" PINUsageMode=\"Local\"/>\
                  <KeyUsage>OTP</KeyUsage></Policy>";
    let counter = "<Counter><PlainValue>0</PlainValue></Counter>";
    let otp = key("12345678", &serial("987654321"), "hotp", EIGHT, &(plain(BASE64) + counter), policy);
    let pin = key("123456781", &serial("987654321"), "pin", EIGHT, &plain("MTIzNA=="), "");
    let file = take(&container(&(otp + &pin)), None);
    assert_eq!(file.format, Format::Pskc(Protection::None));
    let [TokenSecret { place, serial, secret, parameters, progress, manufacturer, issuer, user }] =
        &file.tokens[..]
    else {
        panic!("{}", file.tokens.len());
    };
    assert_eq!((place.line, place.key.as_deref(), serial.as_str()), (Some(3), Some("12345678"), "987654321"));
    assert_eq!((secret.expose(), *parameters, *progress), (SECRET, hotp(8), Progress::default()));
    assert_eq!(
        (manufacturer.as_deref(), issuer.as_deref(), user),
        (Some("Manufacturer"), Some("Issuer"), &None)
    );
    assert!(file.notes.is_empty());
    let passed_over = Place { line: Some(6), key: Some("123456781".to_owned()) };
    assert_eq!(file.passed_over, [(passed_over, PassedOver::OtherType)]);
}

/// RFC 6030, figure 2, has a secret of four bytes, which no token may have here.
#[test]
fn figure_2() {
    let xml = container(&key("12345678", "", "hotp", "", &plain("MTIzNA==\n   "), ""));
    let length = BadPskc::SecretLength(BadSecretLength(4));
    assert_eq!(wrong(&xml, None), [(Some("12345678".to_owned()), length.into())]);
}

#[test]
fn figure_6_a_pre_shared_key() {
    let file = take(FIGURE_6, Some(KEY));
    assert_eq!(file.format, Format::Pskc(Protection::Key));
    assert_eq!((file.tokens[0].secret.expose(), file.tokens[0].parameters), (SECRET, hotp(8)));
    let mut asked = Vec::new();
    let _ = read(FIGURE_6.as_bytes(), &Options::default(), &mut |wanted| {
        asked.push(format!("{wanted:?}"));
        None
    });
    assert_eq!(asked, [format!("{:?}", Wanted::PskcKey { name: Some("Pre-shared-key"), bytes: 16 })]);
    assert_eq!(whole(FIGURE_6, None), Locked::KeyNeeded.into());
    assert_eq!(whole(FIGURE_6, Some("00000000000000000000000000000000")), Locked::WrongKey.into());
    for key in ["", "1234", "x2345678901234567890123456789012", "qwerty"] {
        assert_eq!(whole(FIGURE_6, Some(key)), Locked::KeyNotHex { digits: 32 }.into(), "{key}");
    }
}

#[test]
fn figure_7_a_password() {
    let file = take(FIGURE_7, Some("qwerty"));
    assert_eq!(file.format, Format::Pskc(Protection::Password));
    assert_eq!(HEXLOWER.encode(file.tokens[0].secret.expose()), HEXLOWER.encode(SECRET));
    let mut wanted_name = None;
    let _ = read(FIGURE_7.as_bytes(), &Options::default(), &mut |wanted| {
        wanted_name = Some(wanted == Wanted::PskcPassword { name: Some("My Password 1") });
        None
    });
    assert_eq!(wanted_name, Some(true));
    assert_eq!(whole(FIGURE_7, None), Locked::PasswordNeeded.into());
    assert_eq!(whole(FIGURE_7, Some("Qwerty")), Locked::WrongPassword.into());
}

/// Whatever is changed of a secret, its MAC says it, and without a MAC nothing is read.
#[test]
fn secrets_that_were_changed() {
    let changed = |from: &str, to: &str| {
        assert!(FIGURE_6.contains(from));
        FIGURE_6.replacen(from, to, 1)
    };
    // The first byte of the initialization vector changes the first byte of the secret, and no padding.
    let flipped = changed("AAECAwQF", "AQECAwQF");
    assert_eq!(whole(&flipped, Some(KEY)), Locked::WrongKey.into());
    let cut = changed("Su+NvtQfmvfJzF6bmQiJqoLRExc=", "Su+NvtQfmvfJzF6bmQ==");
    assert_eq!(whole(&cut, Some(KEY)), Locked::WrongKey.into());
    let none = changed("<ValueMAC>Su+NvtQfmvfJzF6bmQiJqoLRExc=\n          </ValueMAC>", "");
    assert_eq!(wrong(&none, Some(KEY))[0].1, BadPskc::NoMac.into());
    let from = FIGURE_6.find("<MACMethod").unwrap();
    let to = FIGURE_6.find("</MACMethod>").unwrap() + "</MACMethod>".len();
    let no_method = [&FIGURE_6[..from], &FIGURE_6[to..]].concat();
    assert_eq!(whole(&no_method, Some(KEY)), BadPskc::NoMac.into());
    // Beside a key that is right, the changed one is named.
    let package =
        &FIGURE_6[FIGURE_6.find("  <KeyPackage>").unwrap()..FIGURE_6.find("</KeyContainer>").unwrap()];
    let other = package.replace("AAECAwQF", "AQECAwQF").replace("12345678", "9").replace("987654321", "1");
    let both = FIGURE_6.replace("</KeyContainer>", &format!("{other}</KeyContainer>"));
    assert_eq!(wrong(&both, Some(KEY)), [(Some("9".to_owned()), BadPskc::Mac.into())]);
    // One that somebody put there in the clear.
    let exchanged = key("9", &serial("1"), "hotp", EIGHT, &plain(BASE64), "");
    let both = FIGURE_6.replace("</KeyContainer>", &format!("{exchanged}</KeyContainer>"));
    assert_eq!(wrong(&both, Some(KEY)), [(Some("9".to_owned()), BadPskc::PlainSecret.into())]);
}

/// A key in the clear in front of what protects the others.
#[test]
fn protection_precedes_all_keys() {
    let exchanged = key("9", &serial("1"), "hotp", EIGHT, &plain(BASE64), "");
    let front = FIGURE_6.replace("  <EncryptionKey>", &format!("{exchanged}<EncryptionKey>"));
    assert_eq!(whole(&front, Some(KEY)), BadPskc::Misplaced("EncryptionKey or MACMethod").into());
}

#[test]
fn methods_that_are_not_read() {
    for (from, to, what) in [
        ("xmldsig#hmac-sha1", "xmldsig#hmac-md5", "the Algorithm of MACMethod"),
        ("xmlenc#aes128-cbc", "xmlenc#tripledes-cbc", "the Algorithm of EncryptionMethod"),
        ("xmlenc#aes128-cbc", "xmlenc11#aes128-gcm", "the Algorithm of EncryptionMethod"),
        (
            "<ds:KeyName>Pre-shared-key</ds:KeyName>",
            "<ds:X509Data/>",
            "an EncryptionKey other than a name or a password",
        ),
    ] {
        assert!(FIGURE_6.contains(from));
        assert_eq!(whole(&FIGURE_6.replace(from, to), Some(KEY)), BadPskc::Unsupported(what).into());
    }
    for (from, to, why) in [
        ("<IterationCount>1000", "<IterationCount>0", Why::from(Limit::Iterations { most: MAX_ITERATIONS })),
        (
            "<IterationCount>1000",
            "<IterationCount>99999999999",
            Limit::Iterations { most: MAX_ITERATIONS }.into(),
        ),
        ("<KeyLength>16", "<KeyLength>32", BadPskc::Value("KeyLength").into()),
        (
            "<PRF/>",
            "<PRF Algorithm=\"http://example.org/#hmac-md5\"/>",
            BadPskc::Unsupported("the PRF of the password").into(),
        ),
        ("Ej7/PEpyEpw=", "*", BadPskc::Base64("Salt").into()),
        (
            "<Specified>Ej7/PEpyEpw=</Specified>",
            "<OtherSource/>",
            BadPskc::Unsupported("a Salt other than Specified").into(),
        ),
        // The hash function of the file, and no other.
        (
            "<PRF/>",
            "<PRF Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#hmac-sha256\"/>",
            Locked::WrongPassword.into(),
        ),
    ] {
        assert!(FIGURE_7.contains(from));
        assert_eq!(whole(&FIGURE_7.replace(from, to), Some("qwerty")), why, "{to}");
    }
}

#[test]
fn parameters_of_tokens() {
    let data = |more: &str| plain(BASE64) + more;
    let drift = "<TimeInterval><PlainValue>60</PlainValue></TimeInterval><TimeDrift><PlainValue>-4</PlainValue></TimeDrift>";
    let xml = container(&key(
        "1",
        &serial("A-1_b"),
        "totp",
        &format!("<Suite>HMAC-SHA256</Suite>{EIGHT}"),
        &data(drift),
        "",
    ));
    let token = &take(&xml, None).tokens[0];
    let kind = Kind::Totp { period: Period::new(60).unwrap() };
    assert_eq!(
        token.parameters,
        Parameters { kind, algorithm: Algorithm::Sha256, digits: Digits::new(8).unwrap() }
    );
    assert_eq!(token.progress, Progress { next: None, drift: -4 });
    let counter = "<Counter><PlainValue>1234567890123</PlainValue></Counter>";
    let xml = container(&key("a&amp;b", &serial("7"), "hotp", "", &data(counter), ""));
    let token = &take(&xml, None).tokens[0];
    assert_eq!((token.parameters, token.place.key.as_deref()), (hotp(6), Some("a&b")));
    assert_eq!(token.progress.next.map(yubiotp::Position::to_stored), Some(1_234_567_890_123));
    // As pskctool writes -4.
    let unsigned = xml.replace("hotp", "totp").replace(counter, &drift.replace("-4", "4294967292"));
    assert_eq!(take(&unsigned, None).tokens[0].progress.drift, -4);
    // Without a device, the name of the key is the serial.
    assert_eq!(take(&container(&key("K-9", "", "totp", "", &data(""), "")), None).tokens[0].serial, "K-9");
    for (serial_no, algorithm, parameters, more, policy, why) in [
        ("1 2", "hotp", EIGHT, "", "", BadPskc::Serial),
        ("1", "hotp", "<ResponseFormat Length=\"9\"/>", "", "", BadPskc::Value("Length of ResponseFormat")),
        (
            "1",
            "hotp",
            "<ResponseFormat Length=\"6\" Encoding=\"HEXADECIMAL\"/>",
            "",
            "",
            BadPskc::Unsupported("a ResponseFormat other than DECIMAL"),
        ),
        (
            "1",
            "hotp",
            "<ResponseFormat Length=\"6\" CheckDigits=\"true\"/>",
            "",
            "",
            BadPskc::Unsupported("a ResponseFormat with check digits"),
        ),
        ("1", "totp", "<Suite>MD5</Suite>", "", "", BadPskc::Value("Suite")),
        (
            "1",
            "totp",
            "",
            "<TimeInterval><PlainValue>0</PlainValue></TimeInterval>",
            "",
            BadPskc::Value("TimeInterval"),
        ),
        (
            "1",
            "totp",
            "",
            "<TimeDrift><PlainValue>x</PlainValue></TimeDrift>",
            "",
            BadPskc::Value("TimeDrift"),
        ),
        (
            "1",
            "totp",
            "",
            "<TimeDrift><PlainValue>2147483648</PlainValue></TimeDrift>",
            "",
            BadPskc::Value("TimeDrift"),
        ),
        ("1", "hotp", "", "<Counter><PlainValue>-1</PlainValue></Counter>", "", BadPskc::Value("Counter")),
        ("1", "hotp", "", "<Counter><EncryptedValue/></Counter>", "", BadPskc::Missing("EncryptionMethod")),
        ("1", "hotp", "", "<Secret/>", "", BadPskc::Twice("Secret")),
    ] {
        let xml = container(&key("1", &serial(serial_no), algorithm, parameters, &data(more), policy));
        assert_eq!(wrong(&xml, Some(KEY))[0].1, why.into());
    }
}

#[test]
fn policies_and_signatures() {
    let with =
        |policy: &str| take(&container(&key("1", &serial("1"), "hotp", "", &plain(BASE64), policy)), None);
    for (policy, tokens, note) in [
        ("<Policy><KeyUsage>OTP</KeyUsage></Policy>", 1, None),
        ("<Policy><KeyUsage>CR</KeyUsage><KeyUsage>OTP</KeyUsage></Policy>", 1, None),
        ("<Policy><KeyUsage>Encrypt</KeyUsage></Policy>", 0, None),
        ("<Policy><Unknown/></Policy>", 0, None),
        ("<Policy><ExpiryDate>2030-01-01T00:00:00Z</ExpiryDate></Policy>", 1, Some(Note::DatesNotCarried)),
        ("<Policy><PINPolicy PINUsageMode=\"Prepend\"/></Policy>", 1, Some(Note::PinNotCarried)),
    ] {
        let file = with(policy);
        assert_eq!(file.tokens.len(), tokens, "{policy}");
        assert_eq!(file.notes.first().map(|(_, note)| *note), note, "{policy}");
        assert_eq!(file.passed_over.len(), 1 - tokens);
    }
    let signed = container(&(key("1", &serial("1"), "hotp", "", &plain(BASE64), "") + "<Signature/>"));
    assert_eq!(take(&signed, None).notes[0].1, Note::SignatureNotChecked);
}

#[test]
fn several_keys_and_every_problem() {
    let token =
        |id: &str, number: &str, secret: &str| key(id, &serial(number), "hotp", EIGHT, &plain(secret), "");
    // Figure 10 gives four keys one secret, which each code would be good for four times.
    let same = container(&["1", "2", "3"].map(|id| token(id, id, BASE64)).concat());
    let first = Place { line: Some(3), key: Some("1".to_owned()) };
    assert_eq!(
        wrong(&same, None),
        ["2", "3"].map(|id| (Some(id.to_owned()), Why::SameSecret { first: first.clone() }))
    );
    let other = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTE=";
    assert_eq!(take(&container(&(token("1", "1", BASE64) + &token("2", "2", other))), None).tokens.len(), 2);
    let problems =
        wrong(&container(&(token("1", "?", "*") + &token("2", "2", other) + &token("3", "2", BASE64))), None);
    let of = |key: &str, why: Why| (Some(key.to_owned()), why);
    let second = Place { line: Some(6), key: Some("2".to_owned()) };
    assert_eq!(
        problems,
        [
            of("1", BadPskc::Serial.into()),
            of("1", BadPskc::Base64("PlainValue").into()),
            of("3", Why::OtherSecret { first: second }),
        ]
    );
}

#[test]
fn xml_that_is_not_read() {
    let entity = "<!DOCTYPE x [<!ENTITY a \"b\">]>";
    let good = key("1", &serial("1"), "hotp", "", &plain(BASE64), "");
    let deep = "<a>".repeat(40) + &"</a>".repeat(40);
    let wide = format!("<Extensions>{}</Extensions>", "<a/>".repeat(20_000));
    for (xml, why) in [
        (format!("{entity}{}", container(&good)), Why::from(BadPskc::DocType)),
        (container(&good.replace("Manufacturer>M", "Manufacturer>&a;M")), BadPskc::Entity.into()),
        (container(&good.replace("Id=\"1\"", "Id=\"&a;\"")), BadPskc::Entity.into()),
        (container(&good.replace("</Key>", "")), BadPskc::Syntax.into()),
        (container(&good).replace("</KeyContainer>", ""), BadPskc::Syntax.into()),
        ("<KeyContainer>".to_owned(), BadPskc::Syntax.into()),
        ("<".to_owned(), BadPskc::Syntax.into()),
        ("<html/>".to_owned(), crate::Foreign::Xml.into()),
        ("<KeyContainer/>".to_owned(), Why::Empty),
        (container(&deep), Limit::Elements.into()),
        (container(&wide), Limit::Elements.into()),
        (container("<Device/>"), BadPskc::Unsupported("the format of a draft before RFC 6030").into()),
    ] {
        assert_eq!(whole(&xml, None), why, "{xml:.200}");
    }
    let commented = container(
        &good
            .replace("<PlainValue>", "<!-- it --><PlainValue><![CDATA[")
            .replace("</PlainValue>", "]]></PlainValue>"),
    );
    assert_eq!(take(&commented, None).tokens[0].secret.expose(), SECRET);
    assert_eq!(take(&format!("\u{feff}{}", container(&good)), None).tokens.len(), 1);
}
