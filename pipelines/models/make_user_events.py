"""Makes the reference model: user-events.onnx and its golden vector.

The reference job (pipelines/user-events.toml) scores sixteen features with a small network. The
network is not trained on anything: its weights come from a fixed seed, so that anyone can make the
same one again and read how. What matters is that its scores depend on every feature and spread over
the whole of (0, 1), because a model that always says 0.5 would hide mistakes in the features.

    python make_user_events.py            write user-events.onnx and user-events.golden.json here
    python make_user_events.py --check    rebuild, compare scores (not bytes) with the committed files

The needed packages are listed, with versions, in tests/oracle/requirements.txt.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
MODEL_PATH = HERE / "user-events.onnx"
GOLDEN_PATH = HERE / "user-events.golden.json"

MODEL_NAME = "user-events"
WEIGHT_SEED = 20260101
SAMPLE_SEED = 20260102
LAYERS = (16, 64, 32, 1)
# 17 is old enough for every runtime that matters and newer than 13, the last change to Gemm's inputs.
OPSET = 17
IR_VERSION = 8
# The committed scores and a rebuilt model's may differ by float32 rounding only.
TOLERANCE = 1e-5
# Scores of realistic rows are calibrated to this mean and spread before the sigmoid.
LOGIT_STD = 1.4
CALIBRATION_ROWS = 4096
GOLDEN_SAMPLE_ROWS = 24
# Inputs of the golden vector are multiples of 1/1024: their decimal text is exact in float32, so no
# reader's way of parsing numbers can change a row.
QUANTUM = 1024.0

# Name, mean and spread that the first layer takes out of each feature, so that a count of 50 and a
# share of 0.2 have a similar say. Rough figures of the generator's events, not measurements.
FEATURES = (
    ("events", 20.0, 15.0),
    ("views", 12.0, 9.0),
    ("clicks", 5.0, 4.0),
    ("carts", 2.0, 2.0),
    ("purchases", 1.0, 1.5),
    ("distinct_products", 15.0, 11.0),
    ("distinct_categories", 5.0, 3.0),
    ("since_previous", 8.0, 4.0),
    ("mean_gap", 8.0, 4.0),
    ("hour_sin", 0.0, 0.7),
    ("hour_cos", 0.0, 0.7),
    ("category_bucket", 0.475, 0.3),
    ("event_type_index", 0.7, 1.0),
    ("purchase_share", 0.06, 0.1),
    ("cart_share", 0.12, 0.12),
    ("one", 1.0, 1.0),
)


def sample_rows(rng, rows):
    """Feature rows as the job would make them: consistent counts, shares, clock and gaps."""
    events = rng.integers(1, 51, rows)
    kinds = np.array([rng.multinomial(n, [0.62, 0.23, 0.1, 0.05]) for n in events])
    hour = rng.integers(0, 24, rows)
    since = np.where(events > 1, np.log1p(rng.lognormal(9.0, 2.5, rows).clip(0, 1e7)), 0.0)
    mean = np.where(events > 1, np.log1p(rng.lognormal(9.0, 1.5, rows).clip(0, 1e7)), 0.0)
    columns = [
        events,
        kinds[:, 0],
        kinds[:, 1],
        kinds[:, 2],
        kinds[:, 3],
        np.maximum(1, np.round(events * rng.uniform(0.4, 1.0, rows))),
        np.minimum(events, rng.integers(1, 13, rows)),
        since,
        mean,
        np.sin(2 * np.pi * hour / 24),
        np.cos(2 * np.pi * hour / 24),
        rng.integers(0, 20, rows) / 20,
        rng.choice([-1, 0, 1, 2, 3], rows, p=[0.02, 0.6, 0.23, 0.1, 0.05]),
        kinds[:, 3] / events,
        kinds[:, 2] / events,
        np.ones(rows),
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def edge_rows():
    """Rows at the ends of what features can be, and a few that cannot be but must still score."""
    gap = np.log1p(1e7)
    first = [1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    return np.array(
        [
            [0] * 16,
            [1] * 16,
            [-1] * 16,
            first,
            [1, 0, 0, 0, 1, 1, 1, 0, 0, 0, -1, 0.95, 3, 1, 0, 1],
            [50, 50, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0.5, 0, 0, 0, 1],
            [50, 0, 0, 0, 50, 50, 20, gap, gap, -1, 0, 0.95, 3, 1, 0, 1],
            [50, 0, 0, 50, 0, 50, 20, gap, 0, 0, 1, 0, -1, 0, 1, 1],
        ],
        dtype=np.float64,
    )


def make_weights():
    """(weight [out, in], bias [out]) of each layer, float32, feature ranges folded into the first."""
    rng = np.random.default_rng(WEIGHT_SEED)
    weights = []
    for width_in, width_out in zip(LAYERS[:-1], LAYERS[1:]):
        weight = rng.normal(0.0, np.sqrt(2.0 / width_in), (width_out, width_in))
        bias = rng.normal(0.0, 0.1, width_out)
        weights.append([weight, bias])

    means = np.array([mean for _, mean, _ in FEATURES])
    spreads = np.array([spread for _, _, spread in FEATURES])
    weight, bias = weights[0]
    weights[0] = [weight / spreads, bias - weight @ (means / spreads)]

    # The last layer is scaled so that realistic rows spread their scores instead of saturating.
    rows = sample_rows(np.random.default_rng(SAMPLE_SEED + 1), CALIBRATION_ROWS)
    hidden = rows
    for weight, bias in weights[:-1]:
        hidden = np.maximum(hidden @ weight.T + bias, 0.0)
    weight, bias = weights[-1]
    logits = hidden @ weight.T + bias
    scale = LOGIT_STD / logits.std()
    weights[-1] = [weight * scale, (bias - logits.mean()) * scale]
    return [(w.astype(np.float32), b.astype(np.float32)) for w, b in weights]


def make_model():
    """The network as ONNX: Gemm and Relu twice, Gemm, Sigmoid; the batch dimension is free."""
    nodes, tensors = [], []
    value = "input"
    for layer, (weight, bias) in enumerate(make_weights(), start=1):
        tensors.append(numpy_helper.from_array(weight, f"weight_{layer}"))
        tensors.append(numpy_helper.from_array(bias, f"bias_{layer}"))
        last = layer == len(LAYERS) - 1
        inputs = [value, f"weight_{layer}", f"bias_{layer}"]
        nodes.append(helper.make_node("Gemm", inputs, [f"sum_{layer}"], f"gemm_{layer}", transB=1))
        value = "output" if last else f"hidden_{layer}"
        kind = "Sigmoid" if last else "Relu"
        nodes.append(helper.make_node(kind, [f"sum_{layer}"], [value], f"{kind.lower()}_{layer}"))
    graph = helper.make_graph(
        nodes,
        MODEL_NAME,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", LAYERS[0]])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", LAYERS[-1]])],
        initializer=tensors,
    )
    model = helper.make_model(
        graph,
        producer_name="make_user_events.py",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def score(model_bytes, rows):
    """The scores of float32 rows, one each, by onnxruntime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model_bytes, options, providers=["CPUExecutionProvider"]
    )
    return session.run(["output"], {"input": rows.astype(np.float32)})[0][:, 0]


