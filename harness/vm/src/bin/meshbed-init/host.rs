//! The port to the host.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use meshbed_vm::protocol::{Decoder, FRAME_MAX, Frame, PORT};

/// How long the port may take to appear after its driver was loaded.
const APPEAR_MAX: Duration = Duration::from_secs(30);
/// Time between two looks for it.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The port, which all threads write to.
#[derive(Clone)]
pub(crate) struct Host {
    writer: Arc<Mutex<File>>,
    reader: Arc<File>,
}

impl Host {
    /// Waits for the port and opens it.
    pub(crate) fn connect() -> io::Result<Self> {
        let begun = Instant::now();
        let path = loop {
            if let Some(path) = find() {
                break path;
            }
            if begun.elapsed() > APPEAR_MAX {
                return Err(io::Error::other(format!("no virtio port `{PORT}`")));
            }
            // Nobody wakes us: a device node has no notification before there is anything to watch it with.
            std::thread::park_timeout(LOOK_EVERY);
        };
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let reader = Arc::new(file.try_clone()?);
        Ok(Self { writer: Arc::new(Mutex::new(file)), reader })
    }

    /// Says one thing.
    pub(crate) fn say(&self, frame: &Frame) -> io::Result<()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).write_all(&frame.encode())
    }

    /// Tells everything that can be read from `from`, until its end.
    pub(crate) fn forward(&self, mut from: impl Read, frame: impl Fn(Vec<u8>) -> Frame) -> io::Result<()> {
        let mut bytes = vec![0; FRAME_MAX];
        loop {
            match from.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(length) => self.say(&frame(bytes[..length].to_vec()))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a file, or a folder with all that is in it. What is not there is not sent.
    pub(crate) fn send(&self, path: &Path) -> io::Result<()> {
        let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
        if metadata.is_dir() {
            for entry in fs::read_dir(path)? {
                self.send(&entry?.path())?;
            }
        } else if metadata.is_file() {
            self.say(&Frame::File(path.to_string_lossy().into_owned()))?;
            self.forward(File::open(path)?, Frame::Data)?;
        }
        Ok(())
    }

    /// What the host says, one frame after the other; the end is the end of the host.
    pub(crate) fn listen(&self, mut each: impl FnMut(Frame)) {
        let mut decoder = Decoder::default();
        let mut bytes = [0; 1024];
        // Reading returns nothing when nobody holds the other side.
        while let Ok(length) = (&*self.reader).read(&mut bytes)
            && length > 0
        {
            decoder.push(&bytes[..length]);
            while let Ok(Some(frame)) = decoder.frame() {
                each(frame);
            }
        }
    }
}

fn find() -> Option<PathBuf> {
    let ports = fs::read_dir("/sys/class/virtio-ports").ok()?.flatten();
    let ours = ports
        .map(|entry| entry.path())
        .find(|path| fs::read_to_string(path.join("name")).is_ok_and(|name| name.trim() == PORT))?;
    let device = Path::new("/dev").join(ours.file_name()?);
    device.exists().then_some(device)
}
