"""What the flights job (pipelines/flights.toml) must say about every event, in event-time order.

How a record is read is the same for every job and comes from oracle.py; this program shares no code
with the engine either. What it adds is this job's fields, checks and features, and the order:

    python flights.py --out expected.jsonl EWR.jsonl JFK.jsonl LGA.jsonl
    python flights.py --self-test

Each partition is read by itself first, which decides what is rejected and what is late: an event
older than the highest event time that its partition has brought, less the bound. All that is on
time is then handled in the order of (event time, partition, offset). One line of output an event,
as from oracle.py, with the fields that a prediction repeats.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
from oracle import Number, Rejected, invalid, is_integer, parse, predict, records, wrong_type

MODEL = Path(__file__).resolve().parents[2] / "pipelines" / "models" / "flights.onnx"

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
OUT_OF_ORDERNESS_MS = DAY_MS
HISTORY_EVENTS = 50
HISTORY_TTL_MS = 6 * HOUR_MS
AIRPORTS = ["EWR", "JFK", "LGA"]
# Schema order: (name, kind, required).
FIELDS = [
    ("carrier", "a string", True),
    ("flight", "an integer", True),
    ("origin", "a string", True),
    ("dest", "a string", True),
    ("tailnum", "a string", False),
    ("scheduled_ms", "an integer", True),
    ("at_ms", "an integer", True),
    ("cancelled", "a boolean", True),
    ("dep_delay", "an integer", False),
    ("dep_del15", "a boolean", False),
    ("distance", "an integer", True),
]
REPEATED = ["carrier", "flight", "origin", "dest", "scheduled_ms", "cancelled"]


# ---------------------------------------------------------------- one event


def typed(name, kind, value, source):
    """The value in its type, which must be the declared one."""
    if kind == "a boolean":
        right = isinstance(value, bool)
    elif kind == "an integer":
        right = is_integer(value)
    else:
        right = isinstance(value, str) and not isinstance(value, Number)
    if not right:
        raise wrong_type(name, kind, source)
    return int(value) if kind == "an integer" else value


def read_event(record):
    """The fields of an event that passes all checks of the first stage."""
    found = parse(record)
    event = {}
    for name, kind, required in FIELDS:
        value, source = found.get(name, (None, "null"))
        if name == "carrier" and value in (None, ""):
            raise invalid("empty", "validate", "carrier cannot be empty")
        if value is None and required:
            raise invalid("missing", "validate", f"{name} is missing")
        event[name] = None if value is None else typed(name, kind, value, source)
        if name == "origin" and event[name] not in AIRPORTS:
            raise invalid("check_failed", "validate", "origin must be one of EWR, JFK, LGA")
        if name == "distance" and event[name] < 1:
            raise invalid("check_failed", "validate", "distance must be at least 1")
    return event


def refuse_late(time, highest, out_of_orderness):
    """Rejects an event older than the watermark; the first of a partition has none before it."""
    behind = 0 if highest is None else highest - out_of_orderness - time
    if behind > 0:
        raise Rejected("late_events", "late", "late", f"{behind:,} ms behind the watermark")


# ---------------------------------------------------------------- features


def share(events, window):
    return len(events) / len(window)


def recent(events, time, span):
    """Those of the last `span` milliseconds, of events in the order of time."""
    chosen = []
    for event in reversed(events):
        if event["at_ms"] <= time - span:
            break
        chosen.append(event)
    return chosen[::-1]


def delays(events):
    """What is known of how late they left, minutes."""
    return [event["dep_delay"] for event in events if event["dep_delay"] is not None]


def mean(numbers):
    return sum(numbers) / len(numbers) if numbers else 0.0


def spread(numbers):
    middle = mean(numbers)
    return math.sqrt(mean([(number - middle) ** 2 for number in numbers]))


def of_carrier(events, time):
    """Of the carrier's events of the last hours."""
    window = recent(events, time, 3 * HOUR_MS)
    return [mean(delays(window)) / 60, spread(delays(window)) / 60]


def of_airport(events, time):
    """Of all events at the airport, the last of which is the one in question."""
    hour, hours, day = (recent(events, time, span * HOUR_MS) for span in (1, 3, 24))
    before = delays(recent(events[:-1], time, HOUR_MS))
    late = [event for event in hours if event["dep_del15"] is True]
    return [
        math.log1p(len(hour)),
        mean(before) / 60,
        min(max(max(delays(hour), default=0), -30), 240) / 60,
        share(late, hours),
        math.log1p(sum(event["cancelled"] for event in hours)),
        len(day) / 100,
        min(delays(events[-20:]), default=0) / 60,
        min(max(before[-1] if before else 0, -30), 240) / 60,
    ]


