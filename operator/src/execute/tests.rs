//! Plans against the fake server: what is asked, in which order, and where it stops.

use axum::http::Method;
use coterie_crds::names::reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::*;
use crate::{
    fake::{Asked, Fake},
    leadership::Leadership,
};

const JOBS: &str = "/apis/coterie.dev/v1alpha1/namespaces/music/clusteringjobs/songs";
const BATCH: &str = "/apis/batch/v1/namespaces/music/jobs";
const CORE: &str = "/api/v1/namespaces/music";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/music/events";

/// The job as it was observed, and the server that holds it.
fn observed(fake: &Fake) -> ClusteringJob {
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": { "name": "songs", "namespace": "music", "uid": "job-uid", "generation": 1 },
        "spec": { "source": { "uri": "s3://music/vectors" }, "algorithm": { "kMeans": { "clusters": 3 } } },
    });
    fake.put(JOBS, object);
    serde_json::from_value(fake.object(JOBS).unwrap()).unwrap()
}

fn executor(fake: &Fake, leadership: Leadership) -> Executor {
    Executor::new(fake.client(), leadership, "operator-0".to_owned(), Arc::new(Metrics::new("test")))
}

fn metadata(name: &str) -> ObjectMeta {
    let owner = OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        name: "songs".to_owned(),
        uid: "job-uid".to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some("music".to_owned()),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    }
}

fn config_map(name: &str) -> Object {
    Object::ConfigMap(Box::new(ConfigMap { metadata: metadata(name), ..ConfigMap::default() }))
}

fn batch_job(name: &str) -> Object {
    Object::Job(Box::new(Job { metadata: metadata(name), ..Job::default() }))
}

fn service(name: &str, version: Option<&str>) -> Object {
    let metadata = ObjectMeta { resource_version: version.map(str::to_owned), ..metadata(name) };
    Object::Service(Box::new(Service { metadata, ..Service::default() }))
}

fn status() -> ClusteringJobStatus {
    ClusteringJobStatus { observed_generation: 1, ..ClusteringJobStatus::default() }
}

fn event() -> Event {
    Event { warning: false, reason: reason::RUN_STARTING, action: "Train", message: "run songs-r1 starts".to_owned() }
}

fn actions(actions: Vec<Action>) -> Plan {
    Plan { actions, ..Plan::default() }
}

async fn failure(fake: &Fake, job: &ClusteringJob, plan: &Plan) -> Failure {
    executor(fake, Leadership::sole()).execute(job, plan).await.failure.expect("a failure")
}

#[tokio::test]
async fn status_first_then_events_then_actions() {
    let fake = Fake::default();
    let job = observed(&fake);
    let plan = Plan {
        status: Some(status()),
        actions: vec![
            Action::Create(config_map("songs-r1")),
            Action::CreateIdentity(Box::new(metadata("songs-r1-tls"))),
            Action::Create(batch_job("songs-r1")),
            Action::Apply(service("songs", None)),
        ],
        events: vec![event()],
        ..Plan::default()
    };
    let report = executor(&fake, Leadership::sole()).execute(&job, &plan).await;
    assert!(report.failure.is_none(), "{report:?}");
    assert!(report.replaced);
    assert_eq!(report.written.len(), 4);
    let expected =
        ["PATCH status", "POST events", "POST configmaps", "POST secrets", "POST jobs", "GET songs", "PATCH songs"];
    assert_eq!(fake.summary(), expected);

    let asked = fake.requests();
    assert_eq!(asked[0].path, format!("{JOBS}/status"));
    assert_eq!(asked[0].query, "&force=true&fieldManager=coterie-operator");
    assert_eq!(asked[0].body["metadata"]["resourceVersion"], json!(job.metadata.resource_version));
    assert_eq!(asked[0].body["status"], json!({ "observedGeneration": 1 }));
    assert_eq!(asked[4].body["kind"], "Job");
    assert_eq!(asked[4].body["metadata"]["name"], "songs-r1");
    assert_eq!(asked[1].body["regarding"]["uid"], "job-uid");
    assert_eq!(asked[1].body["reportingController"], "coterie.dev/operator");
    assert_eq!(asked[1].body["reportingInstance"], "operator-0");
}

#[tokio::test]
async fn an_empty_plan_asks_nothing() {
    let fake = Fake::default();
    let job = observed(&fake);
    let report = executor(&fake, Leadership::sole()).execute(&job, &Plan::default()).await;
    assert!(report.failure.is_none() && !report.replaced && report.written.is_empty());
    assert!(fake.requests().is_empty());
}

