//! What a purge must leave: everything that a login goes by, wherever it is.

use super::fresh;
use crate::root::TARGET;
use crate::shipped::debs;

const MODULE: &str = "$(dirname $(find /usr/lib -name pam_permit.so))/pam_yubiotp.so";

#[test]
fn a_purge_deletes_no_store() {
    let Some((root, before)) = fresh("purge") else { return };
    let sums = |folder: &str| {
        root.quietly(&format!("cd {folder} && find . -type f | sort | xargs md5sum"), "").ok().said
    };

    root.story.step("removed, and installed from source: nothing advises to delete what logins need");
    root.apt_install(&debs().new).ok();
    let said = root.apt("remove").ok().said;
    assert!(!said.contains("The profile is removed"), "it was not on: {said}");
    root.run(&format!("install -m 644 {TARGET}/release/libpam_yubiotp.so {MODULE}")).ok();
    let (etc, store) = (sums("/etc/yubiotp"), sums("/var/lib/yubiotp"));
    let said = root
        .apt("purge")
        .ok()
        .says("kept, because /")
        .says("/pam_yubiotp.so needs them: /etc/yubiotp /var/lib/yubiotp")
        .said;
    assert!(!said.contains("rm -r"), "{said}");
    assert_eq!(root.status(), "");
    assert_eq!((sums("/etc/yubiotp"), sums("/var/lib/yubiotp")), (etc, store));
    root.run("ls -d /var/lib/yubiotp/keys /var/lib/yubiotp/positions").ok();
    root.run(&format!("rm -r {MODULE} /etc/yubiotp /var/lib/yubiotp")).ok();
    root.tree().assert_same(&before, &[]);

    root.story.step("a disk of its own");
    root.apt_install(&debs().new).ok();
    root.run("mkdir /root/copy && mv /var/lib/yubiotp/* /root/copy && mount -t tmpfs -o mode=700 store /var/lib/yubiotp").ok();
    root.run("mv /root/copy/* /var/lib/yubiotp && rmdir /root/copy && ykmap key new").ok();
    let store = sums("/var/lib/yubiotp");
    let purged = root.apt("purge").ok();
    assert_eq!(root.status(), "");
    assert_eq!(sums("/var/lib/yubiotp"), store);
    root.run("umount /var/lib/yubiotp").ok();
    root.run(&purged.deletion()).ok();
    root.tree().assert_same(&before, &[]);

    root.story.step("a link: deleting what is kept leaves what it leads to");
    root.apt_install(&debs().new).ok();
    root.run("ykmap key new && mv /var/lib/yubiotp /srv/store && ln -s /srv/store /var/lib/yubiotp").ok();
    let store = sums("/srv/store");
    assert!(!store.is_empty());
    root.purge_and_delete();
    assert_eq!(root.status(), "");
    assert_eq!(sums("/srv/store"), store);
    root.run("rm -r /srv/store").ok();
    root.tree().assert_same(&before, &[]);

    root.story.step("nothing there: nothing is said");
    root.apt_install(&debs().new).ok();
    root.apt("remove").ok();
    root.run("rm -r /etc/yubiotp /var/lib/yubiotp").ok();
    assert!(!root.apt("purge").ok().said.contains("kept"));
    root.tree().assert_same(&before, &[]);
}
