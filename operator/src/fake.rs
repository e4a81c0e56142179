//! An API server in memory, for tests: objects by path, resource versions and preconditions, and a record of what was asked.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde_json::{Value, json};

/// The server; clones are the same server.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    requests: Vec<Asked>,
    /// Answers that are due before the server does anything by itself.
    script: VecDeque<Scripted>,
    hook: Option<Hook>,
}

type Hook = Box<dyn FnMut(&Asked) + Send>;

/// A request that was made.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

struct Scripted {
    method: Method,
    suffix: String,
    status: StatusCode,
    body: Value,
}

// === impl Fake ===

impl Fake {
    pub(crate) fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let asked = Asked {
                    method: parts.method,
                    path: parts.uri.path().to_owned(),
                    query: parts.uri.query().unwrap_or_default().to_owned(),
                    body: serde_json::from_slice(&body).unwrap_or(Value::Null),
                };
                let (status, body) = fake.answer(asked);
                let body = Body::from(body.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
            }
        });
        Client::new(service, "music")
    }

    /// The next request of this method whose path ends so is answered so.
    pub(crate) fn script(&self, method: Method, suffix: &str, code: u16, reason: &str, message: &str) {
        let status = StatusCode::from_u16(code).unwrap();
        let body = failure(status, reason, message);
        self.state().script.push_back(Scripted { method, suffix: suffix.to_owned(), status, body });
    }

    /// Called with each request before it is answered.
    pub(crate) fn hook(&self, hook: impl FnMut(&Asked) + Send + 'static) {
        self.state().hook = Some(Box::new(hook));
    }

    /// Puts an object there; its resource version.
    pub(crate) fn put(&self, path: &str, mut object: Value) -> String {
        let mut state = self.state();
        state.version += 1;
        let version = state.version.to_string();
        object["metadata"]["resourceVersion"] = json!(version);
        state.objects.insert(path.to_owned(), object);
        version
    }

    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    pub(crate) fn requests(&self) -> Vec<Asked> {
        self.state().requests.clone()
    }

    /// Method and last part of the path of each request.
    pub(crate) fn summary(&self) -> Vec<String> {
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        self.requests().iter().map(|asked| format!("{} {}", asked.method, last(&asked.path))).collect()
    }

    fn answer(&self, asked: Asked) -> (StatusCode, Value) {
        let hook = self.state().hook.take();
        if let Some(mut hook) = hook {
            hook(&asked);
            self.state().hook = Some(hook);
        }
        self.state().answer(asked)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn answer(&mut self, asked: Asked) -> (StatusCode, Value) {
        self.requests.push(asked.clone());
        let scripted =
            self.script.iter().position(|one| one.method == asked.method && asked.path.ends_with(&one.suffix));
        if let Some(Scripted { status, body, .. }) = scripted.and_then(|index| self.script.remove(index)) {
            return (status, body);
        }
        let path = asked.path.strip_suffix("/status").unwrap_or(&asked.path).to_owned();
        let found = self.objects.get(&path).cloned();
        match (asked.method.as_str(), found) {
            ("GET", Some(object)) => (StatusCode::OK, object),
            ("POST", _) => {
                let name = asked.body["metadata"]["name"].as_str().unwrap().to_owned();
                let path = format!("{path}/{name}");
                if self.objects.contains_key(&path) {
                    return refused(StatusCode::CONFLICT, "AlreadyExists");
                }
                self.store(path, asked.body, StatusCode::CREATED)
            }
            ("PATCH", None) if asked.body["metadata"]["resourceVersion"].is_null() => {
                self.store(path, asked.body, StatusCode::CREATED)
            }
            (_, None) => refused(StatusCode::NOT_FOUND, "NotFound"),
            ("PATCH" | "PUT", Some(object)) => {
                let expected = &asked.body["metadata"]["resourceVersion"];
                if !expected.is_null() && *expected != object["metadata"]["resourceVersion"] {
                    return refused(StatusCode::CONFLICT, "Conflict");
                }
                let mut merged = object;
                merge(&mut merged, asked.body);
                self.store(path, merged, StatusCode::OK)
            }
            ("DELETE", Some(object)) => {
                for (field, expected) in asked.body["preconditions"].as_object().into_iter().flatten() {
                    if object["metadata"][field] != *expected {
                        return refused(StatusCode::CONFLICT, "Conflict");
                    }
                }
                self.objects.remove(&path);
                (StatusCode::OK, json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }))
            }
            _ => refused(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    fn store(&mut self, path: String, mut object: Value, status: StatusCode) -> (StatusCode, Value) {
        if self.objects.get(&path) != Some(&object) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.objects.insert(path, object.clone());
        }
        (status, object)
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn refused(status: StatusCode, reason: &str) -> (StatusCode, Value) {
    (status, failure(status, reason, "the fake server refuses"))
}

fn failure(status: StatusCode, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": reason, "message": message, "code": status.as_u16(),
    })
}
