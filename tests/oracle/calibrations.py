#!/usr/bin/env python
"""Looks up all calibrations of all exposures, one by one, as the Butler does.

    calibrations.py ROOT COLLECTION...

Prints `instrument,exposure,dataset_type,detector,dataset_id` for each that is found, sorted.
"""
import sys

from lsst.daf.butler import Butler

butler = Butler.from_config(sys.argv[1])
known = set(butler.dimensions["exposure"].minimal_group.names) | {"detector"}
found = []
for kind in butler.registry.queryDatasetTypes("*"):
    if not kind.isCalibration() or not set(kind.dimensions.names) <= known:
        continue
    for exposure in butler.registry.queryDimensionRecords("exposure"):
        detectors = [None]
        if "detector" in kind.dimensions.names:
            records = butler.registry.queryDimensionRecords("detector", instrument=exposure.instrument)
            detectors = [record.id for record in records]
        for detector in detectors:
            data_id = butler.registry.expandDataId(instrument=exposure.instrument, exposure=exposure.id)
            data_id = {name: data_id[name] for name in kind.dimensions.required if name != "detector"}
            if detector is not None:
                data_id["detector"] = detector
            ref = butler.find_dataset(kind, data_id, collections=sys.argv[2:], timespan=exposure.timespan)
            if ref is not None:
                shown = "" if detector is None else detector
                found.append(f"{exposure.instrument},{exposure.id},{kind.name},{shown},{ref.id}")
print("\n".join(sorted(found)))
