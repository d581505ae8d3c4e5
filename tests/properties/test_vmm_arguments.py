"""No value can leave its field of QEMU's command line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runtime.errors import BadInput
from sandbox_runtime.model import Io
from sandbox_runtime.vmm import devices

hostile = st.text(st.sampled_from("a=,:'\"\\{}[] \n\x00/-%é,"), max_size=40) | st.text(max_size=40)
printable = hostile.filter(str.isprintable)


def parsed(text: str) -> dict[str, str]:
    """QEMU's own reading of `key=value,...` (util/keyval.c): a doubled comma is a comma, a single one ends it."""
    pairs, key, position = {}, "", 0
    while position < len(text):
        end = text.index("=", position)
        key, value, position = text[position:end], "", end + 1
        while position < len(text):
            if text[position] != ",":
                value, position = value + text[position], position + 1
            elif text[position : position + 2] == ",,":
                value, position = value + ",", position + 2
            else:
                position += 1
                break
        pairs[key] = value
    return pairs


@given(st.lists(printable, min_size=1, max_size=5))
def test_a_value_of_a_key_value_option_is_read_back_as_it_was(values: list[str]) -> None:
    fields: dict[str, str | int | bool] = {f"k{index}": value for index, value in enumerate(values)}
    assert parsed(devices.option("chardev", "", fields)[1]) == fields


@given(hostile)
def test_what_is_unprintable_is_refused_or_cannot_occur(value: str) -> None:
    if value.isprintable():
        assert devices.field(value).replace(",,", "").count(",") == 0
    else:
        with pytest.raises(BadInput):
            devices.field(value)


@given(hostile, hostile, st.booleans())
def test_a_disk_is_one_argument_whatever_its_path_and_serial(path: str, serial: str, group: bool) -> None:
    node = devices.image_node("d0", path, True, group="g0" if group else "")
    words = devices.argv([node, devices.scsi_disk("d0", "d0", serial, 1)])
    assert [words[0], words[2]] == ["-blockdev", "-device"]
    blockdev, device = json.loads(words[1]), json.loads(words[3])
    assert blockdev.get("file", blockdev)["filename"] == path
    assert device["serial"] == serial
    assert all(word.isascii() and "\n" not in word for word in words)


@given(hostile)
def test_a_kernel_command_line_stays_one_argument(cmdline: str) -> None:
    kernel = devices.Kernel("/k", "", cmdline)
    if cmdline.isprintable():
        assert kernel.argv() == ["-kernel", "/k", "-append", cmdline]
    else:
        with pytest.raises(BadInput):
            kernel.argv()


@given(st.builds(Io, *[st.integers(0, 2**63 - 1)] * 4))
def test_a_throttle_group_states_all_four_limits(io: Io) -> None:
    limits = devices.throttle_group("g", io).json()["limits"]
    assert isinstance(limits, dict)
    assert list(limits.values()) == list(io)
