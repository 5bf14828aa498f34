# meshbed's commands. Every recipe installs what it needs first; that is quick when it is there already.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

export PATH := env("CARGO_HOME", env("HOME") / ".cargo") / "bin:" + env("PATH") + ":/usr/sbin:/sbin"

# Versions that the project is tried with.
bpf_linker_version := "0.10.3"
nextest_version := "0.9.143"
deny_version := "0.20.2"
fuzz_version := "0.13.1"
toolchain := `sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml`

# What recipes that run programs build. Cargo builds most crates once more for `--bins` than for tests, because tests turn more
# features of dependencies on: whoever runs both, as CI does, says `--bins --tests` and waits for one of them.
targets := env("MESHBED_BUILD", "--bins")

# Show the recipes.
default:
    @just --list --unsorted

# Install everything that building, testing and running need.
setup: _build-tools _test-tools _run-tools

# Build all programs, BPF included.
build *ARGS: _build-tools
    cargo build "$@"

# Run all tests; those that load BPF programs and bring meshes up ask for root (see `test-root`).
test *ARGS: _build-tools _test-tools _run-tools && test-root
    cargo nextest run --profile ci "$@"

# Run the tests that need root: kernel datapath, whole meshes, planted defects. Built by you, run by root. They ask for
# "the" mesh that is up, so meshes that were kept or abandoned are taken down first.
test-root *ARGS: _build-tools _test-tools _run-tools
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --quiet {{targets}}
    cargo build --quiet --features mesh-agent/planted-defects --bin mesh-agent-planted
    host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
    if [ -n "{{sudo}}" ]; then export "CARGO_TARGET_${host}_RUNNER={{sudo}}"; fi
    {{sudo}} target/debug/meshbed down
    cargo nextest run --profile e2e "$@"

# Run a scenario or a folder of them, e.g. `just e2e failover --keep` or `just e2e control-plane`.
e2e SCENARIO *ARGS: _build-tools _run-tools
    @cargo build --quiet {{targets}}
    @{{sudo}} target/debug/meshbed run "$@"

# Run a scenario again and again, e.g. `just e2e-repeat failover 100`; ends at the first run that does not pass.
e2e-repeat SCENARIO TIMES *ARGS: _build-tools _run-tools
    @cargo build --quiet {{targets}}
    @{{sudo}} target/debug/meshbed run "$1" --repeat "$2" --fail-fast "${@:3}"

# Run the conformance suite, or a part of it, e.g. `just conformance --profile core`.
conformance *ARGS: _build-tools _run-tools
    @cargo build --quiet {{targets}}
    @{{sudo}} target/debug/meshbed conformance "$@"

# Run a scenario in a guest with another kernel, without root, e.g. `just vm failover --kernel 5.10`, or in several of one mesh:
# `just vm failover --kernel-in alpha=5.10 --kernel-in beta=7.3`.
vm SCENARIO *ARGS: _build-tools _vm-tools
    @cargo build --quiet {{targets}}
    @target/debug/meshbed run "$@" --env vm

# Run the conformance suite on many kernels, each in a guest, e.g. `just matrix --kernels 5.10,7.3`.
matrix *ARGS: _build-tools _vm-tools
    @cargo build --quiet {{targets}}
    @target/debug/meshbed matrix "$@"

# Run conformance cases against agents that are wrong on purpose: each must be noticed.
mutants *ARGS: _build-tools _run-tools
    @cargo build --quiet {{targets}}
    @cargo build --quiet --features mesh-agent/planted-defects --bin mesh-agent-planted
    @{{sudo}} target/debug/meshbed mutants "$@"

# Try every cell of the truth table of global services on a real mesh.
truth-table *ARGS: _build-tools _run-tools
    @cargo build --quiet {{targets}}
    @{{sudo}} target/debug/meshbed truth-table "$@"

# Measure, e.g. `just bench` (mesh-up time and propagation), `just bench up` or `just bench failover --repeat 50`.
bench *ARGS: _build-tools _run-tools
    @cargo build --quiet --release --bins
    @{{sudo}} target/release/meshbed bench "$@"

