#!/usr/bin/env python3
"""The queries of `benches/compare`, their form for each tool, and the table of their costs.

Each result is a file of comma-separated rows; all results of a query must have the same rows. Costs are CPU seconds of
client and server together, as medians of runs in alternation.
"""

import argparse
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import zlib

from measure import POSTGRES, PROGRAM, Server, apart, bulk_load, butlersql, make_database, measured, rows

BUTLER, DUCKDB = os.environ["BENCH_BUTLER"], os.environ["BENCH_DUCKDB"]
HEAD = "from lsst.daf.butler import Butler\nbutler = Butler(REPO)\nout = open(OUT, 'w')\n"
# The formatter of raws is in a separate package; this stub only provides its name.
FORMATTER = (
    "import sys, types\nfrom lsst.daf.butler import FormatterV2\n"
    "body = {'__module__': 'lsst.obs.lsst.rawFormatter'}\n"
    "for name in ['lsst.obs', 'lsst.obs.lsst', 'lsst.obs.lsst.rawFormatter']:\n"
    "    sys.modules[name] = types.ModuleType(name)\n"
    "sys.modules[name].LsstComCamRawFormatter = type('LsstComCamRawFormatter', (FormatterV2,), body)\n"
)
SCIENCE = "instrument='LSSTComCam' AND exposure.observation_type='science'"

