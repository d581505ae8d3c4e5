"""The JSON Schema of tenant files, for editors and for checks before a commit. Pure; printed by the commands.

It is made from the same models that the loader uses, so the two cannot drift apart.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter

from tenants.files.kinds import AnyFile

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_Tagged = Annotated[AnyFile, Field(discriminator="kind")]


def schema() -> dict[str, Any]:
    """The schema of one document of a tenant file."""
    made = TypeAdapter[Any](_Tagged).json_schema(by_alias=True, mode="validation")
    return {"$schema": _DIALECT, "title": "Bulkhead tenant file", **made}
