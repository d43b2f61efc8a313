#!/usr/bin/env python
"""Make a Butler repository of a sample campaign with the real Butler.

    make_real.py ROOT DATA [--seed-config FILE] [--override] [--transfer MODE] [--until STEP] [--attach]

DATA is a folder written by `butlersql sample` with translated index files; only
`"__CONTENT__": "translated"` is read here.  The calls of `lsst.daf.butler` are those that `butler create`,
`butler register-instrument`, `butler ingest-raws`, `butler collection-chain`, `butler register-dataset-type` and a
visit-association script make, in the same order and with the same arguments; the values come from the index
files by rules written down here independently of any other program (astropy does the arithmetic).

`make_ours.sql` does the same with `butlersql`; `compare.py` compares the two repositories.

Needs lsst-daf-butler and the standard library.  obs_base and obs_lsst are not needed: stand-ins for the
formatter classes are made up, because the Butler records only their names.
"""
import argparse
import json
import os
import re
import sys
import types
import warnings

import astropy.time
import astropy.units as u
from astropy.coordinates import AltAz, Angle, SkyCoord

import lsst.daf.butler.script
from lsst.daf.butler import (
    Butler,
    CollectionType,
    Config,
    DatasetIdGenEnum,
    DatasetRef,
    DatasetType,
    FileDataset,
    FormatterV2,
    Timespan,
)

STEPS = ("create", "open", "instrument", "ingest", "types", "collections", "files", "all")

INSTRUMENT = "LSSTComCam"
FILTERS = [
    ("empty", "white"), ("none", "white"), ("unknown", "unknown"), ("pinhole", "white"), ("OG590_2_5mm", "OG590"),
    ("u_05", "u"), ("u_02", "u"), ("u_06", "u"), ("g_07", "g"), ("g_01", "g"), ("r_03", "r"), ("i_06", "i"),
    ("z_03", "z"), ("z_02", "z"), ("y_04", "y"),
]
RAW_RUN = "LSSTComCam/raw/all"
RAW_FORMATTER = "lsst.obs.lsst.rawFormatter.LsstComCamRawFormatter"
TAGGED = "LSSTComCam/raw/DP1-RC3/DM-49594"
REFCATS = ["refcats/DM-46370/the_monster_20240904", "refcats/DM-49042/the_monster_20250219"]

# (name, storage class, dimensions, calibration): every kind of dimension group, in the order of registration.
DATASET_TYPES = [
    ("the_monster_20240904", "SimpleCatalog", ["htm7"], False),
    ("the_monster_20250219", "SimpleCatalog", ["htm7"], False),
    ("camera", "Camera", ["instrument"], True),
    ("bias", "ExposureF", ["instrument", "detector"], True),
    ("manual_defects", "Defects", ["detector", "instrument"], True),
    ("flat", "ExposureF", ["instrument", "detector", "physical_filter"], True),
    ("sky_stats", "StructuredDataDict", ["instrument", "detector", "physical_filter"], False),
    ("skyMap", "SkyMap", ["skymap"], False),
    ("deepCoadd", "ExposureF", ["skymap", "tract", "patch", "band"], False),
    ("subfilter_coadd", "ExposureF", ["tract", "patch", "subfilter"], False),
    ("visit_image", "ExposureF", ["instrument", "visit", "detector"], False),
    ("visit_summary", "ExposureCatalog", ["visit", "instrument", "physical_filter", "band"], False),
    ("match", "Catalog", ["visit", "tract", "htm9"], False),
    ("pixels", "Catalog", ["healpix8", "group", "instrument"], False),
    ("night", "StructuredDataDict", ["day_obs", "instrument", "visit_system"], True),
    ("run_summary", "StructuredDataDict", [], False),
    ("global_calib", "StructuredDataDict", [], True),
]


