# Starts a real Rucio server on a free local port, with a database in the private PostgreSQL; sourced by run.sh.
# `tests/rucio/daemons.py` moves rules on: it copies files between the folders of the storage elements.
for part in rucio rucio-client; do python_environment "tests/requirements-$part.txt" "$cache/$part"; done

rucio="$data/rucio"
mkdir -p "$rucio/server/etc/mail" "$rucio/client/etc" "$rucio/log" "$rucio/slac" "$rucio/in2p3" "$rucio/tmp"
# The server of the database, which is another user, owns the folder above.
chmod 755 "$data"
psql -q "postgresql://butler@127.0.0.1:$port/postgres" -c "CREATE DATABASE rucio" >/dev/null
rucio_port="$(free_port)"
rucio_url="http://127.0.0.1:$rucio_port"
rucio_password="$(openssl rand -hex 12)"
echo 'A rule waits for an approval.' >"$rucio/server/etc/mail/rule_approval_request.tmpl"
client_section() {
    printf '[client]\nrucio_host = %s\nauth_host = %s\nauth_type = userpass\n' "$rucio_url" "$rucio_url"
    printf 'username = tester\npassword = %s\naccount = root\nrequest_retries = 1\n' "$rucio_password"
}
{
    client_section
    cat <<CONF
[common]
logdir = $rucio/log
mailtemplatedir = $rucio/server/etc/mail
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
(umask 077 && openssl genrsa -traditional -out "$rucio/ssh_key" 2048 2>/dev/null)
RUCIO_HOME="$rucio/server" "$cache/rucio/bin/python" -W ignore tests/rucio/seed.py "$rucio_password" "$rucio/ssh_key" >"$rucio/log/seed" 2>&1 ||
    { cat "$rucio/log/seed" >&2; exit 1; }
# One server without TLS, and one with TLS and the certificates of the WebDAV servers.
serve_rucio() { # PORT LOG ARGUMENTS…
    (RUCIO_HOME="$rucio/server" RUCIO_TEST_PKI="$dav/pki" PYTHONWARNINGS=ignore exec setsid "$cache/rucio/bin/gunicorn" \
        --bind "127.0.0.1:$1" --workers 1 --threads 4 --timeout 300 --no-control-socket "${@:3}") \
        </dev/null >"$rucio/log/$2" 2>&1 &
    rucio_pids="${rucio_pids-} $!"
}
stop_rucio() { kill $rucio_pids 2>/dev/null || true; }
rucio_tls_port="$(free_port)"
serve_rucio "$rucio_port" server rucio.web.rest.main:application
serve_rucio "$rucio_tls_port" tls --config tests/rucio/tls.py --pythonpath tests/rucio tls:application
ping="import ssl, sys, urllib.request as u
u.urlopen(sys.argv[1], timeout=2, context=ssl.create_default_context(cafile=sys.argv[2]))"
for url in "$rucio_url" "https://localhost:$rucio_tls_port"; do
    for _ in $(seq 300); do
        if python3 -c "$ping" "$url/ping" "$dav/pki/ca.pem" 2>/dev/null; then continue 2; fi
        sleep 0.2
    done
    echo "the Rucio server $url does not answer" >&2
    tail -n 20 "$rucio/log/server" "$rucio/log/tls" >&2
    exit 1
done
export BUTLERSQL_TEST_RUCIO="$rucio" BUTLERSQL_TEST_RUCIO_SERVER="$cache/rucio/bin" \
    BUTLERSQL_TEST_RUCIO_CLIENT="$cache/rucio-client/bin" BUTLERSQL_TEST_RUCIO_TLS="https://localhost:$rucio_tls_port"
