"""Runs the daemons of a Rucio server once. Transfers copy files between folders: daemons.py FOLDER, which holds slac/
and in2p3/, the folders of the two storage elements."""

import os
import shutil
import sys

import rucio.daemons.common
from rucio.db.sqla.constants import RequestState
from rucio.transfertool.mock import MockTransfertool, MockTransferStatusReport

FOLDERS = {
    "davs://127.0.0.1:2881/slac/lsst/butler/": os.path.join(sys.argv[1], "slac"),
    "davs://127.0.0.1:2882/pnfs/in2p3.fr/lsst/instrument/": os.path.join(sys.argv[1], "in2p3"),
}
failed = set()


def local(url):
    for prefix, folder in FOLDERS.items():
        if url.startswith(prefix):
            return os.path.join(folder, url[len(prefix) :])
    raise ValueError(url)


def submit(self, transfers, job_params, timeout=None):
    for transfer in transfers:
        sources = [local(transfer.source_url(source)) for source in transfer.sources]
        source = next(filter(os.path.exists, sources), None)
        if source is None:
            failed.add(transfer.rws.request_id)
            continue
        target = local(transfer.dest_url)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(source, target)
    return transfers[0].rws.request_id


def report(self, request_id, external_id):
    super(MockTransferStatusReport, self).__init__(request_id)
    self.state = RequestState.FAILED if request_id in failed else RequestState.DONE
    self.external_id = external_id


MockTransfertool.supported_schemes = {"davs"}
MockTransfertool.submit = submit
MockTransferStatusReport.__init__ = report
# A daemon alone does not wait for others to share the work with.
queue = rucio.daemons.common.db_workqueue
rucio.daemons.common.db_workqueue = lambda *a, **k: queue(*a, **(k | {"partition_wait_time": 0}))

from rucio.daemons.abacus import collection_replica  # noqa: E402
from rucio.daemons.conveyor import finisher, poller, submitter  # noqa: E402
from rucio.daemons.judge import cleaner, evaluator, injector, repairer  # noqa: E402

evaluator.run(once=True, threads=1)
injector.run(once=True, threads=1)
repairer.run(once=True, threads=1)
submitter.run(once=True)
poller.run(once=True, older_than=0)
finisher.run(once=True)
collection_replica.run(once=True, threads=1)
cleaner.run(once=True, threads=1)
