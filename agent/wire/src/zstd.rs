//! Frames of Zstandard (RFC 8878) with a limit on what comes out.

use std::io::{self, Read};

use ruzstd::{
    decoding::{FrameDecoder, StreamingDecoder, errors::FrameDecoderError},
    encoding::{CompressionLevel, compress_to_vec},
};

/// Compresses into one frame with a checksum.
pub(crate) fn compress(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

/// Takes out the content of one frame, at most `limit` bytes of it. `frame` must end where the frame ends.
///
/// A frame that says beforehand that it needs more memory than `window_limit` is refused before anything is allocated.
pub(crate) fn decompress(mut frame: &[u8], limit: usize, window_limit: u64) -> Result<Vec<u8>, ZstdError> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(window_limit);
    let mut decoder = StreamingDecoder::new_with_decoder(&mut frame, decoder).map_err(|error| match error {
        FrameDecoderError::WindowSizeTooBig { .. } => ZstdError::TooLarge { limit },
        other => ZstdError::Frame(io::Error::other(other)),
    })?;
    let mut content = Vec::new();
    // One byte more than allowed tells a content that is too large from one that just fits.
    decoder.by_ref().take(limit as u64 + 1).read_to_end(&mut content).map_err(ZstdError::Frame)?;
    if content.len() > limit {
        return Err(ZstdError::TooLarge { limit });
    }
    let decoder = decoder.into_frame_decoder();
    if decoder.get_checksum_from_data().is_some_and(|sum| Some(sum) != decoder.get_calculated_checksum()) {
        return Err(ZstdError::Checksum);
    }
    if frame.is_empty() { Ok(content) } else { Err(ZstdError::Trailing { count: frame.len() }) }
}

/// Why a frame cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ZstdError {
    /// Not a frame, or a broken one.
    #[error("not a whole zstd frame")]
    Frame(#[source] io::Error),
    /// What it would become is more than this reader takes.
    #[error("content is larger than {limit} bytes")]
    TooLarge {
        /// The most that is taken, in bytes.
        limit: usize,
    },
    /// The content is not what was compressed.
    #[error("checksum of the content is wrong")]
    Checksum,
    /// Bytes that do not belong to the frame.
    #[error("{count} bytes after the frame")]
    Trailing {
        /// How many there are.
        count: usize,
    },
}
