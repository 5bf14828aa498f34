//! Who answers: the headers by which every answer of a pod names it.

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};

/// Headers and the environment variables, set by the kubelet, that they carry.
const HEADERS: [(&str, &str); 3] =
    [("x-meshbed-cluster", "MESHBED_CLUSTER"), ("x-meshbed-pod", "POD_NAME"), ("x-meshbed-pod-ip", "POD_IP")];

/// The headers, from this process's environment. A variable that is not set gives no header.
pub(crate) fn headers() -> HeaderMap {
    headers_from(|variable| std::env::var(variable).ok())
}

fn headers_from(variable: impl Fn(&str) -> Option<String>) -> HeaderMap {
    HEADERS
        .iter()
        .filter_map(|(header, name)| {
            let value = HeaderValue::try_from(variable(name)?).ok()?;
            Some((HeaderName::from_static(header), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_variables_give_no_header() {
        let headers = headers_from(|name| (name == "POD_NAME").then(|| "rebel-base-1".to_owned()));
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["X-Meshbed-Pod"], "rebel-base-1");
    }
}
