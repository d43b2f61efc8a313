#!/usr/bin/env python
"""Compare two Butler repositories: configuration, schema, and every row of every table.

    compare.py ROOT_A ROOT_B [--only config,schema,content] [--ignore TABLE]... [--alias TEXT TEXT]...
               [--no-comments] [--show N]

Both must use the same kind of database (SQLite, or PostgreSQL with the same schema name).  Normalised before the
comparison, because it differs between two runs of the same program: white space of SQL, order of constraints and
indexes, names of databases and roots, numbers of collections, dataset types and dimension groups (replaced by
their names), keys of `dataset_calibs_*`, random (version 4 and 7) dataset ids (replaced by type, run and data ID),
ingest dates (only their form is judged), prose in `config:dimensions.json`.  Everything else must be equal, floats
to the last bit.

Exit status 0 if equal, 1 if not.  Needs lsst-daf-butler (it reads the configuration and brings SQLAlchemy), for
PostgreSQL also `pg_dump`.
"""
import argparse
import collections
import json
import os
import re
import subprocess
import sys
import time
import uuid
import warnings

import sqlalchemy

from lsst.daf.butler import Config

NUMBERS = {
    # column: what it refers to; by (table, column) where the name alone is ambiguous
    "collection_id": "collection", "run_id": "collection", "parent": "collection", "child": "collection",
    "dataset_type_id": "dataset_type", "dimensions_key": "group", "dimension_graph_id": "group",
    ("dataset_type", "id"): "dataset_type", ("dimension_graph_key", "id"): "group",
}