def digest(model_bytes):
    """The digest in the form that pipeline files use."""
    return "sha256:" + hashlib.sha256(model_bytes).hexdigest()


def make_golden(model_bytes):
    """The golden vector: rows, and what the model says about them."""
    sampled = sample_rows(np.random.default_rng(SAMPLE_SEED), GOLDEN_SAMPLE_ROWS)
    rows = np.concatenate([edge_rows(), sampled])
    rows = np.round(rows * QUANTUM) / QUANTUM
    scores = score(model_bytes, rows)
    return {
        "model": MODEL_NAME,
        "digest": digest(model_bytes),
        "features": [name for name, _, _ in FEATURES],
        "inputs": rows.tolist(),
        "scores": [float(value) for value in scores],
    }


def golden_text(golden):
    """JSON with one row a line, so that a change can be read in a diff."""
    lines = ["{"]
    for key in ("model", "digest", "features"):
        lines.append(f'"{key}": {json.dumps(golden[key])},')
    for key in ("inputs", "scores"):
        items = ",\n".join(json.dumps(item) for item in golden[key])
        lines.append(f'"{key}": [\n{items}\n]' + ("," if key == "inputs" else ""))
    lines.append("}")
    return "\n".join(lines) + "\n"


def check():
    """Compares the committed files with a fresh build; returns the mistakes found."""
    golden = json.loads(GOLDEN_PATH.read_text(encoding="utf-8"))
    committed = MODEL_PATH.read_bytes()
    rows = np.array(golden["inputs"])
    expected = np.array(golden["scores"])
    mistakes = []
    if digest(committed) != golden["digest"]:
        mistakes.append(f"{MODEL_PATH.name} is {digest(committed)}, the golden vector says {golden['digest']}")
    for what, model_bytes in (("committed", committed), ("rebuilt", make_model())):
        worst = float(np.abs(score(model_bytes, rows) - expected).max())
        print(f"{what} model: {len(rows)} golden rows, greatest difference {worst:.3g}")
        if not worst <= TOLERANCE:
            mistakes.append(f"the {what} model differs by {worst:.3g}, allowed is {TOLERANCE}")
    return mistakes


def main():
    """Writes the files, or checks them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    if parser.parse_args().check:
        mistakes = check()
        for mistake in mistakes:
            print(f"error: {mistake}", file=sys.stderr)
        return 1 if mistakes else 0

    model_bytes = make_model()
    golden = make_golden(model_bytes)
    MODEL_PATH.write_bytes(model_bytes)
    GOLDEN_PATH.write_text(golden_text(golden), encoding="utf-8")
    sampled = score(model_bytes, sample_rows(np.random.default_rng(SAMPLE_SEED + 2), CALIBRATION_ROWS))
    low, high = np.percentile(sampled, [1, 99])
    print(f"{MODEL_PATH.name}: {len(model_bytes)} bytes, {golden['digest']}")
    print(f"scores of {len(sampled)} sampled rows: 1 % below {low:.3f}, 1 % above {high:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
