//! What shells complete. That every verb and option is there is tested with `ykmap`, which has them by the same way.

use crate::desk::{run, ykvald};
use std::io::Write as _;
use std::process::{Command, Stdio};

#[test]
fn each_shell_takes_its_own() {
    for (shell, check) in [("bash", &["-n"][..]), ("zsh", &["-n"]), ("fish", &["--no-execute"])] {
        let script =
            run(ykvald().args(["completions", shell])).exits(0).says("rotate").says("in-the-clear").out;
        let child = Command::new(shell).args(check).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let Ok(mut child) = child else {
            tests::skip(&format!("needs {shell}"));
            continue;
        };
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
    }
    run(ykvald().args(["completions", "tcsh"])).exits(2);
}
