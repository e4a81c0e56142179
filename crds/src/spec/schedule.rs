//! When runs are made by the clock.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A schedule, as that of a CronJob.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// cron says when: minute, hour, day of the month, month, day of the week, such as `0 3 * * *`, or `@hourly`, `@daily`,
    /// `@weekly`, `@monthly`, `@yearly`. Required; 1 to 128 characters. Mutable; used at once.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|[^ @]+( +[^ ]+){4})$')")
        .message("cron must have five fields (minute hour day month weekday), such as 0 3 * * *, or be @hourly, @daily, @weekly, @monthly or @yearly"))]
    pub cron: String,

    /// timeZone is the zone that cron speaks of, a name of the IANA time zone database such as `Europe/Berlin`. Unset: `UTC`. 1 to 64
    /// characters. Mutable; used at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
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
