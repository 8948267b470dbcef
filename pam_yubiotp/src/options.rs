//! The arguments in pam.d. An argument that is not understood denies: a misspelt one must not be lost.

use std::ffi::CStr;
use std::path::PathBuf;
use ykmap::settings::{Given, Mode, check_token_id_length, check_tries};

/// What is done with a password that a module before this one asked for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstPass {
    /// Nothing.
    #[default]
    Never,
    /// `try_first_pass`: it may hold an OTP; if not, the user is asked.
    Try,
    /// `use_first_pass`: it must hold an OTP; the user is never asked.
    Use,
}

/// The arguments of one line in pam.d.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// `config=`
    pub(crate) config: Option<PathBuf>,
    /// Settings that stand before those of the file.
    pub(crate) given: Given,
    /// `nullok`
    pub(crate) nullok: bool,
    /// `try_first_pass`, `use_first_pass`
    pub(crate) first_pass: FirstPass,
    /// `always_prompt`
    pub(crate) always_prompt: bool,
}

/// Every argument that is understood, with the names that pam_yubico has for some.
pub(crate) const NAMES: [&str; 15] = [
    "config=",
    "mapping=",
    "authfile=",
    "mode=",
    "store=",
    "nullok",
    "try_first_pass",
    "use_first_pass",
    "always_prompt",
    "prompt=",
    "echo",
    "verbose_otp",
    "tries=",
    "token_id_length=",
    "debug",
];

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// Names the first argument that is unknown, has a wrong value, or stands there twice.
    pub(crate) fn read(args: &[&CStr]) -> Result<Self, String> {
        let mut options = Self::default();
        for arg in args {
            let arg = arg.to_str().map_err(|_| format!("argument {arg:?} is not UTF-8"))?;
            options.take(arg).map_err(|why| format!("argument {arg:?}: {why}"))?;
        }
        Ok(options)
    }

    fn take(&mut self, arg: &str) -> Result<(), String> {
        let given = &mut self.given;
        match arg.split_once('=').map_or((arg, None), |(name, value)| (name, Some(value))) {
            ("config", Some(path)) => once(&mut self.config, absolute(path)?),
            ("mapping" | "authfile", Some(path)) => {
                absolute(path)?;
                once(&mut given.mapping, path.to_owned())
            }
            ("mode", Some(mode)) => once(&mut given.mode, Mode::parse(mode)?),
            ("store", Some(path)) => once(&mut given.store, absolute(path)?),
            ("prompt", Some(prompt)) => once(&mut given.prompt, prompt.to_owned()),
            ("tries", Some(tries)) => once(&mut given.tries, check_tries(number(tries))?),
            ("token_id_length", Some(length)) => {
                once(&mut given.token_id_length, check_token_id_length(number(length))?)
            }
            ("echo" | "verbose_otp", None) => once(&mut given.echo, true),
            ("debug", None) => once(&mut given.debug, true),
            ("nullok", None) => set(&mut self.nullok),
            ("always_prompt", None) => set(&mut self.always_prompt),
            ("try_first_pass", None) => self.first_pass(FirstPass::Try),
            ("use_first_pass", None) => self.first_pass(FirstPass::Use),
            (name, _) => Err(unknown(name)),
        }
    }

    fn first_pass(&mut self, wanted: FirstPass) -> Result<(), String> {
        if self.first_pass != FirstPass::Never {
            return Err("try_first_pass and use_first_pass: give one of them, once".to_owned());
        }
        self.first_pass = wanted;
        Ok(())
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err("given twice".to_owned()),
    }
}

fn set(flag: &mut bool) -> Result<(), String> {
    if std::mem::replace(flag, true) { Err("given twice".to_owned()) } else { Ok(()) }
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    if path.starts_with('/') {
        Ok(path.into())
    } else {
        Err("give an absolute path, beginning with /".to_owned())
    }
}

