#!/usr/bin/env python3
"""The measurements of `benches/skymap`: registration of a sky map, compared with a bulk load of the same rows."""

import hashlib
import itertools
import pathlib
import subprocess
import sys
import tempfile

from measure import POSTGRES, PROGRAM, Server, apart, bulk_load, butlersql, make_database, measured, rows

# Expected values from the Rubin sky map package and sphgeom: the hash, the row counts, and the SHA-256 of the pixels of
# all tracts, each followed by its patches; one line per region, as ranges `begin-end` joined by `;`.
HASH = "e2736e41244df00bbdb93aecac0ae4b2d19dda91"
ROWS = {"tract": 18_938, "patch": 1_893_800, "tract_skypix_overlap": 351_050, "patch_skypix_overlap": 3_950_714}
PIXELS = "5a4eb2c23c45cfc37e5d9db385a7b6375c6112fe0c08c2f44acd4735fa013cff"
TABLES = ["skymap", "tract_skypix_overlap_summary", "patch_skypix_overlap_summary", *ROWS]


def check(repo):
    """Exits with an error unless the registry has the expected rows."""
    found = rows(repo, "SELECT encode(hash, 'hex') AS hash FROM skymap")[0]["hash"]
    counts = {name: rows(repo, f"SELECT count(*) AS n FROM registry.{name}")[0]["n"] for name in ROWS}
    if (found, counts) != (HASH, ROWS):
        sys.exit(f"the sky map has the hash {found} and the rows {counts}")
    digest = hashlib.sha256()
    for own in zip(regions(repo, "tract", 1), regions(repo, "patch", 100)):
        for lines in own:
            digest.update(lines.encode())
    if digest.hexdigest() != PIXELS:
        sys.exit(f"the pixels of the sky map are others: {digest.hexdigest()}")
    return 1


def regions(repo, element, lines):
    """The pixels of all records, one line per record, in chunks of a number of lines."""
    keys = "tract, patch" if element == "patch" else "tract"
    sql = f"SELECT {keys}, skypix_index FROM registry.{element}_skypix_overlap ORDER BY {keys}, skypix_index"
    command = [PROGRAM, repo, "-q", "--format", "csv", "-c", sql]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        records = (line.rstrip().rsplit(",", 1) for line in itertools.islice(process.stdout, 1, None))
        texts = (ranges(int(pixel) for _, pixel in own) for _, own in itertools.groupby(records, key=lambda r: r[0]))
        while some := list(itertools.islice(texts, lines)):
            yield "".join(f"{text}\n" for text in some)
    if process.returncode:
        sys.exit(f"{sql}: it failed")


def ranges(pixels):
    found = []
    for pixel in pixels:
        if found and found[-1][1] == pixel:
            found[-1][1] += 1
        else:
            found.append([pixel, pixel + 1])
    return ";".join(f"{begin}-{end}" for begin, end in found)


def create(home, name, repo):
    seed = home / "seed.yaml"
    seed.write_text("{}\n")
    if name == "postgres":
        make_database(f"skymap_{repo}")
        seed.write_text(f"registry: {{db: '{POSTGRES}/skymap_{repo}'}}\n")
    butlersql(str(home / repo), "-q", "--write", "-c", f"CALL create_repository(seed_config => '{seed}')", stdout=subprocess.DEVNULL)
    return str(home / repo)


def database(home, name, repo):
    return f"{POSTGRES}/skymap_{repo}" if name == "postgres" else str(home / repo / "gen3.sqlite3")


def main(home):
    server = Server()
    subprocess.run([PROGRAM, "sample", home / "data", "--exposures", "10"], check=True, stdout=subprocess.DEVNULL)
    print("| registry | CPU, s | bulk load, CPU s | ratio | wall, s | MiB |\n|---|---|---|---|---|---|", flush=True)
    for name in ["sqlite", "postgres"]:
        repo = create(home, name, name)
        call = f"CALL register_skymap('{home}/data/lsst_cells_v1.skymap.config')"
        cpu, wall, memory = measured([PROGRAM, repo, "-q", "--write", "-c", call], server)
        apart(lambda: check(repo))
        create(home, name, f"{name}_bulk")
        source, target = (database(home, name, which) for which in [name, f"{name}_bulk"])
        least, *_ = measured(bulk_load(home, TABLES, source, target), server)
        cells = [name, f"{cpu:.1f}", f"{least:.1f}", f"{cpu / least:.2f}", f"{wall:.1f}", f"{memory:.0f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


with tempfile.TemporaryDirectory() as folder:
    main(pathlib.Path(folder))
