#!/usr/bin/env python3
"""The measurements of `benches/door`: requests, seconds and memory of an ingest, compared with a plain loop of GETs."""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

PROGRAM, DOOR = os.environ["BENCH_PROGRAM"], os.environ["BENCH_DOOR"]
PKI = os.environ["BUTLERSQL_TEST_DAV_PKI"]
WORKERS = 16
# A measurement: name; seconds that the door adds to each request; requests per second above which the door refuses;
# requests per second of the client (0: no limit).
RUNS = [("plain", 0, 0, 0), ("latency 40 ms", 0.04, 0, 0), ("at most 250/s", 0, 250, 240)]


@contextlib.contextmanager
def door(tree, options):
    """Runs a simulated dCache 10 door for a folder; yields its URL and its control URL."""
    command = [sys.executable, DOOR, "--tls", PKI, "--preset", "dcache10", "--auth", "cert", "--root", f"{tree}=/data", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        ready = json.loads(process.stdout.readline().split(" ", 1)[1])
        yield ready["door"].replace("https", "davs"), ready["control"]
    finally:
        process.kill()
        process.wait()


def stats(control):
    with urllib.request.urlopen(f"{control}/stats") as answer:
        return json.load(answer)


def ingest(home, url, rate):
    """Runs an ingest; returns wall seconds, peak memory in MiB and the number of raws."""
    settings = {
        **os.environ, "X509_USER_PROXY": f"{PKI}/x509.pem", "LSST_HTTP_CACERT_BUNDLE": f"{PKI}/authorities",
        "BUTLERSQL_WEBDAV_RATE": str(rate),
    }
    settings.pop("LSST_RESOURCES_WEBDAV_CONFIG", None)
    repo = tempfile.mkdtemp(dir=home) + "/repo"

    def command(sql):
        return [PROGRAM, repo, "-q", "--write", "--format", "csv", "-c", sql]

    def answer(sql):
        return subprocess.run(command(sql), env=settings, check=True, stdout=subprocess.PIPE, text=True).stdout

    answer("CALL create_repository()")
    answer("CALL register_instrument('LSSTComCam')")
    begin = time.monotonic()
    call = command(f"CALL ingest_raws('{url}/data/raw/LSSTComCam', transfer => 'direct', processes => {WORKERS})")
    process = subprocess.Popen(call, env=settings, stdout=subprocess.PIPE, text=True)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begin
    if status:
        sys.exit(said)
    raws = int(answer("SELECT count(*) FROM raw").split()[-1])
    return wall, usage.ru_maxrss / 1024, raws


def gets(home, url, files):
    """Downloads files with parallel GETs; returns wall seconds and the number of failures."""
    urls = home / "urls"
    urls.write_text("".join(f'url = "{url.replace("davs", "https")}/data/{path}"\noutput = "/dev/null"\n' for path in files))
    proxy = f"{PKI}/x509.pem"
    begin = time.monotonic()
    done = subprocess.run(
        ["curl", "-s", "-L", "--parallel", "--parallel-max", str(WORKERS), "--cacert", f"{PKI}/ca.pem", "--cert", proxy,
         "--key", f"{PKI}/proxy.key", "-w", "%{http_code}\\n", "-K", urls],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    return time.monotonic() - begin, len(files) - done.stdout.split().count("200")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--exposures", type=int, default=16540)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        home = pathlib.Path(home)
        data = home / "data"
        subprocess.run([PROGRAM, "sample", data, "--exposures", str(options.exposures)], check=True, stdout=subprocess.DEVNULL)
        indexes = sorted(str(path.relative_to(data)) for path in data.glob("raw/LSSTComCam/**/_index.json"))
        print("| door | raws | requests | for an exposure | refused | wall, s | loop of GETs, s | ratio | lost by it | requests × latency ÷ workers, s"
              " | MiB |\n|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
        for name, latency, refusing, rate in RUNS:
            with door(data, ["--latency", str(latency), "--rate", str(refusing)]) as (url, control):
                wall, memory, raws = ingest(home, url, rate)
                seen = stats(control)
                requests = sum(seen["requests"].values())
                refused = sum(n for status, n in seen["statuses"].items() if status.endswith("429"))
                loop, lost = gets(home, url, indexes) if name == "plain" else (None, None)
            waited = f"{requests * latency / WORKERS:.1f}" if latency else "–"
            plain = [f"{loop:.1f}", f"{wall / loop:.2f}", str(lost)] if loop else ["–"] * 3
            cells = [name, str(raws), str(requests), f"{requests / options.exposures:.3f}", str(refused), f"{wall:.1f}", *plain, waited, f"{memory:.0f}"]
            print("| " + " | ".join(cells) + " |", flush=True)


main()
