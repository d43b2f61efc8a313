#!/usr/bin/env python
"""What the golden repository is made of, as files that `butlersql` reads: data.py DATA GOLDEN_DIR

GOLDEN_DIR holds make_golden.py, whose constants and regions are taken.
"""
import hashlib
import json
import os
import sys

data, golden = sys.argv[1:]
sys.path.insert(0, golden)
import make_golden as g  # noqa: E402


def hexed(ra, dec, half):
    return g.box(ra, dec, half).encode().hex()


def write(name, text):
    os.makedirs(os.path.dirname(os.path.join(data, name)), exist_ok=True)
    with open(os.path.join(data, name), "w", encoding="utf8") as file:
        file.write(text)


def jd(text):
    time = g.t(text)
    return [time.jd1, time.jd2]


slots = [f"S{d // 3}{d % 3}" for d in range(9)]
write("instrument.yaml", json.dumps({  # JSON is YAML; only six filters
    "name": g.INSTRUMENT, "class_name": "lsst.obs.lsst.LsstComCam", "visit_max": 7050123199999,
    "exposure_max": 7050123199999, "detector_max": 1000, "visit_system": 2,
    "raw": {"dataset_type": "raw", "dimensions": ["instrument", "detector", "exposure"], "storage_class": "Exposure",
            "formatter": "lsst.obs.lsst.rawFormatter.LsstComCamRawFormatter", "run": "LSSTComCam/raw/all"},
    "headers": {"translator": "LSSTComCam"},
    "detectors": [[d, f"R22_{s}", s, "R22", "SCIENCE"] for d, s in enumerate(slots)],
    "filters": g.FILTERS,
}, indent=1))
index = {"__CONTENT__": "translated", "__COMMON__": {}}
for k, exposure in enumerate(g.EXPOSURES):
    name = f"CC_O_20241120_{exposure % 1000000:06d}"
    properties = {
        "instrument": g.INSTRUMENT, "exposure_id": exposure, "observation_id": name, "observing_day": g.DAY,
        "observing_day_offset": 43200, "observation_counter": exposure % 100000,
        "exposure_group": f"2024-11-21T03:1{k}:00.123", "physical_filter": "r_03", "exposure_time": 30.0,
        "dark_time": 30.5, "observation_type": "science", "observation_reason": "field_survey_science",
        "object": "ECDFS", "science_program": "BLOCK-320", "tracking_radec": [53.0 + 0.1 * k, -28.0],
        "boresight_rotation_angle": 12.5, "boresight_rotation_coord": "sky",
        "altaz_begin": None if k == 2 else [180.25, 64.5], "has_simulated_content": False, "can_see_sky": True,
        "datetime_begin": jd(f"2024-11-21T03:1{k}:00.123456789"), "datetime_end": jd(f"2024-11-21T03:1{k}:30.987654321"),
    }
    for d, slot in enumerate(slots):
        file = f"{name}_R22_{slot}.fits"
        write(f"src/{file}", "x" * (1000 + d))
        index[file] = {**properties, "detector_num": d}
write("src/_index.json", json.dumps(index))
visit = g.EXPOSURES[0]
write("visit.csv", f"visit,region\n{visit},{hexed(53.0, -28.0, 0.35)}\n")
write("visit_detector_region.csv", "visit,detector,region\n" + "".join(
    f"{visit},{d},{hexed(53.0 + 0.24 * (d % 3 - 1), -28.0 + 0.24 * (d // 3 - 1), 0.11)}\n" for d in range(9)))
write("skymap.csv", f"skymap,hash,tract_max,patch_nx_max,patch_ny_max\n{g.SKYMAP},{hashlib.sha1(b'golden').hexdigest()},1,2,2\n")
write("tract.csv", f"skymap,tract,region\n{g.SKYMAP},0,{hexed(53.0, -28.0, 0.8)}\n")
write("patch.csv", "skymap,tract,patch,cell_x,cell_y,region\n" + "".join(
    f"{g.SKYMAP},0,{n},{n % 2},{n // 2},{hexed(53.0 + 0.4 * (2 * (n % 2) - 1), -28.0 + 0.4 * (2 * (n // 2) - 1), 0.41)}\n"
    for n in range(4)))
