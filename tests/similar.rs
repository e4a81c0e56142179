//! Similar items, from the manifest to the answer.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{Job, Running, input, serve::Served, signal, wait};

/// Rows around 12 places.
fn rows(count: usize) -> Vec<Vec<f32>> {
    let mut state = 5u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let places: Vec<Vec<f32>> = (0..12).map(|_| (0..8).map(|_| 10.0 * random()).collect()).collect();
    (0..count).map(|row| places[row % 12].iter().map(|x| x + random()).collect()).collect()
}

fn job(data: &Path, output: &Path) -> Job {
    Job::new(&format!(
        "apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: near}}\nspec:\n  source: {{uri: {}, columns: {{id: id, \
         vector: vector}}}}\n  features: [{{standardize: {{}}}}]\n  algorithm: {{kMeans: {{clusters: 12}}}}\n  output: {{uri: {}}}\n  serving: \
         {{similarItems: true, lsh: {{targetRecall: \"0.9\"}}}}\n",
        data.display(),
        output.display()
    ))
}

/// The items that a published version lists.
fn items(output: &Path) -> Value {
    let manifest = fs::read(output.join("models/v1/manifest.json")).unwrap();
    serde_json::from_slice::<Value>(&manifest).unwrap()["files"]["items"].clone()
}

