"""Asks a served model with tritonclient, as it comes from PyPI: triton.py http|grpc ADDRESS EXPECTED"""

import json
import sys

import numpy as np
from tritonclient.utils import InferenceServerException

protocol, address, expected = sys.argv[1:]
if protocol == "http":
    import tritonclient.http as triton
else:
    import tritonclient.grpc as triton

with open(expected) as file:
    expected = json.load(file)
model, version = expected["model"], expected["version"]
rows = np.array(expected["rows"], dtype=np.float32)
http = protocol == "http"
client = triton.InferenceServerClient(address)


def as_dict(metadata):
    return metadata(**({} if http else {"as_json": True}))


assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready(model)
assert client.is_model_ready(model, version)
assert not client.is_model_ready("nothing")
assert not client.is_model_ready(model, "v999")

server = as_dict(client.get_server_metadata)
assert server["name"] == "coterie" and server["extensions"] == ["binary_tensor_data"], server
metadata = as_dict(lambda **options: client.get_model_metadata(model, version, **options))
assert metadata["name"] == model and metadata["versions"] == [version], metadata
assert [int(size) for size in metadata["inputs"][0]["shape"]] == [-1, rows.shape[1]], metadata
outputs = {output["name"]: output["datatype"] for output in metadata["outputs"]}
assert outputs == {"cluster_id": "INT32", "distance": "FP32", "margin": "FP32", "neighbor_ids": "INT32"}, outputs


def vectors(binary, values=rows, name="vectors"):
    tensor = triton.InferInput(name, list(values.shape), "FP32")
    tensor.set_data_from_numpy(values, **({"binary_data": binary} if http else {}))
    return [tensor]


def wanted(names, binary):
    return [triton.InferRequestedOutput(name, **({"binary_data": binary} if http else {})) for name in names]


def check(result, names):
    response = result.get_response() if http else result.get_response(as_json=True)
    assert response["model_name"] == model and response["model_version"] == version, response
    assert [output["name"] for output in response["outputs"]] == names, response
    for name in names:
        found = result.as_numpy(name)
        right = np.array(expected[name], dtype=np.int32 if outputs[name] == "INT32" else np.float32)
        assert found.dtype == right.dtype and found.shape == right.shape, (name, found.dtype, found.shape)
        assert np.array_equal(found, right), (name, found, right)
    return response


usual = ["cluster_id", "distance", "margin"]
# What the client does unless it is told otherwise: bytes both ways.
check(client.infer(model, vectors(True)), usual)
every = ["neighbor_ids", *usual]
for binary in [True, False]:
    for binary_outputs in [True, False]:
        result = client.infer(
            model,
            vectors(binary),
            model_version=version,
            outputs=wanted(every, binary_outputs),
            request_id="42",
            parameters={"neighbors": 3},
        )
        assert check(result, every)["id"] == "42"
check(client.infer(model, vectors(True), parameters={"neighbors": 3}), [*usual, "neighbor_ids"])

for call, words in [
    (lambda: client.infer("nothing", vectors(True)), "not served here"),
    (lambda: client.infer(model, vectors(True), model_version="v999"), "not served here"),
    (lambda: client.infer(model, vectors(True, name="rows")), 'there is no input "rows"'),
    (lambda: client.infer(model, vectors(True, rows[:, :5])), "expected"),
    (lambda: client.infer(model, vectors(True, np.full_like(rows, np.nan))), "finite"),
    (lambda: client.infer(model, vectors(True), outputs=wanted(["label"], True)), 'there is no output "label"'),
]:
    try:
        call()
    except InferenceServerException as error:
        assert words in error.message(), error
    else:
        raise AssertionError(f"no error with {words!r}")
