//! From a URI to the objects behind it: the object itself, everything below a prefix, or what matches a glob; without
//! the markers and temporary files that other programs leave beside their data.

use coterie_crds::resolved::Format;
use futures::TryStreamExt;
use object_store::{Error, ObjectMeta, ObjectStoreExt, path::Path};

use crate::glob;
use crate::store::{Location, failure};
use crate::{DataError, limits};

/// The objects of a source, sorted by path, none of them empty.
pub(crate) async fn list(location: &Location) -> Result<Vec<ObjectMeta>, DataError> {
    let pattern = location.path.as_ref();
    let is_prefix = location.uri.ends_with('/') || location.path.is_root();
    let mut refused = None;
    if !is_prefix {
        match location.store.head(&location.path).await {
            Ok(meta) => return single(location, meta),
            Err(Error::NotFound { .. }) => {}
            // Stores answer so for a missing object when we may not list; listing then gives the final word.
            Err(error @ (Error::PermissionDenied { .. } | Error::Unauthenticated { .. })) => refused = Some(error),
            Err(error) if is_directory(&error) => {}
            Err(error) => return Err(failure(&location.uri, "looking for the object", &error)),
        }
    }
    let base = glob::base(pattern);
    let prefix = if glob::is_glob(pattern) { base } else { pattern };
    let prefix = Path::parse(prefix).map_err(|error| failure(&location.uri, "listing objects", &error.into()))?;
    let mut found = Vec::new();
    let mut stream = location.store.list(Some(&prefix));
    loop {
        match stream.try_next().await {
            Ok(None) => break,
            Ok(Some(meta)) => {
                if wanted(&meta, &prefix, pattern) {
                    found.push(meta);
                }
                if found.len() > limits::OBJECTS {
                    return Err(DataError::Limit {
                        object: location.uri.clone(),
                        place: "listing".to_owned(),
                        problem: format!("there are more than {} objects", limits::OBJECTS),
                        remedy: "write fewer, larger objects, or narrow source.uri with a glob".to_owned(),
                    });
                }
            }
            Err(Error::NotFound { .. }) if refused.is_none() && location.uri_is_local() => break,
            Err(error) => return Err(failure(&location.uri, "listing objects", refused.as_ref().unwrap_or(&error))),
        }
    }
    if found.is_empty() {
        if let Some(error) = refused {
            return Err(failure(&location.uri, "looking for the object", &error));
        }
        return Err(nothing(location, glob::is_glob(pattern)));
    }
    found.sort_by(|a, b| a.location.as_ref().cmp(b.location.as_ref()));
    if let Some(empty) = found.iter().find(|meta| meta.size == 0) {
        return Err(empty_object(location, empty));
    }
    Ok(found)
}

fn single(location: &Location, meta: ObjectMeta) -> Result<Vec<ObjectMeta>, DataError> {
    if meta.size == 0 { Err(empty_object(location, &meta)) } else { Ok(vec![meta]) }
}

fn empty_object(location: &Location, meta: &ObjectMeta) -> DataError {
    DataError::Corrupt {
        object: location.object_uri(&meta.location),
        place: "size".to_owned(),
        problem: "the object is empty (0 bytes)".to_owned(),
        remedy: "write it again or remove it".to_owned(),
    }
}

fn nothing(location: &Location, glob: bool) -> DataError {
    DataError::Empty {
        uri: location.uri.clone(),
        problem: if glob { "no object matches the pattern".to_owned() } else { "there is no object with this name or below it".to_owned() },
        remedy: "check source.uri for typing errors; a prefix ends at a slash, so use a glob such as dir/part-*.parquet for the beginning of a name".to_owned(),
    }
}

/// Whether a listed object is data.
fn wanted(meta: &ObjectMeta, prefix: &Path, pattern: &str) -> bool {
    let path = meta.location.as_ref();
    if glob::is_glob(pattern) && !glob::matches(pattern, path) {
        return false;
    }
    // Below what was asked for, hidden and temporary names are others' business; what was asked for is not hidden.
    let below = path.strip_prefix(prefix.as_ref()).unwrap_or(path).trim_start_matches('/');
    let asked = if glob::is_glob(pattern) { pattern[prefix.as_ref().len()..].trim_start_matches('/') } else { "" };
    let hidden = |part: &str| part.starts_with('_') || part.starts_with('.');
    let mut patterns = asked.split('/');
    let skipped = below.split('/').any(|part| {
        let explicit = patterns.next().is_some_and(hidden);
        hidden(part) && !explicit
    });
    // An empty object without a format's ending marks a directory or the end of a job.
    !skipped && (meta.size > 0 || format_of(path).is_some())
}

/// The format that a name tells.
pub(crate) fn format_of(path: &str) -> Option<Format> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (_, ending) = name.rsplit_once('.')?;
    match ending.to_ascii_lowercase().as_str() {
        "parquet" | "pq" | "parq" => Some(Format::Parquet),
        "npy" => Some(Format::Npy),
        "csv" => Some(Format::Csv),
        "arrow" | "feather" | "ipc" => Some(Format::Arrow),
        _ => None,
    }
}

