//! Zips with a password, as an administrator imports them from wherever.
//!
//! What is unpacked stays within the limits, and a file that is encrypted is never read without its password.
//!
//! Input: a zip, whose password is `correct horse`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ykseeds::archive::{FREE_BYTES, MAX_RATIO, read};
use ykseeds::{Options, Password};

fuzz_target!(|zip: &[u8]| {
    let mut asked = 0;
    let opened = read(zip, None, &mut |_| {
        asked += 1;
        Some(Password::new(b"correct horse".to_vec().into()))
    });
    assert!(asked <= 1);
    if let Ok((name, content)) = &opened {
        let length = zip.len() as u64;
        assert!(content.len() as u64 <= FREE_BYTES.max(length * MAX_RATIO));
        let named = read(zip, Some(name), &mut |_| Some(Password::new(b"correct horse".to_vec().into())));
        assert!(named.is_ok());
        assert_eq!(read(zip, None, &mut |_| None).is_err(), asked == 1);
    }
    let _ = ykseeds::read(zip, &Options::default(), &mut |_| {
        Some(Password::new(b"correct horse".to_vec().into()))
    });
});
