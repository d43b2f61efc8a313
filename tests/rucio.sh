# Starts a real Rucio server on a free local port, with a database in the private PostgreSQL; sourced by run.sh.
# `tests/rucio/daemons.py` moves rules on: it copies files between the folders of the storage elements.
for part in rucio rucio-client; do python_environment "tests/requirements-$part.txt" "$cache/$part"; done

rucio="$data/rucio"
mkdir -p "$rucio/server/etc" "$rucio/client/etc" "$rucio/log" "$rucio/slac" "$rucio/in2p3" "$rucio/tmp"
# The server of the database, which is another user, owns the folder above.
chmod 755 "$data"
psql -q "postgresql://butler@127.0.0.1:$port/postgres" -c "CREATE DATABASE rucio" >/dev/null
rucio_port="$(free_port)"
rucio_url="http://127.0.0.1:$rucio_port"
rucio_password="$(openssl rand -hex 12)"
client_section() {
    printf '[client]\nrucio_host = %s\nauth_host = %s\nauth_type = userpass\n' "$rucio_url" "$rucio_url"
    printf 'username = tester\npassword = %s\naccount = root\nrequest_retries = 1\n' "$rucio_password"
}
{
    client_section
    cat <<CONF
[common]
logdir = $rucio/log
[database]
default = postgresql+psycopg://butler@127.0.0.1:$port/rucio
pool_size = 5
max_overflow = 5
[bootstrap]
userpass_identity = tester
userpass_pwd = $rucio_password
userpass_email = tester@example.invalid
x509_identity =
x509_email = tester@example.invalid
gss_identity =
ssh_identity =
ssh_email = tester@example.invalid
[alembic]
cfg = $rucio/server/etc/alembic.ini
[policy]
permission = generic
schema = generic
lfn2pfn_algorithm_default = identity
support = nobody@example.invalid
[conveyor]
scheme = davs
transfertool = mock
CONF
} >"$rucio/server/etc/rucio.cfg"
cat >"$rucio/server/etc/alembic.ini" <<CONF
[alembic]
sqlalchemy.url = postgresql+psycopg://butler@127.0.0.1:$port/rucio
script_location = $("$cache/rucio/bin/python" -c 'import importlib.util as i, os; print(os.path.dirname(i.find_spec("rucio").origin))')/db/sqla/migrate_repo
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = plain
[logger_root]
level = WARN
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = plain
[formatter_plain]
format = %(message)s
CONF
client_section >"$rucio/client/etc/rucio.cfg"
chmod 600 "$rucio/client/etc/rucio.cfg"
RUCIO_HOME="$rucio/server" "$cache/rucio/bin/python" -W ignore tests/rucio/seed.py "$rucio_password" >"$rucio/log/seed" 2>&1 ||
    { cat "$rucio/log/seed" >&2; exit 1; }
(RUCIO_HOME="$rucio/server" PYTHONWARNINGS=ignore exec setsid "$cache/rucio/bin/gunicorn" --bind "127.0.0.1:$rucio_port" \
    --workers 1 --threads 4 --timeout 300 --no-control-socket rucio.web.rest.main:application) \
    </dev/null >"$rucio/log/server" 2>&1 &
rucio_pid=$!
stop_rucio() { kill "$rucio_pid" 2>/dev/null || true; }
for _ in $(seq 300); do
    if python3 -c "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=2)" "$rucio_url/ping" 2>/dev/null; then
        break
    fi
    sleep 0.2
done
export BUTLERSQL_TEST_RUCIO="$rucio" BUTLERSQL_TEST_RUCIO_SERVER="$cache/rucio/bin" \
    BUTLERSQL_TEST_RUCIO_CLIENT="$cache/rucio-client/bin"
