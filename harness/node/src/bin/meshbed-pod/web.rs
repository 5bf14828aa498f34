//! `web`: serves the files below a folder.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Method, StatusCode, header};

use crate::{
    identity,
    serve::{Answer, Serving},
};

/// Largest file that is served; files are read as a whole.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    serving: Serving,
    /// Folder with the files.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let headers = identity::headers();
    let Options { serving, root } = options;
    serving.until_terminated(move |request| answer(&root, request.method(), request.uri().path(), &headers)).await
}

/// Answers one request. The file is read anew each time, as volumes change under us.
fn answer(root: &Path, method: &Method, path: &str, headers: &HeaderMap) -> Answer {
    let (status, kind, body) = if !matches!(*method, Method::GET | Method::HEAD) {
        (StatusCode::METHOD_NOT_ALLOWED, "text/plain", b"method not allowed\n".to_vec())
    } else {
        match file_of(root, path).map(|file| (read(&file), file)) {
            Some((Ok(body), file)) => (StatusCode::OK, content_type(&file), body),
            Some((Err(error), _)) if error.kind() != io::ErrorKind::NotFound => {
                (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n").into_bytes())
            }
            _ => (StatusCode::NOT_FOUND, "text/plain", b"not found\n".to_vec()),
        }
    };
    let mut response = Answer::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().extend(headers.clone());
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// The file that a request's path means; none when it would lead out of the root.
fn file_of(root: &Path, path: &str) -> Option<PathBuf> {
    let path = decode(path)?;
    let relative = Path::new(path.trim_start_matches('/'));
    if !relative.components().all(|component| matches!(component, Component::Normal(_))) {
        return None;
    }
    let file = root.join(relative);
    Some(if file.is_dir() { file.join("index.html") } else { file })
}

/// Replaces `%41` by `A`; none when that gives no text or a NUL.
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(*high)? * 16 + digit(*low)?);
        rest = tail;
    }
    String::from_utf8(bytes).ok().filter(|path| !path.contains('\0'))
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let length = fs::metadata(file)?.len();
    if length > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("file has {length} bytes, more than {FILE_BYTES_MAX}")));
    }
    fs::read(file)
}

fn content_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html" | "htm") => "text/html",
        Some("json") => "application/json",
        Some("txt") => "text/plain",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("/", Some("index.html") ; "the root is its index")]
    #[test_case("/deep", Some("deep/index.html") ; "so is a folder")]
    #[test_case("/deep/a%20b.txt", Some("deep/a b.txt") ; "percent signs are decoded")]
    #[test_case("/missing", Some("missing") ; "a missing file is named all the same")]
    #[test_case("/../secret", None ; "no way out")]
    #[test_case("/deep/%2e%2e/%2e%2e/secret", None ; "nor in disguise")]
    #[test_case("/%00", None ; "no NUL")]
    #[test_case("/%4", None ; "half a byte")]
    fn paths_become_files(path: &str, expected: Option<&str>) {
        let root = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(root.path().join("deep")).expect("a folder in it");
        assert_eq!(file_of(root.path(), path), expected.map(|relative| root.path().join(relative)));
    }

    #[test]
    fn files_are_read_anew_and_missing_ones_are_404() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let status = |method: &Method| answer(root.path(), method, "/", &HeaderMap::new()).status();
        assert_eq!(status(&Method::GET), StatusCode::NOT_FOUND);
        fs::write(root.path().join("index.html"), "x").expect("written");
        assert_eq!(status(&Method::GET), StatusCode::OK);
        assert_eq!(status(&Method::POST), StatusCode::METHOD_NOT_ALLOWED);
    }
}
