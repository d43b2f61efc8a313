#!/usr/bin/env bash
# Installs the requirements of the tests, starts a private PostgreSQL and WebDAV servers, runs all tests and stops the
# servers. Arguments are passed to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/servers.sh
. tests/dav.sh
# What is installed above must be there: a test that skips fails.
export BUTLERSQL_REQUIRE="${BUTLERSQL_REQUIRE-dav,postgres,python}"
cargo test "$@"