# A query: name; SQL for butlersql; SQL for the database (None: not expressible); Python for the Butler.
# {raw}, {bias}, {monster}: tables of datasets in RUN or CALIBRATION collections; {exposure}, {visit} …: one value each.
QUESTIONS = [
    (
        "one raw by its data ID",
        "SELECT dataset_id FROM raw WHERE instrument = 'LSSTComCam' AND exposure = {exposure} AND detector = 4",
        "SELECT t.dataset_id FROM {raw} WHERE t.instrument = 'LSSTComCam' AND t.exposure = {exposure} AND t.detector = 4",
        "print(butler.find_dataset('raw', instrument='LSSTComCam', exposure={exposure}, detector=4,"
        " collections='LSSTComCam/raw/all').id, file=out)",
    ),
    (
        "science raws as rows",
        "SELECT exposure, detector, dataset_id FROM raw JOIN exposure USING (instrument, exposure)"
        " WHERE observation_type = 'science'",
        "SELECT t.exposure, t.detector, t.dataset_id FROM {raw} WHERE (t.instrument, t.exposure) IN"
        " (SELECT instrument, id FROM exposure WHERE observation_type = 'science')",
        "for ref in butler.query_datasets('raw', 'LSSTComCam/raw/all', where=\"" + SCIENCE + "\", limit=None):\n"
        "    print(ref.dataId['exposure'], ref.dataId['detector'], ref.id, sep=',', file=out)",
    ),
    (
        "all raws as rows",
        "SELECT instrument, detector, exposure, dataset_id, run FROM raw",
        "SELECT t.instrument, t.detector, t.exposure, t.dataset_id, c.name FROM {raw}",
        "for ref in butler.query_datasets('raw', 'LSSTComCam/raw/all', limit=None):\n"
        "    print('LSSTComCam', ref.dataId['detector'], ref.dataId['exposure'], ref.id, ref.run, sep=',', file=out)",
    ),
    (
        "exposures by type",
        "SELECT observation_type, count(*) FROM exposure GROUP BY 1",
        "SELECT observation_type, count(*) FROM exposure GROUP BY 1",
        "import collections\nrecords = butler.query_dimension_records('exposure', instrument='LSSTComCam', limit=None)\n"
        "for kind, n in collections.Counter(r.observation_type for r in records).items():\n"
        "    print(kind, n, sep=',', file=out)",
    ),
    (
        "nights × bands: count, exposure time",
        "SELECT day_obs, band, count(*), round(sum(exposure_time), 3) FROM exposures GROUP BY 1, 2",
        "SELECT e.day_obs, f.band, count(*), round(CAST(sum(e.exposure_time) AS numeric), 3) FROM exposure e JOIN"
        " physical_filter f ON f.instrument = e.instrument AND f.name = e.physical_filter GROUP BY 1, 2",
        "import collections\nn, seconds = collections.Counter(), collections.Counter()\n"
        "bands = {r.name: r.band for r in butler.query_dimension_records('physical_filter', instrument='LSSTComCam')}\n"
        "for r in butler.query_dimension_records('exposure', instrument='LSSTComCam', limit=None):\n"
        "    n[r.day_obs, bands[r.physical_filter]] += 1\n"
        "    seconds[r.day_obs, bands[r.physical_filter]] += r.exposure_time\n"
        "for (night, band), count in n.items():\n"
        "    print(night, band, count, round(seconds[night, band], 3), sep=',', file=out)",
    ),
    (
        "bias of every science raw, through the chain",
        "SELECT e.exposure, b.detector, b.dataset_id FROM find_first('bias', 'LSSTComCam/calib') b JOIN exposure e ON"
        " e.instrument = b.instrument AND e.timespan_begin < b.timespan_end AND b.timespan_begin < e.timespan_end"
        " WHERE e.observation_type = 'science'",
        "SELECT id, detector, dataset_id FROM (SELECT e.id, t.detector, t.dataset_id, row_number() OVER (PARTITION BY"
        " e.id, t.detector ORDER BY {rank}) AS place FROM {bias} JOIN exposure e ON e.instrument = t.instrument AND"
        " {overlap} WHERE e.observation_type = 'science') AS found WHERE place = 1",
        "with butler.query() as q:\n"
        "    q = q.where(\"" + SCIENCE + "\").join_dataset_search('bias', ['LSSTComCam/calib'])\n"
        "    for row in q.general(['exposure', 'detector'], dataset_fields={'bias': {'dataset_id'}}, find_first=True):\n"
        "        print(row['exposure'], row['detector'], row['bias.dataset_id'], sep=',', file=out)",
    ),
    (
        "visits that overlap a patch, exactly",
        "SELECT DISTINCT visit FROM overlapping('visit', 'patch') WHERE skymap = '{skymap}' AND tract = {tract} AND"
        " patch = {patch}",
        None,
        "for data_id in butler.query_data_ids(['visit'], where=\"instrument='LSSTComCam' AND skymap='{skymap}' AND"
        " tract={tract} AND patch={patch}\", limit=None):\n    print(data_id['visit'], file=out)",
    ),
    (
        "refcat shards of a visit",
        "SELECT DISTINCT htm7, dataset_id FROM the_monster_20250219 JOIN overlapping('visit', 'htm7') USING (htm7)"
        " WHERE visit = {visit}",
        "SELECT DISTINCT t.htm7, t.dataset_id FROM {monster} WHERE t.htm7 IN"
        " (SELECT skypix_index FROM visit_skypix_overlap WHERE visit = {visit})",
        "for ref in butler.query_datasets('the_monster_20250219', 'refcats', where=\"instrument='LSSTComCam' AND"
        " visit={visit}\", limit=None):\n    print(ref.dataId['htm7'], ref.id, sep=',', file=out)",
    ),
    (
        "raws × exposure to Parquet",
        "COPY (SELECT * FROM raw JOIN exposure USING (instrument, exposure)) TO '{out}.parquet'",
        "COPY (SELECT * FROM {raw} JOIN exposure e ON e.instrument = t.instrument AND e.id = t.exposure) TO"
        " '{out}.parquet'",
        None,
    ),
]


def agreed(question, paths):
    """Checks that all results have the same rows; returns the number of rows."""
    answers = {who: answer(path, named=who == "butlersql") for who, path in paths.items()}
    for who, found in answers.items():
        if found != answers["butlersql"]:
            sys.exit(f"{question}: {who} has {len(found)} rows, butlersql {len(answers['butlersql'])}, or others")
    return len(answers["butlersql"])


