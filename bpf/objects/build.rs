//! Compiles `bpf/programs` for the BPF machine and leaves the object in `OUT_DIR`.
//!
//! aya-build does it by running cargo again. What is added here: the stable toolchain is allowed to build `core`, the
//! linker is found even when cargo's own directory is not in `PATH`, and when it is missing the error says how to get
//! it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use aya_build::{Package, Toolchain};

/// Package of the programs, and name of the object.
const PROGRAMS: &str = "mesh-bpf";
/// The linker that rustc calls for BPF targets.
const LINKER: &str = "bpf-linker";
/// Version of the linker that goes with the toolchain of this repository: it loads rustc's own LLVM.
const LINKER_VERSION: &str = "0.10.3";

fn main() {
    if let Err(error) = build() {
        // Cargo shows these as errors; those of a `main` that returns one are buried under a backtrace.
        for line in format!("{error:#}").lines() {
            println!("cargo::error={line}");
        }
    }
}

fn build() -> Result<()> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let bpf = manifest.parent().context("this crate lies in `bpf/`")?;
    let programs = bpf.join("programs");
    let abi = bpf.join("abi");
    // aya-build names `bpf/programs`; the layouts are part of the programs too.
    println!("cargo:rerun-if-changed={}", abi.join("src").display());
    println!("cargo:rerun-if-changed={}", abi.join("Cargo.toml").display());
    println!("cargo:rerun-if-changed=build.rs");

    let out = PathBuf::from(env::var("OUT_DIR")?);
    share_build_directory(&out)?;
    let path = search_path()?;
    set_environment(&path);
    let toolchain = toolchain(bpf)?;
    let programs = programs.to_str().context("path of the repository is not UTF-8")?;
    let package = Package { name: PROGRAMS, root_dir: programs, ..Package::default() };
    aya_build::build_ebpf([package], Toolchain::Custom(&toolchain)).context("failed to build the BPF programs")?;
    let object = out.join(PROGRAMS);
    if !object.exists() {
        // `AYA_BUILD_SKIP=1`, for whoever only wants the rest to compile. Loading it will fail.
        fs::write(&object, []).with_context(|| format!("failed to write `{}`", object.display()))?;
    }
    Ok(())
}

/// Lets all variants of this build script (clippy, tests, other features of its dependencies) build `core` and the
/// programs in one directory, `target/bpf`, instead of each from nothing in its own. Cargo locks it.
fn share_build_directory(out: &Path) -> Result<()> {
    // target/debug/build/mesh-bpf-objects-0123456789abcdef/out
    let target = out.ancestors().nth(4).context("`OUT_DIR` has the directories that cargo gives it")?;
    let (shared, own) = (target.join("bpf"), out.join("aya-build"));
    fs::create_dir_all(&shared).with_context(|| format!("failed to make `{}`", shared.display()))?;
    if own.is_symlink() {
        // It may lead to where the repository was before it was moved.
        fs::remove_file(&own).with_context(|| format!("failed to remove `{}`", own.display()))?;
    }
    std::os::unix::fs::symlink(&shared, &own).with_context(|| format!("failed to link `{}`", own.display()))
}

/// `PATH`, with the directory of cargo's own programs if the linker is only there.
fn search_path() -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let has_linker = |directory: &PathBuf| directory.join(LINKER).is_file();
    if env::split_paths(&path).any(|directory| has_linker(&directory)) {
        return Ok(path);
    }
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    match home.map(|home| home.join("bin")).filter(has_linker) {
        Some(directory) => Ok(env::join_paths([directory].into_iter().chain(env::split_paths(&path)))?),
        None => bail!(
            "`{LINKER}` is not installed, and the BPF programs cannot be linked without it\n\
             hint: run `just setup`, or `cargo install {LINKER} --version {LINKER_VERSION} --locked`"
        ),
    }
}

/// Environment of the cargo that aya-build runs: the stable toolchain may build `core` for the BPF machine, and only
/// warnings and errors are passed on, not its progress.
#[expect(unsafe_code, clippy::disallowed_methods, reason = "aya-build takes them from the environment; one thread")]
fn set_environment(path: &std::ffi::OsStr) {
    // SAFETY: this process has one thread.
    unsafe {
        env::set_var("RUSTC_BOOTSTRAP", "1");
        env::set_var("CARGO_TERM_QUIET", "true");
        env::set_var("PATH", path);
    }
}

/// Name of the toolchain for `rustup run`: that which builds this very crate, or else the one of the repository.
/// Without rustup the name is not used.
fn toolchain(bpf: &Path) -> Result<String> {
    if let Ok(toolchain) = env::var("RUSTUP_TOOLCHAIN") {
        return Ok(toolchain);
    }
    let file = bpf.parent().context("`bpf/` lies in the repository")?.join("rust-toolchain.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
    let channel =
        text.lines().find_map(|line| line.trim().strip_prefix("channel")?.split('"').nth(1).map(str::to_owned));
    channel.with_context(|| format!("`{}` names no channel", file.display()))
}
