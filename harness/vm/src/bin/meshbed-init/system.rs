//! What the kernel is asked for before and after the job.
#![expect(unsafe_code, reason = "there is no safe way to set the flags of a network device by ioctl(2)")]

use std::{
    fs::{self, File},
    io,
    net::UdpSocket,
    os::fd::AsRawFd,
};

use nix::{
    kmod::{ModuleInitFlags, finit_module},
    libc,
    mount::{MsFlags, mount},
    sys::{
        reboot::{RebootMode, reboot},
        resource::{Resource, setrlimit},
    },
    unistd,
};

/// File systems: type, where, options. The first one is in memory already; what the host put into it may lie anywhere.
const MOUNTS: [(&str, &str, &str); 7] = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", "mode=0755"),
    ("devpts", "/dev/pts", "ptmxmode=0666"),
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("cgroup2", "/sys/fs/cgroup", ""),
    ("bpf", "/sys/fs/bpf", "mode=0700"),
];
/// Links that shells and programs expect in `/dev`.
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];
/// Settings of the kernel that a machine for meshes would have.
const SETTINGS: [(&str, &str); 2] =
    [("/proc/sys/fs/inotify/max_user_instances", "8192"), ("/proc/sys/net/core/bpf_jit_enable", "1")];
/// Open files of a process.
const FILES_MAX: u64 = 1 << 20;

/// Mounts everything that programs expect of a machine.
pub(crate) fn mount_all() -> io::Result<()> {
    for (kind, place, options) in MOUNTS {
        fs::create_dir_all(place)?;
        mount(Some(kind), place, Some(kind), MsFlags::empty(), Some(options))
            .map_err(|error| io::Error::other(format!("cannot mount {kind} at {place}: {error}")))?;
    }
    for (target, link) in LINKS {
        // devtmpfs of some kernels has them.
        let _there = unistd::symlinkat(target, nix::fcntl::AT_FDCWD, link).is_err();
    }
    Ok(())
}

/// Loads modules in this order; returns what went wrong.
pub(crate) fn load(modules: &[String]) -> Vec<String> {
    let load = |path: &String| -> io::Result<()> {
        finit_module(File::open(path)?, c"", ModuleInitFlags::empty()).map_err(io::Error::from)
    };
    let failed = modules.iter().filter_map(|path| Some(format!("cannot load module {path}: {}", load(path).err()?)));
    failed.collect()
}

/// Everything else that a machine does when it starts; returns what went wrong.
pub(crate) fn prepare() -> Vec<String> {
    let mut trouble = Vec::new();
    for (file, value) in SETTINGS {
        if let Err(error) = fs::write(file, value) {
            trouble.push(format!("cannot set {file}: {error}"));
        }
    }
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, FILES_MAX, FILES_MAX) {
        trouble.push(format!("cannot allow {FILES_MAX} open files: {error}"));
    }
    if let Err(error) = unistd::sethostname("meshbed") {
        trouble.push(format!("cannot set the host's name: {error}"));
    }
    if let Err(error) = loopback_up() {
        trouble.push(format!("cannot bring the loopback device up: {error}"));
    }
    trouble
}

/// `ip link set lo up` (netdevice(7)).
fn loopback_up() -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = libc::c_char::try_from(b'l').map_err(io::Error::other)?;
    request.ifr_name[1] = libc::c_char::try_from(b'o').map_err(io::Error::other)?;
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).map_err(io::Error::other)?;
    // SAFETY: the request is valid and lives through the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Time since the kernel started, in milliseconds.
pub(crate) fn uptime_ms() -> u64 {
    let uptime = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    uptime.map_or(0, |time| {
        u64::try_from(time.tv_sec()).unwrap_or(0) * 1000 + u64::try_from(time.tv_nsec()).unwrap_or(0) / 1_000_000
    })
}

/// Ends the guest.
pub(crate) fn power_off() -> ! {
    unistd::sync();
    let _refused = reboot(RebootMode::RB_POWER_OFF).is_err();
    // Without ACPI nothing powers off: ending PID 1 panics the kernel, and that ends the guest.
    std::process::exit(1)
}
