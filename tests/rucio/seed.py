"""Creates the tables of a Rucio server, two accounts, scopes, and two storage elements with their distances.

usage: seed.py PASSWORD SSH_KEY
"""

import pathlib
import sys

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from rucio.db.sqla.util import build_database, create_base_vo, create_root_account

build_database()
create_base_vo()
create_root_account()

from rucio.common.types import InternalAccount, InternalScope  # noqa: E402
from rucio.core import account, account_limit, distance, identity, rse, scope  # noqa: E402
from rucio.db.sqla.constants import AccountType, IdentityType  # noqa: E402
from rucio.db.sqla.session import get_session  # noqa: E402

SITES = {"SLAC_BUTLER_DISK": "/slac/lsst/butler/", "IN2P3_RAW_DISK": "/pnfs/in2p3.fr/lsst/instrument/"}
ACCESS = {"read": 1, "write": 1, "delete": 1}

session = get_session()()
session.begin()
root, guest = InternalAccount("root"), InternalAccount("guest")
account.add_account(guest, AccountType.USER, "guest@example.invalid", session=session)
identity.add_identity("guest", IdentityType.USERPASS, "guest@example.invalid", sys.argv[1], session=session)
identity.add_account_identity(
    "guest", IdentityType.USERPASS, guest, "guest@example.invalid", default=True, session=session
)
key = load_pem_private_key(pathlib.Path(sys.argv[2]).read_bytes(), None).public_key()
ssh = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
for name, kind in (("CN=user", IdentityType.X509), (ssh, IdentityType.SSH)):
    identity.add_identity(name, kind, "tester@example.invalid", session=session)
    identity.add_account_identity(name, kind, root, "tester@example.invalid", default=True, session=session)
for name in ("raw", "ancillary"):
    scope.add_scope(InternalScope(name), root, session=session)
elements = {}
for port, (name, prefix) in enumerate(SITES.items(), 2881):
    elements[name] = rse.add_rse(name, deterministic=True, session=session)
    protocol = {"scheme": "davs", "hostname": "127.0.0.1", "port": port, "prefix": prefix}
    third_party = {"third_party_copy_read": 1, "third_party_copy_write": 1}
    protocol |= {"impl": "rucio.rse.protocols.webdav.Default", "domains": {"lan": ACCESS, "wan": ACCESS | third_party}}
    rse.add_protocol(elements[name], protocol, session=session)
    for key, value in (("site", name.split("_")[0]), ("lfn2pfn_algorithm", "identity")):
        rse.add_rse_attribute(elements[name], key, value, session=session)
    for owner in (root, guest):
        account_limit.set_local_account_limit(owner, elements[name], -1, session=session)
    rse.set_rse_usage(elements[name], "storage", 0, 10**15, files=0, session=session)
one, other = elements.values()
distance.add_distance(one, other, distance=1, session=session)
distance.add_distance(other, one, distance=1, session=session)
session.commit()
