//! `ykmap metrics`: the values, the format, and the file.

use crate::desk::{is_root, mode, run};
use crate::status::{LATE, host, log_line, now, on};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The samples, by name and labels.
fn samples(text: &str) -> BTreeMap<String, u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

#[test]
fn the_values_of_a_host() {
    if !is_root() {
        return tests::skip("needs root, or every file is of the caller");
    }
    let host = host();
    let key = host.key.public_id();
    let line = |age: u64, outcome: &str, code: &str| {
        log_line(
            now() - age,
            &format!(
                "sudo: pam_yubiotp(sudo:auth): {outcome} user=alice token={key} mode=offline service=sudo rhost=none \
             tty=none code={code} reason=\"x\""
            ),
        )
    };
    let lines = [
        line(7200, "accepted", "accepted"),
        line(120, "refused", "otp-replayed"),
        line(60, "accepted", "accepted"),
    ];
    host.place.write("auth.log", lines.concat(), 0o600);
    let text = run(&mut on(&host, "metrics")).exits(0).out;
    let found = samples(&text);
    for (name, value) in [
        ("yubiotp_service_asks{service=\"sudo\"}", 1),
        ("yubiotp_users{state=\"covered\"}", 1),
        ("yubiotp_users{state=\"unusable\"}", 0),
        ("yubiotp_tokens{kind=\"yubikey\",state=\"enabled\"}", 1),
        ("yubiotp_worn_tokens", 0),
        ("yubiotp_findings{severity=\"error\"}", 0),
        ("yubiotp_last_backup_timestamp_seconds", LATE),
        ("yubiotp_log_readable", 1),
        ("yubiotp_decisions_last_hour{outcome=\"accepted\",code=\"accepted\"}", 1),
        ("yubiotp_decisions_last_hour{outcome=\"rejected\",code=\"otp-replayed\"}", 1),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name}: {text}");
    }
    assert!(found["yubiotp_metrics_timestamp_seconds"].abs_diff(now()) < 60, "{text}");
    // Nobody is named.
    assert!(!text.contains("alice") && !text.contains(&key), "{text}");
    // Each metric is described once, before its samples.
    let described: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" gauge")).collect();
    let names: BTreeSet<_> = found.keys().map(|name| name.split('{').next().unwrap()).collect();
    assert_eq!(described.iter().copied().collect::<BTreeSet<_>>(), names);
    assert_eq!(described.len(), names.len());
    judged(&text);
    // Without a log, nothing is known of decisions, which is not the same as none.
    fs::remove_file(host.place.path("auth.log")).unwrap();
    let text = run(&mut on(&host, "metrics")).exits(0).out;
    assert!(text.contains("\nyubiotp_log_readable 0\n") && !text.contains("last_hour"), "{text}");
}

/// By Prometheus' own judgement, where it is installed.
fn judged(text: &str) {
    let check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut check) = check else { return };
    std::io::Write::write_all(&mut check.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// The collector finds the old file or the new one.
#[test]
fn the_file_is_replaced_as_a_whole() {
    if !is_root() {
        return tests::skip("needs root, or every file is of the caller");
    }
    let host = host();
    let folder = host.place.path("collector");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("yubiotp.prom");
    fs::write(&path, "old").unwrap();
    let old = fs::File::open(&path).unwrap();
    run(on(&host, "metrics").arg("--output").arg(&path)).exits(0).says("");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\nyubiotp_users{") && text.ends_with('\n'), "{text}");
    assert_eq!(mode(&path), 0o644);
    assert_eq!(std::io::read_to_string(old).unwrap(), "old");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    // A failure leaves what was there, and no new file.
    run(on(&host, "metrics").arg("--output").arg(folder.join("none/yubiotp.prom")))
        .exits(2)
        .notes("[file-inaccessible]");
    run(on(&host, "metrics").arg("--output").arg(&folder)).exits(2).notes("[input-invalid]");
    fs::remove_file(host.place.config()).unwrap();
    run(on(&host, "metrics").arg("--output").arg(&path)).exits(2);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    run(on(&host, "metrics").arg("--json")).exits(2).says("\"input-invalid\"");
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd").join(name)
}

#[test]
fn the_units_are_units_and_confined() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return tests::skip("needs systemd-analyze");
    }
    const NAMES: [&str; 2] = ["yubiotp-metrics.timer", "yubiotp-metrics.service"];
    let folder = tempfile::tempdir().unwrap();
    for name in NAMES {
        // The program is not installed on this machine.
        let text = fs::read_to_string(shipped(name)).unwrap();
        assert_eq!(text.contains("/usr/bin/ykmap metrics --output "), name.ends_with("service"));
        fs::write(folder.path().join(name), text.replace("/usr/bin/ykmap", "/bin/true")).unwrap();
    }
    let mut analyze = Command::new("systemd-analyze");
    analyze
        .args(["verify", "--man=no"])
        .args(NAMES)
        .env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()));
    let said = String::from_utf8(analyze.output().unwrap().stderr).unwrap();
    assert!(!said.contains("yubiotp-metrics"), "{said}");
    let mut security = Command::new("systemd-analyze");
    let security = security
        .args(["security", "--offline=true", "--threshold=30"])
        .arg(shipped(NAMES[1]))
        .output()
        .unwrap();
    assert!(security.status.success(), "{}", String::from_utf8_lossy(&security.stdout));
}
