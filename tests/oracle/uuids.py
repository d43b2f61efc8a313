"""Writes a Parquet file with a column of UUIDs and one of other 16 bytes."""

import sys
import uuid

import pyarrow as pa
import pyarrow.parquet as pq

sixteen = bytes(range(1, 17))
ids = pa.array([uuid.UUID(bytes=sixteen).bytes, None], pa.uuid())
pq.write_table(pa.table({"id": ids, "raw": pa.array([sixteen, sixteen], pa.binary(16))}), sys.argv[1])
