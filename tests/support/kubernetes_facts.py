"""Writes kubernetes_facts.json: which fields the objects of docs/cluster/kubernetes may have, and of which types.

    python tests/support/kubernetes_facts.py CRDS SCHEMAS > tests/support/kubernetes_facts.json

CRDS is KubeRay's folder ray-operator/config/crd/bases (github.com/ray-project/kuberay, Apache-2.0) at version 1.7.0,
the oldest with all fields that we use. SCHEMAS is the folder v1.37.0-local-strict of the package kubernetes-validate
1.37.0 (Apache-2.0). No descriptions, defaults or states are taken, and parts that are alike stand once.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

KEPT = ("enum", "required", "minimum", "maximum")
KUBERAY = ("RayJob", "RayCluster")
KUBERNETES = ("apps.v1.Deployment", "core.v1.Service", "core.v1.PersistentVolumeClaim", "networking.v1.NetworkPolicy")


def facts_of(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Its names and types; no other names are allowed beside them."""
    if "$ref" in schema:
        return facts_of(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "oneOf" in schema or "x-kubernetes-int-or-string" in schema:
        return {"type": ["number", "string"]}
    facts = {key: schema[key] for key in KEPT if key in schema}
    types = "object", "array", "string", "integer", "number", "boolean"
    facts["type"] = next(of for of in types if of in schema["type"])
    if "properties" in schema:
        kept = {name: part for name, part in schema["properties"].items() if name != "status"}
        facts["properties"] = {name: facts_of(part, definitions) for name, part in kept.items()}
        facts["additionalProperties"] = False
    elif schema.get("additionalProperties"):
        facts["additionalProperties"] = facts_of(schema["additionalProperties"], definitions)
    return facts | ({"items": facts_of(schema["items"], definitions)} if "items" in schema else {})


def main(crds: Path, schemas: Path) -> None:
    """Print the facts."""
    definitions = json.loads((schemas / "_definitions.json").read_text())["$defs"]
    parts: dict[str, str] = {}

    def named(part: Any) -> Any:
        if isinstance(part, list) or "type" not in part or isinstance(part["type"], dict):
            return {key: named(of) for key, of in part.items()} if isinstance(part, dict) else part
        smaller = {key: named(of) if isinstance(of, dict) else of for key, of in part.items()}
        return {"$ref": "#/$defs/" + parts.setdefault(json.dumps(smaller), str(len(parts)))}

    kinds = {}
    for kind in KUBERAY:
        versions = yaml.safe_load((crds / f"ray.io_{kind.lower()}s.yaml").read_text())["spec"]["versions"]
        [schema] = [of["schema"]["openAPIV3Schema"] for of in versions if of["name"] == "v1"]
        schema["properties"]["metadata"] = {"$ref": "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
        schema["properties"]["apiVersion"]["enum"] = ["ray.io/v1"]
        kinds[kind] = named(facts_of(schema, definitions))
    for name in KUBERNETES:
        kinds[name.rpartition(".")[2]] = named(facts_of({"$ref": f"io.k8s.api.{name}"}, definitions))
    of_parts = {number: json.loads(part) for part, number in parts.items()}
    print(json.dumps({"properties": kinds, "$defs": of_parts}, separators=(",", ":")))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
