//! The files that a question names: what is taken, and the words for what is not.

use crate::asker::{ask, question, refused_url, unable, why};
use crate::certificates::{Ca, Folder, Wants, serve};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;
use yubiotp::ask::{Event, Obstacle, Question};

fn https() -> Question {
    question(&[refused_url("https")])
}

fn with_ca(ca: &str) -> Question {
    Question { ca: Some(ca.into()), ..https() }
}

#[test]
fn authorities() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let pem = ca.certificate.pem();
    assert_eq!(why(&with_ca(&folder.file("good.pem", &format!("text\n{pem}{pem}")))), "connection refused");
    let empty = folder.file("empty.pem", "no certificate\n");
    assert_eq!(
        why(&with_ca(&empty)),
        format!("{empty}: holds no certificate (PEM: -----BEGIN CERTIFICATE-----)")
    );
    let bad = folder
        .file("bad.pem", &format!("{pem}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
    assert!(
        why(&with_ca(&bad)).starts_with(&format!("{bad}: the certificate in line ")),
        "{}",
        why(&with_ca(&bad))
    );
    let cut = folder.file("cut.pem", &pem[..pem.len() - 40]);
    assert_eq!(why(&with_ca(&cut)), format!("{cut}: line 1 begins what is not whole PEM"));
    assert_eq!(why(&with_ca("/nowhere")), "/nowhere: cannot be read: No such file or directory");
    let der = folder.path().join("ca.der");
    fs::write(&der, ca.certificate.der()).unwrap();
    let der = der.to_str().unwrap();
    assert_eq!(unable(&with_ca(der)), (Obstacle::DerCertificate, format!("{der}: is not PEM")));
}

#[test]
fn a_folder_of_authorities() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let inside = Folder::new();
    inside.file("README", "no certificate");
    let named = inside.path().to_str().unwrap();
    assert!(why(&with_ca(named)).ends_with("holds no certificate (PEM: -----BEGIN CERTIFICATE-----)"));
    let outside = folder.file("ca.pem", &ca.certificate.pem());
    for link in ["0123abcd.0", "0123abcd.1"] {
        symlink(&outside, inside.path().join(link)).unwrap();
    }
    symlink("/nowhere", inside.path().join("dangling.0")).unwrap();
    let open = folder.file("open.pem", &ca.certificate.pem());
    fs::set_permissions(&open, fs::Permissions::from_mode(0o666)).unwrap();
    let link = inside.path().join("4567abcd.0");
    symlink(&open, &link).unwrap();
    let told = format!("{}: group or others may write to it (mode 0666)", link.display());
    assert_eq!(unable(&with_ca(named)), (Obstacle::FileWritable, told));
    fs::remove_file(&link).unwrap();
    nix::unistd::mkfifo(&inside.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let server = serve(&ca.signs("localhost"), &Wants::default());
    let url = format!("https://localhost:{}/", server.port);
    let events = ask(&Question { ca: Some(named.into()), ..question(&[url]) });
    assert!(matches!(&events[..], [_, Event::Reply { .. }]), "{events:?}");
}

#[test]
fn without_https_no_authority_is_read() {
    let events = why(&Question { ca: Some("/nowhere".into()), ..question(&[refused_url("http")]) });
    assert_eq!(events, "connection refused");
    let text = why(&Question {
        client_cert: Some("/nowhere".into()),
        client_key: Some("/nowhere".into()),
        ..question(&[refused_url("http")])
    });
    assert_eq!(text, "client_cert and client_key are set, and no server's URL is https");
}

struct Client {
    folder: Folder,
    ca: String,
    certificate: String,
    key_pem: String,
}

impl Client {
    fn new() -> Self {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let pair = ca.signs("client");
        Self {
            ca: folder.file("ca.pem", &ca.certificate.pem()),
            certificate: folder.file("client.pem", &pair.certificate.pem()),
            key_pem: pair.key.serialize_pem(),
            folder,
        }
    }

    fn question(&self, key: &str, passphrase: Option<&str>) -> Question {
        Question {
            ca: Some(self.ca.clone()),
            client_cert: Some(self.certificate.clone()),
            client_key: Some(key.into()),
            client_key_passphrase_file: passphrase.map(String::from),
            ..https()
        }
    }

    fn why(&self, key: &str, passphrase: Option<&str>) -> String {
        why(&self.question(key, passphrase))
    }

    fn unable(&self, key: &str, passphrase: Option<&str>) -> (Obstacle, String) {
        unable(&self.question(key, passphrase))
    }

    /// Runs the openssl program in the folder; the file that it writes. `None` if it is not installed.
    fn openssl(&self, arguments: &[&str], out: &str) -> Option<String> {
        let path = self.folder.path().join(out);
        let run = Command::new("openssl")
            .args(arguments)
            .arg("-out")
            .arg(&path)
            .current_dir(self.folder.path())
            .output();
        let Ok(run) = run else {
            println!("openssl is not installed: not tried");
            return None;
        };
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Some(path.to_str().unwrap().to_string())
    }
}

const TAKEN: &str = "connection refused";

#[test]
fn private_keys() {
    let client = Client::new();
    let key = client.folder.file("key.pem", &client.key_pem);
    assert_eq!(client.why(&key, None), TAKEN);
    let other = client.folder.file("other.pem", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    let certificate = &client.certificate;
    let told = format!("{other}: this private key is not that of the first certificate in {certificate}");
    assert_eq!(client.why(&other, None), told);
    assert!(
        client.why(certificate, None).ends_with("holds no private key (PEM: -----BEGIN PRIVATE KEY-----)")
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(client.why(&key, None), TAKEN);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let told = format!("{key}: others may read it (mode 0644)");
    assert_eq!(client.unable(&key, None), (Obstacle::FileReadable, told));
    let alone = Question { client_key: Some(key), ..https() };
    let told = |text: &str| (Obstacle::IdentityParts, text.to_owned());
    assert_eq!(unable(&alone), told("client_key is set, and client_cert is not"));
    let alone = Question { client_cert: Some(certificate.clone()), ..https() };
    assert_eq!(unable(&alone), told("client_cert is set, and client_key is not"));
}

#[test]
fn keys_under_a_passphrase() {
    let client = Client::new();
    client.folder.file("key.pem", &client.key_pem);
    let passphrase = client.folder.file("pass", "correct horse\n");
    let wrong = client.folder.file("wrong", "battery staple\n");
    let Some(key) =
        client.openssl(&["pkcs8", "-topk8", "-in", "key.pem", "-passout", "file:pass"], "encrypted.pem")
    else {
        return;
    };
    assert_eq!(client.why(&key, Some(&passphrase)), TAKEN);
    assert_eq!(
        client.why(&key, Some(&wrong)),
        format!("{key}: the passphrase in {wrong} is not that of this key")
    );
    assert_eq!(client.unable(&key, None).0, Obstacle::NoPassphrase);
    let scrypt = ["pkcs8", "-topk8", "-scrypt", "-in", "key.pem", "-passout", "file:pass"];
    assert_eq!(client.why(&client.openssl(&scrypt, "scrypt.pem").unwrap(), Some(&passphrase)), TAKEN);

    let old = ["ec", "-aes128", "-in", "key.pem", "-passout", "file:pass"];
    let old = client.openssl(&old, "old.pem").unwrap();
    let told = format!("{old}: is encrypted in the old way (Proc-Type: 4,ENCRYPTED)");
    assert_eq!(client.unable(&old, Some(&passphrase)), (Obstacle::KeyEncryption, told));
    // What a login advises works.
    let new = ["pkcs8", "-topk8", "-in", "old.pem", "-passin", "file:pass", "-passout", "pass:correct horse"];
    assert_eq!(client.why(&client.openssl(&new, "new.pem").unwrap(), Some(&passphrase)), TAKEN);

    let des = ["pkcs8", "-topk8", "-v2", "des3", "-in", "key.pem", "-passout", "file:pass"];
    let told = client.unable(&client.openssl(&des, "des.pem").unwrap(), Some(&passphrase));
    assert_eq!(told.0, Obstacle::KeyEncryption, "{told:?}");
    // Without encryption, the forms that came before PKCS#8.
    let sec1 = client.openssl(&["ec", "-in", "key.pem"], "sec1.pem").unwrap();
    assert_eq!(client.why(&sec1, None), TAKEN);
}

#[test]
fn pkcs12_is_refused_with_the_way_out() {
    let client = Client::new();
    client.folder.file("key.pem", &client.key_pem);
    let export = ["pkcs12", "-export", "-inkey", "key.pem", "-in", "client.pem", "-passout", "pass:secret"];
    let Some(file) = client.openssl(&export, "client.bin") else { return };
    let told = format!("{file}: is PKCS#12, which is not read");
    assert_eq!(client.unable(&file, None), (Obstacle::Pkcs12, told));
    // What a login advises works.
    let convert = ["pkcs12", "-in", "client.bin", "-nodes", "-passin", "pass:secret"];
    let both = client.openssl(&convert, "both.pem").unwrap();
    assert_eq!(client.why(&both, None), TAKEN);
    let ca = Some(client.ca.clone());
    let question = Question { ca, client_cert: Some(both.clone()), client_key: Some(both), ..https() };
    assert_eq!(why(&question), TAKEN);
}
