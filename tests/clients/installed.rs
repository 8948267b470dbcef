//! Where the clients are: Debian's packages where they are, all others in `target/tmp/clients`, from which nothing leads
//! to the rest of the machine.

use crate::asked::{must, source};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};
use tests::built;
use tests::foreign::{CLIENTS, Client, Origin};
use tests::ykvald::free_port;

/// The interpreter that Debian's modules are for.
const PYTHON: &str = "/usr/bin/python3";

pub(crate) fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Nobody else installs while this is there, also in another process.
fn alone() -> File {
    let lock = File::create(folder().join("lock")).unwrap();
    lock.lock().unwrap();
    lock
}

/// The interpreter of a virtual environment that has this package of PyPI: each has one of its own, since what they need
/// does not go together.
pub(crate) fn python(package: &str, version: &str) -> PathBuf {
    let _others_wait = alone();
    let folder = folder().join(format!("{package}-{version}"));
    let (interpreter, complete) = (folder.join("bin/python"), folder.join("complete"));
    if !complete.exists() {
        must(Command::new(PYTHON).args(["-m", "venv", "--clear"]).arg(&folder));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        must(Command::new(&interpreter).args(pip).arg(format!("{package}=={version}")));
        fs::write(complete, "").unwrap();
    }
    interpreter
}

/// The folder that has `node_modules`.
fn node() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let _others_wait = alone();
        let folder = folder().join("node");
        fs::create_dir_all(&folder).unwrap();
        let pinned = CLIENTS.iter().filter_map(|client| match client.origin {
            Origin::Npm(name) => Some(format!("{name}@{}", client.version)),
            _ => None,
        });
        let install =
            ["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix"];
        must(Command::new("npm").args(install).arg(&folder).args(pinned));
        folder
    })
}

/// The program made of `tests/clients/rust`.
fn crates() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = folder().join("rust");
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--locked", "--manifest-path"]).arg(source("rust/Cargo.toml"));
        must(build.arg("--target-dir").arg(&folder));
        folder.join("debug/ask-by-crates")
    })
}

/// The version that is installed; why there is none.
pub(crate) fn version(client: &Client) -> Result<String, String> {
    let behind = |text: &str, name: &str| {
        let (_, rest) = text.split_once(name).unwrap_or_else(|| panic!("{name}: {text}"));
        rest.split(['"', '\n', ' ']).find(|word| !word.is_empty()).unwrap().to_owned()
    };
    Ok(match client.origin {
        Origin::Debian(package) => {
            let output = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output();
            let version = output.ok().filter(|output| output.status.success());
            let version = version.ok_or_else(|| format!("needs {package}"))?.stdout;
            // Without Debian's own: 3.2.1+dfsg-4+deb12u1.
            let version = String::from_utf8(version).unwrap();
            version.split(['-', '+']).next().unwrap().to_owned()
        }
        Origin::PyPi(name) => {
            let python = python(name, client.version);
            behind(&must(Command::new(python).args(["-m", "pip", "show", name])), "\nVersion: ")
        }
        Origin::Npm(name) => {
            let described = node().join("node_modules").join(name).join("package.json");
            behind(&fs::read_to_string(described).unwrap(), "\"version\": \"")
        }
        Origin::Crate(name) => {
            let locked = fs::read_to_string(source("rust/Cargo.lock")).unwrap();
            behind(&locked, &format!("name = \"{name}\"\nversion = \""))
        }
    })
}

/// The first of these that is there.
fn there(paths: &[&str]) -> PathBuf {
    let there = paths.iter().find(|path| Path::new(path).exists());
    PathBuf::from(there.unwrap_or_else(|| panic!("none of {paths:?} is there")))
}

/// The command by which a client that is installed asks this server.
pub(crate) fn command(client: &Client, url: &str, id: u64, key: &str, authority: &Path) -> Command {
    let program = source("ask").join(client.ask);
    let mut command = match (client.origin, client.ask.rsplit_once('.')) {
        (Origin::Crate(name), _) => {
            let mut command = Command::new(crates());
            command.arg(name);
            command
        }
        (Origin::PyPi(name), _) => isolated(&python(name, client.version), &program),
        (Origin::Npm(_), _) => {
            let mut command = interpreted(Path::new("node"), &program);
            // Its packages are not beside the program.
            command.env("NODE_PATH", node().join("node_modules")).env("NODE_EXTRA_CA_CERTS", authority);
            command
        }
        (Origin::Debian(_), Some((_, "py"))) => isolated(Path::new(PYTHON), &program),
        (Origin::Debian(_), Some((_, "pl"))) => interpreted(Path::new("perl"), &program),
        (Origin::Debian(_), _) => interpreted(Path::new("sh"), &program),
    };
    match client.ask {
        "pam_yubico.sh" => {
            command.env("PAM_DRIVE", built::program("pam-drive"));
            let module = ["/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/lib", "/usr/lib"]
                .map(|folder| format!("{folder}/security/pam_yubico.so"));
            command.env("PAM_YUBICO", there(&module.each_ref().map(String::as_str)));
        }
        "freeradius.sh" => {
            command.env("LIBDIR", there(&["/usr/lib/freeradius", "/usr/lib64/freeradius"]));
            command.env("PORT", free_port().to_string());
        }
        _ => (),
    }
    command.args([url, &id.to_string(), key]);
    command
}

/// Without the program's own folder on the path: a program is called as what it imports.
pub(crate) fn isolated(python: &Path, program: &Path) -> Command {
    let mut command = Command::new(python);
    let run = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_path(sys.argv.pop(1), run_name='__main__')";
    command.args(["-I", "-B", "-c", run]).arg(source("")).arg(program);
    command
}

fn interpreted(interpreter: &Path, program: &Path) -> Command {
    let mut command = Command::new(interpreter);
    command.arg(program);
    command
}