# Fuzz what reads other people's text and bytes, each reader for so many seconds.
fuzz SECONDS="120": _build-tools _fuzz-tools
    #!/usr/bin/env bash
    set -euo pipefail
    for crate in agent/wire harness/scenario; do
        targets=$(cargo fuzz list --fuzz-dir "$crate/fuzz")
        for target in $targets; do
            # What is found goes to the first folder; the second is in git and only read.
            mkdir -p "$crate/fuzz/found/$target"
            RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir "$crate/fuzz" --sanitizer none "$target" \
                "$crate/fuzz/found/$target" "$crate/fuzz/corpus/$target" -- \
                -max_total_time={{SECONDS}} -timeout=10 -max_len=16384 -print_final_stats=1
        done
    done

# Formatting, clippy, and what cargo-deny holds.
lint: _build-tools _lint-tools
    cargo fmt --all --check
    cargo clippy --workspace --exclude mesh-bpf --all-targets -- -D warnings
    # cargo-deny asks for the sources of all platforms; it looks at licences and bans without the network.
    cargo fetch --locked --quiet
    cargo deny --offline check bans licenses sources

# Accept changed snapshots.
review:
    command -v cargo-insta >/dev/null || cargo install cargo-insta --locked
    cargo insta review

# Take down every mesh that is left and remove all build output.
clean:
    if [ -x target/debug/meshbed ]; then {{sudo}} target/debug/meshbed down --all; fi
    cargo clean
    rm -rf reports/runs

sudo := if `id -u` == "0" { "" } else { "sudo --preserve-env=CI,NO_COLOR,RUST_LOG,PATH,INSTA_UPDATE" }

[private]
_apt +PACKAGES:
    #!/usr/bin/env bash
    set -euo pipefail
    if ! command -v apt-get >/dev/null; then
        echo "just: please install the equivalent of these Debian packages: $*" >&2
        exit 3
    fi
    {{sudo}} apt-get update -qq
    {{sudo}} env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null

[private]
_build-tools:
    #!/usr/bin/env bash
    set -euo pipefail
    if ! command -v protoc >/dev/null || ! command -v cc >/dev/null; then just _apt protobuf-compiler libprotobuf-dev build-essential; fi
    if command -v rustup >/dev/null; then
        rustup toolchain list | grep -q '^{{toolchain}}' || rustup toolchain install {{toolchain}} --profile minimal
        for component in rust-src clippy rustfmt; do
            rustup component list --toolchain {{toolchain}} --installed | grep -q "^$component" || rustup component add --toolchain {{toolchain}} "$component"
        done
    fi
    bpf-linker --version 2>/dev/null | grep -qF 'bpf-linker {{bpf_linker_version}}' || cargo install bpf-linker --version '={{bpf_linker_version}}' --locked --quiet --debug

[private]
_test-tools:
    #!/usr/bin/env bash
    set -euo pipefail
    command -v cargo-nextest >/dev/null || cargo install cargo-nextest --version '={{nextest_version}}' --locked --quiet --debug
    missing=()
    command -v chromium >/dev/null || missing+=(chromium)
    command -v kubectl >/dev/null || missing+=(kubernetes-client)
    command -v cpio >/dev/null || missing+=(cpio)
    if [ "${#missing[@]}" -gt 0 ]; then just _apt "${missing[@]}"; fi

[private]
_run-tools:
    #!/usr/bin/env bash
    set -euo pipefail
    missing=()
    command -v etcd >/dev/null || missing+=(etcd-server)
    command -v etcdctl >/dev/null || missing+=(etcd-client)
    command -v bpftool >/dev/null || missing+=(bpftool)
    command -v curl >/dev/null || missing+=(curl)
    command -v ip >/dev/null || missing+=(iproute2)
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then echo "just: running a mesh needs root and sudo is missing" >&2; exit 3; fi
    if [ "${#missing[@]}" -gt 0 ]; then just _apt "${missing[@]}"; fi

[private]
_vm-tools:
    #!/usr/bin/env bash
    set -euo pipefail
    missing=()
    command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
    command -v strip >/dev/null || missing+=(binutils)
    command -v etcd >/dev/null || missing+=(etcd-server)
    command -v curl >/dev/null || missing+=(curl)
    if [ "${#missing[@]}" -gt 0 ]; then just _apt "${missing[@]}"; fi

[private]
_fuzz-tools:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --version '={{fuzz_version}}' --locked --quiet --debug

[private]
_lint-tools:
    #!/usr/bin/env bash
    set -euo pipefail
    command -v cargo-deny >/dev/null || cargo install cargo-deny --version '={{deny_version}}' --locked --quiet --debug
