"""The OpenAPI document: clients are generated from it, so it has A1111's names."""

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from sdterm.host.sdapi.app import make_sdapi
from sdterm.host.services import HostServices

RECORDED = json.loads(lzma.decompress((Path(__file__).parents[2] / "golden" / "openapi.json.xz").read_bytes()))
_JSON = "application/json"


@pytest.fixture
def document(services: HostServices) -> dict[str, Any]:
    made: dict[str, Any] = make_sdapi(services, lambda: None).openapi()  # type: ignore[attr-defined]
    return made


def _named(content: dict[str, Any]) -> str | None:
    schema = content.get("content", {}).get(_JSON, {}).get("schema", {})
    name: str | None = schema.get("$ref", "").rpartition("/")[2] or schema.get("type")
    return name


def test_every_operation_of_a1111_is_there_by_its_name(document: dict[str, Any]) -> None:
    for address, operation in RECORDED["paths"].items():
        method, _, path = address.partition(" ")
        ours = document["paths"][path][method]
        assert ours["operationId"] == operation["operationId"]
        assert _named(ours.get("requestBody", {})) == operation["body"], address
        if operation["answer"]:
            assert _named(ours["responses"]["200"]) == operation["answer"], address


def test_every_schema_of_a1111_has_its_properties_types_and_defaults(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name, recorded in RECORDED["schemas"].items():
        properties = schemas[name]["properties"]
        types = {
            field: each.get("$ref", "").rpartition("/")[2] or each.get("type") for field, each in properties.items()
        }
        assert types == recorded["properties"], name
        assert schemas[name].get("required", []) == recorded["required"], name
        defaults = {field: each["default"] for field, each in properties.items() if "default" in each}
        assert recorded["defaults"].items() <= defaults.items(), name


def test_it_names_no_schema_that_is_not_there(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    for name in {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"]
