"""Records what a real server answers to the statements below, for the tests without a server: exchanges.jsonl.

usage, in a shell that has sourced tests/servers.sh, tests/dav.sh and tests/rucio.sh:
    python3 tests/rucio/record.py PROGRAM
A line is a statement with its answer, the first line of its error, and its exchanges. The token is replaced by TOKEN, the server by SERVER.
"""

import http.client
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

PROGRAM, RUCIO = sys.argv[1], pathlib.Path(os.environ["BUTLERSQL_TEST_RUCIO"])
DTN_URL = "davs://127.0.0.1:2881/slac/lsst/butler"
OTHER_URL = f"{DTN_URL}/nowhere"
DID = "ancillary:Dataset/recorded"
HEADERS = ("content-type", "exceptionclass", "exceptionmessage", "x-rucio-auth-token")
FILES = (
    f"CALL rucio_register_files('Dataset/recorded', ['FOLDER/ancillary/recorded/a.zip', "
    f"'FOLDER/ancillary/recorded/b.zip'], '{{}}', rucio_rse => '{{}}', scope => '{{}}', "
    f"rse_root => '{{}}', dtn_url => '{{}}')"
)


def register(kind="zip_file", rse="SLAC_BUTLER_DISK", scope="ancillary", root="FOLDER", url=DTN_URL):
    return FILES.format(kind, rse, scope, root, url)


STATEMENTS = [
    f"SELECT * FROM rucio_contents('{DID}')",
    register(scope="nowhere", root="FOLDER/ancillary/", url=f"{OTHER_URL}/"),
    register(rse="NOWHERE_DISK"),
    register(url="davs://127.0.0.1:2881/elsewhere"),
    register(url="s3://127.0.0.1:2881/slac/lsst/butler"),
    register().replace("'Dataset/recorded'", "'+Dataset/recorded'"),
    "EXPLAIN " + register(),
    register(),
    register(),
    register(kind="dim_file"),
    register().replace("'Dataset/recorded'", "'../ancillary/recorded'"),
    register().replace("'Dataset/recorded'", "'Dataset/files'"),
    "SELECT rse, type, site, deterministic, algorithm, prefix, readable, writable FROM rucio_rses() ORDER BY rse",
    "SELECT rse FROM rucio_rses('site=SLAC')",
    "SELECT rse FROM rucio_rses('(')",
    "SELECT rse FROM rucio_rses('NOWHERE')",
    "SELECT name, type, is_open, files, bytes FROM rucio_dids('ancillary') WHERE name LIKE 'Dataset/recorded%'",
    "SELECT name FROM rucio_dids('ancillary') WHERE name = 'recorded/a.zip' AND type = 'FILE'",
    f"SELECT * FROM rucio_contents('{DID}') ORDER BY name",
    f"SELECT * FROM rucio_contents('{DID}') ORDER BY name LIMIT 1",
    f"SELECT * FROM rucio_files('{DID}') ORDER BY name",
    f"SELECT scope, name, rubin_butler, dataset_id, sidecar FROM rucio_metadata('{DID}') ORDER BY name",
    f"SELECT name, bytes, checksum, rse, state, uri FROM rucio_replicas('{DID}') ORDER BY name",
    f"SELECT name, rse, state, uri FROM rucio_replicas('{DID}', all_states => true) ORDER BY name",
    f"SELECT name FROM rucio_replicas('{DID}', rse_expression => 'IN2P3_RAW_DISK')",
    f"SELECT name FROM rucio_replicas('{DID}', rse_expression => 'NOWHERE')",
    f"CALL rucio_add_rule('{DID}', 'IN2P3_RAW_DISK|')",
    f"CALL rucio_add_rule('{DID}', 'NOWHERE')",
    f"CALL rucio_add_rule('{DID}', 'IN2P3_RAW_DISK', copies => 2)",
    "CALL rucio_add_rule('ancillary:nothing', 'IN2P3_RAW_DISK')",
    f"CALL rucio_add_rule('{DID}', 'IN2P3_RAW_DISK', account => 'nobody')",
    f"EXPLAIN CALL rucio_add_rule('{DID}', 'SLAC_BUTLER_DISK|IN2P3_RAW_DISK', copies => 2)",
    f"CALL rucio_add_rule('{DID}', 'SLAC_BUTLER_DISK|IN2P3_RAW_DISK', copies => 2)",
    f"CALL rucio_add_rule('{DID}', 'IN2P3_RAW_DISK|SLAC_BUTLER_DISK', copies => 2)",
    f"SELECT account, rse_expression, copies, state, locks_ok, locks_replicating, locks_stuck FROM rucio_rules('{DID}')",
    f"CALL rucio_wait('{DID}', timeout => 0)",
    f"CALL rucio_close('{DID}')",
    f"CALL rucio_close('{DID}')",
    register(kind="dim_file"),
    register().replace("b.zip'", "b.zip', 'FOLDER/ancillary/recorded/c.zip'"),
    "CALL rucio_close('ancillary:recorded/a.zip')",
    "CALL rucio_close('ancillary:nothing')",
    "CALL rucio_wait('ancillary:recorded/a.zip')",
    "SELECT * FROM rucio_files('ancillary:nothing')",
    "SELECT * FROM rucio_metadata('ancillary:nothing')",
    "SELECT * FROM rucio_replicas('ancillary:nothing')",
    "SELECT * FROM rucio_rules('ancillary:nothing')",
    "SELECT * FROM rucio_locks('00000000000000000000000000000000')",
    "SELECT * FROM rucio_locks('xyz')",
    "CALL rucio_delete_rule('00000000000000000000000000000000')",
]


