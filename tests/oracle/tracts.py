"""Prints the tracts that each visit overlaps, as the Butler finds them: exposure and tract, a line each.

usage: tracts.py REPO INSTRUMENT SKYMAP
"""

import sys

from lsst.daf.butler import Butler

repo, instrument, skymap = sys.argv[1:]
butler = Butler.from_config(repo)
with butler.query() as query:
    rows = query.join_dimensions(["visit", "tract"]).where(instrument=instrument, skymap=skymap)
    for data_id in sorted((d["visit"], d["tract"]) for d in rows.data_ids(["visit", "tract"])):
        print(*data_id)
