//! Times as texts: RFC 3339 in UTC, from and to seconds since 1970, and what HTTP has.

use crate::sys::fs::now;

/// The time for what is made now: the given seconds since 1970, or else the clock's.
pub fn stamp(epoch: Option<i64>) -> String {
    let (seconds, nanoseconds) = epoch.map_or_else(now, |seconds| (seconds, 0));
    rfc3339(seconds, nanoseconds)
}

/// `2026-11-24T09:49:10Z`, with nanoseconds if there are any.
pub fn rfc3339(seconds: i64, nanoseconds: u32) -> String {
    let days = seconds.div_euclid(86_400);
    let rest = seconds.rem_euclid(86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if nanoseconds > 0 {
        text.push_str(format!(".{nanoseconds:09}").trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Seconds since 1970 of an RFC 3339 text; fractions are dropped.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    let plausible = marks.iter().all(|(at, mark)| {
        text.get(*at..at + 1).is_some_and(|found| found.eq_ignore_ascii_case(mark))
    });
    if !plausible || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let zone = text.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone.get(..1)? {
        "Z" | "z" => 0,
        sign @ ("+" | "-") => {
            let hours: i64 = zone.get(1..3)?.parse().ok()?;
            let minutes: i64 = zone.get(4..6)?.parse().ok()?;
            (hours * 3600 + minutes * 60) * if sign == "-" { -1 } else { 1 }
        }
        _ => return None,
    };
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

/// What `until=` means, in seconds since 1970: so long before `now` (`10m`, `1h30m`), a date or a
/// time in UTC or with a zone, or the seconds themselves.
///
/// Source: docker's api/types/time, GetTimestamp; Go's time.ParseDuration.
pub fn parse_until(text: &str, now: i64) -> Option<i64> {
    if let Some(ago) = parse_duration(text) {
        return Some(now.saturating_sub(ago));
    }
    let (seconds, _) = text.split_once('.').unwrap_or((text, ""));
    if let Ok(seconds) = seconds.parse() {
        return Some(seconds);
    }
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        _ => text.to_owned(),
    };
    parse_rfc3339(&whole).or_else(|| parse_rfc3339(&format!("{text}Z")))
}

/// Whole seconds of `1h30m`, `1.5h`, `300ms`.
fn parse_duration(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 6] =
        [("ms", 1), ("us", 0), ("ns", 0), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let mut rest = text;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(end)?;
        let (unit, worth) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        rest = after.get(unit.len()..)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        total = total.checked_add(whole.parse::<i64>().ok()?.checked_mul(*worth)?)?;
        let mut worth = *worth;
        for digit in fraction.chars() {
            worth /= 10;
            total = total.checked_add(i64::from(digit.to_digit(10)?) * worth)?;
        }
    }
    (!text.is_empty()).then_some(total / 1000)
}

/// Seconds since 1970 of a time as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110,
/// 5.6.7; the two obsolete forms there are not read).
pub fn parse_http(text: &str) -> Option<i64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let rest = text.get(3..)?.strip_prefix(", ")?.strip_suffix(" GMT")?;
    let (day, rest) = rest.split_once(' ')?;
    let (month, rest) = rest.split_once(' ')?;
    let month = MONTHS.find(month).filter(|at| month.len() == 3 && at % 3 == 0)? / 3 + 1;
    let (year, clock) = rest.split_once(' ')?;
    parse_rfc3339(&format!("{year}-{month:02}-{day}T{clock}Z"))
}

/// Year, month, day of a day counted from 1970-01-01 (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms": eras of 400 years that begin on 1 March).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_are_written_and_read() {
        // Checked with `date -u -d @N +%FT%TZ`.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_513_750, "2026-11-24T09:49:10Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds, 0), text);
            assert_eq!(parse_rfc3339(text), Some(seconds));
        }
        assert_eq!(rfc3339(0, 120_000_000), "1970-01-01T00:00:00.12Z");
        assert_eq!(parse_rfc3339("1970-01-01T02:00:00.5+01:00"), Some(3600));
    }

    #[test]
    fn until_is_a_duration_a_date_or_a_time() {
        let now = 1_795_513_750;
        for (text, seconds) in [
            ("10m", Some(now - 600)),
            ("1h30m", Some(now - 5400)),
            ("1.5h", Some(now - 5400)),
            ("24h", Some(now - 86_400)),
            ("1500ms", Some(now - 1)),
            ("2000-02-29", Some(951_782_400)),
            ("2000-02-29T00:00", Some(951_782_400)),
            ("2000-02-29T00:00:00", Some(951_782_400)),
            ("2000-02-29T00:00:00Z", Some(951_782_400)),
            ("2000-02-29T00:00:00.5", Some(951_782_400)),
            ("2000-02-29T01:00:00+01:00", Some(951_782_400)),
            ("951782400", Some(951_782_400)),
            ("951782400.25", Some(951_782_400)),
            ("", None),
            ("h", None),
            ("1d", None),
            ("10m5", None),
            ("yesterday", None),
            ("2000-02-30-x", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(parse_until(text, now), seconds, "{text}");
        }
    }

    #[test]
    fn times_of_http_are_read() {
        assert_eq!(parse_http("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(parse_http("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        for bad in [
            "",
            "Sun",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 anF 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
        ] {
            assert_eq!(parse_http(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in
            ["", "1970", "1970-13-01T00:00:00Z", "1970-01-01 00:00:00Z", "1970-01-01T00:00:00"]
        {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }
}