def answer(path, named):
    """The rows of a result in a common form, because tools write ids and numbers differently."""
    def cell(text):
        if re.fullmatch("[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", text):
            return text.replace("-", "")
        try:
            return repr(float(text)) if "." in text else text
        except ValueError:
            return text
    lines = pathlib.Path(path).read_text().splitlines()[int(named):]
    plain = (line.replace('"', "") for line in lines if line)
    return sorted(",".join(cell(c) for c in line.split(",")) for line in plain)


class Bench:
    def __init__(self, home, name, repo, database, server):
        self.home, self.name, self.repo, self.database, self.server = home, name, repo, database, server
        values = rows(
            repo,
            "SELECT (SELECT min(exposure) FROM exposure WHERE observation_type = 'science') AS exposure,"
            " (SELECT max(visit) FROM visit) AS visit,"
            " (SELECT skymap FROM skymap LIMIT 1) AS skymap",
        )[0]
        busiest = rows(
            repo,
            "SELECT tract, patch FROM overlapping('visit', 'patch') GROUP BY 1, 2 ORDER BY count(*) DESC, 1, 2 LIMIT 1",
        )[0]
        found = rows(repo, "SELECT name FROM collection_tree('LSSTComCam/calib', flatten => true) WHERE type = 'CALIBRATION'")
        ranks = " ".join(f"WHEN '{row['name']}' THEN {rank}" for rank, row in enumerate(found))
        self.values = {**values, **busiest, "overlap": self.overlap(), "rank": f"CASE c.name {ranks} END"}
        for name, kind in [("raw", "raw"), ("bias", "bias"), ("monster", "the_monster_20250219")]:
            self.values[name] = self.memberships(kind, certified=name == "bias")

    def overlap(self):
        if self.database == "sqlite":
            return "e.timespan_begin < t.timespan_end AND t.timespan_begin < e.timespan_end"
        return "e.timespan && t.timespan"

    def memberships(self, kind, certified):
        table = "calibration_association_table" if certified else "tag_association_table"
        found = rows(self.repo, f"SELECT id, {table} AS t FROM registry.dataset_type WHERE name = '{kind}'")[0]
        where = "c.type = 4" if certified else "c.type = 1"
        return (
            f"{found['t']} t JOIN collection c ON c.collection_id = t.collection_id AND {where}"
            f" AND t.dataset_type_id = {found['id']}"
        )

    def database_command(self, sql, out):
        if self.database == "sqlite":
            if sql.startswith("COPY"):
                return None
            return ["sqlite3", "-readonly", "-csv", f"{self.repo}/gen3.sqlite3", sql.replace("numeric", "real")]
        if sql.startswith("COPY"):
            return None
        return ["psql", "-X", "-q", "-d", self.url, "-c", f"COPY ({sql}) TO STDOUT (FORMAT csv)"]

    @property
    def url(self):
        return f"{POSTGRES}/bench"

    def duckdb_command(self, sql, out):
        if "&&" in sql:
            return None
        kind = "sqlite" if self.database == "sqlite" else "postgres"
        target = f"{self.repo}/gen3.sqlite3" if kind == "sqlite" else self.url
        sql = sql if sql.startswith("COPY") else f"COPY ({sql}) TO '{out}' (FORMAT csv, HEADER false)"
        code = (
            "import duckdb, pathlib\n"
            f"import duckdb_extension_{kind}_scanner as extension\n"
            "home = pathlib.Path(extension.__file__).parent\n"
            "db = duckdb.connect()\n"
            "db.load_extension(str(next(home.rglob('*.duckdb_extension'))))\n"
            f"db.execute('''ATTACH '{target}' AS r (TYPE {kind}, READ_ONLY)''')\n"
            "db.execute('USE r')\n"
            f"db.execute({sql!r})\n"
        )
        return [DUCKDB, "-c", code]

    def commands(self, question):
        """The command of each tool for a query: name, command, output file, whether the result goes to standard output."""
        _, own, plain, python = question
        out = {who: str(self.home / f"{who}.csv") for who in ("butlersql", "Butler", "database", "DuckDB")}

        def fill(text, who):
            for name, value in {**self.values, "out": out[who]}.items():
                text = text.replace(f"{{{name}}}", str(value))
            return text

        write = ["--write"] if own.startswith("COPY") else []
        made = {
            "butlersql": ([PROGRAM, self.repo, "-q", "--format", "csv", *write, "-c", fill(own, "butlersql")], True),
        }
        if plain:
            text = fill(plain, "database")
            made["database"] = (self.database_command(text, out["database"]), True)
            made["DuckDB"] = (self.duckdb_command(fill(plain, "DuckDB"), out["DuckDB"]), False)
        if python:
            code = (HEAD + (fill(python, "Butler"))).replace("REPO", repr(self.repo)).replace("OUT", repr(out["Butler"]))
            made["Butler"] = ([BUTLER, "-c", code], False)
        return {who: (command, out[who], piped) for who, (command, piped) in made.items() if command}

    def ask(self, question, runs):
        commands = self.commands(question)
        taken = {who: [] for who in commands}
        for _ in range(runs):
            for who, (command, out, piped) in commands.items():
                taken[who].append(measured(command, self.server, out if piped else None))
        size = ""
        if not question[1].startswith("COPY"):
            size = apart(lambda: agreed(question[0], {who: out for who, (_, out, _) in commands.items()}))
        return size, {who: [statistics.median(run[i] for run in all) for i in range(3)] for who, all in taken.items()}


