"""Messages <-> JSON bytes. What comes from a guest is checked to the last field before anybody sees it."""

import base64
import binascii
import json
from typing import Any, cast, get_args, get_origin

from sandbox_runtime.protocol.errors import ProtocolViolation
from sandbox_runtime.protocol.messages import EVENTS, METHODS

_LARGEST_INT = 1 << 63
METHOD_OF: dict[type, str] = {}
for _name, (_request, _) in METHODS.items():
    METHOD_OF.setdefault(_request, _name)


def plain(value: Any) -> Any:
    """A message as JSON's own types."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if hasattr(value, "_fields"):
        return {name: plain(field) for name, field in zip(value._fields, value, strict=True)}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def encode_request(method: str, params: Any) -> bytes:
    """The payload of a REQUEST; `params` must be the method's request message (TypeError)."""
    if not isinstance(params, METHODS[method][0]):
        raise TypeError(f"{method} takes {METHODS[method][0].__name__}, not {type(params).__name__}")
    return _dump({"method": method, "params": plain(params)})


def decode(kind: type, payload: bytes) -> Any:
    """The payload of an ANSWER or HELLO as a message of this type. Raises ProtocolViolation."""
    return build(kind, _load(payload), kind.__name__)


def decode_event(payload: bytes) -> Any:
    """The payload of an EVENT as the message it carries. Raises ProtocolViolation."""
    name, params = _pair(payload, "event", "params")
    if name not in EVENTS:
        raise ProtocolViolation("bad-message", "an event of no known name")
    return build(EVENTS[name], params, name)


def decode_failure(payload: bytes) -> tuple[str, str]:
    """The code and message of a FAILURE; an unknown code is kept, cut to 64 characters, messages to 4,096."""
    code, message = _pair(payload, "code", "message")
    if not isinstance(message, str):
        raise ProtocolViolation("bad-message", "a failure whose message is no text")
    return code[:64], message[:4096]


def build(kind: Any, value: Any, path: str) -> Any:
    """Check a JSON value against a type of `messages` and make it. Raises ProtocolViolation with the path."""
    if hasattr(kind, "_fields"):
        return _build_message(kind, value, path)
    origin = get_origin(kind)
    if origin is tuple:
        item = get_args(kind)[0]
        return tuple(build(item, part, f"{path}[{at}]") for at, part in enumerate(_expect(list, value, path)))
    if origin is dict:
        entries = _expect(dict, value, path)
        return {str(key): build(get_args(kind)[1], part, f"{path}.{key}") for key, part in entries.items()}
    if kind is bytes:
        return _bytes(_expect(str, value, path), path)
    if kind is int and not -_LARGEST_INT <= _expect(int, value, path) < _LARGEST_INT:
        raise ProtocolViolation("bad-message", f"{path}: beyond 64 bits")
    if kind is str:
        return _text(value, path)
    return _expect(kind, value, path)


def _build_message(kind: Any, value: Any, path: str) -> Any:
    fields = _expect(dict, value, path)
    if fields.keys() != kind.__annotations__.keys():
        raise ProtocolViolation("bad-message", f"{path}: not exactly the fields {', '.join(kind._fields)}")
    return kind(
        **{name: build(of, fields[name], f"{path}.{name}") for name, of in kind.__annotations__.items()}
    )


def _expect(kind: type, value: Any, path: str) -> Any:
    if type(value) is not kind:
        raise ProtocolViolation(
            "bad-message", f"{path}: {type(value).__name__} where {kind.__name__} belongs"
        )
    return value


def _text(value: Any, path: str) -> str:
    text: str = _expect(str, value, path)
    try:
        text.encode()  # JSON can spell half a character (\\ud800), which no file or terminal takes
    except UnicodeEncodeError:
        raise ProtocolViolation("bad-message", f"{path}: no text") from None
    return text


def _bytes(text: str, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolViolation("bad-message", f"{path}: no base64") from None


def _pair(payload: bytes, first: str, second: str) -> tuple[str, Any]:
    value = _load(payload)
    if type(value) is not dict or value.keys() != {first, second} or type(value[first]) is not str:
        raise ProtocolViolation("bad-message", f"not an object of {first} and {second}")
    return cast("str", value[first]), value[second]


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def _load(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        raise ProtocolViolation("bad-message", "no JSON") from None
