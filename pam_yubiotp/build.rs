//! How the module is linked.

fn main() {
    // nodelete: code that libpam unloaded cannot be returned into. relro, now: no writable function pointers.
    for flag in ["nodelete", "relro", "now"] {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,{flag}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
