//! Durations as `kubectl get` prints them.

use jiff::Timestamp;
use serde_json::Value;

use crate::json;

/// The time since `metadata.creationTimestamp`, or `<unknown>`.
pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    since(json::text(object, "/metadata/creationTimestamp"), now)
}

/// The time since an RFC 3339 time, or `<unknown>`.
pub(super) fn since(time: &str, now: Timestamp) -> Value {
    match time.parse::<Timestamp>() {
        Ok(time) => Value::String(human(now.as_second() - time.as_second())),
        Err(_) => Value::from("<unknown>"),
    }
}

/// Two units at most, the smaller one only where it still matters: what `duration.HumanDuration` prints.
pub(super) fn human(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |large: i64, large_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{large}{large_unit}"),
        _ => format!("{large}{large_unit}{small}{small_unit}"),
    };
    let s = seconds;
    match s {
        i64::MIN..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{s}s"),
        120..600 => two(s / MINUTE, "m", s % MINUTE, "s"),
        600..10_800 => format!("{}m", s / MINUTE),
        10_800..28_800 => two(s / HOUR, "h", s % HOUR / MINUTE, "m"),
        28_800..172_800 => format!("{}h", s / HOUR),
        172_800..691_200 => two(s / DAY, "d", s % DAY / HOUR, "h"),
        691_200..63_072_000 => format!("{}d", s / DAY),
        63_072_000..252_288_000 => two(s / YEAR, "y", s % YEAR / DAY, "d"),
        _ => format!("{}y", s / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case(0 => "0s")]
    #[test_case(119 => "119s")]
    #[test_case(120 => "2m")]
    #[test_case(125 => "2m5s")]
    #[test_case(660 => "11m")]
    #[test_case(3 * 3600 + 60 => "3h1m")]
    #[test_case(30 * 3600 => "30h")]
    #[test_case(3 * 86400 + 3600 => "3d1h")]
    #[test_case(20 * 86400 => "20d")]
    #[test_case(-5 => "<invalid>")]
    fn prints(seconds: i64) -> String {
        human(seconds)
    }
}
