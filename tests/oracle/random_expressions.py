"""Random query expressions with the answers of a reference evaluator, one JSON object a line.

    python random_expressions.py EVALUATOR REPO COUNT SEED

EVALUATOR is the path of `evaluate.py` of the reference; REPO is a repository of its `make_repo.py` in SQLite. An answer is
that of version 29, or that of version 30 where version 29 has an error.
"""
import importlib.util
import json
import random
import sys

COLUMNS = {
    "int": ["seq_num", "exposure.seq_num", "visit.seq_num", "exposure", "visit", "detector", "day_obs", "exposure.day_obs",
            "exposure.id", "tract", "patch", "patch.cell_x", "exposure.seq_start", "detector.id", "instrument.detector_max",
            "visit_system", "tract.id", "htm7"],
    "float": ["exposure_time", "exposure.exposure_time", "dark_time", "visit.exposure_time", "zenith_angle",
              "exposure.tracking_ra", "visit.zenith_angle"],
    "text": ["instrument", "physical_filter", "band", "group", "target_name", "exposure.target_name", "visit.target_name",
             "observation_type", "detector.raft", "raft", "detector.purpose", "skymap", "visit.name", "exposure.obs_id",
             "science_program", "physical_filter.band", "full_name", "run", "collection"],
    "bool": ["can_see_sky", "exposure.can_see_sky", "has_simulated"],
    "time": ["exposure.timespan.begin", "exposure.timespan.end", "visit.timespan.begin", "day_obs.timespan.end"],
    "timespan": ["exposure.timespan", "visit.timespan", "day_obs.timespan"],
    "region": ["visit.region", "visit_detector_region.region", "tract.region", "patch.region", "htm7.region"],
}
CONSTANTS = {
    "int": ["0", "1", "2", "3", "-1", "4", "2024110100003", "2024110200002", "20241101", "20241102", "10", "253954"],
    "float": ["30.0", "5.5", "0.0", "15.", "3e1", "20.5", "-1.0", "30.25", "10.0"],
    "text": ["'Cam1'", "'Cam2'", "'r'", "'g'", "'r_03'", "'Field_A'", "'science'", "'RA'", "'WAVEFRONT'", "'sm1'", "''", "'BLOCK-2'",
             "'Cam1/raw/all'", "'u/run1'", "'white'", "'bias'"],
    "time": ["T'2024-11-02'", "T'2024-11-03T00:00:00/tai'", "T'60616.5'", "T'2024-11-02 01:00:00/tai'", "T'2024:307'"],
}
SEARCHES = {
    "raw": [["Cam1/raw/all"], ["top"], ["u/picked", "Cam1/raw/all"], ["Cam1/raw/all", "Cam2/raw/all"], ["*"], ["Cam1/defaults"]],
    "bias": [["Cam1/calib"], ["Cam1/calib/A", "Cam1/calib/B"], ["Cam1/calib/B"], ["Cam1/defaults"]],
    "flat": [["Cam1/calib"], ["Cam1/calib/A"]],
    "calexp": [["u/run1", "u/run2"], ["u/run2", "u/run1"], ["Cam1/defaults"], ["u/run*"]],
    "coadd": [["u/coadds"]],
    "refcat": [["refcats"]],
    "skyMap": [["skymaps"]],
    "task_config": [["u/run1"]],
}
ELEMENTS = ["exposure", "visit", "detector", "physical_filter", "band", "instrument", "skymap", "tract", "patch", "day_obs", "group",
            "visit_system", "visit_definition", "visit_detector_region", "subfilter"]
