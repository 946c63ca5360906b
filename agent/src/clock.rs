//! The clock of the agent and the one alarm of the election.

use std::io;
use std::time::Duration;

use agent_core::Instant;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};

use crate::readiness::Readiness;

/// The current moment on CLOCK_BOOTTIME.
#[must_use]
pub fn now() -> Instant {
    Instant::from_nanos(read(ClockId::CLOCK_BOOTTIME).as_nanos().try_into().unwrap_or(u64::MAX))
}

/// The time since 1970 on CLOCK_REALTIME, which somebody may set.
#[must_use]
pub fn since_1970() -> Duration {
    read(ClockId::CLOCK_REALTIME)
}

/// Converts a stamp that the kernel took on CLOCK_REALTIME (`SO_TIMESTAMPNS`, socket(7)); never later than now.
///
/// A step of the clock between the stamp and this call shifts the result by as much: callers bound it by what they know.
#[must_use]
pub fn from_realtime(stamp: Duration) -> Instant {
    let age = read(ClockId::CLOCK_REALTIME).saturating_sub(stamp);
    now() - age
}

/// Whether something keeps CLOCK_REALTIME in step with the world (adjtimex(2)); true where the kernel does not tell.
#[must_use]
#[expect(unsafe_code, reason = "the kernel's word has no safe interface in the libraries at hand")]
pub fn is_synchronized() -> bool {
    // SAFETY: all zero is a value of this plain structure, and with `modes` 0 nothing is changed.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `state` lives through the call.
    let result = unsafe { libc::adjtimex(&raw mut state) };
    result < 0 || state.status & libc::STA_UNSYNC == 0
}

/// Reads a clock that every supported kernel (5.15 and later) has, so a failure cannot happen.
fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} the alarm of the election")]
pub struct Error {
    operation: &'static str,
    #[source]
    source: io::Error,
}

/// A timer that wakes at a moment of CLOCK_BOOTTIME, to the precision of the kernel's high-resolution timers.
#[derive(Debug)]
pub struct Alarm {
    timer: TimerFd,
    readiness: Readiness,
}

impl Alarm {
    /// Makes an alarm that is not set; needs a tokio runtime with I/O enabled.
    pub fn new() -> Result<Self, Error> {
        let timer = TimerFd::new(TimerClock::CLOCK_BOOTTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)
            .map_err(|errno| Error { operation: "create", source: errno.into() })?;
        let readiness = Readiness::of(&timer).map_err(|source| Error { operation: "register", source })?;
        Ok(Self { timer, readiness })
    }

    /// Sets the alarm to a moment, which may have passed, or switches it off.
    pub fn set(&self, at: Option<Instant>) -> Result<(), Error> {
        let set = match at {
            Some(at) => {
                // Zero would switch the timer off.
                let moment = TimeSpec::from_duration(Duration::from_nanos(at.as_nanos().max(1)));
                self.timer.set(Expiration::OneShot(moment), TimerSetTimeFlags::TFD_TIMER_ABSTIME)
            }
            None => self.timer.unset(),
        };
        set.map_err(|errno| Error { operation: "set", source: errno.into() })
    }

    /// Waits until the alarm goes off; safe to cancel. Each setting ends one wait.
    pub async fn fired(&self) -> Result<(), Error> {
        let read = self.readiness.read(|| self.timer.wait().map_err(io::Error::from)).await;
        read.map_err(|source| Error { operation: "wait for", source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn fires_at_its_moment_and_not_before() {
        let alarm = Alarm::new().unwrap();
        let at = now() + Duration::from_millis(20);
        alarm.set(Some(at)).unwrap();
        alarm.fired().await.unwrap();
        let late = now().saturating_since(at);
        assert!(now() >= at && late < Duration::from_millis(200), "late by {late:?}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_moment_of_the_past_fires_at_once_and_once() {
        let alarm = Alarm::new().unwrap();
        alarm.set(Some(Instant::from_nanos(0))).unwrap();
        alarm.fired().await.unwrap();
        tokio::time::timeout(Duration::from_millis(30), alarm.fired()).await.unwrap_err();
    }

    #[tokio::test(flavor = "current_thread")]
    async fn switched_off_it_stays_silent() {
        let alarm = Alarm::new().unwrap();
        alarm.set(Some(now() + Duration::from_millis(10))).unwrap();
        alarm.set(None).unwrap();
        tokio::time::timeout(Duration::from_millis(40), alarm.fired()).await.unwrap_err();
    }

    #[test]
    fn a_stamp_of_the_real_time_clock_keeps_its_age() {
        let stamp = read(ClockId::CLOCK_REALTIME) - Duration::from_millis(250);
        let age = now().saturating_since(from_realtime(stamp));
        assert!(age >= Duration::from_millis(250) && age < Duration::from_millis(350), "{age:?}");
    }

    #[test]
    fn a_stamp_of_the_future_is_now() {
        let before = now();
        let stamp = read(ClockId::CLOCK_REALTIME) + Duration::from_secs(3600);
        assert!(from_realtime(stamp) >= before);
    }
}
