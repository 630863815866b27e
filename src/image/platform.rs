//! Platforms: operating system, architecture, variant (OCI image-spec, image-index.md).

use std::fmt;

use crate::error::{Error, Result};

/// What an image runs on. Names are Go's: `amd64`, `arm64`, `arm` with variant `v7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, `arm`, `386`, `riscv64`.
    pub architecture: String,
    /// `v6`, `v7`, `v8` or nothing.
    pub variant: String,
}

impl Default for Platform {
    fn default() -> Self {
        Platform::host()
    }
}

impl Platform {
    /// The platform that this program was built for.
    pub fn host() -> Platform {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", ""),
            "x86" => ("386", ""),
            "aarch64" => ("arm64", ""),
            "arm" if cfg!(target_feature = "v7") => ("arm", "v7"),
            "arm" => ("arm", "v6"),
            other => (other, ""),
        };
        Platform { os: "linux".into(), architecture: architecture.into(), variant: variant.into() }
    }

    /// Reads `os/architecture[/variant]`, `os` alone or an architecture alone, as docker does.
    pub fn parse(text: &str) -> Result<Platform> {
        let bad = || {
            Error::input(format!("failed to parse platform {text:?}"))
                .hint("write it as linux/amd64, linux/arm64 or linux/arm/v7")
        };
        let parts: Vec<&str> = text.split('/').collect();
        let clean = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        if !parts.iter().all(|part| clean(part)) {
            return Err(bad());
        }
        let host = Platform::host();
        Ok(match parts.as_slice() {
            [os] if os.eq_ignore_ascii_case("linux") => host,
            [os] if ["windows", "darwin", "freebsd"]
                .contains(&os.to_ascii_lowercase().as_str()) =>
            {
                Platform { os: os.to_ascii_lowercase(), ..host }
            }
            [architecture] => Platform::normal("linux", architecture, ""),
            [os, architecture] => Platform::normal(os, architecture, ""),
            [os, architecture, variant] => Platform::normal(os, architecture, variant),
            _ => return Err(bad()),
        })
    }

    /// With the usual names for the usual aliases (containerd's `platforms.Normalize`).
    pub fn normal(os: &str, architecture: &str, variant: &str) -> Platform {
        let variant = variant.to_ascii_lowercase();
        let (architecture, variant) =
            match (architecture.to_ascii_lowercase().as_str(), variant.as_str()) {
                ("x86_64" | "x86-64" | "amd64", "v1" | "") => ("amd64".to_owned(), String::new()),
                ("x86_64" | "x86-64" | "amd64", other) => ("amd64".to_owned(), other.to_owned()),
                ("i386" | "i686" | "x86" | "386", _) => ("386".to_owned(), String::new()),
                ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64".to_owned(), String::new()),
                ("aarch64" | "arm64", other) => ("arm64".to_owned(), other.to_owned()),
                ("armhf", _) => ("arm".to_owned(), "v7".to_owned()),
                ("armel", _) => ("arm".to_owned(), "v6".to_owned()),
                ("arm", "" | "7") => ("arm".to_owned(), "v7".to_owned()),
                ("arm", "5" | "6" | "8") => ("arm".to_owned(), format!("v{variant}")),
                (other, variant) => (other.to_owned(), variant.to_owned()),
            };
        Platform { os: os.to_ascii_lowercase(), architecture, variant }
    }

    /// The error of a program of an image for `self` that could not be executed: where this
    /// processor cannot run it and the kernel knows no emulator, it says so.
    pub fn explain(&self, error: Error) -> Error {
        let host = Platform::host();
        if !error.text().ends_with("exec format error") || self.suits(&host) {
            return error;
        }
        let text = format!("{}: the image is for {self}, this device is {host}", error.text());
        Error::new(error.kind(), text).hint(
            "register an emulator with the kernel (qemu-user, binfmt_misc), or take another image",
        )
    }

    /// Whether an image for `self` is what somebody who asked for `wanted` can take: the same
    /// architecture and, on ARM, no newer variant.
    pub fn suits(&self, wanted: &Platform) -> bool {
        let own = Platform::normal(&self.os, &self.architecture, &self.variant);
        let wanted = Platform::normal(&wanted.os, &wanted.architecture, &wanted.variant);
        own.os == wanted.os
            && own.architecture == wanted.architecture
            && (own.variant == wanted.variant
                || (own.architecture == "arm" && own.variant < wanted.variant))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_become_the_usual_names() {
        for (text, name) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("armhf", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("LINUX/AMD64", "linux/amd64"),
        ] {
            assert_eq!(Platform::parse(text).unwrap().to_string(), name);
        }
        for bad in ["", "a/b/c/d", "linux/", "linux/am d64"] {
            assert!(Platform::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_older_arm_image_suits_a_newer_processor_and_not_the_other_way() {
        let v6 = Platform::parse("linux/arm/v6").unwrap();
        let v7 = Platform::parse("linux/arm/v7").unwrap();
        assert!(v6.suits(&v7));
        assert!(!v7.suits(&v6));
    }
}
