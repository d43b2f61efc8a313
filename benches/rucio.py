"""Compares registrations in Rucio; see benches/rucio."""

import argparse
import http.client
import json
import os
import pathlib
import subprocess
import tempfile
import time
import urllib.request
from configparser import RawConfigParser

PROGRAM, RUCIO = os.environ["BENCH_PROGRAM"], pathlib.Path(os.environ["BUTLERSQL_TEST_RUCIO"])
ORIGINAL = os.environ["BUTLERSQL_TEST_RUCIO_CLIENT"] + "/rucio-register"
ENVIRONMENT = os.environ | {"RUCIO_HOME": str(RUCIO / "client"), "TMPDIR": str(RUCIO / "tmp")}
DTN_URL, RSE, CHUNK = "davs://127.0.0.1:2881/slac/lsst/butler", "SLAC_BUTLER_DISK", 500


def measured(command):
    """CPU and wall seconds, and the peak memory in MiB, of a command."""
    begin = time.monotonic()
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, errors.decode()
    return usage.ru_utime + usage.ru_stime, time.monotonic() - begin, usage.ru_maxrss / 1024


def sql(repo, *statements):
    commands = [part for statement in statements for part in ("-c", statement)]
    subprocess.run([PROGRAM, repo, "--write", "-q", *commands], check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)


def rows(repo, query):
    command = [PROGRAM, repo, "--format", "jsonl", "-c", query]
    return list(map(json.loads, subprocess.run(command, check=True, env=ENVIRONMENT, capture_output=True).stdout.splitlines()))


def config(folder, data, scope):
    path = folder / f"{scope}.yaml"
    path.write_text(f"rucio_rse: {RSE}\nscope: {scope}\nrse_root: {data}/\ndtn_url: {DTN_URL}/{scope}/\n")
    return str(path)


def bare_loop(files):
    """Sends the requests of a registration, prepared before, and nothing else. Returns the wall seconds."""
    settings = RawConfigParser()
    settings.read(RUCIO / "client/etc/rucio.cfg")
    client = settings["client"]
    host = client["rucio_host"].removeprefix("http://")
    headers = {"X-Rucio-Account": "root", "X-Rucio-Username": client["username"], "X-Rucio-Password": client["password"]}
    login = urllib.request.urlopen(urllib.request.Request(f"http://{host}/auth/userpass", headers=headers))
    token = {"X-Rucio-Auth-Token": login.headers["X-Rucio-Auth-Token"]}
    connection = http.client.HTTPConnection(host)

    def post(path, body):
        connection.request("POST", path, json.dumps(body), token)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 201, text

    post("/accounts/root/scopes/bench", {})
    did = {"scope": "bench", "name": "Dataset/bench"}
    post("/dids/bench/Dataset/bench", {"type": "DATASET", "statuses": {"monotonic": True}, "rse": RSE})
    bodies = [
        {"ignore_duplicate": True, "attachments": [did | {"rse": RSE, "dids": files[at : at + CHUNK]}]}
        for at in range(0, len(files), CHUNK)
    ]
    begin = time.monotonic()
    for body in bodies:
        post("/dids/attachments", body)
    return time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--exposures", type=int, default=2223)
    exposures = parser.parse_args().exposures
    folder = pathlib.Path(tempfile.mkdtemp(dir=RUCIO))
    data, repo = folder / "data", str(folder / "repo")
    subprocess.run([PROGRAM, "sample", str(data), "--exposures", str(exposures), "--nights", "5"], check=True,
                   stdout=subprocess.DEVNULL)
    sql(repo, "CALL create_repository()", "CALL register_instrument('LSSTComCam')",
        f"CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'direct')")
    ours = "CALL rucio_register('Dataset/bench', (SELECT dataset_id FROM raw), rucio_register_config => '{}')"
    call = ours.format(config(folder, data, "raw"))
    results = {"butlersql": measured([PROGRAM, repo, "--write", "-q", "-c", call])}
    results["butlersql, again"] = measured([PROGRAM, repo, "--write", "-q", "-c", call])
    results["rucio-register"] = measured([
        ORIGINAL, "data-products", "--rucio-register-config", config(folder, data, "ancillary"), "--repo", repo,
        "--dataset-type", "raw", "--collections", "LSSTComCam/raw/all", "--rucio-dataset", "Dataset/bench",
        "--chunk-size", str(CHUNK), "--limit", "0"])
    known = rows(repo, "SELECT name, bytes, checksum, sidecar FROM rucio_files('raw:Dataset/bench') "
                       "JOIN rucio_metadata('raw:Dataset/bench') USING (scope, name)")
    files = [{"scope": "bench", "name": row["name"], "bytes": row["bytes"], "adler32": row["checksum"][8:],
              "pfn": f"{DTN_URL}/bench/{row['name']}",
              "meta": {"rubin_butler": "data_product", "rubin_sidecar": row["sidecar"]}} for row in known]
    loop = bare_loop(files)
    results["contents"] = measured([PROGRAM, repo, "-q", "--format", "csv", "-c", "SELECT * FROM rucio_contents('raw:Dataset/bench')"])
    print(f"{len(files)} files")
    for name, (cpu, wall, memory) in results.items():
        print(f"{name:18} CPU {cpu:7.2f} s   wall {wall:7.2f} s   memory {memory:5.0f} MiB")
    print(f"{'requests alone':18}                wall {loop:7.2f} s")
    cpu, wall, _ = results["butlersql"]
    print(f"CPU: rucio-register ÷ butlersql = {results['rucio-register'][0] / cpu:.1f}; wall: butlersql ÷ requests = {wall / loop:.2f}")


main()
