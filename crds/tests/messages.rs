//! The exact words of some violations: what a user reads must not change by accident.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use coterie_crds::{Constraint, ParseError, parse, resolve, validate};

fn messages(yaml: &str) -> Vec<String> {
    let violations = validate(yaml).expect_err("violations");
    violations.iter().map(ToString::to_string).collect()
}

/// A manifest with a good head and the given spec.
fn job(spec: &str) -> String {
    format!("apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: songs}}\nspec:\n{spec}")
}

#[test]
fn all_violations_of_a_manifest_are_told_at_once_in_order() {
    let yaml = "\
apiVersion: coterie.dev/v1
kind: ClusteringJob
metadata:
  name: Songs
  lables: {team: music}
spec:
  source:
    uri: s3:/music/embeddings/
    columns: {vector: embedding, features: [tempo, key]}
  features:
    - standardize
    - pca: {components: 0}
  metric: Cosine
  algorithm:
    kMeans:
      clutsers: 256
      init: k-means++
      tolerance: 1e-4
      maxIterations: 0
";
    assert_eq!(
        messages(yaml),
        [
            "apiVersion (line 1, column 13): found the text \"coterie.dev/v1\", expected coterie.dev/v1alpha1; write it exactly so",
            "metadata.name (line 4, column 9): found the text \"Songs\"; metadata.name must begin with a lower-case letter and hold \
             only lower-case letters, digits and '-', since Services are named after it",
            "metadata.lables (line 5, column 3): there is no field \"lables\" here; did you mean labels?",
            "spec.source.uri (line 8, column 10): found the text \"s3:/music/embeddings/\"; a URI must be s3://bucket/..., \
             gs://bucket/..., az://container/..., https://host/..., file:///absolute/path, or a path without a scheme",
            "spec.source.columns (line 9, column 5): set either vector (one column of lists) or features (several columns of \
             numbers), not both",
            "spec.features[0] (line 11, column 7): found the text \"standardize\", expected a map; write a colon after the name: \
             standardize: {}",
            "spec.features[1].pca.components (line 12, column 25): found 0, expected a number from 1 to 4096; raise it",
            "spec.metric (line 13, column 11): found the text \"Cosine\", expected a map; write metric: {type: Cosine}",
            "spec.algorithm.kMeans.clusters (line 15, column 5): clusters is missing; add it: clusters is the number of clusters, k",
            "spec.algorithm.kMeans.clutsers (line 16, column 7): there is no field \"clutsers\" here; did you mean clusters?",
            "spec.algorithm.kMeans.init (line 17, column 13): found the text \"k-means++\", expected one of KMeansParallel, \
             KMeansPlusPlus, Random, WarmStart; did you mean KMeansPlusPlus?",
            "spec.algorithm.kMeans.tolerance (line 18, column 18): found the number 0.0001, expected text; write it in quotes: \
             \"0.0001\"",
            "spec.algorithm.kMeans.maxIterations (line 19, column 22): found 0, expected a number from 1 to 100000; raise it",
        ]
    );
}

#[test]
fn a_field_on_the_wrong_level_is_sent_to_the_right_one() {
    let yaml = job("  clusters: 3\n  source: {uri: a.npy}\n  algorithm: {kMeans: {clusters: 3}}\n");
    assert_eq!(
        messages(&yaml),
        [
            "spec.clusters (line 5, column 3): there is no field \"clusters\" here; did you mean spec.algorithm.kMeans.clusters?"
        ]
    );
}

#[test]
fn a_step_without_braces_is_explained() {
    let yaml = job("  source: {uri: a.npy}\n  features:\n    - standardize:\n  algorithm: {kMeans: {clusters: 3}}\n");
    assert_eq!(
        messages(&yaml),
        [
            "spec.features[0] (line 7, column 7): standardize stands there without a value; write standardize: {} (a feature step has \
          exactly one of standardize, minMax, l2Normalize, pca; write one list item per step, such as - standardize: {})"
        ]
    );
}

#[test]
fn a_decimal_comma_is_explained() {
    let yaml = job("  source: {uri: a.npy}\n  algorithm: {kMeans: {clusters: 3, tolerance: '0,001'}}\n");
    assert_eq!(
        messages(&yaml),
        [
            "spec.algorithm.kMeans.tolerance (line 6, column 48): found the text \"0,001\", expected a decimal number that is not \
          negative; write a point: \"0.001\""
        ]
    );
}

