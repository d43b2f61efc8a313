# Starts WebDAV servers for the tests on free local ports, with generated certificates; sourced by run.sh.
# Apache requires a client certificate, nginx (which identifies itself as dCache) a bearer token, rclone a password.

if ! [ -x /usr/sbin/apache2 ] || ! [ -x /usr/sbin/nginx ] || ! command -v rclone >/dev/null || ! command -v openssl >/dev/null ||
    ! ls /usr/lib/nginx/modules/ngx_http_{dav_ext,headers_more_filter}_module.so >/dev/null 2>&1; then
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq openssl apache2 nginx rclone libnginx-mod-http-dav-ext \
        libnginx-mod-http-headers-more-filter >/dev/null
fi
dav="$data/dav"
stop_dav() {
    kill ${door_pids:-} "${rclone_pid:-}" 2>/dev/null || true
    for server in apache nginx; do kill "$(cat "$dav/$server/pid" 2>/dev/null)" 2>/dev/null || true; done
}
mkdir -p "$dav/pki" "$dav/apache" "$dav/nginx"
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Certificates: an authority, a server, a user, and a proxy of the user (RFC 3820) with its key in the same file.
key() { openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" "${@:2}" 2>/dev/null; }
signed() { openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 2 -extfile "$1.ext" -out "$1.pem" 2>/dev/null; }
(
    cd "$dav/pki"
    umask 077
    key ca -x509 -days 2 -out ca.pem -subj "/CN=butlersql tests" -addext basicConstraints=critical,CA:TRUE
    key other -x509 -days 2 -out other.pem -subj "/CN=somebody else" -addext basicConstraints=critical,CA:TRUE
    echo "subjectAltName=DNS:localhost" >server.ext
    echo "extendedKeyUsage=clientAuth" >user.ext
    printf 'keyUsage=critical,digitalSignature\nproxyCertInfo=critical,language:id-ppl-inheritAll\n' >proxy.ext
    for name in server user; do key $name -out $name.csr -subj "/CN=$name"; signed $name ca; done
    key proxy -out proxy.csr -subj "/CN=user/CN=1"
    signed proxy user
    cat proxy.pem proxy.key user.pem >x509.pem
    openssl x509 -req -in user.csr -CA ca.pem -CAkey ca.key -days 0 -extfile user.ext -out old.pem 2>/dev/null
    mkdir authorities
    cp ca.pem authorities/ca.0
    echo "no certificate" >authorities/readme.info
    printf -- '-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n' >authorities/broken.0
    openssl rand -hex 16 >token
)

apache_port="$(free_port)"
modules=/usr/lib/apache2/modules
{
    printf 'ServerRoot %s\nPidFile %s/pid\nServerName localhost\nListen 127.0.0.1:%s\nErrorLog %s/log\nDefaultRuntimeDir %s\n' \
        "$dav/apache" "$dav/apache" "$apache_port" "$dav/apache" "$dav/apache"
    for module in mpm_event authn_core authz_core authz_user dir ssl dav dav_fs; do
        echo "LoadModule ${module}_module $modules/mod_$module.so"
    done
    cat <<CONF
DavLockDB $dav/apache/locks
DocumentRoot $dav/apache/root
DirectorySlash Off
MaxKeepAliveRequests 0
SSLEngine on
SSLCertificateFile $dav/pki/server.pem
SSLCertificateKeyFile $dav/pki/server.key
SSLCACertificateFile $dav/pki/ca.pem
SSLVerifyClient require
SSLVerifyDepth 4
<Directory $dav/apache/root>
  Dav On
  Require ssl-verify-client
</Directory>
CONF
    if [ "$(id -u)" = 0 ]; then printf 'User nobody\nGroup nogroup\n'; fi
} >"$dav/apache/conf"

nginx_port="$(free_port)"
{
    for module in ngx_http_dav_ext ngx_http_headers_more_filter; do
        echo "load_module /usr/lib/nginx/modules/${module}_module.so;"
    done
    if [ "$(id -u)" = 0 ]; then echo 'user nobody nogroup;'; fi
    cat <<CONF
pid $dav/nginx/pid;
error_log $dav/nginx/log;
events { worker_connections 512; }
http {
  log_format requests '\$status \$request_method \$uri';
  access_log $dav/nginx/requests requests;
  client_max_body_size 0;
  keepalive_requests 1000000;
  client_body_temp_path $dav/nginx/body;
  proxy_temp_path $dav/nginx/a; fastcgi_temp_path $dav/nginx/b; uwsgi_temp_path $dav/nginx/c; scgi_temp_path $dav/nginx/d;
  map \$http_authorization \$known { default 0; "Bearer $(cat "$dav/pki/token")" 1; }
  more_set_headers "Server: dCache/10.2.14";
  server {
    listen 127.0.0.1:$nginx_port ssl;
    ssl_certificate $dav/pki/server.pem;
    ssl_certificate_key $dav/pki/server.key;
    location / {
      if (\$known = 0) { return 401; }
      root $dav/nginx/root;
      dav_methods PUT DELETE MKCOL COPY MOVE;
      dav_ext_methods PROPFIND OPTIONS;
      create_full_put_path on;
      min_delete_depth 0;
    }
  }
}
CONF
} >"$dav/nginx/conf"

for server in apache nginx; do
    mkdir -p "$dav/$server/root" "$dav/$server/body"
    if [ "$(id -u)" = 0 ]; then chown -R nobody:nogroup "$dav/$server"; fi
done
chmod 755 "$data" "$dav" "$dav/pki"
/usr/sbin/apache2 -f "$dav/apache/conf" -k start
/usr/sbin/nginx -e "$dav/nginx/log" -c "$dav/nginx/conf"
rclone_port="$(free_port)"
mkdir -p "$dav/rclone/root"
RCLONE_CONFIG=/dev/null RCLONE_CACHE_DIR="$dav/rclone" rclone serve webdav "$dav/rclone/root" --addr "127.0.0.1:$rclone_port" \
    --cert "$dav/pki/server.pem" --key "$dav/pki/server.key" --user butler --pass secret >"$dav/rclone/log" 2>&1 &
rclone_pid=$!
export BUTLERSQL_TEST_DAV_PKI="$dav/pki" BUTLERSQL_TEST_DAV_REQUESTS="$dav/nginx/requests"
export BUTLERSQL_TEST_DAV_APACHE="davs://localhost:$apache_port" BUTLERSQL_TEST_DAV_NGINX="davs://localhost:$nginx_port"
export BUTLERSQL_TEST_DAV_RCLONE="davs://localhost:$rclone_port"

# The simulated dCache door from outside this project, if available, in two versions; it requires an X.509 proxy.
door_port="$(free_port)" old_door_port="$(free_port)"
door=../shared/reference/webdav/fake_door.py
start_door() {
    python3 "$door" --tls "$dav/pki" --preset "$2" --rate 0 --auth cert --port "$1" >"$dav/$2" 2>"$dav/$2.log" &
    door_pids="${door_pids:-} $!"
    until [ -s "$dav/$2" ] || ! kill -0 $! 2>/dev/null; do sleep 0.1; done
}
if [ -e "$door" ]; then
    start_door "$door_port" dcache11.2
    start_door "$old_door_port" dcache10
    export BUTLERSQL_TEST_DAV_DOOR="davs://localhost:$door_port" BUTLERSQL_TEST_DAV_OLD_DOOR="davs://localhost:$old_door_port"
    BUTLERSQL_TEST_DAV_CONTROL="$(python3 -c 'import json, sys; print(json.loads(sys.stdin.readline().split(" ", 1)[1])["control"])' <"$dav/dcache11.2")"
    export BUTLERSQL_TEST_DAV_CONTROL
fi

cat >"$dav/webdav.yaml" <<CONF
- base_url: $BUTLERSQL_TEST_DAV_APACHE
  user_cert: $dav/pki/user.pem
  user_key: $dav/pki/user.key
  trusted_authorities: $dav/pki/ca.pem
- base_url: $BUTLERSQL_TEST_DAV_NGINX
  token: $dav/pki/token
  trusted_authorities: $dav/pki/ca.pem
- base_url: $BUTLERSQL_TEST_DAV_RCLONE
  user_name: butler
  user_password: secret
  trusted_authorities: $dav/pki/ca.pem
- base_url: davs://localhost:$door_port
  user_cert: $dav/pki/x509.pem
  trusted_authorities: $dav/pki/authorities
  retry_backoff_min: 0.05
  retry_backoff_max: 0.1
  timeout_read: 2
- base_url: davs://localhost:$old_door_port
  user_cert: $dav/pki/x509.pem
  trusted_authorities: $dav/pki/authorities
  retry_backoff_min: 0.05
  retry_backoff_max: 0.1
  timeout_read: 2
CONF
export LSST_RESOURCES_WEBDAV_CONFIG="$dav/webdav.yaml"
