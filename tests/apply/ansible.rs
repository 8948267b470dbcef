//! The playbook of docs/configuration-management.md, run by Ansible on this machine.

use crate::host::{Host, with_ids};
use std::fs;
use std::process::Command;

/// The block of a page that has this text in it.
fn block(language: &str, text: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration-management.md");
    let page = fs::read_to_string(path).unwrap();
    let begin = format!("```{language}\n");
    let mut blocks = page.split(&begin).skip(1);
    let found = blocks.find_map(|rest| rest.split("\n```").next().filter(|block| block.contains(text)));
    found.unwrap_or_else(|| panic!("no block with {text}")).to_owned() + "\n"
}

/// Runs the playbook, and gives what became of each task: `changed`, `ok` or `skipping`.
fn play(host: &Host, more: &[&str]) -> Vec<String> {
    let ykmap = host.command();
    let words: Vec<_> = std::iter::once(ykmap.get_program())
        .chain(ykmap.get_args())
        .map(|word| word.to_str().unwrap())
        .collect();
    let mut ansible = Command::new("ansible-playbook");
    ansible.args(["-i", "localhost,", "-c", "local"]).args(more);
    ansible
        .arg("-e")
        .arg(serde_json::json!({ "ykmap": words.join(" "), "ansible_become": false }).to_string());
    ansible.args(["-e", "ansible_python_interpreter=/usr/bin/python3"]).arg(host.beside("playbook.yml"));
    ansible.env("HOME", host.beside("")).env("LC_ALL", "C.UTF-8").env("ANSIBLE_NOCOLOR", "1");
    ansible.env("YKMAP_LOG_SOCKET", "/nonexistent");
    let output = ansible.current_dir(host.beside("")).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{out}{}", String::from_utf8_lossy(&output.stderr));
    let tasks = out.lines().filter_map(|line| line.split_once(": [localhost]"));
    tasks.skip(1).map(|(status, _)| status.to_owned()).collect() // the first gathers facts
}

#[test]
fn ansible_compares_applies_and_is_content() {
    if Command::new("ansible-playbook").arg("--version").output().is_err() {
        tests::skip("ansible-playbook is not here");
        return;
    }
    let host = Host::new(2);
    host.map("alice:#0\n");
    let _ = host.write_beside("playbook.yml", block("yaml", "hosts: all"));
    let _ = host.write_beside("declared.toml", with_ids("version = 1\n[users.alice]\ntokens = ['#1']\n"));
    let before = host.snapshot();
    assert_eq!(play(&host, &["--check"]), ["changed", "skipping"]);
    assert_eq!(host.snapshot(), before);
    assert_eq!(play(&host, &[]), ["changed", "changed"]);
    assert_eq!(host.mapping(), with_ids("alice:#1\n"));
    let after = host.snapshot();
    assert_eq!(play(&host, &[]), ["ok", "skipping"]);
    assert_eq!(host.snapshot(), after);
}
