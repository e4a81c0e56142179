"""Asks a served model with the package `client` that openapi-python-client made: generated.py URL EXPECTED"""

import json
import sys

sys.path.insert(0, ".")

from client import Client
from client.api.default import assign, get_model, model_infer, nearest_clusters
from client.models import (
    AssignVector,
    AssignVectors,
    Error,
    InferInput,
    InferRequest,
    NearestClustersRequest,
)

url, expected = sys.argv[1:]
with open(expected) as file:
    expected = json.load(file)
rows = expected["rows"]

with Client(base_url=url) as client:
    model = get_model.sync(client=client)
    assert (model.name, model.model_version) == (expected["model"], expected["version"]), model
    assert model.input_dimension == len(rows[0])

    reply = assign.sync(client=client, body=AssignVectors(vectors=rows))
    assert reply.model_version == expected["version"]
    assert [found.cluster for found in reply.assignments] == expected["cluster_id"]
    assert [found.distance for found in reply.assignments] == expected["distance"]
    assert [found.margin for found in reply.assignments] == expected["margin"]
    reply = assign.sync(client=client, body=AssignVector(vector=rows[0]))
    assert reply.assignments[0].cluster == expected["cluster_id"][0]
    refused = assign.sync_detailed(client=client, body=AssignVector(vector=[1.0]))
    assert refused.status_code == 400 and isinstance(refused.parsed, Error) and refused.parsed.error, refused

    reply = nearest_clusters.sync(client=client, body=NearestClustersRequest(vector=rows[0], count=3))
    assert [found.cluster for found in reply.clusters] == expected["neighbor_ids"][0]

    vectors = InferInput(name="vectors", datatype="FP32", shape=[len(rows), len(rows[0])], data=rows)
    reply = model_infer.sync(model.name, client=client, body=InferRequest(inputs=[vectors]))
    assert reply.outputs[0].data == expected["cluster_id"], reply