#[tokio::test]
async fn the_first_failure_ends_the_plan() {
    let fake = Fake::default();
    let job = observed(&fake);
    fake.script(Method::POST, "/configmaps", 500, "InternalError", "etcd is away");
    let plan = Plan {
        status: Some(status()),
        actions: vec![Action::Create(config_map("songs-r1")), Action::Create(batch_job("songs-r1"))],
        events: vec![event()],
        ..Plan::default()
    };
    let report = executor(&fake, Leadership::sole()).execute(&job, &plan).await;
    assert_eq!(report.failure.unwrap().class, Class::Transient);
    assert!(report.replaced, "the status is on record all the same");
    assert_eq!(fake.summary(), ["PATCH status", "POST events", "POST configmaps"]);
}

#[tokio::test]
async fn a_stale_job_ends_the_plan_before_anything_follows() {
    let fake = Fake::default();
    let job = observed(&fake);
    observed(&fake); // somebody changes it
    let plan = Plan { status: Some(status()), actions: vec![Action::Create(batch_job("songs-r1"))], ..Plan::default() };
    let report = executor(&fake, Leadership::sole()).execute(&job, &plan).await;
    assert_eq!(report.failure.unwrap().class, Class::Stale);
    assert!(!report.replaced);
    assert_eq!(fake.summary(), ["PATCH status"]);
}

#[tokio::test]
async fn failures_are_sorted_as_the_server_means_them() {
    let cases = [
        (409, "AlreadyExists", Class::Stale),
        (422, "Invalid", Class::Refused),
        (403, "Forbidden", Class::Refused),
        (400, "BadRequest", Class::Refused),
        (500, "InternalError", Class::Transient),
        (429, "TooManyRequests", Class::Transient),
    ];
    for (code, reason, class) in cases {
        let fake = Fake::default();
        let job = observed(&fake);
        fake.script(Method::POST, "/jobs", code, reason, "why");
        let failure = failure(&fake, &job, &actions(vec![Action::Create(batch_job("songs-r1"))])).await;
        assert_eq!(failure.class, class, "{code}");
        assert_eq!(failure.object, Some(ObjectRef { kind: Kind::Job, name: "songs-r1".to_owned() }));
        assert_eq!(failure.message, "why");
    }
}

#[tokio::test]
async fn an_object_that_exists_means_a_stale_observation() {
    let fake = Fake::default();
    let job = observed(&fake);
    fake.put(&format!("{BATCH}/songs-r1"), json!({ "metadata": metadata("songs-r1") }));
    let failure = failure(&fake, &job, &actions(vec![Action::Create(batch_job("songs-r1"))])).await;
    assert_eq!(failure.class, Class::Stale);
}

#[tokio::test]
async fn an_identity_that_exists_stays() {
    let fake = Fake::default();
    let job = observed(&fake);
    let path = format!("{CORE}/secrets/songs-r1-tls");
    let plan = actions(vec![Action::CreateIdentity(Box::new(metadata("songs-r1-tls")))]);
    assert!(executor(&fake, Leadership::sole()).execute(&job, &plan).await.failure.is_none());
    let first = fake.object(&path).unwrap();
    assert_eq!(first["type"], "Opaque");
    assert_eq!(first["immutable"], true);
    let names: Vec<&String> = first["data"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["ca.pem", "cert.pem", "key.pem"]);

    assert!(executor(&fake, Leadership::sole()).execute(&job, &plan).await.failure.is_none());
    assert_eq!(fake.object(&path).unwrap(), first);
}

#[tokio::test]
async fn nothing_of_a_secret_is_told() {
    let fake = Fake::default();
    let job = observed(&fake);
    fake.script(Method::POST, "/secrets", 422, "Invalid", "Invalid value: -----BEGIN PRIVATE KEY-----");
    let failure =
        failure(&fake, &job, &actions(vec![Action::CreateIdentity(Box::new(metadata("songs-r1-tls")))])).await;
    assert!(!format!("{failure:?} {failure}").contains("PRIVATE"));
    assert_eq!(failure.to_string(), "create Secret songs-r1-tls: Invalid (422)");
}

