//! Kernels of Debian, by apt: with lists and settings of their own below the cache, so without root, whatever release this
//! machine has; checked with Debian's keys.

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use meshbed_scenario::{KernelSource, Kernels};

use super::{Part, files_ending, output, sha256};
use crate::{Cache, VmError};

/// Debian's keys, in the package `debian-archive-keyring`.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Environment variable with the mirror to use instead of the one of this machine's apt.
const MIRROR: &str = "MESHBED_DEBIAN_MIRROR";
/// Packages that a kernel's package depends on and that have files of it begin like this.
const PARTS: [&str; 3] = ["linux-base-", "linux-binary-", "linux-modules-"];

/// Debian as seen from the cache.
pub(super) struct Debian {
    settings: PathBuf,
}

impl Debian {
    /// Asks the mirror for the packages of all suites that the file of kernels names.
    pub(super) fn open(cache: &Cache, kernels: &Kernels) -> Result<Self, VmError> {
        let folder = cache.folder("debian")?;
        for below in ["lists/partial", "archives/partial"] {
            cache.folder(&format!("debian/{below}"))?;
        }
        let mirror = mirror()?;
        let suites: BTreeSet<&str> = kernels
            .all()
            .iter()
            .filter_map(|kernel| match kernel.source() {
                KernelSource::Debian { suite, .. } => Some(suite.as_str()),
                _ => None,
            })
            .collect();
        let sources: String =
            suites.iter().map(|suite| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n")).collect();
        let (list, settings) = (folder.join("sources.list"), folder.join("apt.conf"));
        let changed = fs::read_to_string(&list).unwrap_or_default() != sources;
        let text = format!(
            "Dir::State::lists \"{0}/lists\";\nDir::Cache::archives \"{0}/archives\";\nDir::Cache::pkgcache \"\";\n\
             Dir::Cache::srcpkgcache \"\";\nDir::Etc::sourcelist \"{0}/sources.list\";\nDir::Etc::sourceparts \"-\";\n\
             Dir::State::status \"/dev/null\";\nAPT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\n\
             Acquire::Languages \"none\";\nAcquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
             APT::Sandbox::User \"root\";\n",
            folder.display()
        );
        for (file, text) in [(&list, &sources), (&settings, &text)] {
            fs::write(file, text).map_err(VmError::io(format!("write `{}`", file.display())))?;
        }
        let debian = Self { settings };
        // The lists of a mirror change a few times a day; which of its kernels is the newest need not be known to the hour.
        if changed || !is_fresh(&folder.join("updated")) {
            debian.apt("apt-get", &["update", "-qq", "--error-on=any"])?;
            let stamp = folder.join("updated");
            fs::write(&stamp, "").map_err(VmError::io(format!("write `{}`", stamp.display())))?;
        }
        Ok(debian)
    }

    /// Unpacks the newest package of `suite` whose name fits, with those that it depends on in the same version.
    pub(super) fn unpack(
        &self,
        name: &str,
        suite: &str,
        pattern: &str,
        folder: &Path,
        root: &Path,
    ) -> Result<Vec<Part>, VmError> {
        let (version, wanted) = self.newest(name, suite, pattern)?;
        let mut arguments = vec!["download".to_owned(), "-qq".to_owned()];
        arguments.extend(wanted.iter().map(|package| format!("{package}={version}")));
        let mut command = Command::new("apt-get");
        command.args(&arguments).env("APT_CONFIG", &self.settings).current_dir(folder);
        output("apt-get", "apt", &mut command)?;
        let mut parts = Vec::new();
        for file in files_ending(folder, ".deb") {
            output("dpkg-deb", "dpkg", Command::new("dpkg-deb").arg("-x").arg(&file).arg(root))?;
            let base = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let name = base.split('_').next().unwrap_or_default().to_owned();
            parts.push(Part { name, version: version.clone(), sha256: sha256(&file)? });
            // Unpacked it takes room enough.
            drop(fs::remove_file(&file));
        }
        Ok(parts)
    }

    /// The newest version of which everything is there, and its packages. Mirrors keep some packages of a version longer
    /// than others.
    fn newest(&self, name: &str, suite: &str, pattern: &str) -> Result<(String, Vec<String>), VmError> {
        let regex = format!("^{}$", pattern.replace('.', "\\.").replace('+', "\\+").replace('*', ".*"));
        let found = self.apt("apt-cache", &["search", "--names-only", &regex])?;
        let mut arguments = vec!["madison"];
        arguments.extend(found.lines().filter_map(|line| line.split_whitespace().next()));
        if arguments.len() == 1 {
            return Err(VmError::kernel(name, format!("no package of Debian is called `{pattern}`")));
        }
        let lines = self.apt("apt-cache", &arguments)?;
        let mut fitting: Vec<(String, String)> = lines.lines().filter_map(|line| of_suite(line, suite)).collect();
        fitting.sort_by(|a, b| order(&b.1, &a.1));
        let mut missing = None;
        for (package, version) in fitting {
            match self.parts(&package, &version)? {
                Ok(mut parts) => {
                    parts.insert(0, package);
                    return Ok((version, parts));
                }
                Err(part) => missing = missing.or(Some(part)),
            }
        }
        let why = match missing {
            Some(part) => format!("Debian {suite} has no whole `{pattern}`; of the newest, `{part}` is gone"),
            None => format!("no package of Debian {suite} is called `{pattern}`"),
        };
        Err(VmError::kernel(name, why))
    }

    /// The packages that `package` needs in the same version and that have files of a kernel, or the first that is not there.
    fn parts(&self, package: &str, version: &str) -> Result<Result<Vec<String>, String>, VmError> {
        let about = self.apt("apt-cache", &["show", &format!("{package}={version}")])?;
        for part in same_version(&about, version) {
            if !self.apt("apt-cache", &["madison", &part])?.contains(version) {
                return Ok(Err(part));
            }
        }
        Ok(Ok(same_version(&about, version)))
    }

    fn apt(&self, program: &str, arguments: &[&str]) -> Result<String, VmError> {
        output(program, "apt", Command::new(program).args(arguments).env("APT_CONFIG", &self.settings))
    }
}

/// Whether a file was written within the last day.
fn is_fresh(file: &Path) -> bool {
    const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
    let written = fs::metadata(file).and_then(|about| about.modified());
    written.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < DAY))
}