def campaign(data, seed, repo):
    """The command that builds a repository with all steps of RTN-103."""
    return [
        PROGRAM, repo, "-q", "-f", "sql/rtn103/campaign.sql", "-v", f"DATA={data}", "-v", f"SEED={seed}",
        "-v", f"GOOD_VISITS={data}/dp1_good_visits.txt", "-v", f"SKYMAP={data}/demo.skymap.config",
    ]


def imports(home, name, repo, runs, server, with_butler):
    """Imports all raws into a new repository with both programs, and bulk-loads the same rows with the database."""
    folder = home / f"export-{name}"
    if not folder.exists():
        butlersql(repo, "-q", "--write", "-c", f"CALL export('{folder}', collections => 'LSSTComCam/raw/all')",
                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    taken, held = {"butlersql": [], "database": [], "Butler": []}, set()
    for run in range(runs):
        for who in ["butlersql"] + (["Butler"] if with_butler and run == 0 else []):
            fresh = str(home / f"import-{name}-{who}-{run}")
            seed = home / "import.yaml"
            seed.write_text("{}\n")
            if name == "PostgreSQL":
                base = f"import_{who.lower()}_{run}"
                make_database(base)
                seed.write_text(f"registry: {{db: '{POSTGRES}/{base}'}}\n")
            butlersql(fresh, "-q", "--write", "-c", f"CALL create_repository(seed_config => '{seed}')",
                      "-c", "CALL register_instrument('LSSTComCam')", stdout=subprocess.DEVNULL)
            if who == "butlersql":
                call = f"CALL import('/', export_file => '{folder}/export.yaml', transfer => 'direct')"
                command = [PROGRAM, fresh, "-q", "--write", "-c", call]
            else:
                code = (f"{FORMATTER}from lsst.daf.butler import Butler\nButler({fresh!r}, writeable=True)"
                        f".import_(directory='/', filename='{folder}/export.yaml', transfer='direct')")
                command = [BUTLER, "-c", code]
            taken[who].append(measured(command, server))
            held.add(apart(lambda: holdings(fresh)))
            if who == "butlersql":
                command = emptied(home, fresh, f"{POSTGRES}/{base}" if name == "PostgreSQL" else f"{fresh}/gen3.sqlite3")
                taken["database"].append(measured(command, server))
                held.add(apart(lambda: holdings(fresh)))
            shutil.rmtree(fresh)
    if len(held) != 1:
        sys.exit(f"import of all raws, {name}: the repositories differ")
    return "", {who: [statistics.median(run[i] for run in all) for i in range(3)] for who, all in taken.items() if all}


def emptied(home, repo, database):
    """Deletes the imported rows from a database; returns the command that loads them again."""
    tags = rows(repo, "SELECT tag_association_table AS t FROM registry.dataset_type WHERE name = 'raw'")[0]["t"]
    tables = ["group", "day_obs", "exposure", "dataset", "collection_summary_dataset_type",
              "collection_summary_instrument", tags, "dataset_location", "file_datastore_records"]
    if database.startswith("postgresql:"):
        command = bulk_load(home, tables, database, database)
        names = ", ".join(f'"{table}"' for table in tables)
        sql = f"SET client_min_messages = warning; TRUNCATE {names} CASCADE"
        subprocess.run(["psql", "-X", "-q", "-d", database, "-c", sql], check=True)
        return command
    source = shutil.copy(database, f"{home}/source.sqlite3")
    deletes = [f'DELETE FROM "{table}";' for table in reversed(tables)]
    subprocess.run(["sqlite3", database, " ".join([*deletes, "VACUUM;"])], check=True)
    return bulk_load(home, tables, source, database)


def holdings(repo):
    """A checksum of the raws of a repository and their files."""
    sql = "SELECT instrument, detector, exposure, dataset_id, run, f.path, f.file_size FROM raw r JOIN files f USING (dataset_id) ORDER BY dataset_id"
    return zlib.crc32(butlersql(repo, "-q", "--format", "csv", "-c", sql, stdout=subprocess.PIPE).stdout.encode())


def line(name, question, size, costs):
    ours = costs["butlersql"]
    def cpu(who):
        return f"{costs[who][0]:.2f}" if who in costs else "–"
    def ratio(*others):
        known = [costs[who][0] for who in others if who in costs]
        return f"{min(known) / max(ours[0], 0.001):.1f}" if known else "–"
    cells = [question, name, str(size), cpu("Butler"), cpu("database"), cpu("DuckDB"), f"**{ours[0]:.2f}**",
             ratio("Butler"), ratio("database", "DuckDB"), f"{ours[1]:.2f}", f"{ours[2]:.0f}"]
    return "| " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--exposures", type=int, default=16540)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--import", dest="imports", action="store_true", help="also import all raws (the Butler once)")
    parser.add_argument("--campaign", action="store_true", help="also print the cost of building the repository, once")
    parser.add_argument("--only", help="only queries whose name contains this text")
    parser.add_argument("--without-butler", action="store_true")
    parser.add_argument("--registry", choices=["sqlite", "postgres"], help="only this database")
    options = parser.parse_args()
    home = pathlib.Path(tempfile.mkdtemp())
    try:
        run(options, home)
    finally:
        shutil.rmtree(home)


