//! Sizes and ages for people, in docker's words.
//!
//! Source: docker/go-units, HumanSizeWithPrecision(3) and HumanDuration. Whole numbers only:
//! formatting floats would cost 20 KB.

/// `8.72MB`, `1.04kB`, `0B`: thousands, three digits, no zeros at the end.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut unit: u64 = 1;
    let mut names = UNITS.iter();
    let mut name = names.next().copied().unwrap_or_default();
    for next in names {
        // 999,500 rounds to 1000 kB: that is 1 MB (go-units writes 1e+03kB here).
        let limit = if unit == 1 { 1000 } else { unit.saturating_mul(1000) - unit / 2 };
        if bytes < limit {
            break;
        }
        unit = unit.saturating_mul(1000);
        name = next;
    }
    let (whole, decimals) = match bytes / unit {
        0..=9 => (unit / 100, 2),
        10..=99 => (unit / 10, 1),
        _ => (unit, 0),
    };
    if unit == 1 {
        return format!("{bytes}B");
    }
    // In hundredths, tenths or ones, rounded.
    let scaled = bytes.saturating_add(whole / 2) / whole.max(1);
    let mut digits = match decimals {
        2 => format!("{}.{:02}", scaled / 100, scaled % 100),
        1 => format!("{}.{}", scaled / 10, scaled % 10),
        _ => scaled.to_string(),
    };
    if decimals > 0 {
        digits.truncate(digits.trim_end_matches('0').trim_end_matches('.').len());
    }
    digits + name
}

/// `1.94MiB`, `460KiB`, `23.54GiB`: 1024 each, four digits, no zeros at the end (go-units, BytesSize).
#[cfg(feature = "containers")]
pub fn binary(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = 0;
    while unit + 1 < UNITS.len() && bytes >> (10 * (unit + 1)) > 0 {
        unit += 1;
    }
    let whole = 1u128 << (10 * unit);
    let decimals = match u128::from(bytes) / whole {
        _ if unit == 0 => 0,
        0..=9 => 3,
        10..=99 => 2,
        100..=999 => 1,
        _ => 0,
    };
    let scale = 10u128.pow(decimals);
    let scaled = (u128::from(bytes) * scale + whole / 2) / whole;
    let mut digits = (scaled / scale).to_string();
    if decimals > 0 {
        digits.push_str(&format!(".{:0width$}", scaled % scale, width = decimals as usize));
        digits.truncate(digits.trim_end_matches('0').trim_end_matches('.').len());
    }
    digits + UNITS.get(unit).copied().unwrap_or_default()
}

/// `Less than a second`, `5 minutes`, `About an hour`, `2 weeks`.
pub fn duration(seconds: u64) -> String {
    let minutes = seconds / 60;
    // go-units rounds hours and cuts everything else.
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// The same with ` ago`; a time in the future (a clock that was put back) is just now.
pub fn ago(now_seconds: i64, then_seconds: i64) -> String {
    let passed = now_seconds.saturating_sub(then_seconds);
    format!("{} ago", duration(u64::try_from(passed).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_dockers() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1039, "1.04kB"),
            (1_500_000, "1.5MB"),
            (8_718_334, "8.72MB"),
            (9_996_000, "10MB"),
            (12_340_000, "12.3MB"),
            (99_960_000, "100MB"),
            (104_000_000, "104MB"),
            (999_499_999, "999MB"),
            (999_600_000, "1GB"),
            (1_200_000_000_000, "1.2TB"),
            (u64::MAX, "18.4EB"),
        ] {
            assert_eq!(human(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn durations_are_dockers() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (150, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (3 * 86400, "3 days"),
            (15 * 86400, "2 weeks"),
            (70 * 86400, "2 months"),
            (800 * 86400, "2 years"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
        assert_eq!(ago(100, 40), "About a minute ago");
        assert_eq!(ago(0, 40), "Less than a second ago");
    }
}