class Repository:
    """One repository: its configuration and its open database."""

    def __init__(self, root, aliases=()):
        self.aliases = aliases
        self.root = os.path.abspath(root)
        with open(os.path.join(self.root, "butler.yaml"), encoding="utf8") as file:
            self.text = file.read()
        self.config = Config(os.path.join(self.root, "butler.yaml"))
        self.url = self.config["registry", "db"].replace("<butlerRoot>", self.root)
        self.namespace = self.config.get(("registry", "namespace"))
        self.postgres = self.url.startswith("postgresql")
        url = sqlalchemy.make_url(self.url)
        if not self.postgres:
            url = sqlalchemy.make_url(f"sqlite:///file:{url.database}?mode=ro&uri=true")
        self.engine = sqlalchemy.create_engine(url)
        self.schema = self.namespace
        if self.postgres and not self.schema:
            self.schema = self.rows("SELECT current_schema()::text AS name")[0]["name"]

    def rows(self, sql):
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(sqlalchemy.text(sql)).mappings()]

    def tables(self):
        if self.postgres:
            found = self.rows(f"SELECT tablename::text AS name FROM pg_tables WHERE schemaname = '{self.schema}'")
        else:
            found = self.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        return sorted(row["name"] for row in found)

    def table(self, name):
        source = f'"{self.schema}"."{name}"' if self.postgres else f'"{name}"'
        return self.rows(f"SELECT * FROM {source}")

    # -- what is compared ---------------------------------------------------------------------------------------

    def configuration(self):
        """Lines of butler.yaml, the database and the folder named neutrally."""
        database = sqlalchemy.make_url(self.url).database
        text = self.text.replace(self.root, "<root>")
        if self.postgres:
            text = text.replace(f"/{database}", "/<database>")
        return dict(enumerate(text.splitlines()))

    def statements(self):
        """Statements of the schema, by what they make."""
        return self.postgres_statements() if self.postgres else self.sqlite_statements()

    def sqlite_statements(self):
        out = {}
        for row in self.rows("SELECT type, name, tbl_name, sql FROM sqlite_master"):
            sql = row["sql"]
            if sql is None:
                out[f"{row['type']} {row['name']}"] = f"automatic, on {row['tbl_name']}"
                continue
            if row["type"] != "table":
                out[f"{row['type']} {row['name']}"] = " ".join(sql.split())
                continue
            head, body = re.match(r"(CREATE TABLE\s+\S+)\s*\((.*)\)\s*$", sql, re.S).groups()
            items = [" ".join(item.split()) for item in re.split(r",\s*\n", body.strip())]
            columns = [item for item in items if not item.startswith(("CONSTRAINT", "PRIMARY"))]
            out[f"table {row['name']}"] = " ".join(head.split())
            out[f"columns of {row['name']}"] = columns
            for item in items:
                if item not in columns:
                    out[f"{row['name']}: {item}"] = True
        return out

    def postgres_statements(self):
        command = ["pg_dump", "--schema-only", "--no-owner", "--no-privileges", "--schema", self.schema, self.url]
        dump = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        lines = [x for x in dump.splitlines() if x.strip() and not x.startswith(("--", "\\restrict", "\\unrestrict"))]
        out = {}
        for statement in "\n".join(lines).split(";\n"):
            out[statement] = True
        extensions = self.rows("SELECT extname::text AS name FROM pg_extension")
        out["extensions"] = sorted(row["name"] for row in extensions)
        for row in self.rows(f"SELECT * FROM pg_sequences WHERE schemaname = '{self.schema}'"):
            shape = ("data_type", "start_value", "min_value", "max_value", "increment_by", "cycle", "cache_size")
            out[f"sequence {row['sequencename']}"] = [str(row[k]) for k in shape]
        return out

    def content(self, problems):
        """For every table, the multiset of its rows in neutral form."""
        tables = {name: self.table(name) for name in self.tables()}
        groups = collections.defaultdict(list)
        for row in tables["dimension_graph_definition"]:
            groups[row["dimension_graph_id"]].append(row["dimension_name"])
        names = {
            "collection": {r["collection_id"]: r["name"] for r in tables["collection"]},
            "dataset_type": {r["id"]: r["name"] for r in tables["dataset_type"]},
            "group": {k: "{" + ",".join(sorted(v)) + "}" for k, v in groups.items()} | {0: "{}"},
        }
        self.judge(tables, problems)
        ids = self.neutral_ids(tables, names)

        def neutral(table, column, value):
            kind = NUMBERS.get((table, column)) or NUMBERS.get(column)
            if table == "collection" and column == "type":
                return value
            if kind:
                return names[kind].get(value, f"unknown {kind} {value}")
            if column == "ingest_date":
                return "<ingest_date>"
            if column == "dataset_id" or (table == "dataset" and column == "id"):
                return ids.get(as_uuid(value), str(value))
            if column.endswith("association_table") and value is not None:
                return re.sub(r"\d{8}$", lambda m: names["group"].get(int(m[0]), m[0]), value)
            if isinstance(value, str):
                for text, stand_in in self.aliases:
                    value = value.replace(text, stand_in)
                return value
            if isinstance(value, float):
                return f"float {value.hex()}"
            if isinstance(value, bool) or value is None:
                return value
            return f"{type(value).__name__} {value}"

        out = {}
        for name, rows in tables.items():
            match = re.fullmatch(r"(dataset_(?:tags|calibs)_)(\d{8})", name)
            shown = match[1] + names["group"].get(int(match[2]), match[2]) if match else name
            bag = collections.Counter()
            for row in rows:
                if name.startswith("dataset_calibs_"):
                    row = {k: v for k, v in row.items() if k != "id"}
                if name == "butler_attributes":
                    row = attribute(row)
                bag[tuple((k, neutral(name, k, v)) for k, v in row.items())] += 1
            out[shown] = bag
        return out

    def judge(self, tables, problems):
        """What normalisation hides must still be sound."""
        now = (time.time() + 37) * 1e9
        for row in tables["dataset"]:
            date = row["ingest_date"]
            if not isinstance(date, int) or date % 1000 or not now - 86400e9 * 365 < date < now + 60e9:
                problems.append(f"{self.root}: ingest_date {date!r} of dataset {row['id']}")
                break
        for name, rows in tables.items():
            for row in rows:
                for column, value in row.items():
                    uuid_column = column == "dataset_id" or (name == "dataset" and column == "id")
                    if uuid_column and not self.postgres and not re.fullmatch("[0-9a-f]{32}", value):
                        problems.append(f"{self.root}: {name}.{column} {value!r} is not 32 lower-case hex digits")
        if not self.postgres:
            return
        for row in self.rows(f"SELECT * FROM pg_sequences WHERE schemaname = '{self.schema}'"):
            table, column = row["sequencename"].split("_seq_")
            top = max((r[column] for r in tables[table]), default=0)
            if top > (row["last_value"] or 0):
                problems.append(f"{self.root}: sequence {row['sequencename']} is at {row['last_value']}, the table at {top}")

    def neutral_ids(self, tables, names):
        """Stand-ins for random ids: dataset type, run and data ID."""
        datasets = {as_uuid(r["id"]): r for r in tables["dataset"]}
        out = {}
        for name, rows in tables.items():
            if not name.startswith("dataset_tags_"):
                continue
            for row in rows:
                key = as_uuid(row["dataset_id"])
                if key.version not in (4, 7) or row["collection_id"] != datasets[key]["run_id"]:
                    continue
                data_id = {k: v for k, v in row.items() if k not in ("dataset_type_id", "dataset_id", "collection_id")}
                kind = names["dataset_type"][row["dataset_type_id"]]
                out[key] = f"{kind}@{names['collection'][row['collection_id']]} {data_id}"
        return out