def stub_class(full_name):
    """An importable formatter of this name; a real one, if installed, is taken."""
    module, _, name = full_name.rpartition(".")
    parts = module.split(".")
    for i in range(1, len(parts) + 1):
        part = ".".join(parts[:i])
        try:
            __import__(part)
        except ImportError:
            made = types.ModuleType(part)
            made.__path__ = []
            sys.modules[part] = made
            setattr(sys.modules[".".join(parts[: i - 1])], parts[i - 1], made)
    home = sys.modules[module]
    if not hasattr(home, name):
        body = {
            "__module__": module,
            "default_extension": ".fits",
            "supported_extensions": frozenset({".fits", ".fits.gz", ".fits.fz", ".fz", ".fit"}),
        }
        setattr(home, name, type(name, (FormatterV2,), body))
    return getattr(home, name)


def register_instrument(butler):
    """What `LsstComCam.register` does."""
    registry = butler.registry
    with registry.transaction():
        registry.syncDimensionData("instrument", {
            "name": INSTRUMENT,
            "detector_max": 1000,
            "visit_max": 7050123199999,
            "exposure_max": 7050123199999,
            "class_name": "lsst.obs.lsst.LsstComCam",
            "visit_system": 2,
        })
        for detector in range(9):
            slot = f"S{detector // 3}{detector % 3}"
            registry.syncDimensionData("detector", {
                "instrument": INSTRUMENT,
                "id": detector,
                "full_name": f"R22_{slot}",
                "name_in_raft": slot,
                "raft": "R22",
                "purpose": "SCIENCE",
            })
        for name, band in FILTERS:
            registry.syncDimensionData("physical_filter", {"instrument": INSTRUMENT, "name": name, "band": band})


def read_folder(folder):
    """(path, effective translated properties) of every file of a folder that its index describes, by name."""
    with open(os.path.join(folder, "_index.json"), encoding="utf8") as file:
        index = json.load(file)
    if index.pop("__CONTENT__") != "translated":
        raise SystemExit(f"{folder}: not a translated index")
    common = index.pop("__COMMON__")
    return [(os.path.join(folder, name), {**own, **common}) for name, own in sorted(index.items())]


def optional(value, convert):
    return None if value is None else convert(value)


def dimension_records(p):
    """The group, day_obs and exposure records of translated properties, as obs_base makes them."""
    begin, end = (astropy.time.Time(*p[k], format="jd", scale="tai") for k in ("datetime_begin", "datetime_end"))
    end = max(begin, end)
    offset = p.get("observing_day_offset")
    radec = optional(p.get("tracking_radec"), lambda v: SkyCoord(*v, unit=u.deg).icrs)
    altaz = optional(p.get("altaz_begin"), lambda v: AltAz(v[0] * u.deg, v[1] * u.deg))
    angle = optional(p.get("boresight_rotation_angle"), lambda v: float(Angle(v * u.deg).degree))
    on_sky = radec is not None and p.get("boresight_rotation_coord") == "sky"
    counter = p.get("observation_counter")
    seconds = lambda v: float((v * u.s).to_value("s"))  # noqa: E731
    return {
        "group": {"instrument": p["instrument"], "name": p["exposure_group"]},
        "day_obs": {
            "instrument": p["instrument"],
            "id": p["observing_day"],
            "timespan": optional(offset, lambda o: Timespan.from_day_obs(p["observing_day"], round(o))),
        },
        "exposure": {
            "instrument": p["instrument"],
            "id": p["exposure_id"],
            "obs_id": p["observation_id"],
            "day_obs": p["observing_day"],
            "group": p["exposure_group"],
            "physical_filter": p["physical_filter"],
            "exposure_time": seconds(p["exposure_time"]),
            "dark_time": optional(p.get("dark_time"), seconds),
            "observation_type": p["observation_type"],
            "observation_reason": p.get("observation_reason"),
            "seq_num": counter,
            "seq_start": p.get("group_counter_start", counter),
            "seq_end": p.get("group_counter_end", counter),
            "target_name": p.get("object"),
            "science_program": p.get("science_program"),
            "tracking_ra": optional(radec, lambda c: float(c.ra.degree)),
            "tracking_dec": optional(radec, lambda c: float(c.dec.degree)),
            "sky_angle": angle if on_sky else None,
            "azimuth": optional(altaz, lambda c: float(c.az.degree)),
            "zenith_angle": optional(altaz, lambda c: float(c.zen.degree)),
            "has_simulated": p.get("has_simulated_content", False),
            "can_see_sky": p.get("can_see_sky"),
            "timespan": Timespan(begin, end),
        },
    }


