//! A site for trying out, where there is no configuration: a user with a password and an app, and a page that asks for both.

use crate::cli::init::make::Plan;
use crate::cli::user::app;
use crate::cli::{Context, Failure, Opened, out, place};
use data_encoding::BASE32_NOPAD;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use ykcli::qr;
use ykserve::installation::Layout;
use ykweb::config::Origin;
use ykweb::first_factor::file::set_password;
use ykweb::store::NewCodes;
use ykweb::user::UserName;
use ykweb::{clock, file, random};
use yubiotp::diagnostic::{Code, Diagnostic, Location, cause};
use zeroize::Zeroizing;

/// Where the site is, unless the command line says otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8490);
const USER: &str = "demo";

/// What its user needs to know, once.
pub(super) struct Trial {
    password: Zeroizing<String>,
    secret: Zeroizing<String>,
    uri: Zeroizing<String>,
    code: Zeroizing<String>,
    folder: String,
    page: Origin,
}

/// The address that browsers of this computer reach as `localhost`: the first of `listen`. Port 0 is replaced by a free port there,
/// because names need one.
///
/// # Errors
/// No browser reaches it under this name, or the server could not listen there. Then no site is made that has its port.
pub(super) fn address(listen: &mut [SocketAddr]) -> Result<SocketAddr, Failure> {
    let mut default = LISTEN;
    let first = listen.first_mut().unwrap_or(&mut default);
    if ![IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].contains(&first.ip()) {
        let problem =
            format!("{first} is not localhost, and the site for trying out is for this computer only");
        let found =
            Diagnostic::error(Code::CommandLineInvalid, problem).at(Location::Setting("--listen".to_owned()));
        return Err(found
            .advise("use 127.0.0.1 or [::1], or create a configuration with ykwebd init")
            .into());
    }
    *first = TcpListener::bind(*first).and_then(|socket| socket.local_addr()).map_err(|why| {
        let in_use = why.kind() == std::io::ErrorKind::AddrInUse;
        let code = if in_use { Code::AddressInUse } else { Code::CannotListen };
        Diagnostic::error(code, format!("cannot listen on {first}: {}", cause(&why)))
            .advise("name another port, such as --listen 127.0.0.1:8600")
    })?;
    Ok(*first)
}

/// Creates configuration, store key and store in the data folder, and the user.
pub(super) fn make(context: &Context, at: SocketAddr) -> Result<Trial, Failure> {
    make_in(&place::INSTALLED.data_folder().ok_or_else(place::no_settings)?, context, at)
}

fn make_in(folder: &Path, context: &Context, at: SocketAddr) -> Result<Trial, Failure> {
    let origin = |name: &str| {
        Origin::parse(&format!("http://{name}:{}", at.port()))
            .map_err(|why| Diagnostic::error(Code::InternalError, format!("{name} {why}")))
    };
    let (portal, page) = (origin("localhost")?, origin("app.localhost")?);
    let config = folder.join("config.toml");
    let user =
        UserName::parse(USER).map_err(|why| Diagnostic::error(Code::InternalError, why.to_string()))?;
    let password =
        Zeroizing::new(BASE32_NOPAD.encode(&*Zeroizing::new(random::bytes::<10>()?)).to_lowercase());
    // The configuration comes last of what another try would need.
    file::make_folder(folder, 0o700)?;
    set_password(&folder.join("passwords"), &user, password.as_bytes(), None)?;
    let further = format!(
        "\n# The site for trying out.\n[password]\nfile = \"passwords\"\n\n\
         [[host]]\nurl = \"{page}\"\nrequire = \"otp\"\n"
    );
    let listen = Some(at).filter(|at| *at != LISTEN);
    let layout = Layout::OneFolder;
    Plan { config, layout, public_url: Some(portal), listen, further, demo_pages: true }.make()?;
    let Opened { config, store, keys } = context.open()?;
    store.add_user(&user, clock::now())?;
    let (secret, uri) = app::give(&store, &keys, &user, config.public_url.host())?;
    let codes = NewCodes::draw(keys.current())?;
    store.new_recovery_codes(&user, &codes, clock::now())?;
    let code = codes.texts().next().unwrap_or_default();
    Ok(Trial { password, secret, uri, code, folder: folder.display().to_string(), page })
}

impl Trial {
    /// Shows it, once the server answers.
    pub(super) fn tell(&self, ykwebd: &str) {
        out::paragraphs(&format!(
            "\nCreated a site for trying out in {}. It is for this computer only. Open {}/ in a browser, and sign in:\n\n  \
             user      {USER}\n  password  {}\n  app       scan this, or type {} into it\n  no app?   recovery code {}\n",
            self.folder, self.page, *self.password, *self.secret, *self.code
        ));
        qr::Args::default().print(&self.uri);
        out::paragraphs(&format!(
            "\nThese are not shown again. Next:\n  {ykwebd} user add NAME\n  {ykwebd} session list\n\
             For your own sites, create another configuration:\n  \
             ykwebd --config /etc/ykweb/config.toml init --public-url https://login.example.com"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ykweb::config::Config;

    #[test]
    fn names_lead_to_where_it_listens() {
        for (at, ending) in [
            ("127.0.0.1:8490", ":8490"),
            ("127.0.0.1:8600", ":8600"),
            ("[::1]:8600", ":8600"),
            ("127.0.0.1:80", ""),
        ] {
            let at = at.parse().unwrap();
            let folder = tempfile::tempdir().unwrap();
            let config = folder.path().join("config.toml");
            let context = Context { config: Some(config.clone()), json: false };
            let trial = make_in(folder.path(), &context, at).ok().unwrap();
            assert_eq!(trial.page.to_string(), format!("http://app.localhost{ending}"));
            // Also when it is started again, without options.
            let config = Config::load(&config, &[]).unwrap();
            assert_eq!(config.listen, [at]);
            assert_eq!(config.public_url.to_string(), format!("http://localhost{ending}"));
            assert_eq!(config.hosts[0].origin, trial.page);
        }
    }

    #[test]
    fn it_is_for_this_computer() {
        for text in ["0.0.0.0:8600", "192.0.2.1:8600", "127.0.0.2:8600", "[::]:8600"] {
            assert!(address(&mut [text.parse().unwrap()]).is_err(), "{text}");
        }
        let mut listen = ["127.0.0.1:0".parse().unwrap(), "192.0.2.1:1".parse().unwrap()];
        let at = address(&mut listen).ok().unwrap();
        assert!(at == listen[0] && at.port() != 0, "{at}");
        let _taken = TcpListener::bind(at).unwrap();
        assert!(address(&mut [at]).is_err());
    }
}