#[test]
fn passwords_are_not_repeated() {
    let yaml = job("  source: {uri: 's3://AKIA:hunter2@music/a'}\n  algorithm: {kMeans: {clusters: 3}}\n");
    let [message] = messages(&yaml).try_into().unwrap();
    assert!(!message.contains("hunter2") && message.contains("s3://***@music/a"), "{message}");
}

#[test]
fn documents_that_are_not_one_job_are_refused() {
    for (yaml, expected) in [
        ("", "the file is empty; write a document with apiVersion: coterie.dev/v1alpha1 and kind: ClusteringJob"),
        (
            "# nothing\n---\n",
            "the file is empty; write a document with apiVersion: coterie.dev/v1alpha1 and kind: ClusteringJob",
        ),
        (
            "kind: Namespace\n---\nkind: ConfigMap\n",
            "no ClusteringJob among the 2 documents of the file (Namespace, ConfigMap); one with apiVersion: coterie.dev/v1alpha1 \
             and kind: ClusteringJob is needed",
        ),
        (
            "kind: ClusteringJob\nmetadata: {name: a}\n---\nkind: ClusteringJob\nmetadata: {name: b}\n",
            "2 documents of the file are a ClusteringJob (a at line 1, b at line 4), one is expected; put each in a file of its own",
        ),
        ("spec: [", "line 1, column 7: not valid YAML: unclosed bracket '['"),
        ("a: 1\na: 2\n", "line 2, column 1: not valid YAML: duplicate mapping key `a` is not allowed here"),
    ] {
        assert_eq!(messages(yaml), [expected]);
        assert_eq!(parse(yaml).unwrap_err().to_string(), expected);
    }
    let long = "#".repeat(4 << 20);
    assert!(matches!(parse(&long), Err(ParseError::TooLarge { .. })));
}

#[test]
fn a_lone_document_of_another_kind_is_told_field_by_field() {
    let yaml = "apiVersion: coterie.dev/v1alpha1\nkind: Clusteringjob\nmetadata: {name: a}\nspec: {source: {uri: a}, algorithm: {kMeans: {clusters: 2}}}\n";
    assert_eq!(
        messages(yaml),
        [
            "kind (line 2, column 7): found the text \"Clusteringjob\", expected ClusteringJob; did you mean ClusteringJob?"
        ]
    );
}

#[test]
fn other_documents_of_the_file_are_passed_over() {
    let yaml = format!(
        "kind: Namespace\nmetadata: {{name: music}}\n---\n{}---\nkind: Secret\n",
        job("  source: {uri: a.npy}\n  algorithm: {kMeans: {clusters: 3}}\n")
    );
    assert_eq!(validate(&yaml).unwrap().name, "songs");
    assert_eq!(parse(&yaml).unwrap().metadata.name.as_deref(), Some("songs"));
}

#[test]
fn parse_checks_the_shape_and_leaves_bounds_to_validate() {
    let yaml = job("  source: {uri: a.npy}\n  algorithm: {kMeans: {clusters: 0}}\n");
    let parsed = parse(&yaml).unwrap();
    assert_eq!(parsed.spec.algorithm.k_means.as_ref().unwrap().clusters, 0);
    let violations = resolve(&parsed).unwrap_err();
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].constraint, Constraint::Minimum);
    assert_eq!(violations[0].line, None);

    let unknown = job("  source: {uri: a.npy, colour: red}\n  algorithm: {kMeans: {clusters: 0}}\n");
    let error = parse(&unknown).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the ClusteringJob breaks 1 of the schema's rules, first: spec.source.colour (line 5, column 24): there is no field \
         \"colour\" here; remove it; the fields here are columns, format, invalidRows, store, uri"
    );
}

#[test]
fn yaml_is_read_as_kubectl_reads_it() {
    // Whole floats are integers, `yes` is a truth value, a status is passed over, labels are texts.
    let yaml = job("  source: {uri: a.npy}\n  algorithm: {kMeans: {clusters: 3.0}}\nstatus: {phase: Old}\n");
    assert!(validate(&yaml).is_ok());
    let yaml = job("  source: {uri: a.npy, columns: {id: yes}}\n  algorithm: {kMeans: {clusters: 3}}\n");
    assert_eq!(
        messages(&yaml),
        [
            "spec.source.columns.id (line 5, column 38): found the truth value true, expected text; put the word in quotes, \
          since YAML reads y, n, yes, no, on and off as truth values"
        ]
    );
}
