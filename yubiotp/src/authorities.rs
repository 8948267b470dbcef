//! Where systems keep the certificate authorities that they trust.

/// The files that hold all of them (PEM); the first that exists counts. None is compiled in, and the environment has no
/// say: a site that takes an authority out of its system means it.
pub const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",                // Debian, Arch
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",                  // RHEL, older
    "/etc/ssl/ca-bundle.pem",                            // SUSE
    "/etc/ssl/cert.pem",                                 // Alpine
];
