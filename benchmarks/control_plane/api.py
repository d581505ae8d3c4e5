"""A user's connection to an API server: one request at a time, refusals are values. Not for load."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

JSON: Final = "application/json"
MERGE: Final = "application/merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"


class Answer(NamedTuple):
    """Status and decoded body of one request."""

    status: int
    body: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether the request succeeded."""
        return self.status < 300

    @property
    def message(self) -> str:
        """What the server says, mostly of a refusal; the text itself where the answer was not JSON."""
        return str(self.body.get("message", ""))


class Api:
    """One user's connection. Answers are values, refusals included."""

    def __init__(self, port: int, authority: Path, token: str) -> None:
        self._connection = http.client.HTTPSConnection(
            "127.0.0.1", port, context=ssl.create_default_context(cafile=str(authority)), timeout=60
        )
        self._token = token

    def call(self, method: str, path: str, body: object = None, content_type: str = JSON) -> Answer:
        """The answer; a connection that the server ended meanwhile is opened again."""
        try:
            return self._call(method, path, body, content_type)
        except (ConnectionError, ssl.SSLEOFError, http.client.HTTPException):
            self._connection.close()  # the server ends connections that idle; a request on one was never read
            return self._call(method, path, body, content_type)

    def _call(self, method: str, path: str, body: object, content_type: str) -> Answer:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type, "Accept": JSON}
        self._connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        is_json = (answer.getheader("Content-Type") or "").startswith(JSON)
        return Answer(answer.status, json.loads(text) if is_json and text else {"message": text.decode()})

    def get(self, path: str) -> Answer:
        """Reads an object or a list."""
        return self.call("GET", path)

    def create(self, manifest: Mapping[str, Any], namespace: str = "") -> Answer:
        """Creates an object in the collection of its kind."""
        return self.call("POST", collection(manifest, namespace), manifest)

    def replace(self, path: str, manifest: Mapping[str, Any]) -> Answer:
        """Replaces an object."""
        return self.call("PUT", path, manifest)

    def merge(self, path: str, patch: Mapping[str, Any]) -> Answer:
        """Changes an object by a JSON merge patch."""
        return self.call("PATCH", path, patch, MERGE)

    def apply(self, manifest: Mapping[str, Any]) -> Answer:
        """Server-side apply, as the product does it."""
        path = f"{collection(manifest)}/{manifest['metadata']['name']}?fieldManager=bulkhead&force=true"
        return self.call("PATCH", path, manifest, APPLY)

    def delete(self, path: str) -> Answer:
        """Deletes at once, without a grace period."""
        return self.call("DELETE", path, {"gracePeriodSeconds": 0})

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()


def collection(manifest: Mapping[str, Any], namespace: str = "") -> str:
    """The path under which objects of this kind stand."""
    version, kind = manifest["apiVersion"], manifest["kind"].lower()
    plural = (
        f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}es" if kind.endswith(("s", "x")) else f"{kind}s"
    )
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    place = namespace or manifest["metadata"].get("namespace", "")
    return f"{root}/namespaces/{place}/{plural}" if place else f"{root}/{plural}"
