"""Reads every dataset of a repository, and expands its data ID: read_all.py REPO. Prints the number of datasets."""

import sys

from lsst.daf.butler import Butler

butler = Butler.from_config(sys.argv[1])
refs = {ref for kind in butler.registry.queryDatasetTypes() for ref in butler.registry.queryDatasets(kind, collections=...)}
for ref in refs:
    butler.registry.expandDataId(ref.dataId)
    assert butler.get(ref) is not None
print(len(refs))
