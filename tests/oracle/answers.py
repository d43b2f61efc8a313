#!/usr/bin/env python
"""Asks the Butler's `query-*` commands and butlersql the same questions: answers.py BUTLERSQL REPO

The tables the Butler prints must hold the same columns and rows, in the same order, as the answers of the SQL beside
them. Prints `equal`, or the first difference.
"""
import json
import re
import subprocess
import sys

import click.testing

from lsst.daf.butler.cli.butler import cli

TOP = "u/golden/chain"
QUESTIONS = [
    (["query-collections", TOP], f"""SELECT tree AS "Name", type AS "Type" FROM collection_tree('{TOP}')"""),
    (
        ["query-collections", TOP, "refcats", "--chains=flatten"],
        f"""SELECT name AS "Name", type AS "Type" FROM collection_tree(['{TOP}', 'refcats'], flatten => true)""",
    ),
    (
        ["query-collections", "--chains=table"],
        """SELECT c.name AS "Name", c.type AS "Type", coalesce(l.child, '') AS "Children" FROM collections c
           LEFT JOIN collection_chains l ON l.parent = c.name ORDER BY c.name, l.position""",
    ),
    (
        ["query-collections", "refcats*", "--chains=inverse-table"],
        """SELECT c.name AS "Name", c.type AS "Type", coalesce(p.parent, '') AS "Parents" FROM collections c
           LEFT JOIN collection_chains p ON p.child = c.name WHERE c.name LIKE 'refcats%' ORDER BY c.name, p.parent""",
    ),
    (["query-dataset-types"], "SELECT name FROM dataset_types ORDER BY name"),
    (
        ["query-datasets", "raw", "--collections", "LSSTComCam/raw/all", "--where", "instrument='LSSTComCam' AND detector < 4 AND exposure.seq_num > 123"],
        """SELECT 'raw' AS type, r.run, r.dataset_id AS id, r.instrument, r.detector, r.exposure, e.band, e.day_obs,
           e."group", e.physical_filter FROM raw r JOIN exposures e USING (instrument, exposure)
           WHERE detector < 4 AND e.seq_num > 123 ORDER BY r.run, r.instrument, r.exposure, e.day_obs, r.detector""",
    ),
    (
        ["query-datasets", "calexp_meta", "--collections", TOP, "--find-first"],
        f"""SELECT 'calexp_meta' AS type, m.run, m.dataset_id AS id, m.instrument, m.detector, m.visit, v.band, v.day_obs,
            v.physical_filter FROM find_first('calexp_meta', '{TOP}') m JOIN visits v USING (instrument, visit)
            ORDER BY m.run, m.instrument, m.visit, m.detector""",
    ),
    (
        ["query-datasets", "the_monster*", "--collections", "refcats"],
        """SELECT 'the_monster_20240904' AS type, run, dataset_id AS id, htm7 FROM members('the_monster_20240904', 'refcats')
           ORDER BY run, htm7""",
    ),
    (
        ["query-data-ids", "exposure", "detector", "--where", "instrument='LSSTComCam' AND detector=1"],
        """SELECT instrument, detector, exposure, band, day_obs, "group", physical_filter FROM exposures
           JOIN detector USING (instrument) WHERE instrument = 'LSSTComCam' AND detector = 1 ORDER BY exposure""",
    ),
]
RECORDS = {
    "instrument": "instrument AS name, visit_max, visit_system, exposure_max, detector_max, class_name",
    "band": "band AS name",
    "physical_filter": "instrument, physical_filter AS name, band",
    "day_obs": "instrument, day_obs AS id, timespan_begin, timespan_end",
    "detector": "instrument, detector AS id, full_name, name_in_raft, raft, purpose",
    "group": 'instrument, "group" AS name',
    "exposure": """instrument, exposure AS id, day_obs, "group", physical_filter, obs_id, exposure_time, dark_time,
        observation_type, observation_reason, seq_num, seq_start, seq_end, target_name, science_program, tracking_ra,
        tracking_dec, sky_angle, azimuth, zenith_angle, has_simulated, can_see_sky, timespan_begin, timespan_end""",
    "visit_system": "instrument, visit_system AS id, name",
    "visit": """instrument, visit AS id, day_obs, physical_filter, name, seq_num, exposure_time, target_name,
        observation_reason, science_program, azimuth, zenith_angle, region, timespan_begin, timespan_end""",
    "visit_definition": "instrument, exposure, visit",
    "visit_system_membership": "instrument, visit_system, visit",
    "visit_detector_region": "instrument, detector, visit, region",
    "skymap": "skymap AS name, hash, tract_max, patch_nx_max, patch_ny_max",
    "tract": "skymap, tract AS id, region",
    "patch": "skymap, tract, patch AS id, cell_x, cell_y, region",
}
for element, columns in RECORDS.items():
    keys = ", ".join(str(k + 1) for k in range(min(3, columns.count(",") + 1)))
    QUESTIONS.append((["query-dimension-records", element], f'SELECT {columns} FROM "{element}" ORDER BY {keys}'))


def table(text):
    """Names and rows of the table in a text; the first column of a tree keeps its indent."""
    lines = text.split("\n")
    rule = next((k for k, line in enumerate(lines) if line and set(line) <= {"-", " "}), None)
    if rule is None:
        return [], []
    spans = [m.span() for m in re.finditer("-+", lines[rule])]
    # The last column may be wider than its name.
    cells = [[line[a:b] for a, b in spans[:-1]] + [line[spans[-1][0]:]] for line in lines[rule - 1:] if line.strip()]
    names, rows = [cell.strip() for cell in cells[0]], cells[2:]
    tree = names[0] == "Name"
    rows = [[c.rstrip() if tree and not k else c.strip() for k, c in enumerate(row)] for row in rows]
    for k, row in enumerate(rows):
        if len(names) > 2 and not row[0] and names[2] in ("Children", "Parents"):
            row[:2] = rows[k - 1][:2]
    return names, rows


def shown(row):
    """A row of ours as the Butler prints it."""
    begin, end = row.pop("timespan_begin", None), row.pop("timespan_end", None)
    out = {}
    for name, value in row.items():
        text = repr(value) if isinstance(value, float) else str(value)
        out[name] = {"region": "(elided)", "hash": f"0x{text}"}.get(name, text) if value is not None else "None"
    if begin or end:
        out["timespan (TAI)"] = f"[{begin[:19]}, {end[:19]})"
    return out


def main(butlersql, repo):
    for arguments, sql in QUESTIONS:
        ran = click.testing.CliRunner().invoke(cli, [arguments[0], repo, *arguments[1:]])
        if ran.exit_code:
            sys.exit(f"{arguments}: {ran.output} {ran.exception}")
        names, rows = table(ran.stdout)
        out = subprocess.run([butlersql, repo, "--format", "jsonl", "-c", sql], capture_output=True, text=True)
        if out.returncode:
            sys.exit(f"{sql}: {out.stderr}")
        ours = [shown(json.loads(line)) for line in out.stdout.splitlines()]
        ours = [[row.get(name, "None") for name in names] for row in ours]
        if not rows or rows != ours:
            pair = next(((a, b) for a, b in zip(rows, ours) if a != b), None)
            sys.exit(f"{arguments}: the Butler has {len(rows)} rows, ours {len(ours)}; first difference {pair}")
    print("equal")


if __name__ == "__main__":
    main(*sys.argv[1:])