#[test]
fn items_are_kept_and_found_whoever_wrote_them() {
    let rows = rows(3_000);
    let directory = support::directory();
    let data = directory.path().join("rows.parquet");
    input::parquet(&data, 0, &rows, 700);
    let outputs = [1, 3].map(|workers| {
        let output = directory.path().join(format!("out-{workers}"));
        // What an unfinished run left is not this version's.
        fs::create_dir_all(output.join("models/v1/items")).unwrap();
        fs::write(output.join("models/v1/items/part-00099.parquet"), "left over").unwrap();
        job(&data, &output).run(&["--quiet", "--output", output.to_str().unwrap(), "--workers", &workers.to_string()]);
        output
    });
    let listed = items(&outputs[0]);
    assert_eq!(listed, items(&outputs[1]), "parts do not depend on the workers");
    assert_eq!((&listed["rows"], listed["parts"].as_array().unwrap().len()), (&json!(3_000), 5));
    let mut written: Vec<_> = fs::read_dir(outputs[1].join("models/v1/items"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    written.sort();
    assert_eq!(written, (0..5).map(|split| format!("part-{split:05}.parquet")).collect::<Vec<_>>());

    let cache = directory.path().join("cache");
    let serve = || {
        Served::start(
            support::coterie()
                .arg("serve")
                .arg("--model")
                .arg(&outputs[1])
                .arg("--items-directory")
                .arg(&cache)
                .args(["--recall", "0.9", "--tables"]),
        )
    };
    let served = serve();
    let model = served.get("/v1/model");
    assert_eq!(model["items"]["count"], 3_000);
    assert!(model["items"]["tables"].as_u64().unwrap() >= 1, "{model}");
    let ask = |served: &Served, question: Value| -> Vec<(i64, f64)> {
        let (code, answer) = served.post("/v1/similar-items", &question.to_string());
        assert_eq!(code, 200, "{answer}");
        let found = answer["items"].as_array().unwrap().iter();
        found.map(|item| (item["id"].as_i64().unwrap(), item["distance"].as_f64().unwrap())).collect()
    };
    let mut hits = 0;
    for row in (0..3_000).step_by(30) {
        let exact = ask(&served, json!({"id": row, "method": "Exact"}));
        assert_eq!(exact.len(), 10);
        assert!(exact.iter().all(|(id, _)| *id != row as i64));
        // The same vector, in the source's columns: the item itself comes first.
        let like_vector = ask(&served, json!({"vector": rows[row], "method": "Exact", "count": 11}));
        assert_eq!(like_vector[0].0, row as i64);
        assert_eq!(like_vector[1..], exact);
        hits += ask(&served, json!({ "id": row })).iter().filter(|item| exact.contains(item)).count();
    }
    assert!(hits >= 850, "{hits} of 1000");
    drop(served);

    // Tables set by hand are others, in an index of their own.
    let by_hand = |flags: &[&str]| {
        let mut command = support::coterie();
        let cache = directory.path().join("by-hand");
        command.arg("serve").arg("--model").arg(&outputs[1]).arg("--items-directory").arg(cache).args(flags);
        command
    };
    let served = Served::start(&mut by_hand(&["--tables=4", "--hashes", "3", "--width", "2.5", "--probes", "40"]));
    let told = served.get("/v1/model")["items"].clone();
    assert_eq!((&told["tables"], &told["probes"]), (&json!(4), &json!(40)), "{told}");
    assert!(told["recall"].as_f64().unwrap() > 0.5, "{told}");
    let like = ask(&served, json!({"id": 7, "method": "Tables"}));
    assert!(!like.is_empty() && like.iter().all(|(id, _)| *id != 7));
    drop(served);
    let refused = support::output(by_hand(&["--tables=4", "--hashes", "3"]).args(["--http", "127.0.0.1:0"]));
    assert_eq!(refused.status.code(), Some(64));
    let words = support::stderr(&refused);
    assert!(words.contains("cannot be built") && words.contains("the metric is Euclidean"), "{words}");

    // A server that starts again needs the parts no more.
    fs::remove_dir_all(outputs[1].join("models/v1/items")).unwrap();
    let again = serve();
    assert_eq!(again.get("/v1/model")["items"]["count"], 3_000);
}

#[test]
fn a_model_without_items_says_how_to_have_them() {
    let directory = support::directory();
    let output = directory.path().join("out");
    Job::digits().run(&["--quiet", "--output", output.to_str().unwrap()]);
    let cache = directory.path().join("cache");
    let mut command = support::coterie();
    command.arg("serve").arg("--model").arg(&output).args(["--http", "127.0.0.1:0"]);
    let refused = support::output(command.arg("--items-directory").arg(&cache));
    assert_eq!(refused.status.code(), Some(64));
    let words = support::stderr(&refused);
    assert!(words.contains("model version v1 has no items") && words.contains("spec.serving.similarItems"), "{words}");
}

#[test]
fn a_server_that_is_asked_to_end_while_it_makes_an_index_ends_at_once_and_leaves_nothing_half_made() {
    let directory = support::directory();
    let data = directory.path().join("rows");
    let output = directory.path().join("out");
    let mut generate = support::coterie();
    generate.args(["generate", "-n", "200000", "-d", "64", "-k", "64", "--output"]).arg(&data);
    assert!(support::output(&mut generate).status.success());
    job(&data, &output).run(&["--quiet", "--output", output.to_str().unwrap(), "--workers", "2"]);
    let cache = directory.path().join("cache");
    let left = || -> Vec<String> {
        let entries = fs::read_dir(&cache).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    let mut met = 0;
    for moment in 0..6 {
        let mut command = support::coterie();
        command.arg("serve").arg("--model").arg(&output).arg("--items-directory").arg(&cache).arg("--tables");
        command.args(["--http", "127.0.0.1:0"]);
        let mut process = Running::start(&mut command);
        wait(Duration::from_secs(60), "an index to be begun", || left().pop());
        std::thread::sleep(Duration::from_millis(moment * 250));
        let asked = Instant::now();
        signal(process.0.id(), "TERM");
        process.finish(Duration::from_secs(60));
        let took = asked.elapsed();
        match &left()[..] {
            [] => met += 1,
            // It was finished before.
            [whole] => assert!(whole.ends_with(".items"), "{whole} is left"),
            several => panic!("{several:?} are left"),
        }
        assert!(took < Duration::from_secs(3), "it took {took:?} at moment {moment}");
        left().iter().for_each(|file| fs::remove_file(cache.join(file)).unwrap());
    }
    assert!(met >= 2, "only {met} of 6 moments met the making");
}
