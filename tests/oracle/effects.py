#!/usr/bin/env python
"""Prints what differs between pairs of Butler registries: for each pair, {table: [-rows gone, rows new]} as JSON.

    effects.py < PAIRS

Each line of the input is a JSON list of two databases: a path of SQLite, or a URL of PostgreSQL. `opaque_meta` is left
out, and so are tables that did not change.
"""
import collections
import json
import sys

import sqlalchemy


def content(database):
    """For every table, the multiset of its rows."""
    if "://" not in database:
        database = f"sqlite:///file:{database}?mode=ro&uri=true"
    engine = sqlalchemy.create_engine(database)
    out = {}
    with engine.connect() as connection:
        if database.startswith("sqlite"):
            sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        else:
            sql = "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()"
        for (name,) in connection.execute(sqlalchemy.text(sql)).all():
            if name != "opaque_meta":
                rows = connection.execute(sqlalchemy.text(f'SELECT * FROM "{name}"')).all()
                out[name] = collections.Counter(str(tuple(row)) for row in rows)
    engine.dispose()
    return out


def main():
    for line in sys.stdin:
        before, after = (content(database) for database in json.loads(line))
        none = collections.Counter()
        changes = {}
        for name in sorted(set(before) | set(after)):
            old, new = before.get(name, none), after.get(name, none)
            if old != new:
                changes[name] = [-(old - new).total(), (new - old).total()]
        print(json.dumps(changes))


main()
