//! What real programs wrote is read, and what is damaged is not.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use super::{Format, decompress};
use crate::error::{Kind, Result};

/// What a program makes of `input`.
pub fn pipe(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    assert!(output.status.success(), "{program}");
    output.stdout
}

/// Bytes of sixteen kinds in no order.
pub fn text(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 60) as u8
        })
        .collect()
}

/// All that comes out of a decompressor.
pub fn read(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let (_, mut reader) = decompress(Box::new(bytes))?;
    reader.read_to_end(&mut out)?;
    Ok(out)
}

#[test]
fn formats_are_told_by_their_first_bytes() {
    for (start, format) in [
        (b"\x1f\x8b\x08".as_slice(), Format::Gzip),
        (b"\x28\xb5\x2f\xfd", Format::Zstd),
        (b"\x50\x2a\x4d\x18", Format::Zstd),
        (b"\xfd7zXZ\0", Format::Xz),
        (b"BZh9", Format::Bzip2),
        (b"BZhx", Format::Plain),
        (b"", Format::Plain),
    ] {
        assert_eq!(Format::detect(start), format);
    }
}

#[test]
fn a_format_without_its_reader_is_refused_by_name() {
    for (start, name, is_there) in [
        (b"\x28\xb5\x2f\xfd".as_slice(), "zstd", cfg!(feature = "zstd")),
        (b"\xfd7zXZ\0", "xz", cfg!(feature = "xz")),
        (b"BZh9", "bzip2", cfg!(feature = "bzip2")),
    ] {
        let error = read(start).unwrap_err();
        if is_there {
            assert_eq!(error.kind(), Kind::Corrupt);
            assert_eq!(error.text(), format!("the {name} data is damaged: it ends too early"));
        } else {
            assert_eq!(error.kind(), Kind::Unsupported);
            assert_eq!(error.text(), format!("this lath was built without {name}"));
        }
    }
}

/// How the programs are called, of those formats that this lath reads.
fn programs() -> Vec<(&'static str, &'static [&'static str])> {
    let all: [(&str, &[&str]); 17] = [
        ("bzip2", &["-1"]),
        ("bzip2", &["-9"]),
        ("xz", &["-0"]),
        ("xz", &["-9e"]),
        ("xz", &["--check=none"]),
        ("xz", &["--check=crc32"]),
        ("xz", &["--check=sha256"]),
        ("xz", &["--block-size=10000"]),
        ("xz", &["--x86", "--lzma2"]),
        ("xz", &["--delta=dist=4", "--arm64", "--lzma2=dict=4KiB"]),
        ("zstd", &["-1"]),
        ("zstd", &["-19"]),
        ("zstd", &["--ultra", "-22"]),
        ("zstd", &["--long=27"]),
        ("zstd", &["--no-check"]),
        ("zstd", &["--fast=5"]),
        ("zstd", &["-B100000", "-T2"]),
    ];
    let known: &[&str] = &[
        #[cfg(feature = "bzip2")]
        "bzip2",
        #[cfg(feature = "xz")]
        "xz",
        #[cfg(feature = "zstd")]
        "zstd",
    ];
    all.into_iter().filter(|(program, _)| known.contains(program)).collect()
}

#[test]
fn what_the_programs_write_is_read() {
    for (program, args) in programs() {
        // More than a window where it is quick.
        let most = if ["-0", "-1"].contains(&args[0]) { 3 << 20 } else { 300_000 };
        for length in [0, 1, most] {
            let mut plain = text(length);
            let repeats = plain.clone();
            plain.truncate(length - length / 4);
            plain.extend_from_slice(&repeats[..length / 4]);
            let packed = pipe(program, &[&["-q", "-c"], args].concat(), &plain);
            let name = decompress(Box::new(packed.as_slice())).unwrap().0.name();
            assert_eq!(name, program);
            assert!(read(&packed).unwrap() == plain, "{program} {args:?} {length}");
        }
    }
}

#[test]
fn parts_and_padding_are_read_and_rubbish_is_not() {
    for (program, padding) in [("bzip2", 0), ("xz", 8), ("zstd", 0)] {
        if programs().iter().all(|(known, _)| *known != program) {
            continue;
        }
        let empty = pipe(program, &["-q", "-c"], b"");
        let one = pipe(program, &["-q", "-c"], b"one");
        let two = pipe(program, &["-q", "-c"], b"two");
        let padding = vec![0; padding];
        let parts = [&one, &padding, &empty, &two, &padding].map(Vec::as_slice).concat();
        assert_eq!(read(&parts).unwrap(), b"onetwo", "{program}");
        for rubbish in [b"x".as_slice(), b"\0\0\0x", b"\0", &one[..4], &two[..two.len() - 1]] {
            let both = [&one, rubbish].concat();
            let kind = read(&both).unwrap_err().kind();
            assert!(matches!(kind, Kind::Corrupt | Kind::Input), "{program} {rubbish:?} {kind:?}");
        }
    }
}

/// Each cut and each changed bit is told. A bit may mean nothing; then the content is the same.
#[test]
fn what_is_damaged_is_never_read_as_something_else() {
    let plain = text(700);
    for (program, args) in programs() {
        if args.iter().any(|arg| ["--check=none", "--no-check"].contains(arg)) {
            continue;
        }
        let packed = pipe(program, &[&["-q", "-c"], args].concat(), &plain);
        for cut in 6..packed.len() {
            let error = read(&packed[..cut]).unwrap_err();
            let is_told = matches!(error.kind(), Kind::Corrupt | Kind::Input);
            assert!(is_told, "{program} {args:?} cut at {cut}: {error}");
        }
        for bit in 6 * 8..packed.len() * 8 {
            let mut bent = packed.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = read(&bent) {
                assert!(read == plain, "{program} {args:?} bit {bit}");
            }
        }
    }
}

/// The error of the input comes out as it went in: a signal is not damage.
#[test]
fn an_error_of_the_input_is_kept() {
    struct Stops<'a>(&'a [u8]);
    impl Read for Stops<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(out)? {
                0 => Err(crate::error::Error::new(Kind::Interrupted(2), "stopped").into()),
                read => Ok(read),
            }
        }
    }
    for (program, args) in programs() {
        let packed = pipe(program, &[&["-q", "-c"], args].concat(), &text(5000));
        for cut in [8, packed.len() / 2, packed.len()] {
            let (_, mut reader) = decompress(Box::new(Stops(&packed[..cut]))).unwrap();
            let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
            let error = crate::error::Error::from(error);
            assert_eq!(error.kind(), Kind::Interrupted(2), "{program} {cut}: {error}");
        }
    }
}

