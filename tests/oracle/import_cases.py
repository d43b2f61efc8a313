"""Export files of every kind, imported by the Butler and by butlersql: the outcomes, and how many rows are there after.

usage: import_cases.py GENERATOR PROGRAM WORK    (GENERATOR: the reference's script with the cases, which is not ours)

Prints the cases that differ, each on a line: the name, the number of the import, and which of the two succeeded.
"""

import contextlib
import io
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

TABLES = ("collection", "dataset_type", "instrument", "detector", "dataset", "file_datastore_records")


def counts(repo):
    """Numbers of rows, in the order of the generator."""
    with sqlite3.connect(f"{repo}/gen3.sqlite3") as database:
        there = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
        count = lambda table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] if table in there else 0
        calibs = sum(count(table) for table in there if table.startswith("dataset_calibs_") and "idx" not in table and "autoindex" not in table)
        return [count(table) for table in TABLES] + [calibs]


def main(generator, program, work):
    # Formatters that cannot be installed have stand-ins beside the generator.
    sys.path.insert(0, str(Path(generator).parent / "pystubs"))
    definitions, cases = Path(generator).read_text().split('if __name__=="__main__":\n')
    sys.argv = ["", work]
    names = {"__name__": "cases"}
    exec(definitions, names)
    real, root = names["run"], names["B"]

    def ours(texts, transfer="direct", directory=f"{root}/root", **options):
        repo = f"{root}/ours"
        shutil.rmtree(repo, ignore_errors=True)
        shutil.copytree(f"{root}/tmpl", repo)
        for number, text in enumerate(texts):
            file = f"{root}/{number}.yaml"
            Path(file).write_text(text)
            arguments = f"'{directory or '/'}', export_file => '{file}', transfer => '{transfer}'"
            if "record_validation_info" in options:
                arguments += f", track_file_attrs => {str(options['record_validation_info']).lower()}"
            if options.get("without_datastore"):
                arguments += ", without_datastore => true"
            if "skip_dimensions" in options:
                arguments += f", skip_dimensions => {sorted(options['skip_dimensions'])}"
            done = subprocess.run([program, repo, "--write", "-q", "-c", f"CALL import({arguments})"], capture_output=True)
            yield done.returncode == 0, counts(repo)

    seen = 0

    def both(name, *texts, **options):
        nonlocal seen
        seen += 1
        with contextlib.redirect_stdout(io.StringIO()) as said:
            real(name, *texts, **options)
        lines = said.getvalue().splitlines()[1:]
        for number, (outcome, rows, done) in enumerate(zip(lines[::2], lines[1::2], ours(texts, **options)), 1):
            theirs = outcome.split("] ", 1)[1].startswith("OK"), [int(part.split("=")[1]) for part in rows.split()]
            if theirs[0] != done[0] or (done[0] and theirs[1] != done[1]):
                which = {(True, True): "both", (True, False): "the Butler", (False, True): "butlersql"}[theirs[0], done[0]]
                print(f"{name} [{number}]: {which}")

    names["run"] = both
    exec(textwrap.dedent(cases), names)
    assert seen > 90, seen


if __name__ == "__main__":
    main(*sys.argv[1:])
