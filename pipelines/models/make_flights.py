"""Makes the model of the flights job: flights.onnx and its golden vector.

The job (pipelines/flights.toml) scores a flight when it leaves: will it arrive more than 15 minutes
late? The model is a logistic regression, trained on what `slackwater features` says about the flights of
2013, which is what the job will feed it, and on their delays at arrival, which that passes through as a label. Flights whose arrival is unknown
(cancelled or diverted) are left out. It learns from January to September; October to December are held out.

A logistic regression with a penalty has one best answer, and Newton's method ends there to the last
digits, whatever the machine. So a rebuilt model can be held to the committed one's scores, and no seed
is needed.

    slackwater features pipelines/flights.toml --out vectors --label arr_delay
    python make_flights.py --vectors vectors/features            write the files here
    python make_flights.py --vectors vectors/features --check    compare scores
    python make_flights.py --check        only: is the committed model the one of the golden vector?

The needed packages are listed, with versions, in tests/oracle/requirements.txt.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
from make_user_events import IR_VERSION, OPSET, QUANTUM, TOLERANCE, digest, golden_text, score
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
MODEL_PATH = HERE / "flights.onnx"
GOLDEN_PATH = HERE / "flights.golden.json"

MODEL_NAME = "flights"
LATE_MINUTES = 15
LABEL = "arr_delay"
# The first month that is held out.
HELD_OUT_FROM = 10
# Keeps the weights of features that say nearly the same from growing against each other.
PENALTY = 1.0
# Newton's method needs 8 steps here; this many would mean that it goes astray.
STEPS = 50
STEP_TOLERANCE = 1e-12
GOLDEN_ROWS = 24


# ---------------------------------------------------------------- data


def read_vectors(folder):
    """The vectors of flights whose arrival is known, in order of time; workers write them in any order, so place decides at a tie."""
    vectors = []
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as lines:
            vectors += [vector for vector in map(json.loads, lines) if vector["labels"][LABEL] is not None]
    if not vectors:
        raise ValueError("no vector belongs to a flight that arrived")
    return sorted(vectors, key=lambda v: (v["event_time"], v["partition"], v["offset"]))


def table(vectors):
    """(names, rows, labels 0 or 1, months) of the vectors."""
    names = list(vectors[0]["features"])
    rows = np.array([list(v["features"].values()) for v in vectors], dtype=np.float64)
    labels = np.array([v["labels"][LABEL] > LATE_MINUTES for v in vectors], dtype=np.float64)
    months = np.array([datetime.fromtimestamp(v["event_time"] / 1000, UTC).month for v in vectors])
    return names, rows, labels, months


# ---------------------------------------------------------------- training


def train(rows, labels):
    """(weight of each feature, bias) of the regression."""
    means, spreads = rows.mean(axis=0), rows.std(axis=0)
    # A feature that is always the same says nothing; its weight ends at 0.
    spreads[spreads == 0] = 1.0
    inputs = np.hstack([(rows - means) / spreads, np.ones((len(rows), 1))])
    # The last input is the bias, which is not held back.
    penalty = np.diag([PENALTY] * rows.shape[1] + [0.0])
    weights = np.zeros(inputs.shape[1])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (chance - labels) + penalty @ weights
        curve = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + penalty
        step = np.linalg.solve(curve, slope)
        weights -= step
        if np.abs(step).max() < STEP_TOLERANCE:
            weight = weights[:-1] / spreads
            return weight, weights[-1] - weight @ means
    raise ValueError(f"training has not ended after {STEPS} steps")


def auc(scores, labels):
    """The chance that a late flight has the higher score of two; equal scores count half."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    late = labels.sum()
    return (ranks[labels == 1].sum() - late * (late + 1) / 2) / (late * (len(labels) - late))


