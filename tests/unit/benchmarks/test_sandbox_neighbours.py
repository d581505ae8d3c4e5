"""Who attacks in which turn, and what an attack from a sandbox is compared with."""

from __future__ import annotations

from benchmarks.sandbox.neighbours import ATTACKS, PANIC, Noise, _compared, _turns


def test_everybody_makes_every_attack_but_the_one_that_would_take_the_host() -> None:
    for number in (0, 1):
        pairs = _turns(number)
        assert len(set(pairs)) == len(pairs) == 2 * len(ATTACKS) + 1
        assert (PANIC, "sandbox") in pairs
        assert (PANIC, "runc") not in pairs
    assert _turns(0)[:2] == _turns(1)[1::-1]


def test_an_attack_from_a_sandbox_is_put_over_the_same_from_a_plain_container() -> None:
    walled = Noise("flood", "sandbox", 10.0, 3.0, 2.0, 1.5, 100)
    plain = Noise("flood", "runc", 40.0, 6.0, 8.0, 3.0, 90)
    alone = Noise("panics", "sandbox", 5.0, 2.0, 1.0, 1.0, 80)
    found = _compared([walled, plain, alone])
    assert found[0].sandbox_over_runc_attack == 0.25
    assert found[0].runc_over_runc_attack == 0.5
    assert found[1:] == [plain, alone]
