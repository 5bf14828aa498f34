//! What a guest and its host say to each other, over one virtio console port: frames of a tag, a length (32 bits, little
//! endian) and as many bytes.

use serde::{Deserialize, Serialize};

use crate::Effort;

/// Name of the port, as QEMU and `/sys/class/virtio-ports/*/name` call it.
pub const PORT: &str = "dev.meshbed.guest";
/// Where the guest finds its job.
pub const JOB_FILE: &str = "/etc/meshbed/job.json";
/// Environment variable that tells the job how much slower than the host the guest is, in thousandths.
pub const SLOWNESS: &str = "MESHBED_SLOWNESS_MILLI";
/// Longest content of a frame, in bytes; files are sent in pieces.
pub const FRAME_MAX: usize = 64 * 1024;
/// Bytes before the content: tag and length.
const HEAD: usize = 5;

/// What the guest is to do, made by the host and read by PID 1 of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Working directory; it is made when it is not there.
    pub cwd: String,
    /// Files of kernel modules, in the order of loading; [`crate::initramfs`] fills them in.
    pub modules: Vec<String>,
    /// Files and folders that the host gets when the job has ended.
    pub results: Vec<String>,
    /// What the host needs for a certain work.
    pub host: Effort,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Guest: PID 1 runs. The kernel's release and how much slower than the host the guest is.
    Hello(Hello),
    /// Guest: it lives.
    Alive,
    /// Guest: the job wrote to its standard output.
    Stdout(Vec<u8>),
    /// Guest: the job wrote to its standard error.
    Stderr(Vec<u8>),
    /// Guest: a file of the job begins: an absolute path.
    File(String),
    /// Guest: the next bytes of the file.
    Data(Vec<u8>),
    /// Guest: the job ended with this exit code; what follows is nothing.
    Ended(i32),
    /// Guest: something that is no part of the job went wrong.
    Trouble(String),
    /// Host: send this signal to the job.
    Signal(i32),
}

/// What a guest says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Release of the kernel that runs.
    pub release: String,
    /// How many times slower than the host the guest computes, in thousandths; 1000 at least.
    pub slowness_milli: u64,
    /// Time since the kernel started, in milliseconds.
    pub uptime_ms: u64,
}

/// Bytes that are no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what the guest sent is no frame: {0}")]
pub struct NoFrame(String);

impl Frame {
    /// The frame as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (tag, content) = match self {
            Self::Hello(hello) => (b'H', serde_json::to_vec(hello).unwrap_or_default()),
            Self::Alive => (b'A', Vec::new()),
            Self::Stdout(bytes) => (b'O', bytes.clone()),
            Self::Stderr(bytes) => (b'E', bytes.clone()),
            Self::File(path) => (b'F', path.clone().into_bytes()),
            Self::Data(bytes) => (b'D', bytes.clone()),
            Self::Ended(code) => (b'X', code.to_le_bytes().to_vec()),
            Self::Trouble(text) => (b'T', text.clone().into_bytes()),
            Self::Signal(number) => (b'S', number.to_le_bytes().to_vec()),
        };
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEAD + content.len());
        bytes.push(tag);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&content);
        bytes
    }

    fn decode(tag: u8, content: &[u8]) -> Result<Self, NoFrame> {
        let text = || String::from_utf8_lossy(content).into_owned();
        let number = || {
            let bytes = <[u8; 4]>::try_from(content);
            bytes.map(i32::from_le_bytes).map_err(|_| NoFrame(format!("{} bytes for a number", content.len())))
        };
        Ok(match tag {
            b'H' => Self::Hello(serde_json::from_slice(content).map_err(|error| NoFrame(error.to_string()))?),
            b'A' => Self::Alive,
            b'O' => Self::Stdout(content.to_vec()),
            b'E' => Self::Stderr(content.to_vec()),
            b'F' => Self::File(text()),
            b'D' => Self::Data(content.to_vec()),
            b'X' => Self::Ended(number()?),
            b'T' => Self::Trouble(text()),
            b'S' => Self::Signal(number()?),
            other => return Err(NoFrame(format!("tag {other}"))),
        })
    }
}

/// Bytes in, frames out.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// More bytes have come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame.
    ///
    /// # Errors
    ///
    /// When the bytes are no frames: nothing after them can be understood.
    pub fn frame(&mut self) -> Result<Option<Frame>, NoFrame> {
        let Some((head, rest)) = self.bytes.split_at_checked(HEAD) else { return Ok(None) };
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        let length = usize::try_from(length).ok().filter(|length| *length <= FRAME_MAX);
        let Some(length) = length else { return Err(NoFrame("it is too long".to_owned())) };
        let Some(content) = rest.get(..length) else { return Ok(None) };
        let frame = Frame::decode(head[0], content)?;
        self.bytes.drain(..HEAD + length);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cuts() {
        let hello = Hello { release: "5.10".into(), slowness_milli: 12_000, uptime_ms: 900 };
        let frames = [
            Frame::Hello(hello),
            Frame::Alive,
            Frame::Stdout(b"out".to_vec()),
            Frame::Stderr(Vec::new()),
            Frame::File("/a/b".into()),
            Frame::Data(vec![0; FRAME_MAX]),
            Frame::Ended(-9),
            Frame::Trouble("no".into()),
            Frame::Signal(2),
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        for piece in [1, 3, 5, 4096, bytes.len()] {
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for bytes in bytes.chunks(piece) {
                decoder.push(bytes);
                while let Some(frame) = decoder.frame().expect("frames") {
                    found.push(frame);
                }
            }
            assert_eq!(found, frames, "in pieces of {piece}");
        }
    }

    #[test]
    fn nonsense_is_told() {
        for bytes in [&b"Z\0\0\0\0"[..], b"D\xff\xff\xff\xff", b"X\x01\0\0\0\0", b"H\x02\0\0\0{}"] {
            let mut decoder = Decoder::default();
            decoder.push(bytes);
            assert!(decoder.frame().is_err(), "{bytes:?}");
        }
    }
}
