//! The server that is measured.

use hyper::Uri;

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// JSON over HTTP/1.1.
    Rest,
    /// gRPC over HTTP/2 without TLS.
    Grpc,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) protocol: Protocol,
    /// Host and port to connect to.
    pub(super) address: String,
    /// What paths are appended to.
    pub(super) base: String,
}

// === impl Protocol ===

impl Protocol {
    /// As it is told.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rest => "REST",
            Self::Grpc => "gRPC",
        }
    }
}

// === impl Target ===

impl Target {
    /// The server at a URL of the form `http://host:port`.
    pub(super) fn new(protocol: Protocol, url: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{url} cannot be measured: {what}; write http://HOST:PORT");
        let uri: Uri = url.parse().map_err(|error| wrong(&format!("it is not an address ({error})")))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("servers are spoken to over plain HTTP"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("paths are those of the server"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
        Ok(Self { protocol, base: format!("http://{address}"), address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_a_host_and_a_port() {
        let address = |url: &str| Target::new(Protocol::Rest, url).map(|target| target.address);
        assert_eq!(address("http://127.0.0.1:8080").unwrap(), "127.0.0.1:8080");
        assert_eq!(address("http://songs.svc/").unwrap(), "songs.svc:80");
        assert_eq!(address("http://[::1]:8080").unwrap(), "[::1]:8080");
        for (wrong, why) in [
            ("127.0.0.1:8080", "plain HTTP"),
            ("https://songs", "plain HTTP"),
            ("http://songs/v1/assign", "paths"),
            ("http://", "not an address"),
        ] {
            let error = address(wrong).unwrap_err();
            assert!(error.contains(why) && error.contains("http://HOST:PORT"), "{error}");
        }
    }
}
