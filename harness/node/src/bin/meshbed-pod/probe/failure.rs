//! Words for what goes wrong.

use meshbed_events::ErrorKind;
use meshbed_node::http::GetError;
use nix::errno::Errno;

/// The word for an error of the socket.
pub(super) fn kind_of(error: &std::io::Error) -> ErrorKind {
    let Some(errno) = error.raw_os_error().map(Errno::from_raw) else {
        return if error.kind() == std::io::ErrorKind::UnexpectedEof { ErrorKind::Reset } else { ErrorKind::Other };
    };
    match errno {
        Errno::ECONNREFUSED => ErrorKind::Refused,
        Errno::EHOSTUNREACH | Errno::ENETUNREACH => ErrorKind::Unreachable,
        Errno::EPERM => ErrorKind::NotPermitted,
        Errno::ECONNRESET | Errno::EPIPE => ErrorKind::Reset,
        Errno::ETIMEDOUT => ErrorKind::TimedOut,
        _ => ErrorKind::Other,
    }
}

/// The word for a request without an answer.
pub(super) fn kind_of_get(error: &GetError) -> ErrorKind {
    match error {
        GetError::Connection(error) => kind_of(error),
        GetError::Cut => ErrorKind::Reset,
        GetError::Malformed(_) => ErrorKind::Malformed,
    }
}
