//! Bodies of requests and answers.

use std::convert::Infallible;

use bytes::Bytes;
use futures::Stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use serde_json::Value;

use super::protobuf;
use crate::admin::RefusedStatus;
use crate::error::ApiError;

/// The body of an answer.
pub(crate) type Body = BoxBody<Bytes, Infallible>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Reads a whole body, up to `limit` bytes.
pub(super) async fn read(body: Incoming, limit: usize) -> Result<Bytes, ApiError> {
    if body.size_hint().lower() > limit as u64 {
        return Err(ApiError::too_large(limit));
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(limit)),
        Err(error) => Err(ApiError::bad_request(format!("unable to read the request's body: {error}"))),
    }
}

/// Parses JSON, or YAML or protobuf when the content type says so.
pub(super) fn parse(bytes: &[u8], content_type: &str) -> Result<Value, ApiError> {
    if content_type.contains("protobuf") {
        return protobuf::parse(bytes).map_err(|error| ApiError::unsupported_media_type(&error.to_string()));
    }
    match serde_json::from_slice(bytes) {
        Ok(value) => Ok(value),
        Err(_) if content_type.contains("yaml") => {
            let text = std::str::from_utf8(bytes).map_err(|error| ApiError::bad_request(error.to_string()))?;
            serde_saphyr::from_str(text).map_err(|error| ApiError::bad_request(format!("error parsing YAML: {error}")))
        }
        Err(error) => Err(ApiError::bad_request(format!("the object provided is unrecognized: {error}"))),
    }
}

/// An answer that is one JSON text.
pub(super) fn json(status: StatusCode, text: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(text).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// An answer that is one JSON value.
pub(super) fn value(status: StatusCode, value: &Value) -> Response<Body> {
    json(status, Bytes::from(serde_json::to_vec(value).expect("a JSON value always serialises")))
}

/// A few words for people.
pub(super) fn plain(text: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())).boxed());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// A refusal.
pub(super) fn error(error: &ApiError) -> Response<Body> {
    let status = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    value(status, &error.status())
}

/// A refusal on order, with the time to wait.
pub(super) fn refused(status: RefusedStatus, retry_after_seconds: Option<u32>) -> Response<Body> {
    let mut response = error(&ApiError::refused(status, retry_after_seconds));
    if let Some(seconds) = retry_after_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An answer that goes on: one JSON text a line.
pub(super) fn lines(stream: impl Stream<Item = Bytes> + Send + Sync + 'static) -> Response<Body> {
    let frames = futures::StreamExt::map(stream, |line| Ok(Frame::data(line)));
    let mut response = Response::new(StreamBody::new(frames).boxed());
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Adds warnings for the client's user, as `kubectl` prints them.
pub(super) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}
