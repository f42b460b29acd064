"""Holds manifests against the schemas of Kubernetes and of KEDA's custom resources.

check-manifests.py FOLDER_OF_CUSTOM_RESOURCE_DEFINITIONS MANIFEST...
"""

import pathlib
import sys

import jsonschema
import kubernetes_validate
import yaml


def strict(schema):
    """The same schema, in which nothing is allowed that it does not name."""
    if isinstance(schema, dict):
        closed = {key: strict(value) for key, value in schema.items()}
        open_ended = "additionalProperties" in closed or closed.get("x-kubernetes-preserve-unknown-fields")
        if isinstance(closed.get("properties"), dict) and not open_ended:
            closed["additionalProperties"] = False
        return closed
    return [strict(part) for part in schema] if isinstance(schema, list) else schema


def custom(folder):
    """Schemas by (apiVersion, kind)."""
    found = {}
    for path in pathlib.Path(folder).glob("*.yaml"):
        spec = yaml.safe_load(path.read_text())["spec"]
        for version in spec["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            # What every object has, and a custom definition leaves to the server.
            schema["properties"]["metadata"] = {"type": "object"}
            found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = strict(schema)
    return found


def main():
    schemas = custom(sys.argv[1])
    objects = 0
    for path in sys.argv[2:]:
        for manifest in yaml.safe_load_all(pathlib.Path(path).read_text()):
            name = f"{path}: {manifest['kind']} {manifest['metadata']['name']}"
            schema = schemas.get((manifest["apiVersion"], manifest["kind"]))
            try:
                if schema:
                    jsonschema.validate(manifest, schema)
                else:
                    latest = kubernetes_validate.latest_version()
                    kubernetes_validate.validate(manifest, latest, strict=True)
            except Exception as wrong:
                message = getattr(wrong, "message", str(wrong))
                where = "/".join(str(part) for part in getattr(wrong, "path", []))
                sys.exit(f"{name}: {where}: {message}")
            objects += 1
    if objects < 6:
        sys.exit(f"only {objects} objects were looked at")
    print(f"{objects} objects are as their schemas want them")


main()
