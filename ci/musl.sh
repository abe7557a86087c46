#!/usr/bin/env bash
# The command must also build as one static file, without any C library of the host: that is half of why
# there is a seccomp engine in Rust. Runs the library's tests and builds the command for musl, then sees that
# the file is static and that a filter of its making lets one call through and stops another.
#
# Needs the standard library for the musl target (rustup target add x86_64-unknown-linux-musl).
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(uname -m)-unknown-linux-musl
library=$(rustc --print target-libdir --target "$target" 2>/dev/null || true)
if ! compgen -G "$library/libstd-*.rlib" >/dev/null; then
    echo "skipped: musl: no standard library for $target (rustup target add $target)"
    exit 0
fi

# The library against the running kernel, with musl as its C library.
cargo test --locked --quiet --package callgate --tests --target "$target"

cargo build --locked --quiet --package callgate-cli --target "$target"
callgate=${CARGO_TARGET_DIR:-target}/$target/debug/callgate

fail() {
    echo "musl: $*" >&2
    exit 1
}

linkage=$(ldd "$callgate" 2>&1 || true)
case $linkage in
*"statically linked"* | *"not a dynamic executable"*) ;;
*) fail "$callgate isn't static: $linkage" ;;
esac

said=$("$callgate" run -- sh -c 'echo allowed') || fail "an allowed program ended with status $?"
[ "$said" = allowed ] || fail "an allowed program said '$said'"

# unshare(2) is in no container's reach that lacks CAP_SYS_ADMIN.
if said=$("$callgate" run -- unshare --map-root-user true 2>&1); then
    fail "unshare wasn't denied"
fi
case $said in
*"Operation not permitted"*) ;;
*) fail "unshare failed otherwise: $said" ;;
esac

echo "musl: $callgate is static; a filter of its making allowed sh and denied unshare"
