#!/usr/bin/env bash
# Checks what is published with the oldest Rust that Cargo.toml promises, from rustup, or from the system
# where that is the version it has (Debian 12: apt-get install 'rustc-web=1.85*' 'cargo-web=1.85*'
# 'libstd-rust-web-dev=1.85*').
set -euo pipefail
cd "$(dirname "$0")/.."

oldest=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
[ -n "$oldest" ] || { echo "msrv: Cargo.toml names no rust-version" >&2; exit 1; }

is_oldest() {
    case $("$@" --version 2>/dev/null) in
    "rustc $oldest."*) return 0 ;;
    *) return 1 ;;
    esac
}

if is_oldest rustup run "$oldest" rustc; then
    cargo=(rustup run "$oldest" cargo)
elif is_oldest /usr/bin/rustc && [ -x /usr/bin/cargo ]; then
    cargo=(env RUSTC=/usr/bin/rustc /usr/bin/cargo)
else
    echo "skipped: msrv: no Rust $oldest here (rustup toolchain install $oldest)"
    exit 0
fi

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/msrv
"${cargo[@]}" check --locked --quiet --package callgate-compiler --package callgate --package callgate-cli
echo "msrv: builds with Rust $oldest"
