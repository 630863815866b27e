//! Names of images: what is read is shown and read again as the same.

#![no_main]

use lath::image::digest::Digest;
use lath::image::platform::Platform;
use lath::image::reference::Reference;
use lath_fuzz::peak;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (parsed, bytes) = peak(|| Reference::parse(text));
    assert!(bytes <= 8 * text.len() + 4096, "{bytes} bytes for {}", text.len());
    if let Ok(reference) = parsed {
        let shown = reference.to_string();
        assert_eq!(Reference::parse(&shown).as_ref().ok(), Some(&reference), "{shown}");
        let full = reference.full_name();
        let again = Reference::parse(&full).expect("a full name is a name");
        assert_eq!(
            (&again.registry, &again.repository),
            (&reference.registry, &reference.repository)
        );
        let familiar = reference.familiar_name();
        assert_eq!(Reference::parse(&familiar).map(|name| name.full_name()).ok(), Some(full));
    }
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(platform) = Platform::parse(text) {
        let again = Platform::parse(&platform.to_string());
        assert_eq!(again.ok(), Some(platform));
    }
});
