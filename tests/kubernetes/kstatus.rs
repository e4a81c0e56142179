//! The kstatus library itself, by which Flux and others judge resources, agrees on the statuses that the operator's core was recorded with.

use std::{fs, process::Command};

use serde_json::Value;

use crate::cluster::folder;

#[test]
fn the_library_reads_what_is_meant() {
    let samples = crate::support::root().join("operator/core/tests/kstatus");
    let mut files: Vec<_> = fs::read_dir(samples).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 20, "{} statuses are recorded", files.len());
    let output = Command::new(folder().join("bin/components")).arg("kstatus").args(&files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let verdicts = String::from_utf8(output.stdout).unwrap();
    assert_eq!(verdicts.lines().count(), files.len());
    for (file, verdict) in files.iter().zip(verdicts.lines()) {
        let sample: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        assert_eq!(sample["expected"], verdict, "{}", file.display());
    }
}
