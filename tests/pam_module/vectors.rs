//! `tests/vectors/otp/`: one file for each OTP, named after its peculiarity.

use std::collections::BTreeMap;
use std::path::Path;
use tests::place::Place;

/// The fields of a vector file: `name: value`, comments with `#`.
fn fields(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once(": ").unwrap()).collect()
}

#[test]
fn every_vector() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/otp");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let vector = fields(&text);
        let place = Place::new();
        let export = format!(
            "# yubiotp keys 1\n{} plain {} {}\n",
            vector["public-id"], vector["private-id"], vector["aes-key"]
        );
        place.write("keys.txt", export, 0o600);
        let file = place.path("keys.txt").display().to_string();
        for args in [["key", "import", &file], ["add", "alice", vector["public-id"]]] {
            let output = place.ykmap(&args);
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        }
        if name == "typed-twice" {
            assert_eq!(place.login("otp", "alice", &[vector["typed"]]).code("authenticate"), "PAM_SUCCESS");
        }
        let (verdict, reason) = vector["expect"].split_once(' ').unwrap();
        let login = place.login("otp", "alice", &[vector["typed"]]);
        let code = if verdict == "accepted" { "PAM_SUCCESS" } else { "PAM_AUTH_ERR" };
        assert_eq!(login.code("authenticate"), code, "{name}: {:?}", login.decisions());
        let expected = match verdict {
            "accepted" => format!("reason=\"{reason}"),
            _ => format!(" code={reason} "),
        };
        assert!(login.decisions()[0].contains(&expected), "{name}: {:?}", login.decisions());
        count += 1;
    }
    assert!(count >= 20, "only {count} vectors were found");
}
