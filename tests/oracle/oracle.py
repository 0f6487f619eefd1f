"""What the reference job must say about every event: slow, single-threaded, obvious.

It shares no code and no library with the engine, so that the two can only agree by being right (or
by misreading the same sentence). It knows this one job: its fields, checks and sixteen features.

    python oracle.py --out expected.jsonl part-0.jsonl part-1.jsonl ...
    python oracle.py --self-test

File k, in the order of the sorted paths, is partition k; an event's offset is the byte position of
its line. Partitions are processed one after the other, which gives the same answers as any other
interleaving as long as each user's events lie in one partition. One line of output an event:

    {"partition", "offset", "stream", "event_time"?, "user_id"?, "product_id"?,
     "features": [16], "prediction"}                       for stream "predictions"
    {..., "code", "stage", "message"}                      for the other three streams
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import xxhash

MODEL = Path(__file__).resolve().parents[2] / "pipelines" / "models" / "user-events.onnx"

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
GOT_CHARACTERS = 64
MAX_AHEAD_MS = 3_600_000
OUT_OF_ORDERNESS_MS = 2_000
HISTORY_EVENTS = 50
HISTORY_TTL_MS = 24 * 3_600_000
GAP_MAX_MS = 1e7
HOUR_MS = 3_600_000
CATEGORY_BUCKETS = 20
EVENT_TYPES = ["view", "click", "add_to_cart", "purchase"]
# Schema order: it decides which mistake of an event is the one that is reported.
FIELDS = [
    ("user_id", "string"),
    ("product_id", "string"),
    ("category", "string"),
    ("event_type", "string"),
    ("timestamp_ms", "integer"),
]


class Rejected(Exception):
    """The event goes to a dead-letter stream."""

    def __init__(self, stream, code, stage, message):
        super().__init__(message)
        self.outcome = {"stream": stream, "code": code, "stage": stage, "message": message}


def invalid(code, stage, message):
    """A rejection to validation_errors."""
    return Rejected("validation_errors", code, stage, message)


# ---------------------------------------------------------------- records


def records(data):
    """(offset, bytes) of each line; one carriage return before the line feed is not part of it."""
    offset = 0
    while offset < len(data):
        end = data.find(b"\n", offset)
        end = len(data) if end < 0 else end
        line = data[offset:end]
        yield offset, line[:-1] if line.endswith(b"\r") else line
        offset = end + 1


class Number(str):
    """A JSON number, kept as its source text."""


def refuse_constant(text):
    raise ValueError(f"{text} is not JSON")


def keep_number(text):
    if math.isinf(float(text)):
        raise ValueError("number out of range")
    return Number(text)


# Python's reader takes NaN and Infinity, which JSON has not; the hook refuses them.
DECODER = json.JSONDecoder(
    parse_int=keep_number, parse_float=keep_number, parse_constant=refuse_constant
)


def refuse_lone_surrogates(value):
    """Python's reader takes half of a surrogate pair as a character, which UTF-8 cannot hold."""
    if isinstance(value, dict):
        for key, item in value.items():
            refuse_lone_surrogates(key)
            refuse_lone_surrogates(item)
    elif isinstance(value, list):
        for item in value:
            refuse_lone_surrogates(item)
    elif isinstance(value, str):
        if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
            raise ValueError("lone surrogate")


def too_deep_at(record):
    """Byte of the bracket that opens level MAX_DEPTH + 1; brackets in strings do not count."""
    depth = 0
    in_string = False
    escaped = False
    for position, byte in enumerate(record):
        if in_string:
            if escaped:
                escaped = False
            elif byte == ord("\\"):
                escaped = True
            elif byte == ord('"'):
                in_string = False
        elif byte == ord('"'):
            in_string = True
        elif byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return position
        elif byte in b"]}":
            depth = max(0, depth - 1)
    return None


def skip_space(text, index):
    while index < len(text) and text[index] in " \t\r\n":
        index += 1
    return index


def members(text):
    """{key: (value, source text)} of an object already known to be good; the last duplicate wins."""
    found = {}
    index = skip_space(text, skip_space(text, 0) + 1)
    while text[index] != "}":
        key, index = DECODER.raw_decode(text, index)
        start = skip_space(text, skip_space(text, index) + 1)
        value, end = DECODER.raw_decode(text, start)
        found[key] = (value, text[start:end])
        index = skip_space(text, end)
        if text[index] == ",":
            index = skip_space(text, index + 1)
    return found


