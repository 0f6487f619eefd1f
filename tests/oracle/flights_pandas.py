"""Are the features of all flights of the year what pandas makes of them, as of each flight's own moment?

    python flights_pandas.py --vectors DIR flights/EWR.jsonl flights/JFK.jsonl flights/LGA.jsonl

`DIR` is the folder of JSON lines that `slackwater features pipelines/flights.toml` has written. flights.py
computes the same event by event, for some; here each feature is a column of a table of all of them, so a
mistake in thinking would have to be made twice. Ends with 0 if every flight that should have a vector has
one, no other has, and no number is off by more than a millionth.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.indexers import BaseIndexer

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
OUT_OF_ORDERNESS_MS = DAY_MS
HISTORY_EVENTS = 50
HISTORY_TTL_MS = 6 * HOUR_MS
TOLERANCE = 1e-6


def read_flights(files):
    """All flights, each with where it stands; the paths in order are the partitions."""
    tables = []
    for partition, path in enumerate(sorted(files, key=str)):
        data = path.read_bytes()
        lines = data.splitlines(keepends=True)
        table = pd.DataFrame([json.loads(line) for line in lines])
        table["partition"] = partition
        table["offset"] = np.cumsum([0] + [len(line) for line in lines[:-1]])
        before = table["at_ms"].cummax().shift()
        table["late"] = table["at_ms"] < before - OUT_OF_ORDERNESS_MS
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


class Stretch(BaseIndexer):
    """Rolling windows that end with each row and begin where they are told."""

    def get_window_bounds(self, num_values=0, min_periods=None, center=None, closed=None, step=None):
        ends = np.arange(1, num_values + 1, dtype=np.int64) - self.without_self
        return np.minimum(self.starts, ends), ends


class Keyed:
    """The flights of each value of a field together, in the order in which they are handled."""

    def __init__(self, handled, key):
        self.table = handled.sort_values([key, "at_ms", "partition", "offset"], kind="stable")
        self.at = self.table["at_ms"].to_numpy()
        self.row = np.arange(len(self.table))
        values = self.table[key].to_numpy()
        new = np.r_[True, values[1:] != values[:-1]]
        self.first = np.maximum.accumulate(np.where(new, self.row, 0))
        self.bounds = np.r_[np.flatnonzero(new), len(values)]

    def within(self, span_ms):
        """Where the windows of the last `span_ms` begin: the first row of the key with a later time than that."""
        starts = np.empty(len(self.row), dtype=np.int64)
        for begin, end in zip(self.bounds[:-1], self.bounds[1:]):
            times = self.at[begin:end]
            starts[begin:end] = begin + np.searchsorted(times, times - span_ms, side="right")
        return starts

    def last(self, events):
        """Where the windows of the last so many rows begin."""
        return np.maximum(self.first, self.row - events + 1)

    def over(self, column, starts, without_self=False):
        """Rolling windows over a column; what is null does not count."""
        values = self.table[column].astype("float64")
        return values.rolling(Stretch(starts=starts, without_self=int(without_self)), min_periods=0)

    def column(self, values):
        """By place of the flight in the table of all."""
        return pd.Series(np.asarray(values, dtype="float64"), index=self.table.index)


def of_carrier(handled, wanted):
    keyed = Keyed(handled, "carrier")
    history = np.maximum(keyed.last(HISTORY_EVENTS), keyed.within(HISTORY_TTL_MS))
    events = keyed.row - history + 1
    wanted["departures"] = np.log1p(keyed.column(events))
    shares = {"late_share": "is_late", "late_share_near": "is_late_near", "cancelled_share": "cancelled"}
    for name, column in shares.items():
        wanted[name] = keyed.column(keyed.over(column, history).sum() / events)
    for name, column in {"aircraft": "tailnum_code", "destinations": "dest_code"}.items():
        wanted[name] = np.log1p(keyed.column(keyed.over(column, history).nunique()))
    before = np.where(keyed.row > history, keyed.at - np.r_[0, keyed.at[:-1]], HISTORY_TTL_MS)
    wanted["since_previous"] = np.log1p(keyed.column(before))
    gaps = (keyed.at - keyed.at[history]) / np.maximum(events - 1, 1)
    wanted["mean_gap"] = np.log1p(keyed.column(np.where(events > 1, gaps, HISTORY_TTL_MS)))
    hours = keyed.over("dep_delay", keyed.within(3 * HOUR_MS))
    wanted["carrier_delay_3h"] = keyed.column(hours.mean().fillna(0) / 60)
    wanted["carrier_spread_3h"] = keyed.column(hours.std(ddof=0).fillna(0) / 60)


def of_airport(handled, wanted):
    keyed = Keyed(handled, "origin")
    hour, hours, day = (keyed.within(span * HOUR_MS) for span in (1, 3, 24))
    wanted["airport_departures_1h"] = np.log1p(keyed.column(keyed.row - hour + 1))
    before = keyed.over("dep_delay", hour, without_self=True)
    wanted["airport_delay_1h"] = keyed.column(before.mean().fillna(0) / 60)
    worst = keyed.over("dep_delay", hour).max().fillna(0)
    wanted["airport_worst_1h"] = keyed.column(worst.clip(-30, 240) / 60)
    late = keyed.over("is_late", hours).sum()
    wanted["airport_late_share_3h"] = keyed.column(late / (keyed.row - hours + 1))
    wanted["airport_cancelled_3h"] = np.log1p(keyed.column(keyed.over("cancelled", hours).sum().round()))
    wanted["airport_day"] = keyed.column((keyed.row - day + 1) / 100)
    best = keyed.over("dep_delay", keyed.last(20)).min().fillna(0)
    wanted["airport_best_of_20"] = keyed.column(best / 60)
    # The newest delay before this flight, if it is of the last hour.
    known = keyed.table["dep_delay"].notna().to_numpy()
    newest = np.maximum.accumulate(np.where(known, keyed.row, -1))
    newest = np.r_[-1, newest[:-1]]
    delay = keyed.table["dep_delay"].to_numpy()[np.maximum(newest, 0)]
    delay = pd.Series(np.where(newest >= hour, delay, 0.0))
    wanted["airport_previous"] = keyed.column(delay.clip(-30, 240) / 60)


def features(flights):
    """The features of the flights that get a vector, by place in the table of all."""
    handled = flights[~flights["late"] & flights["tailnum"].notna()].copy()
    handled["is_late"] = handled["dep_del15"].eq(True)
    handled["is_late_near"] = handled["is_late"] & handled["origin"].isin(["JFK", "LGA"])
    handled["tailnum_code"] = pd.factorize(handled["tailnum"])[0]
    handled["dest_code"] = pd.factorize(handled["dest"])[0]
    handled["dep_delay"] = handled["dep_delay"].astype("float64")
    time = pd.to_datetime(handled["at_ms"], unit="ms", utc=True)
    wanted = pd.DataFrame(index=handled.index)
    wanted["dep_delay"] = handled["dep_delay"].fillna(0).clip(-30, 240) / 60
    wanted["left_late"] = handled["is_late"].astype("float64")
    wanted["distance"] = np.log1p(handled["distance"])
    wanted["hour_sin"] = np.sin(2 * np.pi * time.dt.hour / 24)
    wanted["hour_cos"] = np.cos(2 * np.pi * time.dt.hour / 24)
    wanted["day_of_week"] = time.dt.day_of_week / 6
    for airport in ("EWR", "JFK", "LGA"):
        wanted[f"from={airport}"] = handled["origin"].eq(airport).astype("float64")
    of_carrier(handled, wanted)
    of_airport(handled, wanted)
    return wanted


def read_vectors(folder):
    """What the engine says, by partition and offset."""
    rows = []
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as lines:
            for line in lines:
                row = json.loads(line)
                rows.append({"partition": row["partition"], "offset": row["offset"], **row["features"]})
    return pd.DataFrame(rows).set_index(["partition", "offset"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, help="the flights")
    parser.add_argument("--vectors", required=True, type=Path, help="folder of the engine's vectors")
    arguments = parser.parse_args()
    flights = read_flights(arguments.files)
    wanted = features(flights)
    wanted.index = pd.MultiIndex.from_frame(flights.loc[wanted.index, ["partition", "offset"]])
    found = read_vectors(arguments.vectors)
    if list(found.columns) != list(wanted.columns):
        print(f"error: the features are {list(found.columns)}, expected {list(wanted.columns)}", file=sys.stderr)
        return 1
    if not found.index.is_unique or set(found.index) != set(wanted.index):
        differ = set(found.index) ^ set(wanted.index)
        print(f"error: {len(differ)} flights have a vector and should not, or the reverse: {sorted(differ)[:5]}", file=sys.stderr)
        return 1
    found = found.loc[wanted.index]
    off = (found - wanted).abs() / wanted.abs().clip(lower=1)
    worst = off.max()
    print(f"{len(flights)} flights, {int(flights['late'].sum())} of them late, {len(wanted)} with {len(wanted.columns)} features")
    print(f"the greatest difference is {worst.max():.3g}, of {worst.idxmax()}")
    bad = worst[~(worst <= TOLERANCE)]
    for name in bad.index:
        at = off[name].idxmax()
        print(f"error: {name} of {at} is {found.at[at, name]}, expected {wanted.at[at, name]}", file=sys.stderr)
    return 1 if len(bad) else 0


if __name__ == "__main__":
    sys.exit(main())
