//! Durations with units, as in `100ms` or `1.5s`.

use std::time::Duration;

/// Each unit in nanoseconds.
const UNITS: [(&str, u64); 5] =
    [("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)];

/// Takes a decimal number and a unit, with nothing lost: a part below a nanosecond is refused.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let number_ends = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (number, unit) = text.split_at(number_ends);
    let &(_, unit) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let mut nanos = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| (1..=9).contains(digits))?;
    let part = fraction.parse::<u64>().ok()?.checked_mul(unit)?;
    let scale = 10_u64.pow(digits);
    if !part.is_multiple_of(scale) {
        return None;
    }
    nanos = nanos.checked_add(part / scale)?;
    Some(Duration::from_nanos(nanos))
}

/// The shortest form that [`parse`] takes back.
#[must_use]
pub fn display(duration: Duration) -> String {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    if nanos == 0 {
        return "0s".to_owned();
    }
    let whole = UNITS.iter().rev().find(|(_, unit)| nanos.is_multiple_of(*unit));
    match whole {
        Some(&("ms", unit)) if nanos >= 1_000_000_000 => {
            format!("{}.{:03}", nanos / unit / 1000, nanos / unit % 1000).trim_end_matches('0').to_owned() + "s"
        }
        Some((name, unit)) => format!("{}{name}", nanos / unit),
        None => format!("{nanos}ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_numbers_with_units() {
        for (text, nanos) in [
            ("0ms", 0),
            ("250us", 250_000),
            ("100ms", 100_000_000),
            ("1s", 1_000_000_000),
            ("1.5s", 1_500_000_000),
            ("40.95s", 40_950_000_000),
            ("0.5ms", 500_000),
            ("1 m", 60_000_000_000),
            ("2h", 7_200_000_000_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in
            ["", "1", "ms", "1x", "1.s", ".5s", "1..5s", "-1s", "1e3s", "1s ", "99999999999h", "0.0001us", "１s"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn displays_what_it_takes() {
        for text in ["0s", "250us", "10ms", "40.95s", "1s", "1m", "90s", "2h", "1.001s"] {
            assert_eq!(display(parse(text).unwrap()), text);
        }
    }
}
