use super::*;
use std::io::Write as _;
use zip::write::SimpleFileOptions;
use zip::{AesMode, ZipWriter};

const PASSWORD: &[u8] = b"correct horse";

fn zip_of(files: &[(&str, &[u8])], options: SimpleFileOptions) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        if name.ends_with('/') {
            zip.add_directory(*name, options).unwrap();
        } else {
            zip.start_file(*name, options).unwrap();
            zip.write_all(content).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

fn deflated() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
}

fn aes() -> SimpleFileOptions {
    deflated().with_aes_encryption(AesMode::Aes256, "correct horse")
}

fn with(zip: &[u8], member: Option<&str>, password: Option<&[u8]>) -> Result<(String, Vec<u8>), Why> {
    let mut ask = |_: Wanted<'_>| password.map(|password| Password::new(password.to_vec().into()));
    read(zip, member, &mut ask).map(|(name, content)| (name, content.to_vec()))
}

#[test]
fn which_file() {
    let one = zip_of(&[("in/", b""), ("in/a.csv", b"one"), ("__MACOSX/._a.csv", b"mac")], deflated());
    assert_eq!(with(&one, None, None), Ok(("in/a.csv".to_owned(), b"one".to_vec())));
    let two = zip_of(&[("a.csv", b"one"), ("b.csv", b"two")], deflated());
    assert_eq!(with(&two, None, None), Err(Zip::SeveralMembers(2).into()));
    assert_eq!(with(&two, Some("b.csv"), None), Ok(("b.csv".to_owned(), b"two".to_vec())));
    assert_eq!(with(&two, Some("c.csv"), None), Err(Zip::MemberMissing.into()));
    assert_eq!(with(&zip_of(&[("a/", b"")], deflated()), None, None), Err(Zip::NoMember.into()));
    let sheet = zip_of(&[("[Content_Types].xml", b"<a/>"), ("xl/workbook.xml", b"<a/>")], deflated());
    assert_eq!(with(&sheet, None, None), Err(Foreign::Spreadsheet.into()));
}

#[test]
fn passwords() {
    let zip = zip_of(&[("a.csv", b"secret")], aes());
    assert_eq!(with(&zip, None, Some(PASSWORD)), Ok(("a.csv".to_owned(), b"secret".to_vec())));
    assert_eq!(with(&zip, None, Some(b"wrong")), Err(Locked::WrongPassword.into()));
    assert_eq!(with(&zip, None, Some(b"")), Err(Locked::WrongPassword.into()));
    assert_eq!(with(&zip, None, None), Err(Locked::PasswordNeeded.into()));
    // Nobody is asked where nothing is encrypted.
    let plain = zip_of(&[("a.csv", b"x")], deflated());
    assert!(read(&plain, None, &mut |_| panic!("asked")).is_ok());
}

/// Each byte changed by itself: never another content, and never any if it is in what is encrypted or in its MAC.
#[test]
fn a_changed_byte_is_seen() {
    let content = b"serial,secret\n1,3132333435363738393031323334353637383930\n";
    for options in [aes(), aes().compression_method(CompressionMethod::Stored)] {
        let zip = zip_of(&[("a.csv", content)], options);
        let encrypted = {
            let mut archive = ZipArchive::new(Cursor::new(zip.as_slice())).unwrap();
            let file = archive.by_index_raw(0).unwrap();
            file.data_start().unwrap()..file.data_start().unwrap() + file.compressed_size()
        };
        for at in 0..zip.len() {
            for bit in [1, 0x80] {
                let mut changed = zip.clone();
                changed[at] ^= bit;
                if let Ok((_, read)) = with(&changed, None, Some(PASSWORD)) {
                    assert_eq!(read, content, "byte {at}");
                    assert!(!encrypted.contains(&u64::try_from(at).unwrap()), "byte {at}");
                }
            }
        }
    }
}

#[test]
fn cut_off() {
    let zip = zip_of(&[("a.csv", b"some content")], aes());
    for length in 0..zip.len() {
        assert!(with(&zip[..length], None, Some(PASSWORD)).is_err(), "{length}");
    }
}

#[test]
fn bombs() {
    let zeros = vec![b'0'; MAX_BYTES + 1];
    let large = zip_of(&[("a.csv", &zeros)], deflated());
    assert!(large.len() < 1 << 20);
    // A thousand to one.
    assert_eq!(with(&large, None, None), Err(Limit::Ratio.into()));
    let stored = zip_of(&[("a.csv", &zeros)], deflated().compression_method(CompressionMethod::Stored));
    assert_eq!(with(&stored, None, None), Err(Limit::Bytes { most: MAX_BYTES }.into()));
    let small = zip_of(&[("a.csv", &zeros[..1 << 20])], deflated());
    assert_eq!(with(&small, None, None).unwrap().1.len(), 1 << 20);
    let mut many = ZipWriter::new(Cursor::new(Vec::new()));
    for number in 0..=MAX_MEMBERS {
        many.start_file(number.to_string(), deflated()).unwrap();
    }
    let many = many.finish().unwrap().into_inner();
    assert_eq!(with(&many, Some("1"), None), Err(Limit::Members.into()));
}

/// A file that says that it is small, and is not.
#[test]
fn a_lie_about_the_size() {
    let zeros = vec![b'0'; 8 << 20];
    let mut zip = zip_of(&[("a.csv", &zeros)], deflated());
    let true_size = u32::try_from(zeros.len()).unwrap().to_le_bytes();
    let places: Vec<_> = memmem::find_iter(&zip, &true_size).collect();
    assert_eq!(places.len(), 2);
    for at in places {
        zip[at..at + 4].copy_from_slice(&7_u32.to_le_bytes());
    }
    let read = with(&zip, None, None);
    assert!(
        matches!(read, Err(Why::Limit(Limit::Ratio) | Why::Zip(Zip::Damaged))),
        "{:?}",
        read.map(|(_, content)| content.len())
    );
}
