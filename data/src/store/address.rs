//! URIs come from manifests: with and without scheme, with globs (`?` and `[` mean something else in URLs), and
//! sometimes with secrets in them. They are taken apart by hand, so that every part is checked once and errors
//! never repeat a secret.

use std::path::{Component, PathBuf};

use object_store::path::Path;

use crate::DataError;

/// Which store, without the path inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    File,
    S3 { bucket: String },
    Google { bucket: String },
    Azure { container: String, account: Option<String> },
    Web { base: String },
}

/// A URI taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) scheme: Scheme,
    pub(crate) path: Path,
    /// As written, without secrets.
    pub(crate) uri: String,
}

impl Address {
    /// The URI of another path in the same store.
    pub(crate) fn object_uri(&self, path: &Path) -> String {
        match &self.scheme {
            Scheme::File => format!("/{path}"),
            Scheme::S3 { bucket } => format!("s3://{bucket}/{path}"),
            Scheme::Google { bucket } => format!("gs://{bucket}/{path}"),
            Scheme::Azure { container, account: None } => format!("az://{container}/{path}"),
            Scheme::Azure { container, account: Some(host) } => format!("abfss://{container}@{host}/{path}"),
            Scheme::Web { base } => format!("{base}/{path}"),
        }
    }
}

/// Hides what may be secret: user information and queries.
pub(crate) fn redact(uri: &str) -> String {
    let (head, tail) = uri.split_once("://").map_or(("", uri), |(scheme, rest)| (scheme, rest));
    let (authority, path) = tail.split_once('/').map_or((tail, None), |(authority, path)| (authority, Some(path)));
    let authority = match authority.split_once('@') {
        Some((user, host)) if user.contains(':') || !head.starts_with("abfs") => format!("***@{host}"),
        _ => authority.to_owned(),
    };
    let path = path.map(|path| match path.split_once('?') {
        Some((before, query)) if query.contains('=') => format!("{before}?***"),
        _ => path.to_owned(),
    });
    let mut redacted = String::new();
    if !head.is_empty() {
        redacted.push_str(head);
        redacted.push_str("://");
    }
    redacted.push_str(&authority);
    if let Some(path) = path {
        redacted.push('/');
        redacted.push_str(&path);
    }
    redacted
}

/// Takes a URI apart.
pub(crate) fn parse(uri: &str) -> Result<Address, DataError> {
    let shown = redact(uri);
    let refuse = |problem: &str, remedy: &str| DataError::Settings {
        uri: if uri.is_empty() { "uri".to_owned() } else { shown.clone() },
        problem: problem.to_owned(),
        remedy: remedy.to_owned(),
    };
    if uri.trim().is_empty() {
        return Err(refuse("it is empty", "name a directory, a file, or a URI such as s3://bucket/prefix/"));
    }
    let Some((scheme, rest)) = uri.split_once("://") else {
        return local(uri, shown.clone())
            .ok_or_else(|| refuse("the path is not valid", "use a path without control characters, below the root"));
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if shown.contains("***@") {
        return Err(refuse(
            "the URI holds user name or password",
            "take them out and give credentials through the environment, as in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ));
    }
    if shown.ends_with("?***") {
        return Err(refuse("the URI holds a query", "name the object without one; signed URLs are not supported"));
    }
    let need_name = |what: &str| {
        if authority.is_empty() {
            Err(refuse(&format!("the {what} is missing"), &format!("write {scheme}://{what}/path")))
        } else {
            Ok(authority.to_owned())
        }
    };
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "file" => {
            if !authority.is_empty() && authority != "localhost" {
                return Err(refuse(
                    "a file:// URI needs an absolute path",
                    "write three slashes, file:///dir/data, or the path alone for a relative one",
                ));
            }
            let path = percent_decode(&format!("/{path}"))
                .ok_or_else(|| refuse("the path is not valid UTF-8 once decoded", "write the path without file://"))?;
            return local(&path, shown.clone()).ok_or_else(|| {
                refuse("the path is not valid", "use a path without control characters, below the root")
            });
        }
        "s3" | "s3a" => Scheme::S3 { bucket: need_name("bucket")? },
        "gs" => Scheme::Google { bucket: need_name("bucket")? },
        "az" | "azure" | "abfs" | "abfss" => {
            let name = need_name("container")?;
            match name.split_once('@') {
                Some((container, host)) => {
                    Scheme::Azure { container: container.to_owned(), account: Some(host.to_owned()) }
                }
                None => Scheme::Azure { container: name, account: None },
            }
        }
        "http" | "https" => Scheme::Web { base: format!("{}://{}", scheme.to_ascii_lowercase(), need_name("host")?) },
        other => {
            return Err(refuse(
                &format!("the scheme {other:?} is not known"),
                "use s3://, gs://, az://, https://, file:// or a plain path",
            ));
        }
    };
    let path = Path::parse(path).map_err(|_| {
        refuse(
            "the path has an empty, '.' or '..' part, or control characters",
            "write the path in full, with single slashes",
        )
    })?;
    Ok(Address { scheme, path, uri: shown })
}

/// A path of this machine, made absolute and free of `.` and `..`.
fn local(path: &str, uri: String) -> Option<Address> {
    let absolute = std::path::absolute(path).ok()?;
    let mut plain = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(component),
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
        }
    }
    let path = Path::parse(plain.to_str()?).ok()?;
    Some(Address { scheme: Scheme::File, path, uri })
}

