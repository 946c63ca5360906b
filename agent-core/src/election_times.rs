use core::time::Duration;

use agent_wire::Priority;
use agent_wire::vrrp::Version;

/// Skew_Time: the lower the priority, the later a Backup acts.
///
/// Version 3: `(256 - priority) * Active_Adver_Interval / 256` (RFC 9568 §6.1); version 2:
/// `(256 - priority) / 256` seconds (RFC 3768 §6.1). Exact to the nanosecond, never rounded to centiseconds.
pub(crate) fn skew_time(version: Version, priority: Priority, active_adver_interval: Duration) -> Duration {
    let unit = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => active_adver_interval,
    };
    unit * (256 - u32::from(priority.as_u8())) / 256
}

/// Active_Down_Interval: `3 * Active_Adver_Interval + Skew_Time` (RFC 9568 §6.1).
pub(crate) fn active_down_interval(version: Version, priority: Priority, active_adver_interval: Duration) -> Duration {
    lease(active_adver_interval) + skew_time(version, priority, active_adver_interval)
}

/// How long after an advertisement its sender may serve: no Backup takes over before that plus its Skew_Time.
pub(crate) fn lease(advertisement_interval: Duration) -> Duration {
    advertisement_interval * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_100_at_one_second_waits_3_609375_seconds() {
        let (priority, interval) = (Priority::new(100), Duration::from_secs(1));
        assert_eq!(skew_time(Version::V3, priority, interval), Duration::from_nanos(609_375_000));
        assert_eq!(active_down_interval(Version::V3, priority, interval), Duration::from_nanos(3_609_375_000));
    }

    #[test]
    fn priority_254_at_ten_milliseconds_keeps_its_78_microseconds_of_skew() {
        let (priority, interval) = (Priority::new(254), Duration::from_millis(10));
        assert_eq!(skew_time(Version::V3, priority, interval), Duration::from_nanos(78_125));
        assert_eq!(active_down_interval(Version::V3, priority, interval), Duration::from_nanos(30_078_125));
    }

    #[test]
    fn version_2_skews_by_a_part_of_a_second_whatever_the_interval() {
        let priority = Priority::new(251);
        assert_eq!(skew_time(Version::V2, priority, Duration::from_secs(5)), Duration::from_nanos(19_531_250));
        assert_eq!(
            active_down_interval(Version::V2, priority, Duration::from_secs(5)),
            Duration::from_nanos(15_019_531_250)
        );
    }
}