def run(options, home):
    data, server = home / "data", Server()
    subprocess.run([PROGRAM, "sample", data, "--exposures", str(options.exposures)], check=True, stdout=subprocess.DEVNULL)
    print("| question | registry | rows | Butler | sqlite3, psql | DuckDB | butlersql | Butler ÷ ours | best other ÷ ours"
          " | wall, s | MiB |\n|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for name, database in [("SQLite", "sqlite"), ("PostgreSQL", "postgres")]:
        if options.registry not in (None, database):
            continue
        repo, seed = str(home / f"repo-{database}"), home / f"{database}.yaml"
        seed.write_text("datastore: {name: ccms1}\n")
        if database == "postgres":
            make_database("bench")
            seed.write_text(f"datastore: {{name: ccms1}}\nregistry: {{db: '{POSTGRES}/bench'}}\n")
        built = measured(campaign(data, seed, repo), server)
        if options.campaign:
            print(line(name, "all steps of RTN-103", "", {"butlersql": built}), flush=True)
        if database == "postgres":
            subprocess.run(["psql", "-X", "-q", "-d", f"{POSTGRES}/bench", "-c", "VACUUM ANALYZE"], check=True)
        bench = Bench(home, name, repo, database, server)
        for question in QUESTIONS:
            if options.without_butler:
                question = (*question[:3], None)
            if not options.only or options.only in question[0]:
                print(line(name, question[0], *bench.ask(question, options.runs)), flush=True)
        if options.imports:
            print(line(name, "import of all raws", *imports(home, name, repo, options.runs, server, not options.without_butler)), flush=True)


if __name__ == "__main__":
    main()
