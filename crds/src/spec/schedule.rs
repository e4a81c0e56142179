//! When runs are made by the clock.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One field of a cron expression: a list of `*`, numbers and ranges, each with or without a step.
macro_rules! cron_field {
    ($value:literal) => {
        concat!(
            "([*]|",
            $value,
            "(-",
            $value,
            ")?)(/[1-9][0-9]?)?(,([*]|",
            $value,
            "(-",
            $value,
            ")?)(/[1-9][0-9]?)?)*"
        )
    };
}

/// A cron expression, each field in its range.
const CRON: &str = concat!(
    "self.matches('^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|",
    cron_field!("[0-5]?[0-9]"),
    " +",
    cron_field!("([01]?[0-9]|2[0-3])"),
    " +",
    cron_field!("(0?[1-9]|[12][0-9]|3[01])"),
    " +",
    cron_field!("(0?[1-9]|1[0-2]|(?i:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC))"),
    " +",
    cron_field!("([0-7]|(?i:SUN|MON|TUE|WED|THU|FRI|SAT))"),
    ")$')"
);

/// A schedule, as that of a CronJob.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// cron says when: minute, hour, day of the month, month, day of the week, such as `0 3 * * *`, or `@hourly`, `@daily`,
    /// `@weekly`, `@monthly`, `@yearly`. A field is `*`, a number, a range `1-5`, a step `*/15` or a list of these; months and days also
    /// go by their first three letters. Required; 1 to 128 characters. Mutable; used at once.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new(CRON)
        .message("cron must have five fields (minute hour day month weekday), each in its range, such as 0 3 * * *, or be @hourly, @daily, \
                  @weekly, @monthly or @yearly"))]
    pub cron: String,

    /// timeZone is the zone that cron speaks of, a name of the IANA time zone database such as `Europe/Berlin`. Unset: `UTC`. 1 to 64
    /// characters. Mutable; used at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self != 'Local' && self.matches('^[A-Za-z]+[A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$')")
        .message("timeZone must be a name of the IANA time zone database, such as Europe/Berlin"))]
    pub time_zone: Option<String>,

    /// concurrencyPolicy says what happens when a time comes while a run is active: `Forbid` waits for its end and then
    /// makes the run up (unless startingDeadlineSeconds has passed), `Replace` ends it and starts a new one, `Allow` starts
    /// another beside it. Default: `Forbid`. Mutable; used at once.
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,

    /// startingDeadlineSeconds is how late a run may start; later it is left out and counts as missed. Of several missed times
    /// only the last is made up for. Unset: no deadline. From 10 to 31536000. Unit: seconds. Mutable; used at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 31_536_000))]
    pub starting_deadline_seconds: Option<i64>,
}

/// What happens when a time comes while a run is active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// Runs may overlap.
    Allow,
    /// The new run waits for the end of the active one.
    #[default]
    Forbid,
    /// The active run is ended.
    Replace,
}