def ingest_raws(butler, top, transfer):
    """What `RawIngestTask` does: per folder, per exposure; records first, then all files in one ingest."""
    registry, universe = butler.registry, butler.dimensions
    formatter = stub_class(RAW_FORMATTER)
    raw = DatasetType("raw", ("instrument", "detector", "exposure"), "Exposure", universe=universe)
    done = False
    for folder, _, names in sorted(os.walk(os.path.abspath(top))):
        if not any(re.search(r"\.fit[s]?\b", name) for name in names):
            continue
        exposures = {}
        for path, properties in read_folder(folder):
            exposures.setdefault((properties["instrument"], properties["exposure_id"]), []).append((path, properties))
        for (instrument, exposure), files in exposures.items():
            for element, values in dimension_records(files[0][1]).items():
                registry.syncDimensionData(element, universe[element].RecordClass(**values))
            if not done:
                registry.registerDatasetType(raw)
                registry.registerCollection(RAW_RUN, type=CollectionType.RUN)
                done = True
            datasets = []
            for path, properties in files:
                data_id = registry.expandDataId(
                    instrument=instrument, exposure=exposure, detector=properties["detector_num"]
                )
                ref = DatasetRef(raw, data_id, run=RAW_RUN, id_generation_mode=DatasetIdGenEnum.DATAID_TYPE_RUN)
                datasets.append(FileDataset(path=path, refs=[ref], formatter=formatter))
            butler.ingest(*datasets, transfer=transfer, record_validation_info=True)


def register_types(butler):
    for name, storage_class, dimensions, calibration in DATASET_TYPES:
        group = butler.dimensions.conform(dimensions)
        butler.registry.registerDatasetType(DatasetType(name, group, storage_class, isCalibration=calibration))


def make_collections(butler, data):
    """A picked collection, and chains edited in every way."""
    collections, registry = butler.collections, butler.registry
    for run in REFCATS:
        collections.register(run, CollectionType.RUN)
    collections.register("refcats", CollectionType.CHAINED, doc="Reference catalogs.")
    collections.redefine_chain("refcats", REFCATS)
    collections.register(TAGGED, CollectionType.TAGGED, doc="Good visits.")
    with open(os.path.join(data, "dp1_good_visits.txt"), encoding="utf8") as file:
        good = {int(line) for line in file if line.strip()}
    found = registry.queryDatasets("raw", collections=[RAW_RUN])
    registry.associate(TAGGED, sorted(ref for ref in found if ref.dataId["exposure"] in good))
    collections.register("LSSTComCam/calib/DM-48650", CollectionType.CALIBRATION, doc="Certified, it's said.")
    collections.register("LSSTComCam/DP1/defaults", CollectionType.CHAINED)
    collections.redefine_chain("LSSTComCam/DP1/defaults", [TAGGED, "refcats"])
    collections.prepend_chain("LSSTComCam/DP1/defaults", ["LSSTComCam/calib/DM-48650"])
    collections.extend_chain("LSSTComCam/DP1/defaults", [RAW_RUN])
    collections.register("u/edited", CollectionType.CHAINED)
    collections.extend_chain("u/edited", [TAGGED, RAW_RUN])
    collections.prepend_chain("u/edited", REFCATS)
    collections.remove_from_chain("u/edited", [RAW_RUN])
    collections.register("u/prepended", CollectionType.CHAINED)
    collections.prepend_chain("u/prepended", [TAGGED, RAW_RUN])
    collections.register("u/gone", CollectionType.TAGGED)
    registry.associate("u/gone", list(registry.queryDatasets("raw", collections=[RAW_RUN], where="detector = 4",
                                                             instrument=INSTRUMENT)))
    collections.x_remove("u/gone")
    collections.register("u/part", CollectionType.TAGGED)
    picked = list(registry.queryDatasets("raw", collections=[RAW_RUN], where="detector IN (2, 4)",
                                         instrument=INSTRUMENT))
    registry.associate("u/part", picked)
    registry.disassociate("u/part", [ref for ref in picked if ref.dataId["detector"] == 2])


