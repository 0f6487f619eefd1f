"""Does the engine say what the oracle says, about every event, once?

    python compare.py expected.jsonl out/ [--features features.jsonl] [--job flights]

Reads the oracle's file and the engine's output folder: out/<stream>/shard-*.jsonl. Predictions must
carry partition and offset (`[sink] provenance = true`); dead letters carry them in `source`. Ends
with 0 if every event has exactly one record, on the right stream, saying the same, and the
predictions of each key stand in the job's order: of arrival, which is that of the offsets of each
partition, or of event time, then partition, then offset, over all partitions.
"""

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path

SCORE_TOLERANCE = 1e-5
FEATURE_TOLERANCE = 1e-6
DIFFERENCES_SHOWN = 20
# Folder of the engine's output -> the oracle's name of the stream, the word in `error_type`.
STREAMS = {
    "ml_predictions": ("predictions", None),
    "validation_errors": ("validation_errors", "VALIDATION_ERROR"),
    "processing_errors": ("processing_errors", "PROCESSING_ERROR"),
    "late_events_dlq": ("late_events", "LATE_EVENT"),
}
# Job -> the field that is its key, and its order.
JOBS = {"user-events": ("user_id", "arrival"), "flights": ("carrier", "event_time")}
# What an expected prediction says beside the fields that the engine's repeats.
NOT_REPEATED = {"partition", "offset", "stream", "features", "prediction"}
# The words after this are the parser's own.
NOT_JSON_PREFIX = "record is not JSON: "


def read_lines(path):
    """(line number, value) of a JSONL file; a line that is not JSON gives None."""
    with path.open("rb") as lines:
        for number, text in enumerate(lines, start=1):
            try:
                yield number, json.loads(text)
            except ValueError:
                yield number, None


def place_of(stream, record):
    """(partition, offset) of a record, or None."""
    holder = record if stream == "predictions" else record.get("source")
    if not isinstance(holder, dict):
        return None
    place = (holder.get("partition"), holder.get("offset"))
    return place if all(type(number) is int for number in place) else None


def turn_of(record, place, key, order):
    """(what is in order by itself, where in that order a prediction belongs)."""
    if order == "event_time":
        return record.get(key), (record.get("event_time"), *place)
    return (record.get(key), place[0]), place[1:]


def goes_back(turn, last):
    """Whether a turn does not come after the last one; what is not a number has no turn."""
    numbers = all(type(number) is int for number in turn + (last or ()))
    return not numbers or (last is not None and turn <= last)


def read_output(folder, key, order):
    """({place: [(stream, record)]}, differences found in reading)."""
    found, differences = {}, []
    paths = sorted(folder.rglob("*.jsonl"))
    if not paths:
        differences.append(f"{folder} holds no .jsonl file")
    for path in paths:
        if path.parent.name not in STREAMS:
            differences.append(f"{path}: `{path.parent.name}` is no stream of this job")
            continue
        stream, error_type = STREAMS[path.parent.name]
        last = {}
        for number, record in read_lines(path):
            where = f"{path}:{number}"
            place = place_of(stream, record) if isinstance(record, dict) else None
            if place is None:
                differences.append(f"{where}: not a JSON object with partition and offset")
                continue
            if record.get("error_type") != error_type:
                differences.append(f"{where}: error_type is {record.get('error_type')!r}")
            if stream == "predictions":
                group, turn = turn_of(record, place, key, order)
                if goes_back(turn, last.get(group)):
                    differences.append(f"{where}: {key} {record.get(key)!r} goes back in {order} order")
                last[group] = turn
            found.setdefault(place, []).append((stream, record))
    return found, differences


def same_number(expected, actual, tolerance):
    if isinstance(actual, bool) or not isinstance(actual, (int, float)):
        return False
    return math.isfinite(actual) and abs(actual - expected) <= tolerance


def same_message(expected, actual):
    if expected.startswith(NOT_JSON_PREFIX):
        return isinstance(actual, str) and actual.startswith(NOT_JSON_PREFIX)
    return actual == expected


