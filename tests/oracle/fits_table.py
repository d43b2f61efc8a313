"""Writes one table as FITS and as ECSV, with every kind of column that data IDs may have: fits_table.py FOLDER"""

import sys

import numpy as np
from astropy.table import MaskedColumn, Table

table = Table(
    {
        "filename": ["a b.fits", "", "c'd.fits"],
        "flag": [True, False, True],
        "exposure": np.array([1, -(2**62), 3], dtype="i8"),
        "big": np.array([0, 2**63, 2**64 - 1], dtype="u8"),
        "word": np.array([0, 2**31, 2**32 - 1], dtype="u4"),
        "half": np.array([0, 2**15, 2**16 - 1], dtype="u2"),
        "byte": np.array([0, 1, 255], dtype="u1"),
        "detector": MaskedColumn([1, 2, 3], mask=[False, True, False], dtype="i2"),
        "ra": np.array([0.1, -1e300, 2.0 / 3.0]),
        "mag": np.array([0.1, -1e30, 2.0 / 3.0], dtype="f4"),
    }
)
table["ra"].unit = "deg"
table.write(sys.argv[1] + "/table.fits")
table.write(sys.argv[1] + "/table.ecsv")
