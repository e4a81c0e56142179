//! The `ClusteringJob` resource: its types, its schema, and the check of a manifest. No client, no network.
//!
//! The Rust types of [`spec`] are the one source of truth. From them come the `CustomResourceDefinition` ([`crd`]) that clusters
//! install, the API reference ([`reference`]) and the offline check ([`validate`]), which interprets the generated schema and its CEL
//! rules just as an API server does. What passes becomes a [`resolved::ResolvedJob`]: every default filled in, nothing left to
//! check.
//!
//! ```
//! let job = coterie_crds::validate(
//!     "apiVersion: coterie.dev/v1alpha1
//! kind: ClusteringJob
//! metadata: {name: digits}
//! spec:
//!   source: {uri: digits.parquet}
//!   algorithm: {kMeans: {clusters: 10}}
//! ",
//! )
//! .expect("a valid manifest");
//! assert_eq!(job.name, "digits");
//!
//! let violations = coterie_crds::validate("kind: ClusteringJob").expect_err("an incomplete manifest");
//! for violation in &violations {
//!     eprintln!("{violation}");
//! }
//! assert_eq!(violations.len(), 3); // apiVersion, metadata and spec are missing
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod check;
pub mod crd;
mod manifest;
pub mod names;
mod path;
pub mod reference;
mod resolve;
pub mod resolved;
pub mod run;
// The schema macro copies each struct into a function, where `pub` cannot reach out.
#[allow(unreachable_pub)]
pub mod spec;
#[allow(unreachable_pub)]
pub mod status;
mod violation;

pub use manifest::ParseError;
pub use resolve::{admitted, parse, resolve, validate};
pub use resolved::ResolvedJob;
pub use spec::{ClusteringJob, ClusteringJobSpec};
pub use violation::{Constraint, Violation};

/// Group and version of the resource.
pub const API_VERSION: &str = "coterie.dev/v1alpha1";

/// Kind of the resource.
pub const KIND: &str = "ClusteringJob";