def compare_event(expected, records):
    """What differs between the oracle's outcome and the engine's records of one event."""
    if len(records) != 1:
        streams = [stream for stream, _ in records]
        return [f"has {len(records)} records {streams}, expected 1 on {expected['stream']}"]
    (stream, record) = records[0]
    if stream != expected["stream"]:
        return [
            f"is on {stream} ({record.get('message')!r}), expected {expected['stream']}"
            f" ({expected.get('message')!r})"
        ]
    differences = []
    if stream == "predictions":
        keys = [key for key in expected if key not in NOT_REPEATED]
        if not same_number(expected["prediction"], record.get("prediction"), SCORE_TOLERANCE):
            differences.append(
                f"prediction is {record.get('prediction')!r}, expected {expected['prediction']}"
            )
    else:
        keys = ["code", "stage"] + ["event_time"] * (stream == "late_events")
        if not same_message(expected["message"], record.get("message")):
            differences.append(
                f"message is {record.get('message')!r}, expected {expected['message']!r}"
            )
    for key in keys:
        if record.get(key) != expected[key]:
            differences.append(f"{key} is {record.get(key)!r}, expected {expected[key]!r}")
    return differences


def compare_features(expected, rows):
    """What differs between the oracle's features of one event and the engine's rows of it."""
    if "features" not in expected:
        return ["has features, expected none"] if rows else []
    if len(rows) != 1:
        return [f"has {len(rows)} rows of features, expected 1"]
    (row,) = rows
    if not isinstance(row, list) or len(row) != len(expected["features"]):
        return [f"features are {row!r}"]
    differences = []
    for index, (want, got) in enumerate(zip(expected["features"], row), start=1):
        if not same_number(want, got, FEATURE_TOLERANCE * max(1.0, abs(want))):
            differences.append(f"feature {index} is {got!r}, expected {want!r}")
    return differences


def read_features(path):
    """({place: [row]}, differences found in reading)."""
    found, differences = {}, []
    for number, record in read_lines(path):
        place = place_of("predictions", record) if isinstance(record, dict) else None
        if place is None:
            differences.append(f"{path}:{number}: not a JSON object with partition and offset")
            continue
        features = record.get("features")
        # By name, in the order in which the pipeline declares them.
        row = list(features.values()) if isinstance(features, dict) else features
        found.setdefault(place, []).append(row)
    return found, differences


def compare(expected_path, out, features_path, key, order):
    """(places of the events, places that differ, all differences as text)."""
    found, differences = read_output(out, key, order)
    rows = None
    if features_path is not None:
        rows, in_features = read_features(features_path)
        differences += in_features
    places, wrong = set(), set()
    for number, expected in read_lines(expected_path):
        if expected is None:
            differences.append(f"{expected_path}:{number}: not JSON")
            continue
        place = (expected["partition"], expected["offset"])
        places.add(place)
        notes = compare_event(expected, found.pop(place, []))
        if rows is not None:
            notes += compare_features(expected, rows.pop(place, []))
        if notes:
            wrong.add(place)
        differences += [f"partition {place[0]} offset {place[1]}: {note}" for note in notes]
    for what, rest in (("records", found), ("features", rows or {})):
        for place in rest:
            wrong.add(place)
            differences.append(
                f"partition {place[0]} offset {place[1]}: has {what}, no such event was read"
            )
    if not places:
        differences.append(f"{expected_path} expects nothing")
    return places, wrong, differences


