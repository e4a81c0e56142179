//! Stores fail in many words. Here each failure becomes one of our few kinds, with the innermost reason and a
//! remedy, and without URLs, since those may carry signatures.

use std::error::Error as _;
use std::io;

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

use crate::{Cause, DataError};

/// Longest text taken over from a store.
const LONGEST: usize = 240;

/// Sorts a store's error. `action` completes "failed while ...", as in "writing the manifest".
#[must_use]
pub fn failure(uri: &str, action: &str, error: &Error) -> DataError {
    let source = cause(error);
    let text = chain(error);
    let settings = |problem: &str, remedy: &str| DataError::Settings {
        uri: uri.to_owned(),
        problem: format!("{problem} while {action} ({source})"),
        remedy: remedy.to_owned(),
    };
    let denied = |remedy: &str| DataError::Denied {
        uri: uri.to_owned(),
        action: action.to_owned(),
        remedy: remedy.to_owned(),
        source: source.clone(),
    };
    let unavailable = |remedy: &str| DataError::Unavailable {
        uri: uri.to_owned(),
        action: action.to_owned(),
        remedy: remedy.to_owned(),
        source: source.clone(),
    };
    const RIGHTS: &str = "check the credentials in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for S3) and that they may list and read this place, and write it where it is an output";

    // A listing of a missing bucket comes as a generic error, a read from one as "not found".
    if ["NoSuchBucket", "ContainerNotFound", "bucket does not exist"].iter().any(|word| text.contains(word)) {
        return settings("the bucket does not exist", "correct its name, or the endpoint and region");
    }
    if text.contains("non-partial response") || text.contains("Range request not supported") {
        return settings("the server does not serve byte ranges", "use a server that answers range requests");
    }
    // The variant says most of it.
    match error {
        Error::NotFound { .. } => {
            return DataError::Empty {
                uri: uri.to_owned(),
                problem: "there is no such object".to_owned(),
                remedy: "check the URI for typing errors".to_owned(),
            };
        }
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => return denied(RIGHTS),
        Error::Precondition { .. } | Error::NotModified { .. } => return DataError::Changed { object: uri.to_owned() },
        Error::AlreadyExists { .. } => {
            return DataError::Exists {
                uri: uri.to_owned(),
                problem: "it exists already".to_owned(),
                remedy: "choose another name, or remove it first".to_owned(),
            };
        }
        Error::NotSupported { .. } | Error::NotImplemented { .. } => {
            return settings("the store cannot do what is needed", "use a store that supports it");
        }
        Error::InvalidPath { .. } => {
            return settings("the path is not valid", "write the path without empty, '.' or '..' parts");
        }
        _ => {}
    }
    // Files of this machine.
    if let Some(kind) = find::<io::Error>(error).map(io::Error::kind)
        && find::<HttpError>(error).is_none()
    {
        match kind {
            io::ErrorKind::PermissionDenied => {
                return denied("give this process's user the right to read it, and to write it where it is an output");
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                return unavailable("free space on the device or choose another place, then run again");
            }
            io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::ReadOnlyFilesystem => {
                return settings("the path cannot be used", "correct the path");
            }
            _ => {}
        }
    }
    if let Some(status) = status(&text) {
        match status {
            401 | 403 => return denied(RIGHTS),
            300..=399 => {
                return settings(
                    "the store sent us elsewhere",
                    "set store.region to the bucket's region, or correct store.endpoint",
                );
            }
            408 | 429 | 500..=599 if status != 501 => {
                return unavailable("the store is overloaded or out of order: run again later");
            }
            _ => {
                return settings(
                    &format!("the store refused the request with status {status}"),
                    "check that store.endpoint speaks the protocol of the URI's scheme, and store.region",
                );
            }
        }
    }
    if text.contains("169.254.169.254")
        || text.contains("metadata.google")
        || text.contains("Error getting credentials")
    {
        return denied(
            "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the variables of the cloud in question), or AWS_SKIP_SIGNATURE=true for a public bucket",
        );
    }
    let lower = text.to_ascii_lowercase();
    if lower.contains("certificate") || lower.contains("unknownissuer") {
        return settings(
            "the store's TLS certificate is not trusted",
            "set store.caBundle to a PEM file with the authority that signed it",
        );
    }
    match find::<HttpError>(error).map(HttpError::kind) {
        Some(HttpErrorKind::Connect) => {
            unavailable("check store.endpoint, the network and whether the store is up, then run again")
        }
        Some(HttpErrorKind::Timeout) => {
            unavailable("the store did not answer in time: check the network, then run again")
        }
        _ => unavailable("run again; if it persists, check the store and the network"),
    }
}

