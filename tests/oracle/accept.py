"""Uses a repository that butlersql made as its users would, and fails at the first thing that does not work.

usage: accept.py REPO OTHER SCRATCH    (OTHER: an empty repository to import into; SCRATCH: a folder to be made)
"""

import subprocess
import sys
import uuid
from pathlib import Path

from lsst.daf.butler import Butler, CollectionType, DatasetType, Timespan


def cli(*arguments):
    """Standard output of the `butler` command."""
    command = [str(Path(sys.executable).parent / "butler"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main(repo, other, scratch):
    instrument, run, default = "LSSTComCam", "LSSTComCam/raw/all", "LSSTComCam/DP1/defaults"
    butler = Butler.from_config(repo)
    raws = butler.query_datasets("raw", collections=run, limit=None)
    where = "exposure.observation_type='science'"
    science = cli("query-datasets", repo, "raw", "--collections", run, "--where", where, "--limit", "0")
    counted = len(butler.query_datasets("raw", collections=run, where=where, limit=None))
    assert len(science.splitlines()) == counted + 4, science
    tree = cli("query-collections", repo, "--chains=tree", default)
    expected = (Path(__file__).parent / "rtn103_tree.txt").read_text()
    assert [line.split() for line in tree.splitlines()[2:]] == [line.split() for line in expected.splitlines()], tree
    records = cli("query-dimension-records", repo, "exposure")
    assert len(records.splitlines()) - 2 == len(butler.query_dimension_records("exposure", instrument=instrument)), records

    # Find-first look-ups, deterministic ids, files.
    first = raws[0]
    found = butler.find_dataset("raw", first.dataId, collections=default) or butler.find_dataset("raw", first.dataId, collections=run)
    keys = sorted(first.dataId.required.items())
    text = f"dataset_type=raw,run={run}," + ",".join(f"{k}={v}" for k, v in keys)
    assert found.id == first.id == uuid.uuid5(uuid.UUID("840b31d9-05cd-5161-b2c8-00d32b280d0f"), text)
    assert butler.getURI(found).exists()

    # Calibrations by exposure, catalogues and sky map by visit, and files that the installed packages can read.
    visit = butler.query_dimension_records("visit", instrument=instrument, limit=1)[0]
    for kind in ("bias", "crosstalk"):
        calibration = butler.find_dataset(kind, instrument=instrument, detector=4, collections=default, timespan=visit.timespan)
        assert butler.getURI(calibration).exists(), kind
    shards = butler.query_datasets("the_monster_20250219", collections=default, instrument=instrument, visit=visit.id)
    assert shards and all(butler.getURI(shard).exists() for shard in shards)
    skymap = butler.query_dimension_records("skymap")[0].name
    patches = butler.query_data_ids(["tract", "patch"], instrument=instrument, visit=visit.id, skymap=skymap)
    assert patches and butler.getURI("skyMap", skymap=skymap, collections=default).exists()
    objects = butler.query_datasets("preloaded_DRP_SsObjects", collections=default, limit=None)
    assert len(butler.get(objects[0])) == 2

    # Records that are synchronised again change nothing.
    butler = Butler.from_config(repo, writeable=True)
    for element in ("instrument", "detector", "physical_filter", "group", "day_obs", "exposure"):
        for record in butler.query_dimension_records(element, limit=None):
            assert butler.registry.syncDimensionData(element, record) is False, record

    # Put, associate, certify, find by validity, prune.
    universe = butler.dimensions
    bias = DatasetType("bias_test", ("instrument", "detector"), "StructuredDataDict", universe=universe, isCalibration=True)
    note = DatasetType("note", ("instrument", "exposure"), "StructuredDataDict", universe=universe)
    for dataset_type in (bias, note):
        assert butler.registry.registerDatasetType(dataset_type)
    butler.collections.register("u/test/run")
    refs = [butler.put({"d": d}, bias, run="u/test/run", instrument=instrument, detector=d) for d in (0, 1)]
    kept = butler.put({"n": 1}, note, run="u/test/run", instrument=instrument, exposure=first.dataId["exposure"])
    assert Butler.from_config(repo).get(kept) == {"n": 1}
    butler.collections.register("u/test/tag", CollectionType.TAGGED)
    butler.registry.associate("u/test/tag", [kept, *raws[:3]])
    assert len(butler.query_datasets("raw", collections="u/test/tag")) == 3
    butler.collections.register("u/test/calib", CollectionType.CALIBRATION)
    butler.registry.certify("u/test/calib", refs, Timespan(None, None))
    assert butler.find_dataset("bias_test", instrument=instrument, detector=1, collections="u/test/calib", timespan=Timespan(None, None)).id == refs[1].id
    got = butler.get("bias_test", instrument=instrument, detector=0, exposure=first.dataId["exposure"], collections="u/test/calib")
    assert got == {"d": 0}

    # Export and import into a repository that butlersql made, too.
    Path(scratch).mkdir()
    target = Butler.from_config(other, writeable=True)
    with butler.export(directory=scratch, filename="export.yaml", transfer="copy") as export:
        export.saveDatasets([kept, *refs])
        export.saveCollection("u/test/calib")
    target.import_(directory=scratch, filename=f"{scratch}/export.yaml", transfer="copy")
    assert target.get(kept) == {"n": 1}
    assert {r.name for r in target.query_dimension_records("instrument")} == {instrument}

    butler.pruneDatasets([kept], disassociate=True, unstore=True, purge=True)
    assert butler.get_dataset(kept.id) is None and len(butler.query_datasets("raw", collections=run, limit=None)) == len(raws)
    butler.pruneDatasets(raws[:1], disassociate=True, unstore=True, purge=True)
    assert len(butler.query_datasets("raw", collections=run, limit=None)) == len(raws) - 1
    butler.collections.redefine_chain(default, ["u/test/run", "refcats"])
    assert list(Butler.from_config(repo).collections.get_info(default).children) == ["u/test/run", "refcats"]
    print("accepted")


if __name__ == "__main__":
    main(*sys.argv[1:])