/// The one format of all objects.
pub(crate) fn format(location: &Location, objects: &[ObjectMeta], wanted: Option<Format>) -> Result<Format, DataError> {
    let refuse = |object: &ObjectMeta, problem: String, remedy: &str| DataError::Schema {
        object: location.object_uri(&object.location),
        problem,
        remedy: remedy.to_owned(),
    };
    let mut known: Option<(Format, &ObjectMeta)> = None;
    for object in objects {
        let Some(format) = format_of(object.location.as_ref()) else {
            if wanted.is_none() {
                return Err(refuse(
                    object,
                    "the name does not tell the format".to_owned(),
                    "set source.format, or narrow source.uri with a glob such as dir/*.parquet; known endings are .parquet, .npy, .csv and .arrow",
                ));
            }
            continue;
        };
        if let Some(wanted) = wanted
            && wanted != format
        {
            return Err(refuse(
                object,
                format!("the name says {format:?}, but source.format is {wanted:?}"),
                "narrow source.uri with a glob, or correct source.format",
            ));
        }
        match known {
            None => known = Some((format, object)),
            Some((other, first)) if other != format => {
                return Err(refuse(
                    object,
                    format!(
                        "the formats are mixed: this is {format:?}, {} is {other:?}",
                        location.object_uri(&first.location)
                    ),
                    "narrow source.uri with a glob such as dir/*.parquet",
                ));
            }
            Some(_) => {}
        }
    }
    wanted.or(known.map(|(format, _)| format)).ok_or_else(|| nothing(location, false))
}

/// Directories of this machine are not objects, which some file systems say in other words.
fn is_directory(error: &Error) -> bool {
    error.to_string().contains("directory")
}

impl Location {
    fn uri_is_local(&self) -> bool {
        !self.uri.contains("://") || self.uri.starts_with("file://")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;

    async fn store(names: &[&str]) -> Location {
        let store = InMemory::new();
        for name in names {
            let (name, body) = name.strip_suffix("=0").map_or((*name, &b"x"[..]), |name| (name, b""));
            store.put(&Path::from(name), body.to_vec().into()).await.unwrap();
        }
        Location { store: Arc::new(store), path: Path::default(), uri: "s3://bucket/".into() }
    }

    async fn names(location: &Location, path: &str) -> Result<Vec<String>, String> {
        let location =
            Location { path: Path::parse(path).unwrap(), uri: format!("s3://bucket/{path}"), ..location.clone() };
        let found = list(&location).await.map_err(|error| error.to_string())?;
        Ok(found.into_iter().map(|meta| meta.location.to_string()).collect())
    }

    #[tokio::test]
    async fn prefixes_globs_and_markers() {
        let store = store(&[
            "d/b.csv",
            "d/a.csv",
            "d/_SUCCESS=0",
            "d/.c.csv",
            "d/_temporary/0/x.csv",
            "d/sub/c.csv",
            "d/marker=0",
            "data/z.csv",
            "_h/y.csv",
        ])
        .await;
        assert_eq!(names(&store, "d").await.unwrap(), ["d/a.csv", "d/b.csv", "d/sub/c.csv"]);
        assert_eq!(names(&store, "d/").await.unwrap(), ["d/a.csv", "d/b.csv", "d/sub/c.csv"]);
        assert_eq!(names(&store, "d/b.csv").await.unwrap(), ["d/b.csv"]);
        assert_eq!(names(&store, "d/*.csv").await.unwrap(), ["d/a.csv", "d/b.csv"]);
        assert_eq!(names(&store, "d*/[a-z].csv").await.unwrap(), ["d/a.csv", "d/b.csv", "data/z.csv"]);
        assert_eq!(names(&store, "d/**/*.csv").await.unwrap(), ["d/a.csv", "d/b.csv", "d/sub/c.csv"]);
        assert_eq!(names(&store, "d/s*").await.unwrap(), ["d/sub/c.csv"]);
        assert_eq!(names(&store, "_h").await.unwrap(), ["_h/y.csv"], "what is asked for is not hidden");
        assert_eq!(names(&store, "_*/y.csv").await.unwrap(), ["_h/y.csv"]);
        assert!(names(&store, "da").await.unwrap_err().contains("a prefix ends at a slash"));
        assert!(names(&store, "d/*.npy").await.unwrap_err().contains("no object matches the pattern"));
    }

    #[tokio::test]
    async fn empty_data_objects_are_damage() {
        let store = store(&["d/a.csv", "d/b.csv=0"]).await;
        assert!(names(&store, "d").await.unwrap_err().contains("s3://bucket/d/b.csv, size: the object is empty"));
    }

    #[tokio::test]
    async fn formats_come_from_names() {
        let location = store(&[]).await;
        let meta = |name: &str| ObjectMeta {
            location: Path::from(name),
            last_modified: Default::default(),
            size: 1,
            e_tag: None,
            version: None,
        };
        let infer = |names: &[&str], wanted| {
            format(&location, &names.iter().map(|name| meta(name)).collect::<Vec<_>>(), wanted)
                .map_err(|error| error.to_string())
        };
        assert_eq!(infer(&["a.parquet", "b.pq"], None), Ok(Format::Parquet));
        assert_eq!(infer(&["a.FEATHER"], None), Ok(Format::Arrow));
        assert_eq!(infer(&["part-0", "part-1"], Some(Format::Csv)), Ok(Format::Csv));
        assert!(
            infer(&["a.parquet", "b.csv"], None)
                .unwrap_err()
                .contains("s3://bucket/b.csv: the formats are mixed: this is Csv, s3://bucket/a.parquet is Parquet")
        );
        assert!(infer(&["a.csv.gz"], None).unwrap_err().contains("set source.format"));
        assert!(infer(&["a.csv"], Some(Format::Npy)).unwrap_err().contains("source.format is Npy"));
    }
}
