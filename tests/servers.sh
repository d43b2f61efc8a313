# Installs the requirements of tests and benchmarks and starts a private PostgreSQL; sourced from the top folder.
# Sets `cache`, `data` (a folder that is removed at the end) and `stop`, which stops the servers.
cache="${XDG_CACHE_HOME:-$HOME/.cache}/butlersql"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || ! python3 -c 'import venv, ensurepip' 2>/dev/null ||
    ! command -v c++ >/dev/null || ! command -v strace >/dev/null; then
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql python3-venv g++ strace >/dev/null
fi

# Messages of PostgreSQL in another language.
if ! locale -a | grep -qi '^fr_FR.utf'; then
    if [ ! -e /usr/share/i18n/locales/fr_FR ]; then
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq locales >/dev/null
    fi
    as_root localedef -i fr_FR -f UTF-8 fr_FR.UTF-8
fi

# Creates a Python environment in a folder, again when its list of packages changes.
python_environment() { # LIST FOLDER
    if ! cmp -s "$1" "$2/made-from.txt"; then
        rm -rf "$2"
        python3 -m venv "$2"
        "$2/bin/pip" install --quiet --disable-pip-version-check -r "$1"
        cp "$1" "$2/made-from.txt"
    fi
}

# The Butler, one environment per version.
for version in b29 b30; do python_environment "tests/requirements-$version.txt" "$cache/oracle/$version"; done
export BUTLERSQL_TEST_B29="$cache/oracle/b29/bin" BUTLERSQL_TEST_B30="$cache/oracle/b30/bin"

# Some tests kill programs at system calls; this requires permission to run strace.
export BUTLERSQL_TEST_STRACE=""
if strace -f -qq -o /dev/null true 2>/dev/null; then BUTLERSQL_TEST_STRACE=yes; fi

# A private, temporary PostgreSQL; the server refuses to run as root.
bin="$(dirname "$(ls /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)")"
data="$(mktemp -d)"
port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
as_server() { if [ "$(id -u)" = 0 ]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi; }
if [ "$(id -u)" = 0 ]; then chown postgres "$data"; fi
stop_dav() { true; }
stop_rucio() { true; }
stop() {
    stop_rucio
    stop_dav
    as_server "$bin/pg_ctl" -D "$data/db" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$data"
}
trap stop EXIT
as_server "$bin/initdb" -D "$data/db" -A trust -U butler >/dev/null
# One user needs a password, to test a refused login.
sed -i '1i host all locked 127.0.0.1/32 scram-sha-256' "$data/db/pg_hba.conf"
as_server "$bin/pg_ctl" -D "$data/db" -w -l "$data/log" \
    -o "-p $port -k $data -c fsync=off -c listen_addresses=127.0.0.1" start >/dev/null
export BUTLERSQL_TEST_POSTGRES="postgresql://butler@127.0.0.1:$port"
export PATH="$bin:$PATH"
