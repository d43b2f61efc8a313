"""The data IDs that the Butler joins by their regions, as sorted lines.

usage: overlaps.py REPO DIMENSION...
"""

import sys

from lsst.daf.butler import Butler


def main(repo, *dimensions):
    butler = Butler.from_config(repo)
    found = butler.query_data_ids(dimensions, limit=None, explain=False)
    print("\n".join(sorted(",".join(str(data_id[d]) for d in dimensions) for data_id in found)))


if __name__ == "__main__":
    main(*sys.argv[1:])
