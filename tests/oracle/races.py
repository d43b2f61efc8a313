#!/usr/bin/env python
"""Lets butlersql meet other writers at the worst moments: races.py BUTLERSQL REPO DATA, a PostgreSQL repository.

REPO has the camera registered and nothing ingested; DATA is a sample of some hundred exposures. Prints `held` when
nothing was lost.
"""
import glob
import subprocess
import sys
import threading
import time

import sqlalchemy

from lsst.daf.butler import Butler, DatasetType

butlersql, repo, data = sys.argv[1:]
butler = Butler.from_config(repo, writeable=True)
engine = butler._registry._db._engine
FOLDERS = sorted(glob.glob(f"{data}/raw/LSSTComCam/*/*"))


def ours(*statements):
    flags = [flag for statement in statements for flag in ("-c", statement)]
    return subprocess.run([butlersql, repo, "--write", "-q", *flags], capture_output=True, text=True)


def must(ran):
    if ran.returncode:
        sys.exit(f"{ran.args[-1][:60]}: {ran.stderr}")


def ingest(folders):
    return f"CALL ingest_raws({folders}, transfer => 'direct', fail_fast => true)"


def meanwhile(statement, hold, steps):
    """Runs a statement of ours while another session holds a lock; `steps` go on before it lets go."""
    with engine.connect() as other:
        other.execute(sqlalchemy.text(hold))
        ran = []
        thread = threading.Thread(target=lambda: ran.append(ours(statement)))
        thread.start()
        time.sleep(1.0)
        for step in steps:
            step(other)
        other.commit()
        thread.join()
    must(ran[0])


def scalar(sql):
    with engine.connect() as other:
        return other.execute(sqlalchemy.text(sql)).scalar()


# A Butler makes the tables of a dataset type while we stand between dimension records and datasets.
must(ours(ingest(FOLDERS[:1])))
pixels = DatasetType("pixels", butler.dimensions.conform(["healpix8", "group", "instrument"]), "Catalog")
thread = threading.Thread(target=lambda: butler.registry.registerDatasetType(pixels))
meanwhile(ingest(FOLDERS[1:40]), "LOCK TABLE exposure IN SHARE MODE", [lambda _: thread.start(), lambda _: time.sleep(0.5)])
thread.join()
table = scalar("SELECT tag_association_table FROM dataset_type WHERE name = 'pixels'")
if scalar(f"SELECT to_regclass('{table}')") is None:
    sys.exit("the Butler lost the table of its dataset type")

# Another writer edits a chain that we have looked at.
for mode, position in [("prepend", -1), ("extend", 1)]:
    must(ours(*[f"CALL register_collection('{name}', 'RUN')" for name in "abc"], f"CALL chain('{mode}', ['a'])"))
    insert = sqlalchemy.text(
        f"INSERT INTO collection_chain (parent, position, child) SELECT p.collection_id, {position}, c.collection_id "
        f"FROM collection p, collection c WHERE p.name = '{mode}' AND c.name = 'b'"
    )
    lock = f"SELECT 1 FROM collection WHERE name = '{mode}' FOR UPDATE"
    meanwhile(f"CALL chain('{mode}', ['c'], mode => '{mode}')", lock, [lambda other: other.execute(insert)])
    children = list(Butler.from_config(repo).collections.get_info(mode).children)
    if children != (["c", "b", "a"] if mode == "prepend" else ["a", "b", "c"]):
        sys.exit(f"{mode} gave {children}")

# Another writer inserts the same row, under another unique key, between our look and our insert.
with engine.connect() as other:
    other.execute(sqlalchemy.text("CREATE SEQUENCE meetings"))
    other.execute(sqlalchemy.text(
        "CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF nextval('meetings') <= 2 THEN RAISE unique_violation; END IF; RETURN NEW; END $$"
    ))
    other.execute(sqlalchemy.text("CREATE TRIGGER meet BEFORE INSERT ON exposure FOR EACH ROW EXECUTE FUNCTION meet()"))
    other.commit()
must(ours(ingest(FOLDERS)))

raws = len(list(Butler.from_config(repo).query_datasets("raw", "LSSTComCam/raw/all", limit=None)))
if raws != len(glob.glob(f"{data}/raw/LSSTComCam/*/*/*.fits")):
    sys.exit(f"{raws} raws are found")
print("held")