def parse(record):
    """The members of the record's object."""
    if len(record) > MAX_BYTES:
        message = f"record has {len(record)} bytes, max_bytes is {MAX_BYTES}"
        raise invalid("too_large", "decode", message)
    try:
        text = record.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"record is not UTF-8 at byte {error.start}"
        raise invalid("not_utf8", "decode", message) from error
    deep = too_deep_at(record)
    if deep is not None:
        message = f"record is nested deeper than max_depth {MAX_DEPTH} at byte {deep}"
        raise invalid("too_deep", "decode", message)
    try:
        value = DECODER.decode(text)
        refuse_lone_surrogates(value)
    except ValueError as error:
        raise invalid("not_json", "decode", f"record is not JSON: {error}") from error
    if not isinstance(value, dict):
        message = f"record is a JSON {type_name(value)}, expected an object"
        raise invalid("not_object", "decode", message)
    return members(text)


def type_name(value):
    if isinstance(value, list):
        return "array"
    if isinstance(value, Number):
        return "number"
    if isinstance(value, str):
        return "string"
    return "null" if value is None else "boolean"


# ---------------------------------------------------------------- fields and checks


def is_integer(value):
    """No fraction, no exponent, in i64; the length is asked first because it can be a megabyte."""
    if not isinstance(value, Number) or any(letter in value for letter in ".eE"):
        return False
    return len(value) <= 20 and -(2**63) <= int(value) < 2**63


def read_fields(found):
    """The fields' values in schema order; the category may be None or empty here."""
    event = {}
    for name, kind in FIELDS:
        value, source = found.get(name, (None, "null"))
        if name == "user_id" and value in (None, ""):
            raise invalid("empty", "validate", "user_id cannot be empty")
        if value is None:
            # The category has a check of a later stage, whose message a missing one gets.
            if name != "category":
                raise invalid("missing", "validate", f"{name} is missing")
        elif kind == "integer":
            if not is_integer(value):
                raise wrong_type(name, "an integer", source)
            value = int(value)
        elif not isinstance(value, str) or isinstance(value, Number):
            raise wrong_type(name, "a string", source)
        event[name] = value
    return event


def wrong_type(name, expected, source):
    got = source if len(source) <= GOT_CHARACTERS else source[:GOT_CHARACTERS] + "..."
    return invalid("wrong_type", "validate", f"{name} must be {expected}, got {got}")


class Partition:
    """The highest event time of one partition, by which events are late or too far ahead."""

    def __init__(self):
        self.highest = None

    def admit(self, time):
        if self.highest is None:
            self.highest = time
            return
        ahead = time - self.highest
        if ahead > MAX_AHEAD_MS:
            message = f"timestamp_ms is {ahead:,} ms ahead, max_ahead is {MAX_AHEAD_MS:,} ms"
            raise invalid("too_far_ahead", "validate", message)
        behind = self.highest - OUT_OF_ORDERNESS_MS - time
        if behind > 0:
            message = f"{behind:,} ms behind the watermark"
            raise Rejected("late_events", "late", "late", message)
        self.highest = max(self.highest, time)


# ---------------------------------------------------------------- features


def features(handled, event):
    """The sixteen features of an event. `handled` holds the user's events, this one the last."""
    time = event["timestamp_ms"]
    window = [e for e in handled[-HISTORY_EVENTS:] if e["timestamp_ms"] > time - HISTORY_TTL_MS]
    count = len(window)
    of_type = {kind: sum(e["event_type"] == kind for e in window) for kind in EVENT_TYPES}
    since_previous, mean_gap = 0.0, 0.0
    if count >= 2:
        since_previous = time - window[-2]["timestamp_ms"]
        mean_gap = (time - window[0]["timestamp_ms"]) / (count - 1)
    angle = 2 * math.pi * (time // HOUR_MS % 24) / 24
    bucket = xxhash.xxh3_64_intdigest(event["category"].encode("utf-8")) % CATEGORY_BUCKETS
    kind = event["event_type"]
    values = [
        count,
        of_type["view"],
        of_type["click"],
        of_type["add_to_cart"],
        of_type["purchase"],
        len({e["product_id"] for e in window}),
        len({e["category"] for e in window}),
        math.log1p(min(max(since_previous, 0.0), GAP_MAX_MS)),
        math.log1p(min(max(mean_gap, 0.0), GAP_MAX_MS)),
        math.sin(angle),
        math.cos(angle),
        bucket / CATEGORY_BUCKETS,
        EVENT_TYPES.index(kind) if kind in EVENT_TYPES else -1,
        of_type["purchase"] / count,
        of_type["add_to_cart"] / count,
        1.0,
    ]
    return [float(np.float32(value)) for value in values]


def handle(record, partition, histories):
    """The outcome of one record."""
    outcome = {}
    try:
        event = read_fields(parse(record))
        time = event["timestamp_ms"]
        outcome["event_time"] = time
        partition.admit(time)
        if event["category"] in (None, ""):
            message = "Category name cannot be empty"
            raise Rejected("processing_errors", "empty", "feature", message)
        handled = histories.setdefault(event["user_id"], [])
        handled.append(event)
        outcome["stream"] = "predictions"
        outcome["user_id"] = event["user_id"]
        outcome["product_id"] = event["product_id"]
        outcome["features"] = features(handled, event)
    except Rejected as rejected:
        outcome.update(rejected.outcome)
    return outcome


def run(files):
    """Outcomes of partitions given as bytes, without predictions."""
    histories = {}
    for number, data in enumerate(files):
        partition = Partition()
        for offset, record in records(data):
            outcome = handle(record, partition, histories)
            yield {"partition": number, "offset": offset, **outcome}


def predict(outcomes, model):
    """Adds the model's score to each outcome that has features."""
    scored = [outcome for outcome in outcomes if "features" in outcome]
    if not scored:
        return
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(model), options, providers=["CPUExecutionProvider"]
    )
    rows = np.array([outcome["features"] for outcome in scored], dtype=np.float32)
    scores = session.run(["output"], {"input": rows})[0][:, 0]
    for outcome, score in zip(scored, scores):
        outcome["prediction"] = float(score)


