//! `json-mock`: serves a small JSON document at `/`. It stands in for `quay.io/cilium/json-mock`, which Cilium's
//! Star Wars example runs as a client that also answers.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, StatusCode, header};

use crate::{
    identity,
    serve::{Answer, Serving},
};

const DOCUMENT: &str = "{\"status\":\"ok\"}\n";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    serving: Serving,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let headers = identity::headers();
    options.serving.until_terminated(move |request| answer(request.uri().path(), &headers)).await
}

fn answer(path: &str, headers: &HeaderMap) -> Answer {
    let (status, body) = if path == "/" { (StatusCode::OK, DOCUMENT) } else { (StatusCode::NOT_FOUND, "{}\n") };
    let mut response = Answer::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().extend(headers.clone());
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_root_is_there() {
        assert_eq!(answer("/", &HeaderMap::new()).status(), StatusCode::OK);
        assert_eq!(answer("/x", &HeaderMap::new()).status(), StatusCode::NOT_FOUND);
    }
}
