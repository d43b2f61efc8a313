#!/usr/bin/env bash
# Installs the requirements of the tests, starts a private PostgreSQL, WebDAV servers and a Rucio server, runs all tests and stops the
# servers. `--no-servers` as the first argument runs what needs neither servers nor the Butler. Other arguments are passed
# to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1-}" = --no-servers ]; then
    shift
    unset BUTLERSQL_REQUIRE
    for variable in $(compgen -e BUTLERSQL_TEST_ || true); do unset "$variable"; done
    exec cargo test "$@"
fi
. tests/servers.sh
. tests/dav.sh
. tests/rucio.sh
# What is installed above must be there: a test that lacks it fails.
export BUTLERSQL_REQUIRE="${BUTLERSQL_REQUIRE-dav,postgres,python,rucio}"
cargo test "$@"