#[tokio::test]
async fn an_observed_object_is_applied_only_in_that_version() {
    let fake = Fake::default();
    let job = observed(&fake);
    let path = format!("{CORE}/services/songs");
    let version = fake.put(&path, json!({ "metadata": metadata("songs") }));
    let plan = actions(vec![Action::Apply(service("songs", Some(&version)))]);
    assert!(executor(&fake, Leadership::sole()).execute(&job, &plan).await.failure.is_none());
    assert_eq!(fake.summary(), ["PATCH songs"], "no read is needed");

    fake.put(&path, json!({ "metadata": metadata("songs"), "spec": { "changed": "meanwhile" } }));
    assert_eq!(failure(&fake, &job, &plan).await.class, Class::Stale);
}

#[tokio::test]
async fn a_name_of_somebody_else_is_refused() {
    let mut other = metadata("songs");
    other.owner_references.as_mut().unwrap()[0].uid = "other-uid".to_owned();
    other.owner_references.as_mut().unwrap()[0].name = "pictures".to_owned();
    let nobody = ObjectMeta { owner_references: None, ..metadata("songs") };
    for (metadata, message) in [
        (other, "name taken by an object of ClusteringJob pictures"),
        (nobody, "name taken by an object that is not the operator's"),
    ] {
        let fake = Fake::default();
        let job = observed(&fake);
        fake.put(&format!("{CORE}/services/songs"), json!({ "metadata": metadata }));
        for action in [Action::Apply(service("songs", None)), Action::Create(service("songs", None))] {
            let failure = failure(&fake, &job, &actions(vec![action])).await;
            assert_eq!((failure.class, failure.message.as_str()), (Class::Refused, message));
        }
        assert_eq!(fake.summary(), ["GET songs", "POST services", "GET songs"]);
    }
}

#[tokio::test]
async fn an_object_of_an_earlier_job_is_waited_for() {
    let fake = Fake::default();
    let job = observed(&fake);
    let mut earlier = metadata("songs");
    earlier.owner_references.as_mut().unwrap()[0].uid = "uid-of-an-earlier-job".to_owned();
    fake.put(&format!("{CORE}/services/songs"), json!({ "metadata": earlier }));
    let failure = failure(&fake, &job, &actions(vec![Action::Apply(service("songs", None))])).await;
    assert_eq!(failure.class, Class::Stale);
}

#[tokio::test]
async fn an_own_object_that_was_not_observed_yet_is_applied_in_the_version_found() {
    let fake = Fake::default();
    let job = observed(&fake);
    let version = fake.put(&format!("{CORE}/services/songs"), json!({ "metadata": metadata("songs") }));
    let plan = actions(vec![Action::Apply(service("songs", None))]);
    assert!(executor(&fake, Leadership::sole()).execute(&job, &plan).await.failure.is_none());
    assert_eq!(fake.requests()[1].body["metadata"]["resourceVersion"], json!(version));
}

#[tokio::test]
async fn deletions_say_what_they_mean() {
    let fake = Fake::default();
    let job = observed(&fake);
    let path = format!("{BATCH}/songs-r1");
    let version = fake.put(&path, json!({ "metadata": { "name": "songs-r1", "uid": "run-uid" } }));
    let deletion = |kind, uid: Option<&str>, version: Option<&str>| {
        let (uid, resource_version) = (uid.map(str::to_owned), version.map(str::to_owned));
        let object = ObjectRef { kind, name: "songs-r1".to_owned() };
        actions(vec![Action::Delete(Deletion { object, uid, resource_version })])
    };
    let stale = failure(&fake, &job, &deletion(Kind::Job, Some("run-uid"), Some("0"))).await;
    assert_eq!(stale.class, Class::Stale);
    let stale = failure(&fake, &job, &deletion(Kind::Job, Some("other"), Some(&version))).await;
    assert_eq!(stale.class, Class::Stale);

    let executor = executor(&fake, Leadership::sole());
    for plan in [
        deletion(Kind::Job, Some("run-uid"), Some(&version)),
        deletion(Kind::Job, Some("run-uid"), Some(&version)), // it is gone, and that is fine
        deletion(Kind::Secret, None, None),
    ] {
        assert!(executor.execute(&job, &plan).await.failure.is_none());
    }
    assert_eq!(fake.object(&path), None);
    let asked = fake.requests();
    assert_eq!(asked[2].body["propagationPolicy"], "Foreground");
    assert_eq!(asked[2].body["preconditions"], json!({ "uid": "run-uid", "resourceVersion": version }));
    assert_eq!(asked[4].body["propagationPolicy"], "Background");
    assert_eq!(asked[4].body.get("preconditions"), None);
}

