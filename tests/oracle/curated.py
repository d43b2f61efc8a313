"""Curated calibrations as the Butler finds them, their files against the tables they were made of.

usage: curated.py REPO DATA [EXPECTED]    (DATA: the folder of calibration data; EXPECTED: files the pipelines wrote)
"""

import json
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from lsst.daf.butler import Butler, Timespan

CALIB = "LSSTComCam/calib/DM-48650"
TYPES = {
    "crosstalk": ("detector",),
    "manual_defects": ("detector",),
    "transmission_sensor": ("detector",),
    "transmission_filter": ("physical_filter",),
    "transmission_optics": (),
}


def curve(table):
    """Wavelengths (angstrom) and throughputs (fractions) of a table in nanometres and percent."""
    groups = table.group_by("amp_name").groups if "amp_name" in table.colnames else [table]
    throughput = np.mean([np.asarray(group["efficiency"]) for group in groups], axis=0) / 100
    return np.asarray(groups[0]["wavelength"], dtype=float) * 10, throughput


def check(kind, table, hdus):
    """Whether a file says what its table says."""
    if kind.startswith("transmission"):
        index, data = hdus[1].data[0], hdus[2].data[0]
        assert (index["id"], index["cat.archive"], index["nrows"]) == (1, 1, 1)
        assert hdus[int(index["cat.archive"]) + 1].header["AR_NAME"] == index["name"] == "SpatiallyConstantTransmissionCurve"
        wavelengths, throughput = curve(table)
        np.testing.assert_allclose(data["wavelengths"], wavelengths, rtol=1e-6)
        np.testing.assert_allclose(data["throughput"], throughput, rtol=1e-14, atol=1e-16)
        assert (np.diff(data["wavelengths"]) > 0).all()
        return
    header, rows = hdus[1].header, hdus[1].data
    assert header["CALIBCLS"] == table.meta["CALIBCLS"] and header["DETECTOR"] == table.meta["DETECTOR"]
    if kind == "manual_defects":
        assert [tuple(row) for row in rows] == [tuple(row) for row in table]
        return
    assert len(rows) == 1 and header["NAMP"] == table.meta["NAMP"]
    for name in table.colnames:
        assert np.array_equal(rows[name][0], np.asarray(table[name][0])), name


def compare(theirs, ours):
    """Whether two files have the same tables and the same keys, but for descriptions."""
    assert len(theirs) == len(ours)
    for a, b in zip(theirs, ours):
        keys = lambda hdu: {k: v for k, v in hdu.header.items() if k not in ("COMMENT", "CONTINUE") and not k.startswith("TDOC")}
        assert keys(a) == keys(b), set(keys(a).items()) ^ set(keys(b).items())
        for name in a.data.names if a.data is not None else []:
            for x, y in zip(a.data[name], b.data[name]):
                if np.asarray(x).dtype.kind == "f":
                    np.testing.assert_allclose(y, x, rtol=1e-15, atol=1e-15)
                else:
                    assert np.array_equal(x, y), name


def main(repo, data, expected=None):
    butler = Butler.from_config(repo)
    data = Path(data, "comCam")
    always = Timespan(None, None)
    camera = butler.find_dataset("camera", instrument="LSSTComCam", collections=CALIB + "/unbounded")
    assert butler.find_dataset("camera", instrument="LSSTComCam", collections=CALIB, timespan=always).id == camera.id
    night = Timespan.from_day_obs(20241121)
    seen = 0
    for kind, dimensions in TYPES.items():
        for record in butler.query_dimension_records(dimensions[0] if dimensions else "instrument", instrument="LSSTComCam"):
            name = {"detector": "full_name", "physical_filter": "name"}.get(dimensions[0]) if dimensions else None
            name = getattr(record, name).lower() if name else ""
            files = sorted((data / kind / name).glob("*.ecsv"))
            if not files:
                continue
            ref = butler.find_dataset(kind, record.dataId, collections=CALIB, timespan=night)
            assert ref.run == CALIB + "/curated/19700101T000000Z" and ref.datasetType.isCalibration()
            path = butler.getURI(ref)
            with fits.open(path.ospath) as hdus:
                hdus.verify("exception")
                check(kind, Table.read(files[-1], format="ascii.ecsv"), hdus)
                known = Path(expected or "/nowhere", path.basename())
                if known.exists():
                    with fits.open(known) as theirs:
                        compare(theirs, hdus)
            seen += 1
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
