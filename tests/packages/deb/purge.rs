//! A purge must leave files that are not the package's any more, and the targets of links.

use super::fresh;
use crate::root::TARGET;
use crate::shipped::debs;

const MODULE: &str = "$(dirname $(find /usr/lib -name pam_permit.so))/pam_yubiotp.so";

#[test]
fn a_purge_takes_its_own_alone() {
    let Some((root, before)) = fresh("purge") else { return };
    let sums = |folder: &str| {
        root.quietly(&format!("cd {folder} && find . -type f | sort | xargs md5sum"), "").ok().said
    };

    root.story.step("removed, and installed again from source: then the store is of use");
    root.apt_install(&debs().new).ok();
    let said = root.apt("remove").ok().said;
    assert!(!said.contains("The profile is taken out"), "it was not on: {said}");
    root.run(&format!("install -m 644 {TARGET}/release/libpam_yubiotp.so {MODULE}")).ok();
    let (etc, store) = (sums("/etc/yubiotp"), sums("/var/lib/yubiotp"));
    root.apt("purge")
        .ok()
        .says("/pam_yubiotp.so is there")
        .says("/etc/yubiotp and /var/lib/yubiotp are left");
    assert_eq!(root.status(), "");
    assert_eq!((sums("/etc/yubiotp"), sums("/var/lib/yubiotp")), (etc, store));
    root.run("ls -d /var/lib/yubiotp/keys /var/lib/yubiotp/positions").ok();
    root.run(&format!("rm -r {MODULE} /etc/yubiotp /var/lib/yubiotp")).ok();
    root.tree().assert_same(&before, &[]);

    root.story.step("a disk of its own: it is emptied");
    root.apt_install(&debs().new).ok();
    root.run("mkdir /root/copy && mv /var/lib/yubiotp/* /root/copy && mount -t tmpfs -o mode=700 store /var/lib/yubiotp").ok();
    root.run("mv /root/copy/* /var/lib/yubiotp && rmdir /root/copy && ykmap key new").ok();
    root.apt("purge").ok().says("/var/lib/yubiotp is left: something is mounted there");
    assert_eq!(root.status(), "");
    assert_eq!(root.run("find /var/lib/yubiotp -mindepth 1").ok().said, "");
    root.run("mountpoint /var/lib/yubiotp && umount /var/lib/yubiotp && rmdir /var/lib/yubiotp").ok();
    root.tree().assert_same(&before, &[]);

    root.story.step("a link: what it leads to is left");
    root.apt_install(&debs().new).ok();
    root.run("ykmap key new && mv /var/lib/yubiotp /srv/store && ln -s /srv/store /var/lib/yubiotp").ok();
    let store = sums("/srv/store");
    assert!(!store.is_empty());
    root.apt("purge").ok().says("/var/lib/yubiotp is a link: its target is left");
    assert_eq!(root.status(), "");
    assert_eq!(sums("/srv/store"), store);
    root.run("rm -r /srv/store").ok();
    root.tree().assert_same(&before, &[]);
}
