//! `ykwebd check`: what the server depends on, without starting it.

mod files;
mod validation;

use super::{Context, Done, Failure, out, place};
use serde_json::Value;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use ykcli::report::Report;
use ykserve::installation::{ServerUser, store_key_path};
use ykserve::tls::{Certificate, Clients};
use ykweb::config::{Config, Passwords};
use ykweb::file;
use ykweb::first_factor::FirstFactor;
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Location, Severity};

/// The areas of the report, in its order.
const AREAS: &[&str] =
    &["configuration", "hosts", "tls", "password", "validation", "sockets", "store key", "store", "users"];

pub(crate) fn run(context: &Context) -> Done {
    let mut report = Report::new(AREAS);
    let ykwebd = context.ykwebd();
    report.calls(Calls { ykwebd: &ykwebd, ..Calls::PLAIN });
    match context.settings(&[]) {
        Ok(mut config) => all(&mut report, &mut config),
        Err(failure) => add(&mut report, "configuration", failure),
    }
    if context.json {
        out::json(&Value::Object(report.json()));
    } else {
        report.print();
        out::line(&report.summary());
    }
    report.done()
}

/// Adds why something could not be checked.
fn add(report: &mut Report, area: &'static str, failure: Failure) {
    if let Some(found) = failure.or_as_root().diagnostic() {
        report.add(area, found.with_severity(Severity::Error));
    }
}

fn setting(name: &str) -> Location {
    Location::Setting(name.to_owned())
}

fn all(report: &mut Report, config: &mut Config) {
    report.ok(
        "configuration",
        Some(file::location(&config.path)),
        format!("the portal is {}", config.public_url),
    );
    let server = ServerUser::of(&place::INSTALLED, &config.path, Some(&config.store));
    if let Some(server) = &server {
        // The server may read its own files.
        file::trust(server.uid);
    }
    hosts(report, config);
    if let Some(files) = &config.tls {
        match Certificate::read(files, Clients::May, "listen") {
            Ok(_) => report.ok("tls", Some(file::location(&files.certificate)), "can be used"),
            Err(fault) => report.add("tls", fault.diagnostic().clone()),
        }
    }
    if let Some(server) = &server {
        files::check(report, config, server);
    }
    passwords(report, config);
    validation::check(report, config.validation.take());
    // systemd may pass the server another one than the configuration names.
    let passed = server.and_then(|server| server.credential);
    let path = passed.unwrap_or_else(|| store_key_path(&config.store_key));
    let keys = match place::read_key(&path, config) {
        Ok(keys) => keys,
        Err(failure) => return add(report, "store key", failure),
    };
    report.ok("store key", Some(file::location(&path)), format!("is store key {}", keys.current().id()));
    let store = match place::store(config, &keys) {
        Ok(store) => store,
        Err(failure) => return add(report, "store", failure),
    };
    report.ok("store", Some(file::location(&config.store)), "can be read");
    match store.users() {
        Ok(users) if users.is_empty() => report.add(
            "users",
            Diagnostic::warning(Code::NoUsers, "there are none, so nobody has a second factor")
                .run(yubiotp::diagnostic::Program::Ykwebd, "user add NAME"),
        ),
        Ok(users) => report.ok("users", None, ykcli::out::count(users.len(), "user")),
        Err(fault) => report.add("users", fault.diagnostic()),
    }
}

fn hosts(report: &mut Report, config: &Config) {
    if config.hosts.is_empty() {
        let none = Diagnostic::warning(Code::NoHosts, "no host is protected").at(setting("host"));
        report.add("hosts", none.advise("add a [[host]] with its url"));
        return;
    }
    for host in &config.hosts {
        let who = if host.allow.is_empty() {
            "everybody".to_owned()
        } else {
            format!("{} of allow", host.allow.len())
        };
        let at = Some(Location::Setting(host.origin.to_string()));
        report.ok("hosts", at, format!("needs {}, and lets in {who}", host.require));
    }
    let asks = config.authorizer.http.is_some() || config.authorizer.fastcgi.is_some() || config.demo_pages;
    if !asks {
        let found = Diagnostic::error(Code::NoHosts, "no web server can ask about the protected hosts");
        report.add(
            "hosts",
            found.at(setting("authorizer")).advise("set authorizer.http or authorizer.fastcgi"),
        );
    }
}

fn passwords(report: &mut Report, config: &Config) {
    let found = match &config.password {
        Passwords::Pam(socket) => return pam(report, socket),
        Passwords::File(path) => match FirstFactor::new(&config.password) {
            Ok(_) => return report.ok("password", Some(file::location(path)), "can be read"),
            Err(found) => found,
        },
        Passwords::None if config.identity.is_some() => {
            return report.ok("password", Some(setting("password")), "none: web servers hand over users");
        }
        Passwords::None => Diagnostic::error(
            Code::NobodySignsIn,
            "nobody checks passwords, and no web server hands over users",
        )
        .at(setting("password"))
        .advise("set password.pam, password.file or [identity]"),
    };
    report.add("password", found);
}

/// A stack that asks for a second factor, too, would get none, and refuse everybody.
fn pam(report: &mut Report, socket: &Path) {
    match std::fs::metadata(socket) {
        Ok(is) if is.file_type().is_socket() => {
            report.ok("password", Some(file::location(socket)), "is a socket")
        }
        _ => {
            let found =
                Diagnostic::error(Code::PasswordNotAsked, "nobody listens there, so no password is right");
            let found = found.at(file::location(socket));
            report.add(
                "password",
                found.run(
                    yubiotp::diagnostic::Program::System,
                    "systemctl enable --now ykweb-password.socket",
                ),
            );
        }
    }
    const STACK: &str = "/etc/pam.d/ykweb";
    let text = match file::read(Path::new(STACK), file::Audience::Everyone, 1 << 20) {
        Ok(text) => text,
        Err(fault) if fault.is_missing() => {
            let missing = Diagnostic::error(
                Code::PamStackMissing,
                "does not exist, so that PAM refuses everybody, or uses `other`",
            );
            let missing = missing.at(file::location(Path::new(STACK)));
            return report.add("password", missing.advise("create it: the example is in pam.d-examples"));
        }
        Err(fault) => return report.add("password", fault.diagnostic()),
    };
    let text = String::from_utf8_lossy(&text);
    let names_us = |line: &str| !line.trim_start().starts_with('#') && line.contains("pam_yubiotp");
    if let Some(at) = text.lines().position(names_us) {
        let found = Diagnostic::error(
            Code::PamStackAsksTwice,
            "asks for a second factor, which ykwebd asks for itself",
        );
        let found = found.at(Location::line(STACK.as_bytes(), at.saturating_add(1)));
        report.add("password", found.advise("remove the line: this stack is for the password only"));
    }
}
