//! The doctor's reading of sshd_config, compared with the real sshd on the same files.

use super::{Host, SUDO};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Files of the folder `FOLDER`, and the text of the main one.
struct Case {
    main: &'static str,
    files: &'static [(&'static str, &'static str)],
    /// `UsePAM`, as sshd takes it.
    use_pam: bool,
}

const CASES: [Case; 12] = [
    Case {
        main: "Include FOLDER/[0-9]*.conf\nUsePAM yes\n",
        files: &[("10-x.conf", "UsePAM no\n")],
        use_pam: false,
    },
    Case {
        main: "Include FOLDER/*/x.conf\nUsePAM yes\n",
        files: &[("d/x.conf", "UsePAM no\n")],
        use_pam: false,
    },
    Case {
        main: "Include FOLDER/[!0-9]*.conf FOLDER/z\nUsePAM yes\n",
        files: &[("10.conf", "UsePAM no\n"), ("z", "")],
        use_pam: true,
    },
    Case {
        main: "Include none FOLDER/a FOLDER/b\nUsePAM yes\n",
        files: &[("a", "Port 22\n"), ("b", "UsePAM no\n")],
        use_pam: false,
    },
    Case { main: "Include \"FOLDER/a b\"\nUsePAM yes\n", files: &[("a b", "UsePAM no\n")], use_pam: false },
    Case {
        main: "Include FOLDER/*.conf # all\nUsePAM yes\n",
        files: &[(".a.conf", "UsePAM no\n"), ("#.conf", "")],
        use_pam: true,
    },
    Case {
        main: "Include FOLDER/*.conf\n",
        files: &[("10.conf", "UsePAM yes\n"), ("9.conf", "UsePAM no\n")],
        use_pam: true,
    },
    Case {
        main: "Include FOLDER/*/x\n",
        files: &[("a/x", "UsePAM no\n"), ("a-b/x", "UsePAM yes\n")],
        use_pam: true,
    },
    Case {
        main: "Include FOLDER/[ab]\nUsePAM yes\n",
        files: &[("a", "Include FOLDER/c?\n"), ("c1", "usepam = no\n"), ("b", "")],
        use_pam: false,
    },
    Case {
        main: "Match User nobody\nInclude FOLDER/a\nMatch all\n",
        files: &[("a", "PasswordAuthentication no\n")],
        use_pam: false,
    },
    Case {
        main: "Include FOLDER/a\nUsePAM yes\n",
        files: &[("a", "Match User nobody\nPasswordAuthentication no\n")],
        use_pam: true,
    },
    Case { main: "Include FOLDER/[x\nUsePAM yes\n", files: &[("[x", "UsePAM no\n")], use_pam: false },
];

/// What `sshd -T` says of the file, if this machine has an sshd that can be started.
fn by_sshd(config: &Path, key: &Path) -> Option<String> {
    // Where nobody sees it, for sshd wants a folder in /run.
    let script = "mount -t tmpfs none /run && mkdir /run/sshd && exec \"$(command -v sshd || echo /usr/sbin/sshd)\" \
                  -T -f \"$1\" -h \"$2\"";
    let said =
        Command::new("unshare").args(["-rm", "sh", "-c", script, "sh"]).arg(config).arg(key).output().ok()?;
    said.status.success().then(|| String::from_utf8(said.stdout).unwrap())
}

#[test]
fn includes_as_sshd_takes_them() {
    let mut compared = 0;
    for Case { main, files, use_pam } in CASES {
        let host = Host::new();
        fs::remove_file(host.pam("sudo")).unwrap();
        host.service("sshd", &(SUDO.to_owned() + "account required pam_yubiotp.so\n"));
        let (folder, config) = (host.place.path("sshd.d"), host.place.path("sshd_config"));
        let named = |text: &str| text.replace("FOLDER", folder.to_str().unwrap());
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, named(text)).unwrap();
        }
        fs::write(&config, named(main)).unwrap();
        let visit = host.doctor(&[]);
        assert_eq!(!visit.has("sshd-without-pam"), use_pam, "{main}: {visit:#?}");
        let key = host.place.path("host_key");
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        if made.is_ok_and(|made| made.success())
            && let Some(said) = by_sshd(&config, &key)
        {
            compared += 1;
            let line = format!("usepam {}", if use_pam { "yes" } else { "no" });
            assert!(said.lines().any(|own| own == line), "{main}: {said}");
        }
    }
    if compared == 0 {
        eprintln!("not compared with sshd: this machine has none that can be started");
    } else {
        assert_eq!(compared, CASES.len());
    }
}

/// As deep as sshd goes, and one deeper: it does not start then.
#[test]
fn includes_that_are_too_deep() {
    let host = Host::new();
    fs::remove_file(host.pam("sudo")).unwrap();
    host.service("sshd", &(SUDO.to_owned() + "account required pam_yubiotp.so\n"));
    let include = |depth: u32| format!("Include {}\n", host.place.path(&format!("deep{depth}")).display());
    for depth in 1..=16 {
        let text = if depth == 16 { "UsePAM yes\n".to_owned() } else { include(depth + 1) };
        host.place.write(&format!("deep{depth}"), text, 0o644);
    }
    host.place.write("sshd_config", include(1), 0o644);
    let finds = |code: &str| host.doctor(&[]).has(code);
    assert!(!finds("sshd-without-pam") && !finds("sshd-config-unreadable"));
    host.place.write("deep16", include(17), 0o644);
    host.place.write("deep17", "UsePAM yes\n", 0o644);
    assert!(finds("sshd-config-unreadable"));
}
