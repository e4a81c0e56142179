//! The processes of a run that one parent looks after: all of them on one machine ([`crate::standalone`]), or those of one
//! pod ([`crate::member`]). Those that die are started again; what ends the run ends the supervision.
//!
//! | module | concern |
//! |---|---|
//! | [`children`] | starting processes and hearing of their ends |
//! | [`policy`] | pure: what an end means |

pub mod children;
pub mod policy;

use std::future::Future;

use tokio::sync::mpsc;

use self::{
    children::{Children, News, Role},
    policy::{Policy, Verdict},
};
use crate::{error::RunError, publish::summary::Summary, shard::observe::Progress};

/// What happens during a run, for whoever shows it.
#[derive(Debug)]
pub enum Event<'a> {
    /// A process was started.
    Started {
        /// `coordinator` or the worker's name.
        name: &'a str,
        /// Its process id.
        pid: u32,
    },
    /// A process ended before the run did and will be started again.
    Died {
        /// The process.
        role: &'a Role,
        /// How it ended.
        how: String,
    },
    /// A line that a process wrote to its standard error.
    Log(&'a str),
    /// Where the run stands; `None` while the coordinator does not answer.
    Progress(Option<&'a Progress>),
}

/// Starts `roles` and looks after them until the run is over for them: the coordinator's word decides, or where there is none
/// the end of the worker, which gives no summary.
///
/// # Errors
/// Why there is no model, or that `shutdown` came first; the processes are still there then.
pub async fn supervise(
    children: &mut Children,
    roles: &[Role],
    policy: &Policy,
    mut reports: mpsc::Receiver<Option<Progress>>,
    on_event: &mut (dyn FnMut(Event<'_>) + Send),
    shutdown: impl Future<Output = ()>,
) -> Result<Option<Summary>, RunError> {
    for role in roles {
        children.start(role, on_event)?;
    }
    let led_here = roles.contains(&Role::Coordinator);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => return Err(RunError::transient(
                "interrupted; run the same job again to resume it from its last checkpoint",
            )),
            news = children.news() => match news {
                News::Line(line) => on_event(Event::Log(&line)),
                News::Due(role) => {
                    children.start(&role, on_event)?;
                    if role == Role::Coordinator {
                        // Workers that an earlier one sent home are needed again.
                        for idle in roles.iter().filter(|role| **role != Role::Coordinator) {
                            if !children.expects(idle) {
                                children.start(idle, on_event)?;
                            }
                        }
                    }
                }
                News::Ended(role, status) => {
                    match policy.judge(&role, status, children.word(&role), children.restarts(&role)) {
                        Verdict::Succeeded(summary) => return Ok(Some(*summary)),
                        // It heard that the run is over before we did.
                        Verdict::Released if led_here => {}
                        Verdict::Released => return Ok(None),
                        Verdict::Failed(error) => return Err(error),
                        Verdict::Restart(pause, how) => {
                            on_event(Event::Died { role: &role, how });
                            children.start_after(role, pause);
                        }
                    }
                }
            },
            Some(progress) = reports.recv() => on_event(Event::Progress(progress.as_ref())),
        }
    }
}