def self_test():
    """A comparison that never failed proves nothing: each kind of difference must be found."""
    score = {
        "partition": 0,
        "offset": 0,
        "stream": "predictions",
        "event_time": 5,
        "user_id": "u",
        "product_id": "p",
        "features": [1.0, 1000.0],
        "prediction": 0.5,
    }
    bad = {"partition": 0, "offset": 9, "stream": "validation_errors", "stage": "decode"}
    bad |= {"code": "not_json", "message": NOT_JSON_PREFIX + "the oracle's words"}
    good = {key: value for key, value in score.items() if key not in ("stream", "features")}
    letter = {"error_type": "VALIDATION_ERROR", "message": NOT_JSON_PREFIX + "other words at byte 0"}
    letter |= {"code": "not_json", "stage": "decode", "source": {"partition": 0, "offset": 9}}
    row = {"partition": 0, "offset": 0, "features": {"a": 1, "b": 1000.0005}}

    def check(expected, predictions, letters, rows=(row,), order="arrival", scored=(score,)):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            files = {
                "expected": [*scored, bad],
                "out/ml_predictions/shard-0": predictions,
                "out/validation_errors/shard-0": letters,
                "features": rows,
            }
            for path, values in files.items():
                path = folder / f"{path}.jsonl"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("".join(json.dumps(value) + "\n" for value in values))
            features = folder / "features.jsonl"
            _, _, found = compare(folder / "expected.jsonl", folder / "out", features, "user_id", order)
            assert (expected in "\n".join(found)) if expected else not found, (expected, found)

    check(None, [good | {"prediction": 0.500009}], [letter])
    check("has 0 records", [], [letter])
    check("has 2 records", [good, good], [letter])
    check("user_id 'u' goes back in arrival order", [good, good], [letter])
    check("no such event", [good, good | {"offset": 3}], [letter])
    check("prediction is", [good | {"prediction": 0.50002}], [letter])
    check("prediction is nan", [good | {"prediction": math.nan}], [letter])
    check("event_time is 6", [good | {"event_time": 6}], [letter])
    check("is on predictions", [good, good | {"offset": 9}], [])
    check("message is", [good], [letter | {"message": "other"}])
    check("code is", [good], [letter | {"code": "other"}])
    check("stage is", [good], [letter | {"stage": "other"}])
    check("error_type is", [good], [letter | {"error_type": "LATE_EVENT"}])
    check("not a JSON object", [good], [letter, letter | {"source": None}])
    check("feature 2 is", [good], [letter], [row | {"features": {"a": 1, "b": 1000.002}}])
    check("product_id is 'q'", [good | {"product_id": "q"}], [letter])
    check("has 0 rows", [good], [letter], [])
    check("expected none", [good], [letter], [row, row | {"offset": 9}])

    # An earlier event of a later partition comes first in the order of event time, and may in that of
    # arrival, which partitions do not share; at the same time the partition decides.
    earlier = {"partition": 1, "offset": 0, "event_time": 4}
    both = [good | earlier, good]
    more = {"rows": [row, row | {"partition": 1}], "scored": [score, score | earlier]}
    check(None, both, [letter], order="event_time", **more)
    check(None, both[::-1], [letter], **more)
    check("goes back in event_time order", both[::-1], [letter], order="event_time", **more)
    same_time = {"partition": 1, "offset": 0}
    both = [good | same_time, good]
    more["scored"] = [score, score | same_time]
    check(None, both[::-1], [letter], order="event_time", **more)
    check("goes back in event_time order", both, [letter], order="event_time", **more)
    check("goes back", [good | {"event_time": None}], [letter], order="event_time")
    print("self test: ok")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("expected", nargs="?", type=Path, help="what oracle.py wrote")
    parser.add_argument("out", nargs="?", type=Path, help="the engine's output folder")
    parser.add_argument("--features", type=Path, help="the engine's features, one line an event")
    parser.add_argument("--job", choices=JOBS, default="user-events", help="whose outputs these are")
    parser.add_argument("--self-test", action="store_true", help="check this program and end")
    arguments = parser.parse_args()
    if arguments.self_test:
        self_test()
        return 0
    if arguments.expected is None or arguments.out is None:
        parser.error("name the expected file and the output folder")
    paths = (arguments.expected, arguments.out, arguments.features)
    places, wrong, differences = compare(*paths, *JOBS[arguments.job])
    for difference in differences[:DIFFERENCES_SHOWN]:
        print(difference)
    if len(differences) > DIFFERENCES_SHOWN:
        print(f"... and {len(differences) - DIFFERENCES_SHOWN} more differences")
    print(f"{len(places)} events: {len(places - wrong)} agree, {len(wrong)} differ")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
