//! `--format`: a template, and behind the first NUL the JSON value that it is used on.

#![no_main]

use lath::cli::template::Template;
use lath::image::json::Value;
use lath_fuzz::peak;
use libfuzzer_sys::fuzz_target;

const VALUE: &str = r#"{"Id":"sha256:1","Config":{"Env":["A=b","C"],"Labels":{"a":"1"}},"Size":7,"No":null,"Yes":true}"#;

fuzz_target!(|input: &[u8]| {
    let at = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let Ok(text) = std::str::from_utf8(&input[..at]) else { return };
    let value = Value::parse(input.get(at + 1..).unwrap_or_default());
    let value = value.unwrap_or_else(|_| Value::parse(VALUE.as_bytes()).expect("the value above"));
    let (parsed, bytes) = peak(|| Template::parse(text));
    assert!(bytes <= 400 * text.len() + 4096, "{bytes} bytes for {}", text.len());
    let Ok(template) = parsed else { return };
    let (shown, bytes) = peak(|| template.render(&value));
    assert!(bytes <= 64 << 20, "{bytes} bytes to show {text:?}");
    // Without a brace or an escape it is shown as it stands.
    if !text.contains("{{") && !text.contains('\\') && !text.starts_with("table") && text != "json"
    {
        assert_eq!(shown.ok().as_deref(), Some(text));
    }
});