FORMATTERS = [
    "lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter",
    "lsst.obs.base.formatters.fitsGeneric.FitsGenericFormatter",
    "lsst.meas.transiNet.modelPackages.formatters.NNModelPackageFormatter",
]


def take_files(butler, root, data):
    """Imports by reference and by copy, a table of files, and validity ranges cut in pieces."""
    for name in FORMATTERS:
        stub_class(name).supported_extensions = frozenset({".fits", ".zip"})
    archives = [("TAXICAB-44/LSSTComCam.calibs.20250207a", "direct"), ("TAXICAB-38/LSSTComCam.calibs.20241211a", "copy")]
    exports = [(f"calibs/{archive}/export.yaml", transfer) for archive, transfer in archives]
    exports.append(("pretrained-models-export.yaml", "copy"))
    exports.append(("DM-48089-fgcmLookupTable-export.yaml", "symlink"))
    for export, transfer in exports:
        butler.import_(directory=f"{data}/ancillary", filename=f"{data}/{export}", transfer=transfer)
    for name, transfer, mode in [("the_monster_20240904", "direct", "UNIQUE"), ("the_monster_20250219", "copy", "DATAID_TYPE_RUN")]:
        lsst.daf.butler.script.ingest_files(
            root, name, f"u/files/{name}", f"{data}/{name}.ecsv", id_generation_mode=mode,
            prefix=f"{data}/raw/refcats/{name}/", transfer=transfer,
        )
    butler.registry.refresh()
    time = lambda text: astropy.time.Time(text, scale="tai")  # noqa: E731
    registry, target = butler.registry, "u/certified"
    registry.registerCollection(target, CollectionType.CALIBRATION)
    bias = list(registry.queryDatasets("bias", collections="LSSTComCam/calib/DM-48520/DP1/biasGen*"))
    registry.certify(target, bias, Timespan(time("2024-10-01T00:00:00"), time("2024-12-01T12:00:00.5")))
    flat = list(registry.queryDatasets("flat", collections="LSSTComCam/calib/DM-48520/DP1/flat-rGen*"))
    registry.certify(target, flat, Timespan(None, None))
    registry.decertify(target, "bias", Timespan(time("2024-11-01T00:00:00"), time("2024-11-02T00:00:00")))
    some = [ref.dataId for ref in flat if ref.dataId["detector"] < 2]
    registry.decertify(target, "flat", Timespan(None, time("2024-11-01T00:00:00")), dataIds=some)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="where the repository is made")
    parser.add_argument("data", nargs="?", help="a sample campaign; not needed before the step `ingest`")
    parser.add_argument("--seed-config", help="configuration to start from")
    parser.add_argument("--override", action="store_true", help="keep the seed's root and database")
    parser.add_argument("--transfer", default="direct", help="how raws are ingested")
    parser.add_argument("--until", choices=STEPS, default="all", help="the last step")
    parser.add_argument("--attach", action="store_true", help="the repository exists: begin with the instrument")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    last = STEPS.index(args.until)
    if not args.attach:
        seed = Config(args.seed_config) if args.seed_config else None
        Butler.makeRepo(args.root, config=seed, forceConfigRoot=not args.override)
    if last < 1:
        return
    butler = Butler.from_config(args.root, writeable=True)
    work = [
        lambda: register_instrument(butler),
        lambda: ingest_raws(butler, os.path.join(args.data, "raw", INSTRUMENT), args.transfer),
        lambda: register_types(butler),
        lambda: make_collections(butler, args.data),
        lambda: take_files(butler, args.root, args.data),
    ]
    for step in work[: last - 1]:
        step()


if __name__ == "__main__":
    main()