def features(handled, airport, event):
    """The features of an event. `handled` holds its carrier's events, `airport` its airport's; this one is the last of both."""
    time = event["at_ms"]
    window = [e for e in handled[-HISTORY_EVENTS:] if e["at_ms"] > time - HISTORY_TTL_MS]
    late = [e for e in window if e["dep_del15"] is True]
    late_near = [e for e in late if e["origin"] in ("JFK", "LGA")]
    delay = 0 if event["dep_delay"] is None else event["dep_delay"]
    # What a gap is that does not exist: the whole of the history's time.
    since_previous = mean_gap = HISTORY_TTL_MS
    if len(window) >= 2:
        since_previous = max(0, time - window[-2]["at_ms"])
        mean_gap = max(0, (time - window[0]["at_ms"]) / (len(window) - 1))
    angle = 2 * math.pi * (time // HOUR_MS % 24) / 24
    values = [
        min(max(delay, -30), 240) / 60,
        1 if event["dep_del15"] else 0,
        math.log1p(event["distance"]),
        math.sin(angle),
        math.cos(angle),
        # The first day of 1970 was a Thursday.
        (time // DAY_MS + 3) % 7 / 6,
        *[1 if event["origin"] == origin else 0 for origin in AIRPORTS],
        math.log1p(len(window)),
        share(late, window),
        share(late_near, window),
        share([e for e in window if e["cancelled"]], window),
        math.log1p(len({e["tailnum"] for e in window if e["tailnum"] is not None})),
        math.log1p(len({e["dest"] for e in window})),
        math.log1p(since_previous),
        math.log1p(mean_gap),
        *of_carrier(handled, time),
        *of_airport(airport, time),
    ]
    return [float(np.float32(value)) for value in values]


# ---------------------------------------------------------------- all events


def run(files, out_of_orderness=OUT_OF_ORDERNESS_MS):
    """Outcomes of partitions given as bytes, without predictions, partition by partition."""
    outcomes, on_time = [], []
    for partition, data in enumerate(files):
        highest = None
        for offset, record in records(data):
            outcome = {"partition": partition, "offset": offset}
            outcomes.append(outcome)
            try:
                event = read_event(record)
                time = outcome["event_time"] = event["at_ms"]
                refuse_late(time, highest, out_of_orderness)
                highest = time if highest is None else max(highest, time)
                on_time.append((time, partition, offset, event, outcome))
            except Rejected as rejected:
                outcome.update(rejected.outcome)
    carriers, airports = {}, {}
    for _, _, _, event, outcome in sorted(on_time, key=lambda entry: entry[:3]):
        if event["tailnum"] in (None, ""):
            message = "no aircraft was assigned"
            outcome.update(Rejected("processing_errors", "empty", "feature", message).outcome)
            continue
        handled = carriers.setdefault(event["carrier"], [])
        airport = airports.setdefault(event["origin"], [])
        handled.append(event)
        airport.append(event)
        outcome["stream"] = "predictions"
        outcome.update({name: event[name] for name in REPEATED})
        outcome["features"] = features(handled, airport, event)
    return outcomes


# ---------------------------------------------------------------- self test

# 1 January 2013, a Tuesday, 18:00 UTC.
START = 1_357_063_200_000


def line(**changes):
    """A flight with some fields given anew; what is None is left out."""
    event = {"carrier": "UA", "flight": 1, "origin": "EWR", "dest": "IAH", "tailnum": "N1"}
    event |= {"scheduled_ms": START, "at_ms": START, "cancelled": False, "distance": 1400}
    event |= {"dep_delay": 0, "dep_del15": False} | changes
    return json.dumps({key: value for key, value in event.items() if value is not None}).encode()


def check_records():
    def check(message, **changes):
        (outcome,) = run([line(**changes)])
        assert outcome.get("message") == message, (changes, outcome)

    check(None)
    check(None, dep_delay=None, dep_del15=None, cancelled=True)
    check("carrier cannot be empty", carrier="", flight="x")
    check("flight is missing", flight=None)
    check("flight must be an integer, got 1.5", flight=1.5)
    check("origin must be one of EWR, JFK, LGA", origin="SFO", at_ms=None)
    check("distance must be at least 1", distance=0)
    check("cancelled must be a boolean, got 0", cancelled=0)
    check("dep_delay must be an integer, got true", dep_delay=True)
    check("no aircraft was assigned", tailnum=None)
    check("tailnum must be a string, got 5", tailnum=5)


def check_order():
    """Lateness is the partition's own; what is on time is handled by time, partition, offset."""
    day = [line(at_ms=START + DAY_MS), line(at_ms=START), line(at_ms=START - 1)]
    other = [line(at_ms=START - 1)]
    found = run([b"\n".join(day), b"\n".join(other)])
    assert [outcome.get("code") for outcome in found] == [None, None, "late", None], found
    assert found[2]["message"] == "1 ms behind the watermark"

    # The second file's event is earlier than both of the first; the two at START go by partition.
    first = [line(at_ms=START + 9, tailnum="N2"), line(at_ms=START)]
    second = [line(at_ms=START, tailnum="N3"), line(at_ms=START - 5)]
    found = run([b"\n".join(first), b"\n".join(second)])
    counts = [round(math.expm1(outcome["features"][9])) for outcome in found]
    assert counts == [4, 2, 3, 1], counts
    # Aircraft seen so far: N1; N1; N1, N3; N1, N2, N3.
    assert [round(math.expm1(outcome["features"][13])) for outcome in found] == [3, 1, 2, 1]
    # A late event and one without an aircraft are in no history, but the latter moves the watermark.
    gap = [line(at_ms=START + 2 * DAY_MS, tailnum=None), line(at_ms=START + DAY_MS - 1), line(at_ms=START + DAY_MS)]
    found = run([b"\n".join(gap)])
    assert [outcome.get("code") for outcome in found] == ["empty", "late", None]
    assert found[2]["features"][9] == float(np.float32(math.log1p(1)))
    assert [outcome.get("code") for outcome in run([b"\n".join(gap)], 2 * DAY_MS)] == ["empty", None, None]


def check_features():
    events = [
        line(at_ms=START, dep_delay=300, dep_del15=True, origin="LGA"),
        line(at_ms=START + 60_000, cancelled=True, dep_delay=None, dep_del15=None, dest="ORD"),
        line(at_ms=START + HISTORY_TTL_MS, dep_delay=-30, tailnum="N2"),
    ]
    found = [outcome["features"] for outcome in run([b"\n".join(events)])]

    def narrow(*values):
        return [float(np.float32(value)) for value in values]

    log = math.log1p
    # 18 hours are three quarters of the circle: the sine is -1.
    assert found[0][:4] == narrow(4, 1, log(1400), -1) and abs(found[0][4]) < 1e-6
    assert found[0][5:9] == narrow(1 / 6, 0, 0, 1)
    assert found[0][9:17] == narrow(log(1), 1, 1, 0, log(1), log(1), *[log(6 * HOUR_MS)] * 2)
    assert found[0][17:] == narrow(5, 0, log(1), 0, 4, 1, 0, 0.01, 5, 0)
    assert found[1][:2] == [0, 0] and found[1][6:9] == [1, 0, 0]
    assert found[1][9:17] == narrow(log(2), 0.5, 0.5, 0.5, log(1), log(2), *[log(60_000)] * 2)
    # A cancelled flight has no delay, so the carrier's mean is the other one's; its airport has seen nothing else.
    assert found[1][17:] == narrow(5, 0, log(1), 0, 0, 0, log(1), 0.01, 0, 0)
    # Six hours after the first, which is no longer in the window; the next day in UTC.
    gap = log(6 * HOUR_MS - 60_000)
    assert found[2][:1] == [-0.5] and found[2][5] == narrow(2 / 6)[0]
    assert found[2][9:17] == narrow(log(2), 0, 0, 0.5, log(2), log(2), gap, gap)
    assert found[2][17:] == narrow(-0.5, 0, log(1), 0, -0.5, 0, 0, 0.02, -0.5, 0)

    near = [line(at_ms=START + k * 60_000, dep_delay=10 * k, dep_del15=k > 1, tailnum=f"N{k}") for k in range(60)]
    found = [outcome["features"] for outcome in run([b"\n".join(near)])]
    assert found[-1][13] == narrow(log(50))[0]
    assert found[-1][17:] == narrow(
        295 / 60, 10 * math.sqrt((60**2 - 1) / 12) / 60, log(60), 290 / 60, 4, 58 / 60, 0, 0.6, 400 / 60, 4
    )
    assert found[3][17:] == narrow(0.25, spread([0, 10, 20, 30]) / 60, log(4), 10 / 60, 0.5, 0.5, 0, 0.04, 0, 20 / 60)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="partitions, JSONL")
    parser.add_argument("--out", type=Path, help="where to write; standard output if not given")
    parser.add_argument("--model", type=Path, default=MODEL, help="the ONNX file")
    parser.add_argument("--out-of-orderness-ms", type=int, default=OUT_OF_ORDERNESS_MS, help="the bound")
    parser.add_argument("--self-test", action="store_true", help="check known answers and end")
    arguments = parser.parse_args()
    if arguments.self_test:
        check_records()
        check_order()
        check_features()
        print("self test: ok")
        return 0
    if not arguments.files:
        parser.error("name the partition files")
    files = sorted(arguments.files, key=str)
    outcomes = run([path.read_bytes() for path in files], arguments.out_of_orderness_ms)
    predict(outcomes, arguments.model)
    text = "".join(json.dumps(outcome) + "\n" for outcome in outcomes)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