# ---------------------------------------------------------------- self test


def line(**changes):
    event = {
        "user_id": "u",
        "product_id": "p",
        "category": "c",
        "event_type": "view",
        "timestamp_ms": 1_767_225_600_000,
    }
    event.update(changes)
    return json.dumps({key: value for key, value in event.items() if value != "ABSENT"}).encode()


def self_test():
    """Known answers, worked out by hand."""

    def check(record, code, message=None):
        (outcome,) = run([record])
        assert outcome.get("code") == code, (record[:80], outcome)
        assert message is None or outcome["message"] == message, (record[:80], outcome)

    check(line(), None)
    check(line(user_id=""), "empty", "user_id cannot be empty")
    check(line(user_id=None, timestamp_ms="x"), "empty")
    check(line(user_id="ABSENT"), "empty")
    check(line(user_id=5), "wrong_type", "user_id must be a string, got 5")
    check(line(product_id="ABSENT"), "missing", "product_id is missing")
    check(line(product_id=""), None)
    check(line(category=""), "empty", "Category name cannot be empty")
    check(line(category="ABSENT"), "empty", "Category name cannot be empty")
    check(line(category=[1]), "wrong_type", "category must be a string, got [1]")
    check(line(category="", timestamp_ms="ABSENT"), "missing", "timestamp_ms is missing")
    check(line(timestamp_ms="abc"), "wrong_type", 'timestamp_ms must be an integer, got "abc"')
    check(line(timestamp_ms=1.5), "wrong_type", "timestamp_ms must be an integer, got 1.5")
    check(line(timestamp_ms=True), "wrong_type", "timestamp_ms must be an integer, got true")
    check(line(timestamp_ms=2**63 - 1), None)
    check(line(timestamp_ms=2**63), "wrong_type")
    check(line(timestamp_ms=-(2**63)), None)
    for source in ("1.0", "1e3", "-0.0"):
        check(line(timestamp_ms=7).replace(b": 7", b": " + source.encode()), "wrong_type")
    long = "x" * 80
    check(line(timestamp_ms=long), "wrong_type", f'timestamp_ms must be an integer, got "{"x" * 63}...')
    check(line() [:-1] + b', "user_id": ""}', "empty")
    check(line(user_id="") [:-1] + b', "user_id" : "z" }', None)
    check(line(user_id=None) [:-1] + b', "x":[{"user_id":"in"}]}', "empty")
    for text in (b"", b" ", b"{", b"{]", b"nul", b"01", b"[1,]", b'{"a":1,}', b'"\\ud800"', b"NaN"):
        check(text + b"\n", "not_json")
    for text in (b'{"a":Infinity}', b'{"a":1e400}', b"9" * 400, b'"\t"', b"\xef\xbb\xbf{}"):
        check(text, "not_json")
    check(b'"\\ud83d\\ude00"', "not_object", "record is a JSON string, expected an object")
    check(b"[]", "not_object", "record is a JSON array, expected an object")
    check(b"null", "not_object", "record is a JSON null, expected an object")
    check(b"1", "not_object", "record is a JSON number, expected an object")
    check(b"true", "not_object", "record is a JSON boolean, expected an object")
    check(b'{"a":"\xff"}', "not_utf8", "record is not UTF-8 at byte 6")
    deep = "record is nested deeper than max_depth 64 at byte 64"
    check(b"[" * 64 + b"]" * 64, "not_object")
    check(b"[" * 65, "too_deep", deep)
    check(b"x" + b"[" * 65, "too_deep", deep.replace("byte 64", "byte 65"))
    check(b'"' + b"[" * 65 + b'\\"' + b"[" * 65 + b'"', "not_object")
    check(b" " * (MAX_BYTES + 1), "too_large", "record has 1048577 bytes, max_bytes is 1048576")
    check(b" " * MAX_BYTES + b"\r\n", "not_json")

    check_lines()
    check_times()
    check_features()
    print("self test: ok")


