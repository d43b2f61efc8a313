#!/usr/bin/env python
"""The files and certifications of the golden repository, by the real Butler: files.py ROOT DATA GOLDEN_DIR"""
import os
import sys

root, data, golden = sys.argv[1:]
sys.path.insert(0, golden)
import make_golden as g  # noqa: E402
from lsst.daf.butler import Butler, DatasetRef, FileDataset, Timespan  # noqa: E402
import lsst.sphgeom as sg  # noqa: E402

butler = Butler.from_config(root, writeable=True)
registry, universe = butler.registry, butler.dimensions
I, RUN, CALIB = g.INSTRUMENT, "u/golden/run", f"{g.INSTRUMENT}/calib"


def file(name, content):
    path = os.path.abspath(os.path.join(data, "src", name))
    with open(path, "wb") as out:
        out.write(content)
    return path


ref = DatasetRef(butler.get_dataset_type("skyMap"), registry.expandDataId(skymap=g.SKYMAP), run="skymaps")
butler.ingest(FileDataset(path=file("skymap.pickle", b"not really a pickle"), refs=[ref],
                          formatter="lsst.daf.butler.formatters.pickle.PickleFormatter"), transfer="copy")

visit = {"instrument": I, "visit": g.EXPOSURES[0]}
for detector in (0, 4):
    butler.put({"detector": detector}, "calexp_meta", run=RUN + "1", **visit, detector=detector)
butler.put({"patch": 3}, "deepCoadd_meta", run=RUN + "1", skymap=g.SKYMAP, tract=0, patch=3, band="r")
butler.put({"n": 2}, "run_summary", run=RUN + "1")
butler.put({"detector": 0, "v": 2}, "calexp_meta", run=RUN + "2", **visit, detector=0)

early, late = f"{CALIB}/gen/20241101", f"{CALIB}/gen/20241115"
bias = {run: [butler.put({"d": d}, "bias", run=run, instrument=I, detector=d) for d in (0, 1)] for run in (early, late)}
dark = butler.put({"d": 0}, "dark", run=early, instrument=I, detector=0)
flat = butler.put({"d": 0}, "flat", run=late, instrument=I, detector=0, physical_filter="r_03")
t0, t1, t2 = (g.t(f"{day}T00:00:00") for day in ("2024-11-01", "2024-11-15", "2024-12-31"))
registry.certify(f"{CALIB}/DM-1", bias[early], Timespan(t0, t1))
registry.certify(f"{CALIB}/DM-1", bias[late], Timespan(t1, t2))
registry.certify(f"{CALIB}/DM-1", [dark], Timespan(None, None))
registry.certify(f"{CALIB}/DM-1", [flat], Timespan(t1, None))
registry.decertify(f"{CALIB}/DM-1", "dark", Timespan(t0, t1), dataIds=[registry.expandDataId(instrument=I, detector=0)])

pixels = universe.commonSkyPix.pixelization
shards = [pixels.envelope(g.box(53.0, -28.0, 0.1))[0][0],
          pixels.index(sg.UnitVector3d(sg.LonLat.fromDegrees(150.0, 2.0)))]
formatter = g._stub_formatter("lsst.obs.base.formatters.fitsGeneric.FitsGenericFormatter")
refcat = butler.get_dataset_type("the_monster_20240904")
butler.ingest(*[FileDataset(path="file://" + file(f"{htm}.fits", b"y" * 77), formatter=formatter,
                            refs=[DatasetRef(refcat, g.u_data_id(universe, htm), run="refcats/DM-46370")])
                for htm in shards], transfer="direct")
