# Sourced by the scripts of this folder: starts the servers of the tests and builds the program for release.
. tests/servers.sh
if ! command -v sqlite3 >/dev/null; then as_root apt-get install -y -qq sqlite3 >/dev/null; fi
cargo build --release --quiet
as_server "$bin/psql" -q -h 127.0.0.1 -p "$port" -U butler -d postgres -c 'ALTER SYSTEM SET autovacuum = off' -c 'SELECT pg_reload_conf()' >/dev/null
export BENCH_POSTMASTER="$data/db/postmaster.pid" BENCH_PROGRAM="$CARGO_TARGET_DIR/release/butlersql"