/// The mirror that this machine's apt uses for Debian.
fn mirror() -> Result<String, VmError> {
    if let Ok(given) = std::env::var(MIRROR) {
        return Ok(given);
    }
    let format = "$(ORIGIN) $(REPO_URI)";
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", format, "Created-By: Packages"]);
    let targets = output("apt-get", "apt", &mut command)?;
    main_archive(&targets).ok_or_else(|| {
        let why = format!(
            "this machine's apt knows no mirror of Debian; name one in the environment: {MIRROR}=http://…/debian"
        );
        VmError::program("apt-get", why)
    })
}

/// The archive itself, and not that of security updates, which has other suites.
fn main_archive(targets: &str) -> Option<String> {
    let uris = targets.lines().filter_map(|line| line.rsplit_once(' ').map(|(_, uri)| uri.trim_end_matches('/')));
    uris.into_iter().find(|uri| uri.ends_with("/debian")).map(str::to_owned)
}

/// A line of `apt-cache madison`: ` name | version | mirror suite/main amd64 Packages`.
fn of_suite(line: &str, suite: &str) -> Option<(String, String)> {
    let mut fields = line.split('|').map(str::trim);
    let (name, version, place) = (fields.next()?, fields.next()?, fields.next()?);
    let section = place.split_whitespace().nth(1)?;
    (section.split('/').next()? == suite).then(|| (name.to_owned(), version.to_owned()))
}

/// Packages with files of the kernel that must have the same version: `linux-modules-7.3 (= 7.3-1)`.
fn same_version(about: &str, version: &str) -> Vec<String> {
    let line = about.lines().find_map(|line| line.strip_prefix("Depends:")).unwrap_or_default();
    let exact = format!("(= {version})");
    let is_part = |part: &str| PARTS.iter().any(|prefix| part.starts_with(prefix));
    let parts = line.split(',').map(str::trim).filter(|part| is_part(part) && part.ends_with(&exact));
    parts.filter_map(|part| part.split_whitespace().next()).map(str::to_owned).collect()
}

/// Versions of one kernel's packages, number by number: `6.12.9` is older than `6.12.10`.
fn order(a: &str, b: &str) -> Ordering {
    let numbers = |version: &str| -> Vec<u64> {
        version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    numbers(a).cmp(&numbers(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("6.12.9-1", "6.12.10-1" => Ordering::Less)]
    #[test_case("5.10.223-1", "5.10.209-2" => Ordering::Greater)]
    #[test_case("7.2.6-1~bpo13+1", "7.2.6-1~bpo13+1" => Ordering::Equal)]
    fn versions(a: &str, b: &str) -> Ordering {
        order(a, b)
    }

    #[test]
    fn lines_of_madison() {
        let line = " linux-image-6.1.0-50-cloud-amd64 | 6.1.170-1 | http://mirror/debian bookworm/main amd64 Packages";
        let found = ("linux-image-6.1.0-50-cloud-amd64".to_owned(), "6.1.170-1".to_owned());
        assert_eq!(of_suite(line, "bookworm"), Some(found));
        assert_eq!(of_suite(line, "bookworm-backports"), None);
        assert_eq!(of_suite("nonsense", "bookworm"), None);
    }

    #[test]
    fn parts_of_a_kernel() {
        let about = "Package: linux-image-7.3\nDepends: dracut | initramfs-tools (>= 0.120), linux-base-7.3 (= 7.3-1), \
                     linux-modules-7.3 (= 7.3-1), linux-other (>= 7)\n";
        assert_eq!(same_version(about, "7.3-1"), ["linux-base-7.3", "linux-modules-7.3"]);
        assert_eq!(same_version("Package: x\n", "1"), Vec::<String>::new());
    }

    #[test]
    fn the_archive_is_not_that_of_security_updates() {
        let targets = "Debian http://mirror/debian-security/\nDebian http://mirror/debian/\n";
        assert_eq!(main_archive(targets).as_deref(), Some("http://mirror/debian"));
        assert_eq!(main_archive("Other http://elsewhere/apt\n"), None);
    }
}
