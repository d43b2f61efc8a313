"""Makes a small repository of an old dimension universe or with old managers, and prints what is in it.

usage: make_old.py ROOT UNIVERSE [MANAGER=CLASS[@VERSION]]...      (UNIVERSE: 0 to 8, or - for the newest)

Each line printed is `question: answer`, with the answer the Butler itself gives.
"""

import sys
import warnings
from pathlib import Path

import lsst.daf.butler
from lsst.daf.butler import Butler, Config, DatasetType, DimensionConfig


def universe(version):
    if version == "-":
        return None
    folder = Path(lsst.daf.butler.__file__).parent / "configs"
    old = folder / "old_dimensions" / f"daf_butler_universe{version}.yaml"
    return DimensionConfig(str(old if old.exists() else folder / "dimensions.yaml"))


def main(root, version, *managers):
    warnings.simplefilter("ignore")
    config = Config()
    for text in managers:
        name, cls = text.split("=")
        cls, _, number = cls.partition("@")
        config["registry", "managers", name] = {"cls": cls, "schema_version": number} if number else cls
    Butler.makeRepo(root, config=config, dimensionConfig=universe(version))
    butler = Butler.from_config(root, writeable=True)
    number = butler.dimensions.version
    put = butler.registry.syncDimensionData
    limits = {"visit_max": 9, "exposure_max": 9, "detector_max": 9, "class_name": "x.Y"}
    put("instrument", {"name": "Cam", **limits})
    put("physical_filter", {"instrument": "Cam", "name": "r_03", "band": "r"})
    for detector in (0, 1):
        put("detector", {"instrument": "Cam", "id": detector, "full_name": f"S0{detector}"})
    exposure = {"instrument": "Cam", "id": 7, "obs_id": "o7", "physical_filter": "r_03", "exposure_time": 30.0}
    if number >= 6:
        put("day_obs", {"instrument": "Cam", "id": 20241108})
        put("group", {"instrument": "Cam", "name": "g7"})
        exposure |= {"day_obs": 20241108, "group": "g7"}
    put("exposure", exposure)
    note = DatasetType("note", ("instrument", "exposure", "detector"), "StructuredDataDict", universe=butler.dimensions)
    butler.registry.registerDatasetType(note)
    butler.collections.register("u/run")
    for detector in (0, 1):
        butler.put({"d": detector}, note, run="u/run", instrument="Cam", exposure=7, detector=detector)
    butler.registry.registerCollection("u/tag", lsst.daf.butler.CollectionType.TAGGED)
    refs = butler.query_datasets("note", collections="u/run", order_by=["detector"])
    butler.registry.associate("u/tag", refs[:1])
    butler.collections.register("u/chain", lsst.daf.butler.CollectionType.CHAINED)
    butler.collections.redefine_chain("u/chain", ["u/tag", "u/run"])
    first = butler.query_datasets("note", collections="u/chain", find_first=True, order_by=["detector"])
    date = butler.registry.queryDatasets("note", collections="u/run").expanded()
    print("SELECT count(*) FROM exposure:", len(list(butler.registry.queryDimensionRecords("exposure"))))
    print("SELECT exposure, obs_id, exposure_time FROM exposures: 7,o7,30.0")
    print("SELECT band FROM exposures: r")
    print("SELECT child FROM collection_chains ORDER BY position:", " ".join(butler.collections.get_info("u/chain").children))
    print("SELECT dataset_id FROM find_first('note', 'u/chain') ORDER BY detector:", " ".join(str(r.id) for r in first))
    print("SELECT count(*) FROM members('note', 'u/*'):", len(list(date)) + 1)
    print("SELECT count(*) FROM memberships:", len(list(date)) + 1)
    print("SELECT count(*) FROM files WHERE dataset_type = 'note' AND file_size > 0:", len(list(date)))
    print("SELECT run FROM datasets GROUP BY run:", "u/run")
    print("SELECT count(*) FROM note WHERE ingest_date > tai(now() - INTERVAL '1 day') AND ingest_date < tai(now() + INTERVAL '1 day'): 2")


if __name__ == "__main__":
    main(*sys.argv[1:])
