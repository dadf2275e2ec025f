//! How fast rows come into a shard: what decides whether they are indexed as they come or once enough of them are there. Knows no rows, only bytes.

use std::time::{Duration, Instant};

/// What came so long ago counts for 1/e of what comes now.
const SPAN: Duration = Duration::from_secs(2);

/// Bytes that came lately.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrivals {
    last: Instant,
    /// At the last arrival; less with each moment since then.
    recent: f64,
    /// Since when rows have been coming.
    since: Instant,
}

impl Arrivals {
    /// None so far.
    pub(crate) fn new(now: Instant) -> Arrivals {
        Arrivals { last: now, recent: 0.0, since: now }
    }

    /// Counts bytes that came. What writes none, as a delete does, is an arrival too.
    pub(crate) fn note(&mut self, bytes: usize, now: Instant) {
        if self.quiet_for(now) > SPAN {
            (self.recent, self.since) = (0.0, now);
        }
        self.recent = self.recent(now) + bytes as f64;
        self.last = now;
    }

    /// How long nothing has come.
    pub(crate) fn quiet_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last)
    }

    /// Bytes a second, of the last few seconds or since they began to come: it is high for a moment then.
    pub(crate) fn bytes_per_second(&self, now: Instant) -> f64 {
        let span = SPAN.as_secs_f64();
        let age = now.saturating_duration_since(self.since).as_secs_f64().max(1e-3);
        self.recent(now) / (span * (1.0 - (-age / span).exp()))
    }

    fn recent(&self, now: Instant) -> f64 {
        self.recent * (-self.quiet_for(now).as_secs_f64() / SPAN.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_found_and_forgotten() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(start);
        assert_eq!(arrivals.bytes_per_second(start), 0.0);
        let at = |millis: u64| start + Duration::from_millis(millis);
        (1..=1000).for_each(|step| arrivals.note(500, at(10 * step)));
        let rate = arrivals.bytes_per_second(at(10_000));
        assert!((48_000.0..52_000.0).contains(&rate), "{rate}");
        let early = {
            let mut arrivals = Arrivals::new(start);
            (1..=20).for_each(|step| arrivals.note(500, at(10 * step)));
            arrivals.bytes_per_second(at(200))
        };
        assert!((45_000.0..60_000.0).contains(&early), "{early}");
        assert_eq!(arrivals.quiet_for(at(10_400)), Duration::from_millis(400));
        assert!(arrivals.bytes_per_second(at(20_000)) < 1_000.0);
        arrivals.note(0, at(30_000));
        assert_eq!(arrivals.quiet_for(at(30_000)), Duration::ZERO);
        assert_eq!(arrivals.bytes_per_second(at(30_000)), 0.0);
    }
}
