"""Compares transfers, zip archives and removal with the real Butler; see benches/movement."""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile

from measure import PROGRAM, Server, butlersql, make_database, measured, rows

BUTLER = os.environ["BUTLERSQL_TEST_B30"] + "/butler"
PYTHON = os.environ["BUTLERSQL_TEST_B30"] + "/python"
# The command takes one archive; so many in one process is the best that the Butler can do.
INGEST_ZIPS = (
    "import sys; from lsst.daf.butler import Butler\n"
    "butler = Butler.from_config(sys.argv[1], writeable=True)\n"
    "for line in sys.stdin: butler.ingest_zip(line.strip(), transfer='hardlink', transfer_dimensions=True)\n"
)


class Bench:
    def __init__(self, folder, runs):
        self.folder, self.runs, self.server, self.made = folder, runs, Server(), 0
        print(f"{'':34}{'Butler, s':>12}{'ours, s':>10}{'ratio':>8}{'wall, s':>9}{'MiB':>6}")

    def repository(self, kind):
        """An empty repository, in SQLite or PostgreSQL."""
        self.made += 1
        root, seed = self.folder / f"repo{self.made}", self.folder / f"seed{self.made}.yaml"
        text = "datastore: {name: bench}\n"
        if kind == "postgresql":
            make_database(f"movement_{os.getpid()}_{self.made}")
            url = os.environ["BUTLERSQL_TEST_POSTGRES"]
            text += f"registry: {{db: '{url}/movement_{os.getpid()}_{self.made}'}}\n"
        seed.write_text(text)
        sql(root, f"CALL create_repository(seed_config => '{seed}')")
        return str(root)

    def compare(self, name, prepare, theirs, ours):
        """Medians of runs in turn; each begins with what `prepare` returns."""
        found = {True: [], False: []}
        for _ in range(self.runs):
            for is_ours, command in [(False, theirs), (True, ours)]:
                repo = prepare()
                found[is_ours].append(measured(command(repo), self.server))
        (other, _, _), (own, wall, memory) = (
            [statistics.median(column) for column in zip(*found[is_ours])] for is_ours in (False, True)
        )
        print(f"{name:34}{other:12.2f}{own:10.2f}{other / own:7.1f}×{wall:9.2f}{memory:6.0f}", flush=True)


def sql(repo, *statements):
    commands = [part for statement in statements for part in ("-c", statement)]
    butlersql(str(repo), "--write", "-q", *commands, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--exposures", type=int, default=5556)
    parser.add_argument("--zips", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=1)
    given = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        compare(Bench(folder, given.runs), folder, given)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def compare(bench, folder, given):
    data, source = folder / "data", str(folder / "source")
    subprocess.run([PROGRAM, "sample", data, "--exposures", str(given.exposures)], check=True, stdout=subprocess.DEVNULL)
    sql(source, "CALL create_repository()", "CALL register_instrument('LSSTComCam')",
        f"CALL ingest_raws('{data}/raw/LSSTComCam', transfer => 'hardlink')", "CALL define_visits('LSSTComCam')")
    zips = folder / "zips"
    exposures = [row["exposure"] for row in rows(source, f"SELECT DISTINCT exposure FROM raw ORDER BY 1 LIMIT {given.zips}")]
    commands = [f"CALL retrieve('{zips}', (SELECT dataset_id FROM raw WHERE exposure = {e}), zip => true);" for e in exposures]
    (folder / "zips.sql").write_text("\n".join(commands))
    butlersql(source, "--write", "-q", "-f", folder / "zips.sql", stdout=subprocess.DEVNULL)
    (folder / "list.txt").write_text("".join(f"{path}\n" for path in sorted(zips.glob("*.zip"))))
    raws = rows(source, "SELECT count(*) AS n FROM raw")[0]["n"]
    for kind in ("sqlite", "postgresql"):
        run = lambda repo, statement: [PROGRAM, repo, "--write", "-q", "-c", statement]
        bench.compare(
            f"transfer {raws} raws, {kind}",
            lambda: bench.repository(kind),
            lambda repo: [BUTLER, "transfer-datasets", source, repo, "-d", "raw", "--collections", "LSSTComCam/raw/all",
                          "--register-dataset-types", "--limit", "0", "-t", "hardlink"],
            lambda repo: run(repo, f"CALL transfer('{source}', collections => 'LSSTComCam/raw/all', "
                                   "register_dataset_types => true, transfer => 'hardlink')"),
        )
        bench.compare(
            f"ingest {len(exposures)} zips of 9, {kind}",
            lambda: bench.repository(kind),
            lambda repo: ["sh", "-c", f'exec "$0" -c "$1" "$2" <{folder}/list.txt', PYTHON, INGEST_ZIPS, repo],
            lambda repo: run(repo, f"CALL ingest_zip(rows => (SELECT '{zips}/' || name AS uri FROM list('{zips}')), "
                                   "transfer => 'hardlink', transfer_dimensions => true)"),
        )

        def filled():
            repo = bench.repository(kind)
            sql(repo, f"CALL transfer('{source}', collections => 'LSSTComCam/raw/all', register_dataset_types => true, "
                      "transfer => 'hardlink')")
            return repo

        bench.compare(
            f"purge {raws} raws, {kind}",
            filled,
            lambda repo: [BUTLER, "prune-datasets", repo, "LSSTComCam/raw/all", "--datasets", "raw", "--purge",
                          "LSSTComCam/raw/all", "--no-confirm", "--quiet"],
            lambda repo: run(repo, "CALL prune((SELECT dataset_id FROM raw), 'purge')"),
        )


main()
