//! A site for trying out, where there is no configuration: a user with a password and an app, and a page that asks for both.

use crate::cli::init::make::Plan;
use crate::cli::user::app;
use crate::cli::{Context, Failure, Opened, out, place};
use data_encoding::BASE32_NOPAD;
use ykcli::qr;
use ykserve::installation::Layout;
use ykweb::config::Origin;
use ykweb::first_factor::file::set_password;
use ykweb::store::NewCodes;
use ykweb::user::UserName;
use ykweb::{clock, file, random};
use yubiotp::diagnostic::{Code, Diagnostic};
use zeroize::Zeroizing;

const PORTAL: &str = "http://localhost:8490";
const PAGE: &str = "http://app.localhost:8490";
const USER: &str = "demo";

const FURTHER: &str = "
# The site for trying out.
[password]
file = \"passwords\"

[[host]]
url = \"http://app.localhost:8490\"
require = \"otp\"
";

/// What its user needs to know, once.
pub(super) struct Trial {
    password: Zeroizing<String>,
    secret: Zeroizing<String>,
    uri: Zeroizing<String>,
    code: Zeroizing<String>,
    folder: String,
}

/// Creates configuration, store key and store in the data folder, and the user.
pub(super) fn make(context: &Context) -> Result<Trial, Failure> {
    let folder = place::INSTALLED.data_folder().ok_or_else(place::no_settings)?;
    let config = folder.join("config.toml");
    let user =
        UserName::parse(USER).map_err(|why| Diagnostic::error(Code::InternalError, why.to_string()))?;
    let password =
        Zeroizing::new(BASE32_NOPAD.encode(&*Zeroizing::new(random::bytes::<10>()?)).to_lowercase());
    // The configuration comes last of what another try would need.
    file::make_folder(&folder, 0o700)?;
    set_password(&folder.join("passwords"), &user, password.as_bytes(), None)?;
    let public_url = Origin::parse(PORTAL).ok();
    Plan { config, layout: Layout::OneFolder, public_url, further: FURTHER, demo_pages: true }.make()?;
    let Opened { config, store, keys } = context.open()?;
    store.add_user(&user, clock::now())?;
    let (secret, uri) = app::give(&store, &keys, &user, config.public_url.host())?;
    let codes = NewCodes::draw(keys.current())?;
    store.new_recovery_codes(&user, &codes, clock::now())?;
    let code = codes.texts().next().unwrap_or_default();
    Ok(Trial { password, secret, uri, code, folder: folder.display().to_string() })
}

impl Trial {
    /// Shows it, once the server answers.
    pub(super) fn tell(&self, ykwebd: &str) {
        out::paragraphs(&format!(
            "\nCreated a site for trying out in {}. It is for this computer only. Open {PAGE}/ in a browser, and sign in:\n\n  \
             user      {USER}\n  password  {}\n  app       scan this, or type {} into it\n  no app?   recovery code {}\n",
            self.folder, *self.password, *self.secret, *self.code
        ));
        qr::Args::default().print(&self.uri);
        out::paragraphs(&format!(
            "\nThese are not shown again. Next:\n  {ykwebd} user add NAME\n  {ykwebd} session list\n\
             For your own sites, create another configuration:\n  \
             ykwebd --config /etc/ykweb/config.toml init --public-url https://login.example.com"
        ));
    }
}