/// What is no number is none that any setting takes.
fn number(text: &str) -> i64 {
    text.parse().unwrap_or(i64::MAX)
}

/// What to say of an argument that nothing reads: how it is spelt right, if that can be told.
fn unknown(name: &str) -> String {
    if let Some(near) = NAMES.iter().find(|known| known.trim_end_matches('=') == name) {
        let rule = if near.ends_with('=') { "takes a value" } else { "takes no value" };
        return format!("{name} {rule}: write {near}");
    }
    if name == "alwaysok" {
        return "there is no alwaysok: it would let everybody in".to_owned();
    }
    format!("unknown (with blanks: [prompt=two words]); known are {}", NAMES.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    fn read(args: &[&str]) -> Result<Options, String> {
        let owned: Vec<_> = args.iter().map(|arg| CString::new(*arg).unwrap()).collect();
        Options::read(&owned.iter().map(CString::as_c_str).collect::<Vec<_>>())
    }

    #[test]
    fn every_argument_by_its_names() {
        let options = read(&[
            "config=/c",
            "authfile=/m/%u",
            "mode=offline",
            "store=/s",
            "nullok",
            "try_first_pass",
            "always_prompt",
            "prompt=Press: ",
            "verbose_otp",
            "tries=3",
            "token_id_length=12",
            "debug",
        ]);
        let given = Given {
            mode: Some(Mode::Offline),
            mapping: Some("/m/%u".into()),
            store: Some("/s".into()),
            store_key: None,
            prompt: Some("Press: ".into()),
            echo: Some(true),
            tries: Some(3),
            token_id_length: Some(12),
            lock_wait: None,
            debug: Some(true),
        };
        let config = Some("/c".into());
        let expected =
            Options { config, given, nullok: true, first_pass: FirstPass::Try, always_prompt: true };
        assert_eq!(options, Ok(expected));
        assert_eq!(read(&["mapping=/x", "echo"]).unwrap().given.mapping.as_deref(), Some("/x"));
        assert_eq!(read(&["use_first_pass"]).unwrap().first_pass, FirstPass::Use);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (arg, why) in [
            ("nulok", "unknown (with blanks: [prompt=two words]); known are config= mapping="),
            ("nullok=yes", "nullok takes no value: write nullok"),
            ("NULLOK", "unknown"),
            ("tries", "tries takes a value: write tries="),
            ("tries=", "tries is a number from 1 to 10"),
            ("tries=0", "tries is a number from 1 to 10"),
            ("tries=-1", "tries is a number from 1 to 10"),
            ("tries=many", "tries is a number from 1 to 10"),
            ("tries=300", "tries is a number from 1 to 10"),
            ("mode=online-ish", "unknown mode"),
            ("mapping=relative", "give an absolute path"),
            ("config=", "give an absolute path"),
            ("token_id_length=13", "token_id_length is an even number"),
            ("alwaysok", "there is no alwaysok"),
            ("", "unknown"),
        ] {
            let error = read(&[arg]).unwrap_err();
            assert!(error.starts_with(&format!("argument {arg:?}: {why}")), "{error}");
        }
        for twice in [&["debug", "debug"][..], &["nullok", "nullok"], &["mapping=/a", "authfile=/b"]] {
            assert!(read(twice).unwrap_err().ends_with("given twice"));
        }
        assert!(read(&["use_first_pass", "try_first_pass"]).is_err());
        assert!(Options::read(&[c"\xff"]).is_err());
    }

    #[test]
    fn the_list_of_names_is_complete() {
        for name in &NAMES {
            let value = match *name {
                "mode=" => "offline",
                "tries=" => "2",
                "token_id_length=" => "12",
                name if name.ends_with('=') => "/x",
                _ => "",
            };
            assert!(read(&[&format!("{name}{value}")]).is_ok(), "{name}");
            assert!(include_str!("../../README.md").contains(&format!("`{name}`")), "README.md lacks {name}");
        }
    }
}
