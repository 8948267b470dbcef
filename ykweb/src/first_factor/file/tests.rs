use super::*;
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;
use yubiotp::diagnostic::Code;

fn name(user: &str) -> UserName {
    UserName::parse(user).unwrap()
}

fn right(groups: &[&str]) -> Result<PasswordVerdict, Code> {
    Ok(PasswordVerdict::Right { groups: groups.iter().map(|group| (*group).to_owned()).collect() })
}

async fn check(file: &UserFile, user: &str, password: &str) -> Result<PasswordVerdict, Code> {
    let password = Zeroizing::new(password.as_bytes().to_vec());
    file.check(&name(user), &password).await.map_err(|found| found.code)
}

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passwords");
    (folder, path)
}

/// Of a hash that is cheap to compute: m=8 KiB, one pass. The password is `cheap`.
fn cheap() -> String {
    use argon2::password_hash::PasswordHasher as _;
    let hash = hasher(Params::new(8, 1, 1, None).unwrap()).hash_password_with_salt(b"cheap", &[7; 16]);
    hash.unwrap().to_string()
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640)).unwrap();
}

#[tokio::test]
async fn life_of_a_user() {
    let (folder, path) = place();
    assert_eq!(UserFile::open(path.clone()).err().map(|found| found.code), Some(Code::FileMissing));
    assert!(!remove(&path, &name("alice")).unwrap() && !path.exists());
    let groups = ["staff".to_owned(), "domain users".to_owned()];
    assert_eq!(set_password(&path, &name("alice"), b"one", Some(&groups)).unwrap(), Changed::Added);
    let file = UserFile::open(path.clone()).unwrap();
    assert_eq!(check(&file, "alice", "one").await, right(&["staff", "domain users"]));
    assert_eq!(check(&file, "alice", "One").await, Ok(PasswordVerdict::Wrong));
    assert_eq!(check(&file, "alice", "").await, Ok(PasswordVerdict::Wrong));
    assert_eq!(check(&file, "bob", "").await, Ok(PasswordVerdict::Wrong), "the password of nobody");
    // Changes are seen, groups and mode stay.
    assert_eq!(set_password(&path, &name("bob"), b"b\xff", None).unwrap(), Changed::Added);
    assert_eq!(set_password(&path, &name("alice"), b"two", None).unwrap(), Changed::Replaced);
    assert_eq!(check(&file, "alice", "one").await, Ok(PasswordVerdict::Wrong));
    assert_eq!(check(&file, "alice", "two").await, right(&["staff", "domain users"]));
    assert_eq!(
        file.check(&name("bob"), &b"b\xff".to_vec().into()).await.map_err(|_| Code::Checked),
        right(&[])
    );
    assert_eq!(set_password(&path, &name("alice"), b"two", Some(&[])).unwrap(), Changed::Replaced);
    assert_eq!(check(&file, "alice", "two").await, right(&[]));
    assert!(remove(&path, &name("alice")).unwrap());
    assert_eq!(check(&file, "alice", "two").await, Ok(PasswordVerdict::Wrong));
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "more than the file and its lock");
    let long = "x".repeat(1025);
    for bad in ["", "a\0", &long] {
        let set = set_password(&path, &name("alice"), bad.as_bytes(), None);
        assert_eq!(set.map_err(|found| found.code), Err(Code::InputInvalid));
        assert_eq!(check(&file, "bob", bad).await, Ok(PasswordVerdict::Wrong));
    }
    for bad in ["", "a,b", "a:b", " a", "a\n", "ä"] {
        let set = set_password(&path, &name("alice"), b"x", Some(&[bad.to_owned()]));
        assert_eq!(set.map_err(|found| found.code), Err(Code::InputInvalid), "{bad:?}");
    }
}

#[tokio::test]
async fn comments_stay_and_a_damaged_file_lets_nobody_in() {
    let (_folder, path) = place();
    let hash = cheap();
    write(&path, &format!("# ours\n\nalice:{hash}:a,b\n"));
    let file = UserFile::open(path.clone()).unwrap();
    assert_eq!(check(&file, "alice", "cheap").await, right(&["a", "b"]));
    set_password(&path, &name("bob"), b"x", None).unwrap();
    let text = file::read(&path, Audience::Group, MOST_BYTES).unwrap();
    let text = str::from_utf8(&text).unwrap();
    assert!(
        text.starts_with(&format!("# ours\n\nalice:{hash}:a,b\nbob:$argon2id$v=19$m=19456,t=2,p=1$")),
        "{text}"
    );
    write(&path, &format!("{text}damaged\n"));
    assert_eq!(check(&file, "alice", "cheap").await, Err(Code::PasswordFileInvalid));
    assert!(set_password(&path, &name("bob"), b"y", None).is_err());
    write(&path, text);
    assert_eq!(check(&file, "bob", "x").await, right(&[]));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(check(&file, "bob", "x").await, Err(Code::FileReadableByOthers));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(check(&file, "bob", "x").await, Err(Code::FileMissing));
}

#[test]
fn lines() {
    let hash = cheap();
    let read = |text: &str| Users::read(Path::new("/f"), text.as_bytes());
    assert!(
        read("").is_ok() && read(&format!("  # x\nalice:{hash}\nbob:{hash}:\ncarol:{hash}:a b,c")).is_ok()
    );
    let argon2i = hash.replace("argon2id", "argon2i");
    let large = hash.replace("m=8", "m=1048577");
    let short = hash.rsplit_once('$').unwrap().0;
    for (bad, line) in [
        (format!("alice\nbob:{hash}"), 1),
        (format!("bob:{hash}\nalice:"), 2),
        ("alice:secret".to_owned(), 1),
        ("alice:$1$abc$def".to_owned(), 1),
        (format!("alice:{argon2i}"), 1),
        (format!("alice:{large}"), 1),
        (format!("alice:{short}"), 1),
        (format!("alice:{}", hash.replace("v=19", "v=16")), 1),
        (format!("alice:{}", hash.replace("$v=19", "")), 1),
        (format!("alice:{hash}:a:b"), 1),
        (format!("alice:{hash}:a\u{e4}"), 1),
        (format!("a b:{hash}"), 1),
        (format!("alice:{hash}\n\nalice:{hash}"), 3),
    ] {
        let found = read(&bad).err().unwrap_or_else(|| panic!("{bad}"));
        let place = yubiotp::diagnostic::Location::line(b"/f", line);
        assert_eq!((found.code, found.location), (Code::PasswordFileInvalid, Some(place)), "{bad}");
    }
}

/// Whoever is not there is compared with as much work as those who are.
#[test]
fn nobody_costs_as_much() {
    let work = |users: &Users| Params::try_from(users.nobody()).unwrap().m_cost();
    let hash = cheap();
    for (text, memory) in [
        (String::new(), 19_456),
        (format!("alice:{hash}"), 8),
        (format!("alice:{hash}\nbob:{}", hash.replace("m=8", "m=64")), 64),
    ] {
        assert_eq!(work(&Users::read(Path::new("/f"), text.as_bytes()).unwrap()), memory);
    }
}
