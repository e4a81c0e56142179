//! One builder per cloud: the process's variables first, then the manifest's settings, which win.

use std::sync::Arc;

use coterie_crds::resolved;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig};

use super::address::Address;
use super::{Access, Patience};
use crate::DataError;

type Opened = Result<Arc<dyn ObjectStore>, DataError>;

fn refuse(address: &Address, problem: impl Into<String>, remedy: &str) -> DataError {
    DataError::Settings { uri: address.uri.clone(), problem: problem.into(), remedy: remedy.to_owned() }
}

fn unusable(address: &Address, error: &object_store::Error) -> DataError {
    let cause = super::failure::cause(error);
    refuse(
        address,
        format!("the settings cannot be used: {cause}"),
        "correct the store settings or the environment variables of the cloud",
    )
}

pub(crate) fn s3(address: &Address, bucket: &str, options: &resolved::Store, access: &Access) -> Opened {
    let endpoint = options
        .endpoint
        .as_deref()
        .or_else(|| access.get("AWS_ENDPOINT_URL_S3"))
        .or_else(|| access.get("AWS_ENDPOINT_URL"))
        .or_else(|| access.get("AWS_ENDPOINT"));
    let allow_http = options.allow_http || access.get("AWS_ALLOW_HTTP").is_some_and(is_true);
    check_endpoint(address, endpoint, allow_http)?;

    let mut builder = AmazonS3Builder::new().with_client_options(client_options(address, options, access, allow_http)?);
    for (name, value) in access.variables.iter().filter(|(name, _)| name.starts_with("AWS_")) {
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    builder = builder.with_bucket_name(bucket).with_retry(retries(access.patience)).with_allow_http(allow_http);
    if let Some(endpoint) = &options.endpoint {
        // Both keys, since a variable for S3 alone would win over the general one.
        builder = builder.with_endpoint(endpoint).with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    // Without any credentials an own endpoint is asked anonymously; AWS itself through the instance's role, which
    // only exists there, unless that has been turned off.
    let has_credentials = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ]
    .iter()
    .any(|name| access.get(name).is_some());
    let no_instance = access.get("AWS_EC2_METADATA_DISABLED").is_some_and(is_true);
    if !has_credentials && (endpoint.is_some() || no_instance) {
        builder = builder.with_skip_signature(true);
    }
    Ok(Arc::new(builder.build().map_err(|error| unusable(address, &error))?))
}

pub(crate) fn google(address: &Address, bucket: &str, options: &resolved::Store, access: &Access) -> Opened {
    check_endpoint(address, options.endpoint.as_deref(), options.allow_http)?;
    let mut builder = GoogleCloudStorageBuilder::new().with_client_options(client_options(
        address,
        options,
        access,
        options.allow_http,
    )?);
    for (name, value) in access.variables.iter().filter(|(name, _)| name.starts_with("GOOGLE_")) {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    builder = builder.with_bucket_name(bucket).with_retry(retries(access.patience));
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_base_url(endpoint);
    }
    Ok(Arc::new(builder.build().map_err(|error| unusable(address, &error))?))
}

pub(crate) fn azure(
    address: &Address,
    container: &str,
    host: Option<&str>,
    options: &resolved::Store,
    access: &Access,
) -> Opened {
    check_endpoint(address, options.endpoint.as_deref(), options.allow_http)?;
    let mut builder =
        MicrosoftAzureBuilder::new().with_client_options(client_options(address, options, access, options.allow_http)?);
    for (name, value) in access.variables.iter().filter(|(name, _)| name.starts_with("AZURE_")) {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    builder =
        builder.with_container_name(container).with_retry(retries(access.patience)).with_allow_http(options.allow_http);
    if let Some(account) = host.and_then(|host| host.split('.').next()) {
        builder = builder.with_account(account);
    }
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    Ok(Arc::new(builder.build().map_err(|error| unusable(address, &error))?))
}

pub(crate) fn web(address: &Address, base: &str, options: &resolved::Store, access: &Access) -> Opened {
    check_endpoint(address, Some(base), options.allow_http)?;
    let builder = HttpBuilder::new()
        .with_url(base)
        .with_client_options(client_options(address, options, access, options.allow_http)?)
        .with_retry(retries(access.patience));
    Ok(Arc::new(builder.build().map_err(|error| unusable(address, &error))?))
}

fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on")
}

fn check_endpoint(address: &Address, endpoint: Option<&str>, allow_http: bool) -> Result<(), DataError> {
    let Some(endpoint) = endpoint else { return Ok(()) };
    let lower = endpoint.to_ascii_lowercase();
    if lower.starts_with("http://") && !allow_http {
        return Err(refuse(
            address,
            "the endpoint is plain HTTP, which is not encrypted",
            "set store.allowHttp: true to allow it, or use an https:// endpoint",
        ));
    }
    if !lower.starts_with("http://") && !lower.starts_with("https://") {
        return Err(refuse(
            address,
            format!("the endpoint {endpoint:?} has no scheme"),
            "write it as https://host:port",
        ));
    }
    if endpoint.contains('@') {
        return Err(refuse(
            address,
            "the endpoint holds user name or password",
            "give credentials through the environment, as in AWS_ACCESS_KEY_ID",
        ));
    }
    Ok(())
}

fn retries(patience: Patience) -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: std::time::Duration::from_secs(5), ..BackoffConfig::default() };
    // The time is what bounds the attempts: with waits of 0.1 to 5 s there are about ten of them in 30 s.
    RetryConfig { backoff, max_retries: 20, retry_timeout: patience.total }
}

fn client_options(
    address: &Address,
    options: &resolved::Store,
    access: &Access,
    allow_http: bool,
) -> Result<ClientOptions, DataError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing a race against another installer is fine: then there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let patience = access.patience;
    let mut client = ClientOptions::new()
        .with_user_agent(object_store::HeaderValue::from_static(concat!("coterie/", env!("CARGO_PKG_VERSION"))))
        .with_allow_http(allow_http)
        .with_connect_timeout(patience.connect)
        .with_read_timeout(patience.silence)
        .with_timeout(patience.attempt)
        .with_no_system_certificates(true);
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let certificate = Certificate::from_der(certificate).map_err(|error| unusable(address, &error))?;
        client = client.with_root_certificate(certificate);
    }
    for (setting, bundle) in
        [("store.caBundle", options.ca_bundle.as_deref()), ("SSL_CERT_FILE", access.get("SSL_CERT_FILE"))]
    {
        let Some(bundle) = bundle else { continue };
        // A manifest carries the certificates themselves; the command line and the environment name a file.
        let (name, pem) = if bundle.contains("-----BEGIN") {
            (setting.to_owned(), bundle.as_bytes().to_vec())
        } else {
            let name = format!("{setting} {bundle:?}");
            let pem = std::fs::read(bundle).map_err(|error| {
                refuse(
                    address,
                    format!("{name} cannot be read: {error}"),
                    "name a PEM file with certificate authorities",
                )
            })?;
            (name, pem)
        };
        let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if certificates.is_empty() {
            return Err(refuse(
                address,
                format!("{name} holds no certificate"),
                "give certificate authorities in PEM form, -----BEGIN CERTIFICATE----- and all",
            ));
        }
        for certificate in certificates {
            client = client.with_root_certificate(certificate);
        }
    }
    Ok(client)
}