fn percent_decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%'
            && let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2))
        {
            decoded.push(u8::try_from(high * 16 + low).ok()?);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(uri: &str) -> String {
        parse(uri).unwrap().path.to_string()
    }

    #[test]
    fn local_paths_become_absolute() {
        let here = std::env::current_dir().unwrap();
        let here = here.to_str().unwrap().trim_start_matches('/').to_owned();
        assert_eq!(path("data/x.npy"), format!("{here}/data/x.npy"));
        assert_eq!(path("./a/../b"), format!("{here}/b"));
        assert_eq!(path("/tmp/a b/c%20d"), "tmp/a b/c%20d");
        assert_eq!(path("file:///tmp/a%20b"), "tmp/a b");
        assert_eq!(path("/"), "");
        assert_eq!(path("/data/part-[0-9]?.csv"), "data/part-[0-9]?.csv");
    }

    #[test]
    fn clouds_are_recognised() {
        let s3 = parse("s3://music/embeddings/2024-*/part-?.parquet").unwrap();
        assert_eq!(s3.scheme, Scheme::S3 { bucket: "music".into() });
        assert_eq!(s3.path.as_ref(), "embeddings/2024-*/part-?.parquet");
        assert_eq!(s3.object_uri(&Path::from("a/b")), "s3://music/a/b");
        assert_eq!(parse("gs://b").unwrap().path.as_ref(), "");
        let azure = parse("abfss://box@acme.dfs.core.windows.net/x").unwrap();
        assert_eq!(
            azure.scheme,
            Scheme::Azure { container: "box".into(), account: Some("acme.dfs.core.windows.net".into()) }
        );
        assert_eq!(parse("https://host:81/a/b.npy").unwrap().scheme, Scheme::Web { base: "https://host:81".into() });
    }

    #[test]
    fn bad_uris_say_what_to_write() {
        for (uri, word) in [
            ("", "empty"),
            ("s3://", "bucket is missing"),
            ("s3:///key", "bucket is missing"),
            ("hdfs://x/y", "scheme \"hdfs\" is not known"),
            ("file://data/x", "absolute path"),
            ("s3://b/a//b", "empty"),
            ("s3://b/../c", "'..'"),
        ] {
            let error = parse(uri).unwrap_err();
            assert!(error.to_string().contains(word), "{uri}: {error}");
            assert_eq!(error.class(), crate::ErrorClass::Spec);
        }
    }

    #[test]
    fn secrets_are_refused_and_never_repeated() {
        for uri in [
            "s3://AKIA:topsecret@bucket/x",
            "https://me:topsecret@host/x",
            "https://host/x?sig=topsecret",
            "az://box/x?sv=1&sig=topsecret",
        ] {
            let error = parse(uri).unwrap_err().to_string();
            assert!(!error.contains("topsecret") && error.contains("***"), "{error}");
        }
        assert_eq!(redact("s3://b/part-?.csv"), "s3://b/part-?.csv");
    }
}
