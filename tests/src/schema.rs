//! What `--json` prints, held against `docs/reference/diagnostics.schema.json`.

use crate::said::{Said, run};
use std::path::Path;
use std::process::Command;

/// Has python3-jsonschema validate what was printed.
///
/// # Panics
/// If it is not as the schema says.
#[track_caller]
pub fn validate(said: &Said) {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/diagnostics.schema.json");
    let script = "import json, sys, jsonschema\n\
                  schema = json.load(open(sys.argv[1]))\n\
                  jsonschema.Draft202012Validator.check_schema(schema)\n\
                  jsonschema.Draft202012Validator(schema).validate(json.loads(sys.argv[2]))\n";
    let checked = run(Command::new("python3").args(["-c", script]).arg(schema).arg(&said.out));
    assert_eq!(checked.code, Some(0), "{checked:#?} of {said:#?}");
}

/// Whether this machine has python3-jsonschema.
///
/// # Panics
/// If it has no python3.
#[must_use]
pub fn has_validator() -> bool {
    run(Command::new("python3").args(["-c", "import jsonschema; jsonschema.Draft202012Validator"])).code
        == Some(0)
}
