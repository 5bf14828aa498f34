//! The command that starts a guest.

use std::{
    os::fd::RawFd,
    path::{Path, PathBuf},
};

use crate::{Cache, protocol::PORT};

/// The program, in Debian's package `qemu-system-x86`. Guests with network interfaces need 7.2 or newer.
pub const QEMU: &str = "qemu-system-x86_64";
/// What is remembered of a machine whose KVM runs no guests.
pub(crate) const KVM_FAILS: &str = "kvm-fails";
/// Room for what plain emulation has translated, in MiB; it takes memory only as it is filled. A mesh's programs and the kernel fill
/// some 330; when it is full, all of it is thrown away.
const TRANSLATIONS_MIB: usize = 1024;

/// Who executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU, one translation after the other: ten times slower, without any need for privileges.
    Emulation,
}

impl Accelerator {
    /// KVM where it may be opened, was not seen to fail since the machine started, and is not refused by
    /// `MESHBED_ACCEL=tcg`.
    pub fn of_machine(cache: &Cache) -> Self {
        let forced = std::env::var("MESHBED_ACCEL").unwrap_or_default();
        let open = || std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        if forced != "tcg" && (forced == "kvm" || !cache.knows(KVM_FAILS)) && open() {
            Self::Kvm
        } else {
            Self::Emulation
        }
    }

    /// As people say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Emulation => "plain emulation",
        }
    }
}

/// A guest for QEMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Who executes.
    pub accelerator: Accelerator,
    /// Processors.
    pub cpus: usize,
    /// Memory in MiB.
    pub memory_mib: usize,
    /// The kernel.
    pub image: PathBuf,
    /// The first file system.
    pub initramfs: PathBuf,
    /// PID 1.
    pub init: String,
    /// File for what the kernel says.
    pub console: PathBuf,
    /// Socket that QEMU connects to, for the port of [`crate::protocol`].
    pub socket: PathBuf,
    /// Network interfaces; there is no network without.
    pub nics: Vec<MachineNic>,
}

/// A network interface for QEMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineNic {
    /// Its hardware address.
    pub mac: String,
    /// Descriptor of a datagram socket that is connected to another guest's; QEMU inherits it.
    pub socket: RawFd,
}

impl Machine {
    /// Arguments for [`QEMU`]. No disk, no network but cables to other guests, nothing of the host but what is named here.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(|&word| word.to_owned()));
        add(&["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-name", "meshbed"]);
        match self.accelerator {
            Accelerator::Kvm => add(&["-machine", "pc", "-accel", "kvm", "-cpu", "host"]),
            Accelerator::Emulation => {
                let accelerator = format!("tcg,thread=multi,tb-size={TRANSLATIONS_MIB}");
                add(&["-machine", "pc", "-accel", &accelerator, "-cpu", "max"]);
            }
        }
        add(&["-smp", &self.cpus.to_string(), "-m", &self.memory_mib.to_string()]);
        add(&["-kernel", &path(&self.image), "-initrd", &path(&self.initramfs), "-append", &self.command_line()]);
        add(&["-chardev", &format!("file,id=console,path={}", escaped(&self.console)), "-serial", "chardev:console"]);
        add(&["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"]);
        add(&["-chardev", &format!("socket,id=guest,path={}", escaped(&self.socket))]);
        add(&["-device", &format!("virtserialport,chardev=guest,name={PORT}")]);
        for (number, nic) in self.nics.iter().enumerate() {
            add(&["-netdev", &format!("dgram,id=net{number},local.type=fd,local.str={}", nic.socket)]);
            // It has no firmware: nothing is booted from it.
            add(&["-device", &format!("virtio-net-pci,netdev=net{number},mac={},romfile=", nic.mac)]);
        }
        arguments
    }

    /// A panic ends the guest at once; anything else that is wrong with the kernel is one. `quiet` saves the time that a
    /// serial line takes, and what protects against attackers is off: nobody attacks, and emulated it is dear. Programs that
    /// lie at the same addresses in each process (`norandmaps`) are translated once and not once for each process.
    fn command_line(&self) -> String {
        format!(
            "console=ttyS0 panic=-1 oops=panic quiet loglevel=4 rdinit={} nokaslr norandmaps mitigations=off \
             init_on_alloc=0 randomize_kstack_offset=off audit=0 cryptomgr.notests no5lvl \
             random.trust_cpu=on cgroup_no_v1=all net.ifnames=0 tsc=reliable no_timer_check",
            self.init
        )
    }
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// In QEMU's lists of options a comma is written twice.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(accelerator: Accelerator) -> Machine {
        Machine {
            accelerator,
            cpus: 2,
            memory_mib: 2048,
            image: "/k/vmlinuz".into(),
            initramfs: "/dev/fd/9".into(),
            init: "/sbin/init".into(),
            console: "/tmp/a,b/console.log".into(),
            socket: "/tmp/s".into(),
            nics: Vec::new(),
        }
    }

    #[test]
    fn nothing_but_what_is_named() {
        let arguments = machine(Accelerator::Emulation).arguments();
        assert!(arguments.contains(&"-nodefaults".to_owned()));
        assert!(arguments.contains(&"file,id=console,path=/tmp/a,,b/console.log".to_owned()));
        assert!(arguments.iter().any(|argument| argument.contains("rdinit=/sbin/init")));
        assert!(!arguments.iter().any(|argument| argument.contains("netdev")));
    }

    #[test]
    fn each_interface_has_a_cable_of_its_own() {
        let nic = |mac: &str, socket| MachineNic { mac: mac.to_owned(), socket };
        let nics = vec![nic("02:00:00:00:00:01", 7), nic("02:00:00:00:00:02", 9)];
        let arguments = Machine { nics, ..machine(Accelerator::Emulation) }.arguments();
        let expected = [
            "-netdev",
            "dgram,id=net0,local.type=fd,local.str=7",
            "-device",
            "virtio-net-pci,netdev=net0,mac=02:00:00:00:00:01,romfile=",
            "-netdev",
            "dgram,id=net1,local.type=fd,local.str=9",
            "-device",
            "virtio-net-pci,netdev=net1,mac=02:00:00:00:00:02,romfile=",
        ];
        assert!(arguments.ends_with(&expected.map(str::to_owned)), "{arguments:?}");
    }

    #[test]
    fn who_executes() {
        assert!(machine(Accelerator::Kvm).arguments().contains(&"kvm".to_owned()));
        assert!(!machine(Accelerator::Emulation).arguments().contains(&"kvm".to_owned()));
    }
}
