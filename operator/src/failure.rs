//! Every failure of a reconciliation is sorted once, here; everything else asks for its [`Class`].

use std::time::Duration;

use coterie_operator_core::plan::{Kind, ObjectRef};

/// What is to be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// The plan was made from a state that is over. Plan again as soon as the watches have caught up.
    Stale,
    /// The server, or the way to it, is in trouble. Try again, ever less often.
    Transient,
    /// The server will not accept the write until something else changes.
    Refused,
    /// Another replica may lead by now: nothing may be written.
    NotLeading,
    /// A defect of this program.
    Bug,
}

/// A step of a reconciliation that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("{attempt}: {message}")]
pub(crate) struct Failure {
    pub(crate) class: Class,
    /// What was attempted.
    attempt: String,
    /// The reason, in the server's words where they can be told.
    pub(crate) message: String,
    /// When the server wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
    /// The object that was to be written. `None`: the job itself.
    pub(crate) object: Option<ObjectRef>,
    reason: Reason,
}

/// The server's reasons that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    AlreadyExists,
    NotFound,
    Other,
}

/// What an attempt is about.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) verb: &'static str,
    /// `None`: the status of the job.
    pub(crate) object: Option<ObjectRef>,
}

// === impl Failure ===

impl Failure {
    /// A failure of the given class that no server told.
    pub(crate) fn new(class: Class, attempt: &Attempt, message: impl Into<String>) -> Self {
        Self {
            class,
            attempt: attempt.to_string(),
            message: message.into(),
            retry_after: None,
            object: attempt.object.clone(),
            reason: Reason::Other,
        }
    }

    /// A defect met before anything was attempted.
    pub(crate) fn bug(attempt: &str, message: impl Into<String>) -> Self {
        Self {
            class: Class::Bug,
            attempt: attempt.to_owned(),
            message: message.into(),
            retry_after: None,
            object: None,
            reason: Reason::Other,
        }
    }

    /// The object was to be created, and is there already.
    pub(crate) fn already_exists(&self) -> bool {
        self.reason == Reason::AlreadyExists
    }

    /// The object is not there.
    pub(crate) fn not_found(&self) -> bool {
        self.reason == Reason::NotFound
    }

    /// Sorts a failed request.
    pub(crate) fn request(attempt: &Attempt, error: &kube::Error) -> Self {
        let failure = |class, message: String| Self::new(class, attempt, message);
        match error {
            kube::Error::Api(status) => {
                let class = class_of(status.code);
                // The server may quote what it refuses, and of a Secret nothing may be told.
                let secret = attempt.object.as_ref().is_some_and(|object| object.kind == Kind::Secret);
                let message = if secret || status.message.is_empty() {
                    format!("{} ({})", status.reason, status.code)
                } else {
                    status.message.clone()
                };
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                Self {
                    reason: match status.reason.as_str() {
                        "AlreadyExists" => Reason::AlreadyExists,
                        "NotFound" => Reason::NotFound,
                        _ => Reason::Other,
                    },
                    retry_after: (seconds > 0).then(|| Duration::from_secs(seconds.into())),
                    ..failure(class, message)
                }
            }
            kube::Error::BuildRequest(_) | kube::Error::HttpError(_) | kube::Error::SerdeError(_) => {
                failure(Class::Bug, chain(error))
            }
            // Connections, TLS, credentials that are about to be rotated: all of it may pass.
            _ => failure(Class::Transient, chain(error)),
        }
    }
}

/// The class of an HTTP status.
fn class_of(code: u16) -> Class {
    match code {
        // Conflict and AlreadyExists; the object, or its namespace, is gone.
        404 | 409 | 410 => Class::Stale,
        // Credentials are rotated under us now and then.
        401 | 408 | 429 | 500.. => Class::Transient,
        _ => Class::Refused,
    }
}

/// A failed request in one line: the server's own words, or what came in their way.
pub(crate) fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        error => chain(error),
    }
}

/// An error and its causes, on one line. Many errors repeat their cause; it is told once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

// === impl Attempt ===

impl Attempt {
    pub(crate) fn object(verb: &'static str, object: ObjectRef) -> Self {
        Self { verb, object: Some(object) }
    }

    pub(crate) fn status() -> Self {
        Self { verb: "apply", object: None }
    }

    /// The kind, as metrics name it.
    pub(crate) fn kind(&self) -> String {
        self.object.as_ref().map_or_else(|| coterie_crds::KIND.to_owned(), |object| format!("{:?}", object.kind))
    }
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.object {
            Some(object) => write!(f, "{} {object}", self.verb),
            None => write!(f, "{} status", self.verb),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, reason: &str, kind: Kind) -> Failure {
        let status = kube::core::Status::failure("told by the server", reason).with_code(code);
        let attempt = Attempt::object("create", ObjectRef { kind, name: "songs-r1".to_owned() });
        Failure::request(&attempt, &kube::Error::Api(status.boxed()))
    }

    #[test]
    fn statuses_are_sorted() {
        let expected = [
            (400, Class::Refused),
            (401, Class::Transient),
            (403, Class::Refused),
            (404, Class::Stale),
            (409, Class::Stale),
            (422, Class::Refused),
            (429, Class::Transient),
            (500, Class::Transient),
            (503, Class::Transient),
            (504, Class::Transient),
        ];
        for (code, class) in expected {
            assert_eq!(of(code, "Reason", Kind::Job).class, class, "{code}");
        }
    }

    #[test]
    fn the_server_says_when_to_come_back() {
        let details = serde_json::from_str(r#"{ "retryAfterSeconds": 7 }"#).unwrap();
        let status = kube::core::Status::failure("busy", "TooManyRequests").with_code(429).with_details(details);
        let failure = Failure::request(&Attempt::status(), &kube::Error::Api(status.boxed()));
        assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(failure.to_string(), "apply status: busy");
    }

    #[test]
    fn nothing_is_told_of_a_secret() {
        assert_eq!(of(422, "Invalid", Kind::Job).to_string(), "create Job songs-r1: told by the server");
        assert_eq!(of(422, "Invalid", Kind::Secret).to_string(), "create Secret songs-r1: Invalid (422)");
    }
}
