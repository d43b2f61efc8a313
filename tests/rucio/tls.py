"""The REST application over TLS, and the settings of gunicorn for it.

The distinguished name of a client certificate stands where mod_ssl of Apache, with which Rucio is deployed, puts it.
"""

import os
import ssl

PKI = os.environ["RUCIO_TEST_PKI"]
certfile, keyfile, ca_certs = f"{PKI}/server.pem", f"{PKI}/server.key", f"{PKI}/ca.pem"
cert_reqs = ssl.CERT_OPTIONAL
SHORT = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU"}


def ssl_context(_, make):
    context = make()
    context.verify_flags |= ssl.VERIFY_ALLOW_PROXY_CERTS
    return context


def application(environ, start_response):
    from rucio.web.rest.main import application as rucio

    if peer := environ["gunicorn.socket"].getpeercert():
        parts = [f"{SHORT[name]}={value}" for part in peer["subject"] for name, value in part]
        environ |= {"SSL_CLIENT_S_DN": ",".join(reversed(parts)), "SSL_CLIENT_VERIFY": "SUCCESS"}
    return rucio(environ, start_response)
