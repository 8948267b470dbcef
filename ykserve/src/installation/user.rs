//! The user who runs a server, if root looks: the user of the systemd unit with this configuration, or the owner of the store, or
//! of the folder with the file that records what was seen of it.

use super::unit::Unit;
use super::{Installation, accounts};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The user who runs a server, other than root, as the kernel will see it.
#[derive(Debug, PartialEq, Eq)]
pub struct ServerUser {
    /// Name and number, for people.
    pub name: String,
    /// The number.
    pub uid: u32,
    pub(super) groups: Vec<u32>,
    /// The name or number of the primary group.
    pub(super) group: String,
    /// The store key that systemd passes to the server.
    pub credential: Option<PathBuf>,
}

impl ServerUser {
    /// `None`: the server runs as the user who runs this, or as root. `store` is the store of this configuration, or what
    /// records its state, if that is a file.
    #[must_use]
    pub fn of(installed: &Installation, config: &Path, store: Option<&Path>) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        match Unit::named(installed.unit).filter(|unit| unit.serves(config, installed.config)) {
            Some(unit) => Self::named(unit.user.as_deref()?, &unit),
            None => {
                let store = store?;
                let owner = |path: &Path| std::fs::metadata(path).map_or(0, |is| is.uid());
                let owner = [store.parent()?, store].map(owner).into_iter().find(|owner| *owner != 0)?;
                Some(Self::numbered(owner, &Unit::default()))
            }
        }
    }

    fn named(user: &str, unit: &Unit) -> Option<Self> {
        let accounts = accounts("/etc/passwd");
        let account = accounts.iter().find(|fields| fields.first().is_some_and(|name| name == user));
        let uid = user.parse().ok().or_else(|| account?.get(2)?.parse().ok())?;
        (uid != 0).then(|| Self::numbered(uid, unit))
    }

    fn numbered(uid: u32, unit: &Unit) -> Self {
        let users = accounts("/etc/passwd");
        let user =
            users.iter().find(|fields| fields.get(2).and_then(|number| number.parse().ok()) == Some(uid));
        let name = user.and_then(|user| user.first());
        let (mut groups, mut first) = (Vec::new(), unit.group.clone());
        let own = user.and_then(|user| user.get(3)?.parse::<u32>().ok());
        let wanted: Vec<_> = unit.group.iter().chain(&unit.groups).collect();
        for fields in accounts("/etc/group") {
            let [group, _, number, members] = fields.as_slice() else { continue };
            let Ok(number) = number.parse() else { continue };
            let is_member = members.split(',').any(|member| Some(member) == name.map(String::as_str));
            if own == Some(number) {
                first.get_or_insert_with(|| group.clone());
            }
            if is_member || wanted.contains(&group) {
                groups.push(number);
            }
        }
        groups.extend(wanted.iter().filter_map(|wanted| wanted.parse::<u32>().ok()));
        if unit.group.is_none() {
            groups.extend(own);
        }
        let name = name.map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})"));
        let group = first.unwrap_or_else(|| own.unwrap_or(uid).to_string());
        Self { name, uid, groups, group, credential: unit.store_key.clone() }
    }
}
