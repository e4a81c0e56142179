//! How to reach an object store. Never holds a secret.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Connection settings of an object store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.endpoint) || !self.endpoint.startsWith('http://') || self.allowHttp")
        .message("endpoint is plain HTTP: use https://, or set allowHttp: true to send data and signatures unencrypted")
        .field_path(".endpoint"),
)]
pub struct Store {
    /// endpoint is the address of an S3-compatible service, such as `https://s3.example.com:9000`. Unset: the
    /// provider's own service. At most 2048 characters. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new(r"self.matches('^https?://[^/@\\s]+[^@\\s]*$')")
        .message("endpoint must be https://HOST[:PORT] or http://HOST[:PORT], without a user name or password"))]
    pub endpoint: Option<String>,

    /// region is the region that holds the bucket, such as `eu-central-1`. Unset: `us-east-1`. Lower-case letters,
    /// digits and `-`; at most 64 characters. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9-]+$')")
        .message("region must hold only lower-case letters, digits and '-', such as eu-central-1"))]
    pub region: Option<String>,

    /// allowHttp permits connections without TLS. Default: false. Mutable; used by the next run.
    #[serde(default)]
    pub allow_http: bool,

    /// caBundle holds the PEM text of certificate authorities to trust beside the built-in ones. Unset: only the
    /// built-in ones. At most 262144 characters. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 262_144))]
    #[x_kube(validation = Rule::new("self.contains('-----BEGIN CERTIFICATE-----')")
        .message("caBundle must be the PEM text of one or more certificates (-----BEGIN CERTIFICATE----- ...), not the name of a file"))]
    pub ca_bundle: Option<String>,

    /// credentialsSecretRef names a Secret in the job's namespace whose keys become environment variables of the job's pods, such
    /// as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Only on a cluster. Unset: the identity of the pods' service account. Mutable; used
    /// by the next pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub credentials_secret_ref: Option<SecretReference>,
}

/// Reference to a Secret of the job's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// name is the Secret's name. Required; 1 to 253 characters. Mutable; used by the next pods.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')")
        .message("name must be the name of a Secret: lower-case letters, digits, '-' and '.'"))]
    pub name: String,
}