GROUPS = [["exposure"], ["visit"], ["visit", "tract"], ["visit", "patch"], ["exposure", "detector"], ["exposure", "visit"], ["band"],
          ["physical_filter", "band"], ["visit", "htm7"], ["instrument"], ["day_obs"], ["detector", "band"], ["tract"], ["skymap", "instrument"],
          ["visit", "detector"], []]


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def one(self, items):
        return self.random.choice(items)

    def chance(self, percent):
        return self.random.randrange(100) < percent

    def scalar(self, kind, depth=0):
        if depth > 0 and kind == "int":
            # Products of ids do not fit into 64 bits.
            return self.one(["seq_num", "detector", "exposure.seq_num", "tract", "1", "2", "3"])
        if kind in ("int", "float") and depth < 2 and self.chance(12):
            operators = "+-*/%" if kind == "int" else "+-*"
            operator = self.one(operators)
            right = self.one(["2", "3"]) if operator in "/%" else self.scalar(kind, depth + 1)
            text = f"{self.scalar(kind, depth + 1)} {operator} {right}"
            return f"({text})" if self.chance(50) else text
        if kind in ("int", "float") and self.chance(4):
            return self.one("-+") + self.one(COLUMNS[kind])
        return self.one(COLUMNS[kind] if self.chance(75) else CONSTANTS[kind])

    def comparison(self, top):
        kind = self.one(["int", "int", "text", "text", "text", "float", "time", "null", "bool", "in", "range", "glob", "timespan", "region", "wrong"])
        operator = self.one(["=", "=", "!=", "<", "<=", ">", ">="])
        if kind in ("int", "float", "text", "time"):
            other = "float" if kind == "int" and self.chance(5) else kind
            sides = [self.one(COLUMNS[kind]) if self.chance(85) else self.scalar(kind), self.scalar(other) if self.chance(30) else self.one(CONSTANTS[other])]
            if self.chance(10):
                sides.reverse()
            return f" {operator} ".join(sides)
        if kind == "null":
            return f"{self.one(COLUMNS[self.one(['int', 'float', 'text', 'bool'])])} {self.one(['=', '!='])} NULL"
        if kind == "bool":
            return self.one(COLUMNS["bool"])
        if kind == "in":
            of = self.one(["int", "text", "float"])
            items = [self.one(CONSTANTS[of]) for _ in range(self.random.randint(1, 3))] + (["NULL"] if self.chance(15) else [])
            return f"{self.scalar(of)} {self.one(['IN', 'IN', 'NOT IN'])} ({', '.join(items)})"
        if kind == "range":
            return f"{self.one(COLUMNS['int'])} {self.one(['IN', 'NOT IN'])} ({self.one(['1..3', '0..5:2', '-2..1', '2024110100002..2024110200002', '3..1'])})"
        if kind == "glob":
            return f"GLOB({self.one(COLUMNS['text'])}, {self.one(['''Cam*''', '*', 'Field_?', '*[x]*', 'r*', 'R?'])!r})".replace('"', "'")
        if kind == "timespan":
            # The evaluator takes two equal times as an empty timespan; the Butler as one of a nanosecond.
            begin, end = self.random.sample(CONSTANTS["time"], 2)
            other = self.one([self.one(CONSTANTS["time"]), f"({begin}, {end})",
                              f"(NULL, {self.one(CONSTANTS['time'])})", f"({self.one(CONSTANTS['time'])}, NULL)"])
            sides = [self.one(COLUMNS["timespan"]), other]
            if self.chance(20):
                sides.reverse()
            return " OVERLAPS ".join(sides)
        if kind == "region" and top:
            if self.chance(30):
                return f"{self.one(COLUMNS['region'])} OVERLAPS {self.one(COLUMNS['region'])}"
            return f"{self.one(COLUMNS['region'])} OVERLAPS POINT({self.one(['10.0, 0.1', '30, -45', '12.2, 0.6', '11, 0.3'])})"
        if kind == "wrong":
            return f"{self.scalar(self.one(['int', 'text', 'float']))} {operator} {self.scalar(self.one(['int', 'text', 'float']))}"
        return "instrument = 'Cam1'"

    def expression(self, depth, top=True):
        choice = self.random.randrange(100)
        if depth == 0 or choice < 45:
            return self.comparison(top)
        if choice < 75:
            return f"{self.expression(depth - 1, top)} {self.one(['AND', 'and'])} {self.expression(depth - 1, top)}"
        if choice < 88:
            text = f"{self.expression(depth - 1, False)} OR {self.expression(depth - 1, False)}"
            return f"({text})" if not top or self.chance(70) else f"({text})"
        return f"NOT {self.comparison(False)}" if self.chance(50) else f"NOT ({self.expression(depth - 1, False)})"

    def case(self, number):
        where = self.expression(self.random.randint(0, 3))
        if self.chance(60):
            where = f"instrument = {self.one(CONSTANTS['text'][:2])} AND {where}"
        if self.chance(25):
            where = f"{where} AND skymap = 'sm1'"
        if self.chance(3):
            at = self.random.randrange(len(where) + 1)
            where = where[:at] + self.one(["'", ")", "(", ",", " AND ", "#", ".."]) + where[at:]
        kind = self.one(["records", "records", "data_ids", "datasets", "datasets"])
        case = {"id": number, "kind": kind, "where": where}
        if kind == "records":
            case["of"] = self.one(ELEMENTS)
        elif kind == "data_ids":
            case["of"] = self.one(GROUPS)
        else:
            case["of"] = self.one(list(SEARCHES))
            case["collections"] = self.one(SEARCHES[case["of"]])
            case["find_first"] = self.chance(60)
        return case


def main():
    path, root, count, seed = sys.argv[1:5]
    spec = importlib.util.spec_from_file_location("evaluator", path)
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    repo = reference.Repo(root)
    generator = Generator(int(seed))
    for number in range(int(count)):
        case = generator.case(1_000_000 + number)
        for version in ("b29", "b30"):
            try:
                rows = reference.evaluate(repo, version, case)
                case["b29"] = {"n": len(rows), "rows": rows}
                break
            except (reference.Wrong, KeyError, ValueError, OverflowError, TypeError, ZeroDivisionError) as error:
                case["b29"] = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(case))


main()
