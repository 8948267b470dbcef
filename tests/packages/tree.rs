//! All files of a root, to tell what came and what was left.

use crate::root::Root;
use std::collections::BTreeMap;

/// Where the machine's and the run's own things are, what package managers write of every action, and who there is: users
/// of packages stay.
const NOT_LOOKED_AT: &str = "-path /proc -o -path /dev -o -path /run -o -path /sys -o -path /mnt -o -path /tmp \
    -o -path /home -o -path /root/.bash_history -o -path /var/log -o -path /var/cache/apt -o -path /var/cache/man -o -path /var/cache/debconf -o -path /var/lib/apt \
    -o -path /etc/passwd -o -path /etc/group -o -path /etc/shadow -o -path /etc/gshadow -o -path '/etc/*-' -o -path /etc/.pwd.lock \
    -o -path '/var/lib/dpkg/*-old' -o -path /var/lib/dpkg/lock -o -path /var/lib/dpkg/status -o -path /var/lib/dpkg/available";

/// Path to type, mode, owner, and what is in it; the last for what is in /etc, /usr and /var/lib, but folders.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tree(BTreeMap<String, String>);

impl Root {
    pub(crate) fn tree(&self) -> Tree {
        let line = format!(
            "find / \\( {NOT_LOOKED_AT} \\) -prune -o -printf '%p\\t%y %m %u:%g %l\\n' && echo == && \
             find /etc /usr /var/lib \\( {NOT_LOOKED_AT} \\) -prune -o -type f -print0 | xargs -0 md5sum -z"
        );
        let said = self.quietly(&line, "").ok().said;
        let (files, sums) = said.split_once("==\n").unwrap();
        let mut tree: BTreeMap<_, _> = files
            .lines()
            .map(|line| line.split_once('\t').unwrap())
            .map(|(path, what)| (path.to_owned(), what.to_owned()))
            .collect();
        for (sum, path) in sums.split_terminator('\0').map(|line| line.split_once("  ").unwrap()) {
            tree.get_mut(path).unwrap().push_str(sum);
        }
        Tree(tree)
    }
}

impl Tree {
    /// What `self` has that `before` had not, or had otherwise: `PATH: WHAT`.
    pub(crate) fn beyond(&self, before: &Self) -> Vec<String> {
        let new = self.0.iter().filter(|(path, what)| before.0.get(*path) != Some(*what));
        new.map(|(path, what)| format!("{path}: {}", what.trim_end())).collect()
    }

    /// The same, without the sums.
    pub(crate) fn brought(&self, before: &Self) -> Vec<String> {
        let new = self.0.iter().filter(|(path, what)| before.0.get(*path) != Some(*what));
        let what = |what: &str| what.split(' ').take(3).collect::<Vec<_>>().join(" ");
        new.map(|(path, all)| format!("{path} {}", what(all))).collect()
    }

    /// That `self` is what `before` was, but for paths that begin so.
    #[track_caller]
    pub(crate) fn assert_same(&self, before: &Self, but: &[&str]) {
        let own = |line: &String| but.iter().any(|begin| line.starts_with(begin));
        let (came, went) = (self.beyond(before), before.beyond(self));
        let came: Vec<_> = came.into_iter().filter(|line| !own(line)).collect();
        let went: Vec<_> = went.into_iter().filter(|line| !own(line)).collect();
        assert!(came.is_empty() && went.is_empty(), "came: {came:#?}\nwent: {went:#?}");
    }
}
