//! Whether a server says that it is ready. Only checks are told otherwise: clients are served all the same, so that a
//! backend that is not ready can be told from one that is dead.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Method, StatusCode, Uri, header};

use crate::serve::Answer;

/// Where readiness is asked for and set, by anybody: `POST /_meshbed/ready?set=false`.
const PATH: &str = "/_meshbed/ready";
/// Start of the name by which kubelets introduce themselves.
const CHECKER: &str = "kube-probe/";

/// Readiness, which requests may change.
#[derive(Clone, Debug)]
pub(crate) struct Readiness {
    file: Option<PathBuf>,
    set: Arc<AtomicBool>,
}

impl Readiness {
    /// Ready until set otherwise, and only while `file` exists if there is one.
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self { file, set: Arc::new(AtomicBool::new(true)) }
    }

    fn is_ready(&self) -> bool {
        self.set.load(Ordering::Relaxed) && self.file.as_ref().is_none_or(|file| file.exists())
    }

    /// The answer to a request that is about readiness; none for all others.
    pub(crate) fn answer(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Answer> {
        if uri.path() == PATH {
            return Some(self.admin(method, uri.query().unwrap_or_default()));
        }
        let agent = headers.get(header::USER_AGENT).map(header::HeaderValue::as_bytes).unwrap_or_default();
        (agent.starts_with(CHECKER.as_bytes()) && !self.is_ready()).then(|| self.state())
    }

    fn admin(&self, method: &Method, query: &str) -> Answer {
        match (method, query) {
            (&Method::GET | &Method::HEAD, _) => return self.state(),
            (&Method::POST, "set=true") => self.set.store(true, Ordering::Relaxed),
            (&Method::POST, "set=false") => self.set.store(false, Ordering::Relaxed),
            (&Method::POST, _) => return text(StatusCode::BAD_REQUEST, "expected `set=true` or `set=false`\n"),
            _ => return text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"),
        }
        text(StatusCode::OK, "")
    }

    fn state(&self) -> Answer {
        if self.is_ready() {
            text(StatusCode::OK, "ready\n")
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
        }
    }
}

fn text(status: StatusCode, body: &'static str) -> Answer {
    let mut answer = Answer::new(Full::new(Bytes::from_static(body.as_bytes())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(readiness: &Readiness, method: &Method, uri: &'static str, agent: &'static str) -> Option<u16> {
        let headers = HeaderMap::from_iter([(header::USER_AGENT, header::HeaderValue::from_static(agent))]);
        let answer = readiness.answer(method, &Uri::from_static(uri), &headers);
        answer.map(|answer| answer.status().as_u16())
    }

    #[test]
    fn only_checks_are_told() {
        let readiness = Readiness::new(None);
        assert_eq!(ask(&readiness, &Method::GET, "/", "kube-probe/1.37"), None, "ready: the server answers");
        assert_eq!(ask(&readiness, &Method::POST, "/_meshbed/ready?set=false", "curl/8"), Some(200));
        assert_eq!(ask(&readiness, &Method::GET, "/", "kube-probe/1.37"), Some(503));
        assert_eq!(ask(&readiness, &Method::GET, "/", "curl/8"), None, "clients are served");
        assert_eq!(ask(&readiness, &Method::GET, "/_meshbed/ready", "curl/8"), Some(503));
        assert_eq!(ask(&readiness, &Method::POST, "/_meshbed/ready?set=maybe", "curl/8"), Some(400));
        assert_eq!(ask(&readiness, &Method::POST, "/_meshbed/ready?set=true", "curl/8"), Some(200));
        assert_eq!(ask(&readiness, &Method::GET, "/_meshbed/ready", "curl/8"), Some(200));
    }

    #[test]
    fn a_file_that_is_missing_counts() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("ready");
        let readiness = Readiness::new(Some(file.clone()));
        assert_eq!(ask(&readiness, &Method::GET, "/", "kube-probe/1.37"), Some(503));
        std::fs::write(&file, "").expect("written");
        assert_eq!(ask(&readiness, &Method::GET, "/", "kube-probe/1.37"), None);
    }
}
