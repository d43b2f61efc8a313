#!/usr/bin/env bash
# Installs what the tests need, starts a private PostgreSQL and WebDAV servers, runs all tests, stops them again.
# Extra arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/servers.sh
. tests/dav.sh
cargo test "$@"
