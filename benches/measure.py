"""Measurements for the scripts of this folder: CPU seconds of a command and of the database server together."""

import contextlib
import glob
import json
import os
import pathlib
import subprocess
import sys
import time
import traceback

PROGRAM, POSTGRES = os.environ["BENCH_PROGRAM"], os.environ["BUTLERSQL_TEST_POSTGRES"]
TICKS = os.sysconf("SC_CLK_TCK")


def butlersql(repo, *arguments, **options):
    return subprocess.run([PROGRAM, repo, *arguments], check=True, text=True, **options)


def rows(repo, sql):
    out = butlersql(repo, "-q", "--format", "jsonl", "-c", sql, stdout=subprocess.PIPE).stdout
    return [json.loads(line) for line in out.splitlines()]


class Server:
    """CPU seconds of PostgreSQL, of running and of ended processes."""

    def __init__(self):
        self.pid = int(pathlib.Path(os.environ["BENCH_POSTMASTER"]).read_text().split()[0])

    def used(self):
        total, alive = 0, 0
        for path in glob.glob("/proc/[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = pathlib.Path(path).read_text().rsplit(")", 1)[1].split()
                own = int(path.split("/")[2]) == self.pid
                if own or int(fields[1]) == self.pid:
                    total += sum(map(int, fields[11:13])) + (sum(map(int, fields[13:15])) if own else 0)
                    alive += 1
        return total / TICKS, alive

    def settled(self, alive):
        for _ in range(200):
            used, now = self.used()
            if now <= alive:
                return used
            time.sleep(0.01)
        return used


def measured(command, server, out=None):
    """Client and server CPU seconds, wall seconds, and peak memory in MiB of one run."""
    before, alive = server.used()
    begin = time.monotonic()
    with open(out, "w") if out else contextlib.nullcontext(subprocess.DEVNULL) as stdout:
        process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE)
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begin
    if status:
        sys.exit(f"{command}: {said.decode()[-2000:]}")
    client = usage.ru_utime + usage.ru_stime
    return client + server.settled(alive) - before, wall, usage.ru_maxrss / 1024


def apart(work):
    """Runs a function in a separate process, because the memory of this process counts for all its children."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, str(work()).encode())
        except SystemExit as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        said = pipe.read()
    if os.waitpid(child, 0)[1]:
        sys.exit(1)
    return int(said)


def bulk_load(folder, tables, source, target):
    """The command that bulk-loads tables from one database to another with the tools of the database and all constraints."""
    if target.startswith("postgresql:"):
        for table in tables:
            copy = f"\\copy \"{table}\" TO '{folder}/{table}'"
            subprocess.run(["psql", "-X", "-q", "-d", source, "-c", copy], check=True)
        copies = [word for table in tables for word in ("-c", f"\\copy \"{table}\" FROM '{folder}/{table}'")]
        return ["psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", target, *copies]
    inserts = [f'INSERT INTO "{table}" SELECT * FROM source."{table}";' for table in tables]
    settings = "PRAGMA foreign_keys = on; PRAGMA cache_size = -65536;"
    return ["sqlite3", target, " ".join([settings, f"ATTACH '{source}' AS source; BEGIN;", *inserts, "COMMIT;"])]


def make_database(name):
    for database, sql in [("postgres", f"CREATE DATABASE {name}"), (name, "CREATE EXTENSION btree_gist")]:
        subprocess.run(["psql", "-X", "-q", "-d", f"{POSTGRES}/{database}", "-c", sql], check=True)
