"""Does an independent validator take every pipeline by the schema that the program prints, and no mistakes?

    python schema.py target/debug/slackwater pipelines/*.toml

Reads each pipeline with Python's own TOML parser and holds it against `slackwater schema`. Then the
same with mistakes, one at a time: every key once misspelt, and once with a value that nothing takes.
All of these must be refused. And once with an expression for each `where`, which must be taken. Ends with 0 if so.
"""

import argparse
import copy
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema

# What no key takes.
NOTHING = [[None]]
# Tables whose keys are names that a person chooses.
FREE = {"where", "properties"}


def tables(value, path=()):
    """(path, table) of all tables in a pipeline, the outermost first, whose keys are declared."""
    if isinstance(value, dict):
        yield path, value
        for name, below in value.items():
            if name not in FREE:
                yield from tables(below, (*path, name))
    elif isinstance(value, list):
        for at, below in enumerate(value):
            yield from tables(below, (*path, at))


def reached(value, path):
    for part in path:
        value = value[part]
    return value


def mistakes(pipeline):
    """(what is wrong, pipeline) for each way in which one key can be wrong."""
    for path, table in tables(pipeline):
        for name in table:
            where = ".".join(map(str, (*path, name)))
            misspelt = copy.deepcopy(pipeline)
            below = reached(misspelt, path)
            below[name + "x"] = below.pop(name)
            yield f"{where} misspelt", misspelt
            wrong = copy.deepcopy(pipeline)
            reached(wrong, path)[name] = NOTHING
            yield f"{where} with a wrong value", wrong


def other_forms(pipeline):
    """(what is written otherwise, pipeline) for each key that may be of two forms."""
    for path, table in tables(pipeline):
        if "where" in table:
            other = copy.deepcopy(pipeline)
            reached(other, path)["where"] = "amount > 10.0"
            yield f"{'.'.join(map(str, path))}.where as an expression", other


def check(validator, name, pipeline):
    """What the schema says of a pipeline that it should not; and how many mistakes it was shown."""
    said = [
        f"{name}: {'.'.join(map(str, error.absolute_path))}: {error.message}"
        for error in validator.iter_errors(pipeline)
    ]
    said += [
        f"{name}: {what} is refused"
        for what, other in other_forms(pipeline)
        if not validator.is_valid(other)
    ]
    shown = 0
    for what, wrong in mistakes(pipeline):
        shown += 1
        if validator.is_valid(wrong):
            said.append(f"{name}: {what} is not refused")
    return said, shown


def self_test():
    """A schema that takes anything, or nothing, must be found out."""
    pipeline = {"job": {"name": "x"}, "list": [{"of": "y", "where": {"any": 1}}]}
    found = [what for what, _ in mistakes(pipeline)]
    names = ("job", "job.name", "list", "list.0.of", "list.0.where")
    kinds = ("misspelt", "with a wrong value")
    expected = [f"{name} {kind}" for name in ("job", "list") for kind in kinds]
    assert set(expected) <= set(found), found
    assert len(found) == len(names) * len(kinds), found
    takes_all = jsonschema.Draft7Validator({})
    said, shown = check(takes_all, "x", pipeline)
    assert len(said) == shown == len(found), said
    takes_nothing = jsonschema.Draft7Validator(False)
    said, _ = check(takes_nothing, "x", pipeline)
    assert len(said) == 2, said
    print("self test: ok")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", nargs="?", help="slackwater")
    parser.add_argument("pipelines", nargs="*", type=Path, help="pipeline files")
    parser.add_argument("--self-test", action="store_true", help="check this program and end")
    arguments = parser.parse_args()
    if arguments.self_test:
        self_test()
        return 0
    if not arguments.pipelines:
        parser.error("name the program and some pipeline files")
    printed = subprocess.run([arguments.program, "schema"], check=True, capture_output=True)
    schema = json.loads(printed.stdout)
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    said, shown = [], 0
    for path in arguments.pipelines:
        new, mistaken = check(validator, path, tomllib.loads(path.read_text("utf-8")))
        said += new
        shown += mistaken
    for line in said:
        print(line)
    count = len(arguments.pipelines)
    print(f"{count} pipelines and {shown} mistakes in them: {len(said)} are not judged as they should be")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