class Proxy(http.server.BaseHTTPRequestHandler):
    exchanges, token = [], ""

    def forward(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        connection = http.client.HTTPConnection(*upstream.split(":"))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        kept = {name: value for name in HEADERS if (value := answer.getheader(name))}
        Proxy.token = kept.get("x-rucio-auth-token", Proxy.token)
        if "x-rucio-auth-token" in kept:
            kept["x-rucio-auth-token"] = "TOKEN"
        Proxy.exchanges.append({
            "request": {"method": self.command, "target": self.path, "body": body.decode()},
            "response": {"status": answer.status, "headers": kept, "body": text.decode()},
        })
        self.send_response(answer.status)
        for name, value in kept.items():
            self.send_header(name, Proxy.token if name == "x-rucio-auth-token" else value)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = forward

    def log_message(self, *_):
        pass


config = (RUCIO / "client/etc/rucio.cfg").read_text()
upstream = next(line for line in config.splitlines() if line.startswith("rucio_host")).split("//")[1]
proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
threading.Thread(target=proxy.serve_forever, daemon=True).start()
here = f"127.0.0.1:{proxy.server_port}"
folder = pathlib.Path(tempfile.mkdtemp(dir=RUCIO))
(folder / "rucio.cfg").write_text(config.replace(upstream, here))
(folder / "tmp").mkdir()
files = folder / "ancillary/recorded"
files.mkdir(parents=True)
for name in "abc":
    (files / f"{name}.zip").write_text(f"archive {name}\n")
environment = os.environ | {"RUCIO_CONFIG": str(folder / "rucio.cfg"), "TMPDIR": str(folder / "tmp")}
with open(pathlib.Path(__file__).with_name("exchanges.jsonl"), "w") as out:
    for statement in STATEMENTS:
        Proxy.exchanges = []
        command = [PROGRAM, str(folder), "--write", "-q", "--format", "csv", "-c", statement.replace("FOLDER", str(folder))]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True)
        record = {"sql": statement, "code": ran.returncode, "out": ran.stdout, "err": ran.stderr.partition("\n")[0],
                  "exchanges": Proxy.exchanges}
        line = json.dumps(record)
        for text, name in ((str(folder), "FOLDER"), (here, "SERVER"), (upstream, "SERVER")):
            line = line.replace(text, name)
        assert Proxy.token not in line
        out.write(line + "\n")
