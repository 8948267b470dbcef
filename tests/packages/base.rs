//! The tree that every root of this run lies over: a minimal Debian, of the suite that the machine runs.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

const SCRIPT: &str = include_str!("base.sh");

/// Holds the tree for as long as this process lives.
pub(crate) struct Base {
    holder: Child,
    at: PathBuf,
}

/// Made on first use, in half a minute; a copy is kept in cargo's folder and serves for a day.
///
/// # Errors
/// Why this machine has none, to be printed.
pub(crate) fn base() -> Result<&'static Base, String> {
    static BASE: OnceLock<Result<Base, String>> = OnceLock::new();
    BASE.get_or_init(Base::start).as_ref().map_err(Clone::clone)
}

impl Base {
    fn start() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("needs root".to_owned());
        }
        for tool in ["debootstrap", "unshare", "nsenter", "setpriv", "setsid"] {
            if !installed(tool) {
                return Err(format!("needs {tool}"));
            }
        }
        let suite = suite().ok_or("needs a Debian, for the suite to install")?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let at = mount_point();
        fs::create_dir_all(&at).unwrap();
        let mut hasher = DefaultHasher::new();
        SCRIPT.hash(&mut hasher);
        let kept = folder.join(format!("{suite}-{:x}.tar", hasher.finish()));
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation=private", "sh", "-c", SCRIPT, "sh"])
            .arg(&at)
            .args([&suite, &mirror(&suite)])
            .arg(kept)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        if holder.stdout.as_mut().unwrap().read_exact(&mut ready).is_err() {
            let output = holder.wait_with_output().unwrap();
            return Err(format!("needs a Debian of its own: {}", String::from_utf8_lossy(&output.stderr)));
        }
        Ok(Self { holder, at })
    }

    /// A process that is a root's own first one, and the number by which it is found from outside.
    pub(crate) fn root(&self) -> (Child, u32) {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.holder.id())).args(["--mount", "--"]);
        command.args(["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]);
        command.args(["sh", "-c", include_str!("root.sh"), "sh"]).arg(&self.at);
        command.arg(checkout()).arg(target());
        let mut holder =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let Ok(outside) = said.trim().parse() else {
            let output = holder.wait_with_output().unwrap();
            panic!("no root: {}", String::from_utf8_lossy(&output.stderr));
        };
        (holder, outside)
    }
}

/// Where the tree of each root is mounted, in its own namespace.
pub(crate) fn tree() -> PathBuf {
    mount_point().join("own/root")
}

/// Empty outside, and so it may stay.
fn mount_point() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("root")
}

/// The workspace.
pub(crate) fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The folder that cargo builds in: this test is `target/PROFILE/deps/NAME`.
pub(crate) fn target() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned()
}

/// Whether the machine has a program, in the folders that root's shell looks into.
pub(crate) fn installed(program: &str) -> bool {
    let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    folders.iter().any(|folder| Path::new(folder).join(program).is_file())
}

fn suite() -> Option<String> {
    let release = fs::read_to_string("/etc/os-release").ok()?;
    if !release.lines().any(|line| line == "ID=debian") {
        return None;
    }
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(name.trim_matches('"').to_owned())
}

/// Where apt has that suite from. Nothing: debootstrap knows a place.
fn mirror(suite: &str) -> String {
    let arguments = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main"];
    let Ok(output) = Command::new("apt-get").args(arguments).arg(format!("Codename: {suite}")).output()
    else {
        return String::new();
    };
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
}