#[cfg(feature = "zstd")]
#[test]
fn frames_that_are_to_be_skipped_are_skipped() {
    let frame = pipe("zstd", &["-q", "-c"], b"one");
    let skipped = [b"\x5a\x2a\x4d\x18\x05\0\0\0".as_slice(), b"\x28\xb5\x2f\xfd0"].concat();
    let all = [&skipped, &frame, &skipped, &frame, &skipped].map(Vec::as_slice).concat();
    assert_eq!(read(&all).unwrap(), b"oneone");
    let short = &all[..all.len() - 1];
    assert!(read(short).unwrap_err().text().ends_with("it ends too early"));
    assert_eq!(read(&skipped).unwrap(), b"");
    let endless = b"\x5a\x2a\x4d\x18\xff\xff\xff\xff".as_slice();
    assert!(read(endless).unwrap_err().text().ends_with("it ends too early"));
}

#[test]
fn a_window_of_more_than_128_mib_is_refused() {
    let all: [(&str, &[&str], bool); 4] = [
        ("zstd", &["--long=27"], true),
        ("zstd", &["--long=28"], false),
        ("zstd", &["--long=31"], false),
        ("xz", &["--lzma2=preset=0,dict=129MiB"], false),
    ];
    for (program, args, is_read) in all {
        if programs().iter().all(|(known, _)| *known != program) {
            continue;
        }
        let packed = pipe(program, &[&["-q", "-c"], args].concat(), b"small");
        match read(&packed) {
            Ok(plain) => assert!(is_read && plain == b"small", "{program} {args:?}"),
            Err(error) => {
                assert!(!is_read && error.kind() == Kind::Unsupported, "{program} {args:?}");
                assert!(error.text().contains("128 MiB"), "{error}");
            }
        }
    }
}

/// A dictionary of zstd's own makes content that is nothing without it.
#[cfg(feature = "zstd")]
#[test]
fn a_frame_that_needs_a_dictionary_is_refused() {
    // Magic, a descriptor with an id of one byte, a window, the id.
    let error = read(b"\x28\xb5\x2f\xfd\x01\x00\x07\x01\0\0").unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.text().contains("dictionary"), "{error}");
}
