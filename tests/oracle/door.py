"""Uses a repository on a WebDAV door as its users would: door.py REPO"""

import sys

from lsst.daf.butler import Butler, DatasetType
from lsst.resources import ResourcePath

repo = sys.argv[1]
butler = Butler.from_config(repo, writeable=True)
raws = butler.query_datasets("raw", collections="LSSTComCam/raw/all", limit=None)
assert raws
uri = butler.getURI(raws[0])
assert uri.exists() and uri.size() == len(uri.read()), uri
ephemerides = butler.query_datasets("preloaded_DRP_SsObjects", collections="*", find_first=False)
assert len(butler.get(ephemerides[0])) == 2

# A dataset of its own, written and read again.
kind = DatasetType("note", ["instrument"], "StructuredDataDict", universe=butler.dimensions)
butler.registry.registerDatasetType(kind)
butler.registry.registerRun("u/notes")
ref = butler.put({"a": 1}, kind, instrument="LSSTComCam", run="u/notes")
assert butler.get(ref) == {"a": 1}
assert ResourcePath(repo, forceDirectory=True).join("butler.yaml").exists()
print("read and written")
