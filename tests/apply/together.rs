//! Two at once, and one beside other verbs: each is a change of its own, and none is lost.

use crate::host::{Host, id};
use std::process::Stdio;
use tests::said::said;

#[test]
fn two_at_once_are_one_after_the_other() {
    let host = Host::new(8);
    let user = |name: &str, tokens: std::ops::Range<u32>| {
        let tokens: Vec<_> = tokens.map(|n| format!("'{}'", id(n))).collect();
        format!("[users.{name}]\ntokens = [{}]\n", tokens.join(", "))
    };
    for round in 0..8 {
        host.map("carol:#7\n");
        let (one, other) = (user("alice", 0..3), user("alice", 3..6));
        let declare = |name: &str, text: &str, state: &str| {
            let text = format!(
                "version = 1\n{text}[tokens.{}]\nstate = '{state}'\n[policy]\nrequire = '{}'\n",
                id(6),
                if state == "enabled" { "all" } else { "enrolled" }
            );
            host.write_beside(name, text).to_str().unwrap().to_owned()
        };
        let paths = [declare("one", &one, "enabled"), declare("other", &other, "disabled")];
        let mut children: Vec<_> = paths
            .iter()
            .map(|path| {
                let mut command = host.command();
                command.args(["apply", path]).stdout(Stdio::piped()).stderr(Stdio::piped());
                let child = command.spawn().unwrap();
                (command, child)
            })
            .collect();
        // Others change the mapping meanwhile.
        let added = format!("{}{}", "user", round);
        let verb = host.run(&["add", "--quiet", &added, &id(7)]);
        for (command, child) in children.drain(..) {
            said(&command, child.wait_with_output().unwrap()).exits(0);
        }
        verb.exits(0);
        let statuses: Vec<_> =
            paths.iter().map(|path| host.run(&["apply", "--dry-run", path]).code.unwrap()).collect();
        assert!([[0, 3], [3, 0]].contains(&[statuses[0], statuses[1]]), "{statuses:?}: {}", host.mapping());
        let mapping = host.mapping();
        assert!(mapping.contains(&format!("{added}:{}\n", id(7))), "{mapping}");
        assert!(mapping.contains(&format!("carol:{}\n", id(7))), "{mapping}");
    }
}
