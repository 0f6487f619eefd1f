"""Makes the small ONNX models of tests/cli, and checks that the committed ones are what it makes.

The models are not trained and have no random numbers: what matters is for which events they give no
usable score. All but `twelve` take the sixteen features of the reference job, and all but `identity` look at one:

    reciprocal  1 / event_type_index: click 1, add_to_cart 0.5, unknown -1; view gives infinity
    logarithm   ln(event_type_index): click 0; view gives -infinity, an unknown type NaN
    gather      [0.25, 0.5, 0.75][events]: the run fails for a user's third event and later ones
    identity    all sixteen features, as they are
    twelve      has twelve inputs, which no pipeline of the tests declares

    python make.py            write the models here
    python make.py --check    compare the committed models with new ones, write nothing

The needed packages are listed, with versions, in tests/oracle/requirements.txt.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent

# Places of the features in the reference job.
EVENTS = 0
EVENT_TYPE_INDEX = 12
FEATURES = 16
# As in the reference model's script.
OPSET = 17
IR_VERSION = 8


def model(name, nodes, tensors, features=FEATURES, outputs=1):
    """A model from `input` [batch, features] to `output` [batch, outputs], checked."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", features])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", outputs])],
        initializer=tensors,
    )
    made = helper.make_model(
        graph,
        producer_name="make.py",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        model_version=7,
    )
    onnx.checker.check_model(made, full_check=True)
    return made


def feature(at):
    """Nodes and tensors that take feature `at` as `feature` [batch, 1]."""
    tensors = [numpy_helper.from_array(np.array([at], np.int64), "place")]
    return [helper.make_node("Gather", ["input", "place"], ["feature"], axis=1)], tensors


def of_one_feature(name, operator, at):
    """`operator` applied to feature `at`."""
    nodes, tensors = feature(at)
    nodes.append(helper.make_node(operator, ["feature"], ["output"]))
    return model(name, nodes, tensors)


def gather():
    """A table of three scores, looked up without a check by the number of events."""
    nodes, tensors = feature(EVENTS)
    scores = np.array([0.25, 0.5, 0.75], np.float32)
    tensors.append(numpy_helper.from_array(scores, "scores"))
    nodes.append(helper.make_node("Cast", ["feature"], ["row"], to=TensorProto.INT64))
    nodes.append(helper.make_node("Gather", ["scores", "row"], ["output"], axis=0))
    return model("gather", nodes, tensors)


def identity():
    """What it is given."""
    return model("identity", [helper.make_node("Identity", ["input"], ["output"])], [], outputs=FEATURES)


def twelve():
    """The sum of twelve inputs."""
    weight = numpy_helper.from_array(np.ones((12, 1), np.float32), "weight")
    nodes = [helper.make_node("MatMul", ["input", "weight"], ["output"])]
    return model("twelve", nodes, [weight], features=12)


def models():
    """All models by name."""
    return {
        "reciprocal": of_one_feature("reciprocal", "Reciprocal", EVENT_TYPE_INDEX),
        "logarithm": of_one_feature("logarithm", "Log", EVENT_TYPE_INDEX),
        "gather": gather(),
        "identity": identity(),
        "twelve": twelve(),
    }


def main():
    """Writes the models, or checks them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    check = parser.parse_args().check
    different = []
    for name, made in models().items():
        path = HERE / f"{name}.onnx"
        if not check:
            path.write_bytes(made.SerializeToString(deterministic=True))
        elif onnx.load(path) != made:
            different.append(path.name)
    for name in different:
        print(f"error: {name} is not what this script makes", file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