#[tokio::test]
async fn nothing_is_sent_once_leadership_is_lost() {
    let fake = Fake::default();
    let job = observed(&fake);
    let leadership = Leadership::sole();
    let lost = leadership.clone();
    fake.hook(move |asked| {
        if asked.path.ends_with("/configmaps") {
            lost.end();
        }
    });
    let plan = Plan {
        status: Some(status()),
        actions: vec![
            Action::Create(config_map("songs-r1")),
            Action::Create(batch_job("songs-r1")),
            Action::Apply(service("songs", None)),
        ],
        events: vec![event()],
        ..Plan::default()
    };
    let executor = executor(&fake, leadership);
    let report = executor.execute(&job, &plan).await;
    assert_eq!(report.failure.unwrap().class, Class::NotLeading);
    assert_eq!(fake.summary(), ["PATCH status", "POST events", "POST configmaps"]);
    let events = Plan { events: vec![event()], ..Plan::default() };
    assert!(executor.execute(&job, &events).await.failure.is_none());
    assert_eq!(fake.requests().len(), 3, "not even an event");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_gets_no_answer_ends_with_the_lease() {
    let service = tower::service_fn(|_: axum::http::Request<kube::client::Body>| {
        std::future::pending::<Result<axum::http::Response<kube::client::Body>, std::convert::Infallible>>()
    });
    let fake = Fake::default();
    let job = observed(&fake);
    let client = Client::new(service, "music");
    let metrics = Arc::new(Metrics::new("test"));
    let executor = Executor::new(client, Leadership::sole(), "operator-0".to_owned(), metrics);
    let plan = actions(vec![Action::Create(batch_job("songs-r1"))]);
    assert_eq!(executor.execute(&job, &plan).await.failure.unwrap().class, Class::Transient);
}

#[tokio::test]
async fn a_job_that_was_never_seen_is_deleted_only_if_it_is_ours() {
    let fake = Fake::default();
    let job = observed(&fake);
    let executor = executor(&fake, Leadership::sole());
    let path = format!("{BATCH}/songs-r1");
    let object = ObjectRef { kind: Kind::Job, name: "songs-r1".to_owned() };
    let plan = actions(vec![Action::Delete(Deletion { object, uid: None, resource_version: None })]);

    // There is none.
    assert!(executor.execute(&job, &plan).await.failure.is_none());
    // Somebody else's.
    fake.put(
        &path,
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "songs-r1", "uid": "theirs"}}),
    );
    assert!(executor.execute(&job, &plan).await.failure.is_none());
    assert!(fake.object(&path).is_some());
    assert!(fake.requests().iter().all(|asked| asked.method == Method::GET));
    // Ours.
    let ours = metadata("songs-r1").owner_references;
    let meta = json!({"name": "songs-r1", "uid": "ours", "ownerReferences": ours});
    fake.put(&path, json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta}));
    assert!(executor.execute(&job, &plan).await.failure.is_none());
    let last = fake.requests().pop().unwrap();
    assert_eq!((last.method, &last.body["preconditions"]["uid"]), (Method::DELETE, &json!("ours")));
}

#[tokio::test]
async fn each_event_is_told_in_its_own_words_and_failures_to_tell_do_no_harm() {
    let fake = Fake::default();
    let job = observed(&fake);
    let executor = executor(&fake, Leadership::sole());
    let other = Event { message: "in other words".to_owned(), ..event() };
    let plan = Plan { events: vec![event(), other], ..Plan::default() };
    fake.script(Method::POST, "/events", 403, "Forbidden", "no");
    for _ in 0..2 {
        assert!(executor.execute(&job, &plan).await.failure.is_none());
    }
    let requests = fake.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests.iter().all(|asked| asked.method == Method::POST && asked.path.starts_with(EVENTS)));
    let text = |asked: &Asked, field: &str| asked.body[field].as_str().unwrap().to_owned();
    assert_eq!(text(&requests[2], "note"), event().message);
    assert_eq!(text(&requests[3], "note"), "in other words");
    assert_eq!(text(&requests[3], "reportingInstance"), "operator-0");
    assert_eq!(requests[3].body["regarding"]["uid"], json!(job.metadata.uid));
}