def as_uuid(value):
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def attribute(row):
    """A row of butler_attributes; the universe without its prose."""
    if row["name"] != "config:dimensions.json":
        return row
    return {**row, "value": json.dumps(without_prose(json.loads(row["value"])), sort_keys=True)}


def without_prose(value):
    if isinstance(value, dict):
        return {k: without_prose(v) for k, v in value.items() if k != "doc"}
    if isinstance(value, list):
        return [without_prose(v) for v in value]
    return value


def differences(what, a, b, show):
    """Lines that tell how two mappings differ."""
    out = []
    for key in sorted(set(a) | set(b), key=str):
        if a.get(key) == b.get(key):
            continue
        if isinstance(a.get(key, b.get(key)), collections.Counter):
            left, right = a.get(key), b.get(key)
            if left is None or right is None:
                out.append(f"{what} {key}: only in {'B' if left is None else 'A'}")
                continue
            out += row_differences(f"{what} {key}", left - right, right - left, show)
        else:
            out.append(f"{what} {key}:\n    A {a.get(key)!r}\n    B {b.get(key)!r}")
    return out


def row_differences(what, left, right, show):
    """Lines that tell how two multisets of rows differ: rows alike are shown together, by the columns that differ."""
    out = [f"{what}: {left.total()} rows only in A, {right.total()} only in B"]
    waiting = sorted(right.elements(), key=str)
    for row in sorted(left.elements(), key=str)[:show]:
        best = min(waiting, key=lambda other: sum(x != y for x, y in zip(row, other)), default=())
        different = [(k, v, dict(best).get(k)) for k, v in row if (k, v) not in best]
        if best and len(different) <= max(1, len(row) // 2):
            waiting.remove(best)
            alike = ", ".join(f"{k}={v}" for k, v in row if (k, v) in best)
            out.append(f"    row {alike[:120]}")
            out += [f"        {k}: A {a}, B {b}" for k, a, b in different]
        else:
            out.append(f"    A {dict(row)}")
    if not left:
        out += [f"    B {dict(row)}" for row in waiting[:show]]
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", help="a repository")
    parser.add_argument("b", help="another")
    parser.add_argument("--only", default="config,schema,content", help="what is compared, comma-separated")
    parser.add_argument("--ignore", action="append", default=[], metavar="TABLE", help="a table whose rows may differ")
    parser.add_argument("--alias", action="append", nargs=2, default=[], metavar="TEXT",
                        help="two texts that count as equal wherever they stand in a value, such as folders")
    parser.add_argument("--no-comments", action="store_true", help="leave out COMMENT statements of PostgreSQL")
    parser.add_argument("--show", type=int, default=3, help="so many differing rows a table and side are shown")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    a, b = (Repository(root, [(t, f"<alias {i}>") for i, pair in enumerate(args.alias) for t in pair])
            for root in (args.a, args.b))
    only = args.only.split(",")
    found, problems, counts = [], [], []
    if "config" in only:
        found += differences("butler.yaml line", a.configuration(), b.configuration(), args.show)
    if "schema" in only:
        left, right = a.statements(), b.statements()
        if args.no_comments:
            left, right = ({k: v for k, v in x.items() if not k.startswith("COMMENT")} for x in (left, right))
        counts.append(f"{len(left)} schema items")
        found += differences("schema:", left, right, args.show)
    if "content" in only:
        left, right = a.content(problems), b.content(problems)
        for table in args.ignore:
            left.pop(table, None)
            right.pop(table, None)
        counts.append(f"{sum(bag.total() for bag in left.values())} rows in {len(left)} tables")
        found += differences("rows of", left, right, args.show)
    for line in found + problems:
        print(line)
    equal = not found and not problems
    print(f"{'EQUAL' if equal else 'DIFFERENT'}: {', '.join(counts)}")
    sys.exit(not equal)


if __name__ == "__main__":
    main()
