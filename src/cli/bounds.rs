//! `--memory`, `--memory-swap`, `--cpus`, `--pids-limit`: what a container, or a step of a
//! build, may use as a whole.

use crate::container::{Bounds, parse_size};
use crate::error::{Error, Result};

/// Less memory starts no program (moby: 6 MiB).
const LEAST_MEMORY: u64 = 6 << 20;

/// As they are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Words<'a> {
    /// `--memory`
    pub memory: Option<&'a str>,
    /// `--memory-swap`
    pub memory_swap: Option<&'a str>,
    /// `--cpus`
    pub cpus: Option<&'a str>,
    /// `--cpu-quota`
    #[cfg(feature = "containers")]
    pub cpu_quota: Option<&'a str>,
    /// `--cpu-period`
    #[cfg(feature = "containers")]
    pub cpu_period: Option<&'a str>,
    /// `--pids-limit`
    pub pids: Option<&'a str>,
}

/// Reads them.
pub fn parse(words: &Words<'_>) -> Result<Bounds> {
    let Words { memory, memory_swap, cpus, pids, .. } = *words;
    let size = |name: &str, text: &str| {
        parse_size(text).ok_or_else(|| Error::usage(format!("--{name}: invalid size: {text:?}")))
    };
    let given = |text: Option<&str>| {
        text.filter(|text| *text != "0" && !text.is_empty()).map(str::to_owned)
    };
    let memory = given(memory).map(|text| size("memory", &text)).transpose()?;
    if memory.is_some_and(|memory| memory < LEAST_MEMORY) {
        return Err(Error::usage("the least memory that can be allowed is 6MB"));
    }
    let memory_and_swap = match given(memory_swap).as_deref() {
        None => None,
        Some("-1") => Some(u64::MAX),
        Some(text) => Some(size("memory-swap", text)?),
    };
    match (memory, memory_and_swap) {
        (None, Some(_)) => return Err(Error::usage("--memory-swap needs --memory")),
        (Some(memory), Some(both)) if both < memory => {
            return Err(Error::usage("--memory-swap must not be less than --memory"));
        }
        _ => {}
    }
    let milli_cpus = given(cpus).map(|text| thousandths(&text)).transpose()?;
    #[cfg(feature = "containers")]
    let milli_cpus = match share(given(words.cpu_quota), given(words.cpu_period))? {
        Some(_) if milli_cpus.is_some() => {
            return Err(Error::usage("--cpus and --cpu-quota say the same: write one of them"));
        }
        share => milli_cpus.or(share),
    };
    let pids = match given(pids).as_deref() {
        None | Some("-1") => None,
        Some(text) => Some(
            text.parse()
                .map_err(|_| Error::usage(format!("--pids-limit: invalid number: {text:?}")))?,
        ),
    };
    Ok(Bounds { memory, memory_and_swap, milli_cpus, pids })
}

/// `--cpu-quota` as a part of `--cpu-period`, both in microseconds.
#[cfg(feature = "containers")]
fn share(quota: Option<String>, period: Option<String>) -> Result<Option<u64>> {
    let number = |name: &str, text: String| {
        let bad = |_| Error::usage(format!("--{name}: invalid number: {text:?}"));
        text.parse::<u64>().map_err(bad)
    };
    // docker's default, and what the kernel takes (admin-guide/cgroup-v2, cpu.max).
    let period = period.map_or(Ok(100_000), |text| number("cpu-period", text))?;
    if !(1000..=1_000_000).contains(&period) {
        return Err(Error::usage("--cpu-period must be between 1000 and 1000000 microseconds"));
    }
    let Some(quota) = quota.filter(|text| text != "-1") else { return Ok(None) };
    let quota = number("cpu-quota", quota)?;
    if quota < 1000 {
        return Err(Error::usage("--cpu-quota cannot be less than 1ms (1000)"));
    }
    Ok(Some((quota.saturating_mul(1000) / period).max(10)))
}

/// `1.5` as 1500.
fn thousandths(text: &str) -> Result<u64> {
    let bad = || Error::usage(format!("--cpus: invalid number of processors: {text:?}"));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad())? };
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let part: u64 = digits.parse().map_err(|_| bad())?;
    let all = whole.checked_mul(1000).and_then(|whole| whole.checked_add(part)).ok_or_else(bad)?;
    // A hundredth is the least that the kernel counts.
    if all < 10 { Err(bad()) } else { Ok(all) }
}

#[cfg(all(test, feature = "containers"))]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_docker_reads_them() {
        let read = |memory, memory_swap, cpus, pids| {
            parse(&Words { memory, memory_swap, cpus, pids, ..Words::default() }).ok()
        };
        let all = read(Some("64m"), Some("-1"), Some("1.5"), Some("100")).unwrap();
        assert_eq!((all.memory, all.memory_and_swap), (Some(64 << 20), Some(u64::MAX)));
        assert_eq!((all.milli_cpus, all.pids), (Some(1500), Some(100)));
        assert_eq!(read(Some("0"), None, Some("0"), Some("-1")).unwrap(), Bounds::default());
        assert_eq!(read(None, None, Some(".25"), None).unwrap().milli_cpus, Some(250));
        for wrong in [
            read(Some("1m"), None, None, None),
            read(Some("x"), None, None, None),
            read(None, Some("1g"), None, None),
            read(Some("64m"), Some("32m"), None, None),
            read(None, None, Some("-1"), None),
            read(None, None, Some("1.x"), None),
            read(None, None, Some("0.001"), None),
            read(None, None, None, Some("many")),
        ] {
            assert!(wrong.is_none());
        }
    }

    #[test]
    fn a_quota_is_a_part_of_its_period() {
        let share = |quota, period| {
            let words = Words { cpu_quota: Some(quota), cpu_period: period, ..Words::default() };
            parse(&words).map(|bounds| bounds.milli_cpus).ok()
        };
        assert_eq!(share("50000", None), Some(Some(500)));
        assert_eq!(share("50000", Some("25000")), Some(Some(2000)));
        assert_eq!((share("-1", None), share("0", None)), (Some(None), Some(None)));
        assert_eq!(
            (share("999", None), share("5000", Some("999")), share("x", None)),
            (None, None, None)
        );
    }
}