/// The innermost reason, short and on one line.
pub(crate) fn cause(error: &Error) -> Cause {
    let mut innermost: &(dyn std::error::Error + 'static) = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    let tag = |name: &str| {
        let start = text.find(&format!("<{name}>"))? + name.len() + 2;
        let end = text[start..].find("</")? + start;
        Some(text[start..end].trim().to_owned())
    };
    let short = match (status(&text), tag("Code"), tag("Message")) {
        (Some(status), Some(code), Some(message)) => {
            format!("status {status} {code}: {}", message.split_whitespace().collect::<Vec<_>>().join(" "))
        }
        (Some(status), Some(code), None) => format!("status {status} {code}"),
        (Some(status), None, _) => format!("status {status}"),
        (None, ..) => text.split_whitespace().collect::<Vec<_>>().join(" "),
    };
    Cause(short.chars().take(LONGEST).collect())
}

fn status(text: &str) -> Option<u16> {
    let marker = "status code: ";
    let start = text.find(marker)? + marker.len();
    text.get(start..start + 3)?.parse().ok()
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push('\n');
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

fn find<T: std::error::Error + 'static>(error: &Error) -> Option<&T> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(source) = next {
        if let Some(found) = source.downcast_ref::<T>() {
            return Some(found);
        }
        next = source.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorClass;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Text(&'static str);

    fn generic(source: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::Generic { store: "S3", source: Box::new(source) }
    }

    #[test]
    fn each_kind_has_its_class() {
        let http = |kind| {
            generic(HttpError::new(kind, io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused")))
        };
        let cases: Vec<(Error, ErrorClass, &str)> = vec![
            (
                Error::PermissionDenied { path: "x".into(), source: Box::new(Text("no")) },
                ErrorClass::Denied,
                "credentials",
            ),
            (
                Error::Unauthenticated { path: "x".into(), source: Box::new(Text("no")) },
                ErrorClass::Denied,
                "credentials",
            ),
            (Error::Precondition { path: "x".into(), source: Box::new(Text("no")) }, ErrorClass::Transient, "changed"),
            (
                Error::AlreadyExists { path: "x".into(), source: Box::new(Text("no")) },
                ErrorClass::Spec,
                "exists already",
            ),
            (
                Error::NotFound { path: "x".into(), source: Box::new(Text("<Code>NoSuchBucket</Code>")) },
                ErrorClass::Spec,
                "bucket does not exist",
            ),
            (
                Error::NotFound { path: "x".into(), source: Box::new(Text("<Code>NoSuchKey</Code>")) },
                ErrorClass::Data,
                "no such object",
            ),
            (http(HttpErrorKind::Connect), ErrorClass::Transient, "store.endpoint"),
            (http(HttpErrorKind::Timeout), ErrorClass::Transient, "in time"),
            (
                generic(Text("Server returned non-2xx status code: 503 Service Unavailable: ")),
                ErrorClass::Transient,
                "later",
            ),
            (generic(Text("Server returned non-2xx status code: 400 Bad Request: ")), ErrorClass::Spec, "status 400"),
            (generic(Text("Server returned non-2xx status code: 301 Moved: ")), ErrorClass::Spec, "region"),
            (generic(Text("invalid peer certificate: UnknownIssuer")), ErrorClass::Spec, "caBundle"),
            (generic(io::Error::from(io::ErrorKind::StorageFull)), ErrorClass::Transient, "free space"),
            (generic(io::Error::from(io::ErrorKind::PermissionDenied)), ErrorClass::Denied, "user"),
        ];
        for (error, class, word) in cases {
            let sorted = failure("s3://b/x", "reading the object", &error);
            assert_eq!(sorted.class(), class, "{sorted}");
            assert!(sorted.to_string().contains(word) && sorted.to_string().contains("s3://b/x"), "{sorted}");
        }
    }

    #[test]
    fn causes_are_short_and_name_the_code() {
        let body = "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>The signature\n we calculated</Message></Error>";
        assert_eq!(cause(&generic(Text(body))).0, "status 403 SignatureDoesNotMatch: The signature we calculated");
    }
}
