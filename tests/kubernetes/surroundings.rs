//! Whatever dies around a run, the model has the same digest and the job becomes Ready.
//!
//! All jobs need what is broken here, so the cluster is taken for this test alone. By its name it comes last, when no other test waits for it.

use crate::cluster::{Namespace, SYSTEM, alone, blobs, check, xtask};
use crate::faults::{calm, train};

#[test]
fn whatever_dies_around_a_run_the_model_is_the_same() {
    let _cluster = alone();
    blobs();
    let namespace = Namespace::new("surroundings");
    let digest = train(&namespace, "operator", || {
        check(&[
            "delete",
            "pods",
            "-n",
            SYSTEM,
            "-l",
            "app.kubernetes.io/name=coterie",
            "--grace-period=0",
            "--force",
            "--wait=false",
        ]);
    });
    assert_eq!(digest, calm(), "the operator's pods were killed");

    let digest = train(&namespace, "etcd", || xtask(&["restart-etcd"]));
    assert_eq!(digest, calm(), "etcd was restarted");

    let digest = train(&namespace, "apiserver", || xtask(&["pause-apiserver", "30"]));
    assert_eq!(digest, calm(), "the API server was away for 30 s");
}