def check_lines():
    assert list(records(b"")) == []
    assert list(records(b"a\n\r\nb\r\r\nc")) == [(0, b"a"), (2, b""), (4, b"b\r"), (8, b"c")]
    assert list(records(b"a\n")) == [(0, b"a")]
    assert list(records(b"\n\n")) == [(0, b""), (1, b"")]


def check_times():
    start = 1_767_225_600_000

    def codes(*steps):
        data = b"\n".join(line(timestamp_ms=start + step) for step in steps)
        return [outcome.get("message", "ok") for outcome in run([data])]

    assert codes(0, -2000, -2001) == ["ok", "ok", "1 ms behind the watermark"]
    assert codes(5000, 1766) == ["ok", "1,234 ms behind the watermark"]
    ahead = "timestamp_ms is 7,200,000 ms ahead, max_ahead is 3,600,000 ms"
    assert codes(0, 3_600_000, 0) == ["ok", "ok", "3,598,000 ms behind the watermark"]
    assert codes(0, 7_200_000, 0) == ["ok", ahead, "ok"]
    # An empty category moves the highest time, an empty user does not.
    for change, last in (({"category": ""}, "late"), ({"user_id": ""}, None)):
        data = [line(timestamp_ms=start), line(timestamp_ms=start + 9000, **change), line(timestamp_ms=start)]
        assert list(run([b"\n".join(data)]))[2].get("code") == last


def check_features():
    start = 1_767_225_600_000 + 6 * HOUR_MS
    events = [
        line(timestamp_ms=start),
        line(timestamp_ms=start + 1000, event_type="purchase", product_id="q"),
        line(timestamp_ms=start + 500, event_type="add_to_cart"),
        line(timestamp_ms=start + 700, event_type="other", category=""),
        line(timestamp_ms=start + 900, event_type="other", category="electronics"),
    ]
    found = [outcome.get("features") for outcome in run([b"\n".join(events)])]
    bucket = float(np.float32(xxhash.xxh3_64_intdigest(b"c") % 20 / 20))
    gap = float(np.float32(math.log1p(1000)))
    assert found[0] == [1, 1, 0, 0, 0, 1, 1, 0, 0, 1, found[0][10], bucket, 0, 0, 0, 1]
    assert abs(found[0][10]) < 1e-7
    assert found[1][:9] == [2, 1, 0, 0, 1, 2, 1, gap, gap] and found[1][12:15] == [3, 0.5, 0]
    assert found[2][:8] == [3, 1, 0, 1, 1, 2, 1, 0.0] and found[2][8] == float(np.float32(math.log1p(250)))
    assert found[3] is None
    assert found[4][:7] == [4, 1, 0, 1, 1, 2, 2] and found[4][12] == -1
    # Known digest of the hash itself.
    assert xxhash.xxh3_64_intdigest(b"") == 0x2D06800538D394C2

    many = b"\n".join(line(timestamp_ms=start + k, product_id=f"p{k}") for k in range(60))
    last = list(run([many]))[-1]["features"]
    assert last[0] == 50 and last[5] == 50 and last[8] == float(np.float32(math.log1p(1)))
    day = [start + k * HOUR_MS for k in range(25)]
    old = [o["features"][0] for o in run([b"\n".join(line(timestamp_ms=t) for t in day)])]
    assert old[-2:] == [24, 24]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="partitions, JSONL")
    parser.add_argument("--out", type=Path, help="where to write; standard output if not given")
    parser.add_argument("--model", type=Path, default=MODEL, help="the ONNX file")
    parser.add_argument("--self-test", action="store_true", help="check known answers and end")
    arguments = parser.parse_args()
    if arguments.self_test:
        self_test()
        return 0
    if not arguments.files:
        parser.error("name the partition files")
    files = sorted(arguments.files, key=str)
    outcomes = list(run(path.read_bytes() for path in files))
    predict(outcomes, arguments.model)
    out = arguments.out.open("w", encoding="utf-8") if arguments.out else sys.stdout
    for outcome in outcomes:
        out.write(json.dumps(outcome) + "\n")
    if arguments.out:
        out.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