def make_model(weight, bias):
    """The network as ONNX: Gemm and Sigmoid; the batch dimension is free."""
    tensors = [
        numpy_helper.from_array(weight.astype(np.float32)[None, :], "weight"),
        numpy_helper.from_array(np.array([bias], dtype=np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("Gemm", ["input", "weight", "bias"], ["sum"], "gemm", transB=1),
        helper.make_node("Sigmoid", ["sum"], ["output"], "sigmoid"),
    ]
    graph = helper.make_graph(
        nodes,
        MODEL_NAME,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", len(weight)])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 1])],
        initializer=tensors,
    )
    model = helper.make_model(
        graph,
        producer_name="make_flights.py",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def build(folder):
    """(names of the features, model, rows held out), and says how good the model is."""
    names, rows, labels, months = table(read_vectors(folder))
    learns = months < HELD_OUT_FROM
    model_bytes = make_model(*train(rows[learns], labels[learns]))
    print(f"trained on {learns.sum()} flights from January to September, {int(labels[learns].sum())} of them late")
    for what, chosen in [
        *((f"month {month}", months == month) for month in range(HELD_OUT_FROM, 13)),
        ("all held out", ~learns),
    ]:
        truth, held_out = labels[chosen], rows[chosen]
        print(
            f"{what}: {len(truth)} flights, {int(truth.sum())} of them late:"
            f" AUC {auc(score(model_bytes, held_out), truth):.4f},"
            f" of {names[0]} alone {auc(held_out[:, 0], truth):.4f}"
        )
    return names, model_bytes, rows[~learns]


# ---------------------------------------------------------------- files


def make_golden(names, model_bytes, held_out):
    """The golden vector: two plain rows and some held-out flights, and what the model says of them."""
    plain = np.array([[0.0] * len(names), [1.0] * len(names)])
    rows = np.concatenate([plain, held_out[:: len(held_out) // GOLDEN_ROWS][:GOLDEN_ROWS]])
    rows = np.round(rows * QUANTUM) / QUANTUM
    return {
        "model": MODEL_NAME,
        "digest": digest(model_bytes),
        "features": names,
        "inputs": rows.tolist(),
        "scores": [float(value) for value in score(model_bytes, rows)],
    }


def check(rebuilt):
    """Compares the committed files, and a rebuilt (names, model) if there is one; the mistakes found."""
    golden = json.loads(GOLDEN_PATH.read_text(encoding="utf-8"))
    committed = MODEL_PATH.read_bytes()
    rows, expected = np.array(golden["inputs"]), np.array(golden["scores"])
    mistakes = []
    if digest(committed) != golden["digest"]:
        mistakes.append(f"{MODEL_PATH.name} is {digest(committed)}, the golden vector says {golden['digest']}")
    models = [("committed", committed)]
    if rebuilt is not None:
        names, model_bytes = rebuilt
        if names != golden["features"]:
            return [*mistakes, f"the features are {names}, the golden vector's {golden['features']}"]
        models.append(("rebuilt", model_bytes))
    for what, model_bytes in models:
        worst = float(np.abs(score(model_bytes, rows) - expected).max())
        print(f"{what} model: {len(rows)} golden rows, greatest difference {worst:.3g}")
        if not worst <= TOLERANCE:
            mistakes.append(f"the {what} model differs by {worst:.3g}, allowed is {TOLERANCE}")
    return mistakes


def main():
    """Writes the files, or checks them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=Path, help="folder of what `slackwater features` wrote")
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    arguments = parser.parse_args()
    made = None
    if arguments.vectors:
        made = build(arguments.vectors)
    elif not arguments.check:
        parser.error("name --vectors")
    if arguments.check:
        mistakes = check(made and made[:2])
        for mistake in mistakes:
            print(f"error: {mistake}", file=sys.stderr)
        return 1 if mistakes else 0

    MODEL_PATH.write_bytes(made[1])
    GOLDEN_PATH.write_text(golden_text(make_golden(*made)), encoding="utf-8")
    print(f"{MODEL_PATH.name}: {len(made[1])} bytes, {digest(made[1])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
