//! The policy in config.toml, as it is declared.

use crate::host::Host;

#[test]
fn declared_tables_replace_those_of_the_settings_and_comments_stay() {
    let host = Host::new(1);
    host.settings(
        "# who\n[policy]\nrequire = \"all\" # everybody\n\n[service.sudo]\nrequire = \"enrolled\"\n",
    );
    let before = host.read("config.toml");
    let declared = "version = 1\n[groups]\nops = ['alice']\n[policy]\nrequire = 'enrolled'\n[service.sshd]\nrequire = ['@ops']\n";
    let lines = "+ [groups] ops: [\"alice\"]\n~ [policy] require: \"all\" -> \"enrolled\"\n+ [service.sshd] require: [\"@ops\"]\n3 differences\n";
    assert_eq!(host.check(declared).exits(3).out, lines);
    assert_eq!(host.read("config.toml"), before);
    host.apply(declared).exits(0).says("3 changes made");
    let after = before.replace("\"all\" # everybody", "\"enrolled\" # everybody")
        + "\n[groups]\nops = [\"alice\"]\n\n[service.sshd]\nrequire = [\"@ops\"]\n";
    assert_eq!(host.read("config.toml"), after);
    host.apply(declared).exits(0).says("as declared");
    // What a file does not have stays; an empty table has no rules.
    host.apply("version = 1\n[service.sshd]\n").exits(0).says("- [service.sshd] require");
    host.check("version = 1\n[policy]\nrequire = 'enrolled'\n[service.sudo]\nrequire = 'enrolled'\n")
        .exits(0);
    // The same in JSON, with a date.
    host.apply(r#"{"version": 1, "policy": {"until": "2999-03-01"}}"#).exits(0);
    assert!(host.read("config.toml").contains("\nuntil = 2999-03-01\n"), "{}", host.read("config.toml"));
    host.check("version = 1\npolicy.until = 2999-03-01\n").exits(0);
}

#[test]
fn settings_that_would_be_invalid_are_not_written() {
    let host = Host::new(1);
    host.settings("[groups]\nops = [\"alice\"]\n[policy]\nrequire = [\"@ops\"]\n");
    let before = host.snapshot();
    for (declared, status, code) in [
        ("[groups]\nothers = ['bob']\n", 1, "setting-invalid"),
        ("[groups]\nops = { file = 'nowhere' }\n", 1, "group-file"),
        ("[policy]\nrequired = 'all'\n", 2, "setting-unknown"),
        ("[policy]\nrequire = ['@nobody']\n", 2, "setting-invalid"),
        ("[service.SSHD]\n", 2, "setting-invalid"),
    ] {
        let declared = format!("version = 1\n[users.zoe]\ntokens = ['#0']\n{declared}");
        let said = host.apply(&declared).exits(status);
        assert!(code == "group-file" || said.err.contains(&format!("[{code}]")), "{said:?}");
        assert_eq!(host.snapshot(), before, "{declared}");
    }
}

/// What `ykmap check` would say afterwards.
#[test]
fn users_whom_the_policy_locks_out_are_a_warning() {
    let host = Host::new(1);
    let declared = "version = 1\n[users.alice]\ntokens = ['#0']\n[policy]\nmethods_for = [{ who = ['alice'], methods = ['totp'] }]\n";
    host.check(declared).exits(3).has("policy-locks-out");
    let said = host.json(&["apply", &host.declare(declared)], 0);
    assert!(said["warnings"].to_string().contains("policy-locks-out"), "{said}");
    host.check(declared).exits(0).has("policy-locks-out");
}
