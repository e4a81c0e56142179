//! Times at which runs are due, in the user's time zone.

use coterie_crds::spec::{self, ConcurrencyPolicy};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

/// Missed times are counted no further than this.
const COUNTED: usize = 100;

/// `spec.schedule`, read.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    cron: Cron,
    zone: TimeZone,
    pub(crate) policy: ConcurrencyPolicy,
    deadline: Option<SignedDuration>,
}

/// Times that have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// The latest of them.
    pub(crate) time: Timestamp,
    /// How many came, at most [`COUNTED`].
    pub(crate) count: usize,
    /// Whether it is too late for the latest one.
    pub(crate) expired: bool,
}

impl Schedule {
    pub(crate) fn new(schedule: &spec::Schedule) -> Result<Self, String> {
        let spec::Schedule { cron, time_zone, concurrency_policy, starting_deadline_seconds } = schedule;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let parsed = parser.parse(cron).map_err(|error| {
            format!("spec.schedule.cron {cron:?} cannot be read: {error}; write minute, hour, day, month and weekday, such as 0 3 * * *")
        })?;
        let zone = match time_zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| {
                format!("spec.schedule.timeZone {name:?} is not a name of the IANA time zone database, such as Europe/Berlin or UTC")
            })?,
        };
        Ok(Self {
            cron: parsed,
            zone,
            policy: *concurrency_policy,
            deadline: starting_deadline_seconds.map(SignedDuration::from_secs),
        })
    }

    /// The first time after `moment`; `None` when there is none, as for the 30th of February.
    pub(crate) fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        self.cron.find_next_occurrence(&self.local(moment), false).ok().map(|time| time.timestamp())
    }

    /// What has come of the times from `expected` to `now`, both included; `None` when none has.
    pub(crate) fn due(&self, expected: Timestamp, now: Timestamp) -> Option<Due> {
        let time = self.cron.find_previous_occurrence(&self.local(now), true).ok()?.timestamp();
        if time < expected {
            return None;
        }
        let mut count = 1;
        let mut earlier = self.first_from(expected);
        while let Some(moment) = earlier.filter(|moment| *moment < time)
            && count < COUNTED
        {
            count += 1;
            earlier = self.next_after(moment);
        }
        let expired = self.deadline.is_some_and(|deadline| now.duration_since(time) > deadline);
        Some(Due { time, count, expired })
    }

    fn first_from(&self, moment: Timestamp) -> Option<Timestamp> {
        self.cron.find_next_occurrence(&self.local(moment), true).ok().map(|time| time.timestamp())
    }

    fn local(&self, moment: Timestamp) -> Zoned {
        moment.to_zoned(self.zone.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(cron: &str, zone: Option<&str>, deadline: Option<i64>) -> Result<Schedule, String> {
        Schedule::new(&spec::Schedule {
            cron: cron.to_owned(),
            time_zone: zone.map(str::to_owned),
            concurrency_policy: ConcurrencyPolicy::Forbid,
            starting_deadline_seconds: deadline,
        })
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn times_are_local() {
        let nightly = schedule("0 3 * * *", Some("Europe/Berlin"), None).unwrap();
        assert_eq!(nightly.next_after(at("2026-01-10T00:00:00Z")), Some(at("2026-01-10T02:00:00Z")));
        assert_eq!(nightly.next_after(at("2026-07-10T00:00:00Z")), Some(at("2026-07-10T01:00:00Z")));
        assert_eq!(nightly.next_after(at("2026-07-10T01:00:00Z")), Some(at("2026-07-11T01:00:00Z")));
    }

    #[test]
    fn an_hour_that_does_not_exist_is_made_up_for() {
        // On 2026-03-29 clocks in Berlin go from 02:00 to 03:00.
        let nightly = schedule("30 2 * * *", Some("Europe/Berlin"), None).unwrap();
        let next = nightly.next_after(at("2026-03-28T12:00:00Z")).unwrap();
        assert!(next > at("2026-03-29T00:59:00Z") && next < at("2026-03-29T02:01:00Z"), "{next}");
    }

    #[test]
    fn of_missed_times_the_last_is_due() {
        let hourly = schedule("@hourly", None, Some(600)).unwrap();
        let expected = at("2026-01-01T01:00:00Z");
        assert_eq!(hourly.due(expected, at("2026-01-01T00:59:59Z")), None);
        let due = hourly.due(expected, at("2026-01-01T01:00:00Z")).unwrap();
        assert_eq!(due, Due { time: expected, count: 1, expired: false });
        let due = hourly.due(expected, at("2026-01-01T05:10:00Z")).unwrap();
        assert_eq!(due, Due { time: at("2026-01-01T05:00:00Z"), count: 5, expired: false });
        assert!(hourly.due(expected, at("2026-01-01T05:10:01Z")).unwrap().expired);
        assert_eq!(hourly.due(expected, at("2027-01-01T00:00:00Z")).unwrap().count, COUNTED);
    }

    #[test]
    fn an_expected_time_of_another_schedule_is_not_due() {
        let daily = schedule("0 0 * * *", None, None).unwrap();
        assert_eq!(daily.due(at("2026-01-01T01:00:00Z"), at("2026-01-01T02:00:00Z")), None);
    }

    #[test]
    fn what_cannot_be_read_is_explained() {
        assert!(schedule("61 * * * *", None, None).unwrap_err().contains("61 * * * *"));
        assert!(schedule("0 0 * * * *", None, None).is_err());
        assert!(schedule("0 0 * * *", Some("Mars/Olympus"), None).unwrap_err().contains("IANA"));
        assert_eq!(schedule("0 0 30 2 *", None, None).unwrap().next_after(at("2026-01-01T00:00:00Z")), None);
    }
}
