"""One queue, by example: order, limits, groups, stories."""

from __future__ import annotations

from scheduler.placement.cycle import Cycle
from scheduler.placement.score.registry import make_policy
from scheduler.placement.state import ClusterState
from scheduler.queueing.room import ClusterRoom
from scheduler.queueing.waiting import Group
from tenants.ledger.charge import Phase
from tests.support.ledger import make_charge, make_group, make_ledger
from tests.support.queueing import World, codes, make_node, make_waiting
from tests.support.tenants import cpu, make_tenant


def two_tenants(pool: int = 10_000, a: int = 0, b: int = 0) -> World:
    nodes = (make_tenant("a", quota=cpu(a)), make_tenant("b", quota=cpu(b)))
    return World(make_ledger(*nodes, offered={"cpu": pool}))


def test_inside_a_tenant_priority_goes_first_then_arrival_then_uid() -> None:
    world = two_tenants()
    world.add(make_waiting("z", arrived=1), make_waiting("late", arrived=2), make_waiting("a", arrived=1))
    world.add(make_waiting("high", priority=1, arrived=9))
    assert world.go() == ["high", "a", "z", "late"]
    world.check()


def test_who_is_within_its_guarantee_goes_before_who_borrows_less_by_weight() -> None:
    world = two_tenants(pool=10_000, b=4000)
    world.add(*(make_waiting(f"a{n}", "a", arrived=0) for n in range(9)))
    world.add(*(make_waiting(f"b{n}", "b", arrived=5) for n in range(9)))
    assert world.go()[:4] == ["b0", "b1", "b2", "b3"]
    assert world.per_tenant() == {"a": 3, "b": 7}
    world.check()


def test_a_pod_that_lacks_quota_stops_no_other() -> None:
    world = two_tenants(pool=4000)
    world.add(make_waiting("huge", cpu=3000, arrived=0), make_waiting("b", "b", cpu=2000, arrived=0))
    world.add(make_waiting("small", cpu=1000, arrived=1))
    assert set(world.go()) == {"b", "small"}
    story = world.queue.story("huge")
    assert story is not None
    assert str(story).startswith("WaitingForQuota: tenant a 0/0 guaranteed, 0 borrowed; default/cpu: asked 3")


def test_the_story_of_a_borrower_names_who_is_owed() -> None:
    world = World(
        make_ledger(make_tenant("agents", quota=cpu(64_000)), make_tenant("batch", quota=cpu(16_000)),
                    offered={"cpu": 80_000})
    )  # fmt: skip
    world.add(*(make_waiting(f"p{n:02}", "agents") for n in range(81)))
    assert len(world.go()) == 80
    assert str(world.queue.story("p80")).startswith(
        "WaitingForQuota: tenant agents 64/64 guaranteed, 16 borrowed, lender batch reclaims; default/cpu: asked 1"
    )


def test_a_pod_without_room_stops_no_other_and_says_what_is_short() -> None:
    world = World(
        make_ledger(make_tenant("a", quota=cpu(100_000))), [make_node(cpu=4000), make_node("m", cpu=2000)]
    )
    world.add(
        make_waiting("wide", cpu=3000), make_waiting("first", cpu=3000), make_waiting("small", arrived=3)
    )
    outcomes = world.round()
    assert set(world.running) == {"first", "small"}
    assert codes(outcomes) == {"wide": "NoRoom"}
    assert (
        str(world.queue.story("wide"))
        == "NoRoom: InsufficientCPU: 2 nodes InsufficientCPU (asked 3000, most 2000)"
    )
    assert world.round() == []  # told once
    world.end("first")
    assert world.go() == ["wide"]
    world.check()


def test_a_deep_queue_lets_another_tenants_pod_go_in_the_very_next_round() -> None:
    world = two_tenants(pool=1 << 40, a=1 << 39)
    world.add(*(make_waiting(f"a{n:05}", "a", arrived=n) for n in range(2000)))
    assert len(world.go(limit=50)) == 50
    world.add(make_waiting("newcomer", "b", arrived=9999))
    assert "newcomer" in world.go(limit=50)
    assert str(world.queue.story("a01999")).startswith("RoundLimit")
    assert world.queue.position("a01999") == 2000 - 100 - 1


def test_a_group_goes_whole_or_not_at_all_and_says_why() -> None:
    world = two_tenants(pool=3500)
    group = Group("train", 4)
    members = [make_waiting(f"m{n}", group=group) for n in range(4)]
    world.add(*members[:3])
    world.round()
    assert str(world.queue.story("m0")) == "WaitingForGroup: 3/4 members of group train are here"
    world.add(members[3], make_waiting("single", "b", cpu=500))
    assert world.go() == ["single"]
    story = world.queue.story("m1")
    assert str(story).startswith(
        "WaitingForQuota: 3/4 members of the group can go; a/m3: tenant a 0/0 guaranteed"
    )
    world.check()
    world.end("single")
    assert world.go() == []
    world.queue.discard("m3")
    world.add(make_waiting("m4", cpu=500, group=group))
    assert sorted(world.go()) == ["m0", "m1", "m2", "m4"]
    world.check()


def test_a_group_without_room_gives_back_what_it_took() -> None:
    world = World(make_ledger(make_tenant("a", quota=cpu(100_000))), [make_node(cpu=2000)])
    world.add(*(make_waiting(f"m{n}", group=Group("g", 3)) for n in range(3)))
    assert world.go() == []
    world.check()
    assert str(world.queue.story("m0")).startswith(
        "NoRoom: 2/3 members of the group can go; a/m2: InsufficientCPU"
    )


def test_members_beyond_the_minimum_follow_alone_and_those_found_running_count() -> None:
    world = two_tenants()
    group = Group("g", 2)
    world.queue.settled(make_waiting("bound", group=group))
    world.add(make_waiting("m1", group=group))
    assert world.go() == ["m1"]
    world.add(make_waiting("m2", group=group))
    assert world.go() == ["m2"]
    for uid in ("bound", "m1", "m2"):
        world.queue.discard(uid)
    world.add(make_waiting("again", group=group))
    assert world.go() == []


def test_a_pod_that_comes_back_keeps_its_place() -> None:
    world = two_tenants()
    first, second = make_waiting("first", arrived=1), make_waiting("second", arrived=2)
    world.add(first)
    assert world.go() == ["first"]
    world.end("first")
    world.add(second, first)
    assert world.go() == ["first", "second"]


def test_nothing_above_the_max_or_unstated_is_tried_twice() -> None:
    world = World(make_ledger(make_tenant("a", quota=cpu(1000, max=2000))))
    stranger = make_waiting("s", "nobody")
    world.add(make_waiting("large", cpu=3000), stranger)
    assert codes(world.round()) == {"large": "ExceedsMaxQuota", "s": "NoSuchTenant"}
    assert world.round() == []


def test_a_claim_is_served_before_all_others_on_the_node_its_victims_leave() -> None:
    world = World(
        make_ledger(make_tenant("a", quota=cpu(2000)), make_tenant("b", quota=cpu(0)), offered={"cpu": 2000}),
        [make_node("n1", cpu=1000), make_node("n2", cpu=1000)],
    )
    world.add(make_waiting("b0", "b"), make_waiting("b1", "b"))
    assert len(world.go()) == 2
    owner = make_waiting("a0", "a", arrived=1)
    world.add(owner, make_waiting("b2", "b", arrived=0))
    assert world.go() == []
    node = world.running["b0"].placed.node
    world.ledger.terminate("b0")
    world.ledger.record(owner.charge, Phase.CLAIMED)
    world.queue.expect("a0", node)
    assert world.go() == []
    world.end("b0")
    assert world.go() == ["a0"]
    assert world.running["a0"].placed.node == node
    world.check()


def test_summary_counts_by_reason() -> None:
    world = two_tenants(pool=1000)
    world.add(
        make_waiting("a0", arrived=1), make_waiting("a1", arrived=2), make_waiting("b0", "b", arrived=3)
    )
    world.ledger.record(make_charge("other", "a", cpu=1000))
    world.round()
    summary = world.queue.summary()
    assert (summary["a"].waiting, summary["a"].oldest) == (2, 1)
    assert summary["b"].codes == {"WaitingForQuota": 1}


def test_a_guarantee_goes_first_though_its_group_borrows_most() -> None:
    world = World(
        make_ledger(
            make_group("g", cpu(1000)),
            make_tenant("owner", parent="g", quota=cpu(1000)),
            make_tenant("hog", parent="g", quota=cpu(0)),
            make_tenant("modest", quota=cpu(0)),
            offered={"cpu": 10_000},
        )
    )
    world.add(*(make_waiting(f"h{n}", "hog") for n in range(9)))
    world.go()
    world.add(make_waiting("m", "modest", arrived=1), make_waiting("o", "owner", arrived=2))
    assert world.go() == ["o"]


def test_after_its_patience_a_large_pod_gets_what_its_tenants_own_max_leaves() -> None:
    world = World(make_ledger(make_tenant("a", quota=cpu(0, max=4000))), patience_s=60)
    world.add(*(make_waiting(f"s{n}") for n in range(4)))
    assert len(world.go()) == 4
    world.add(make_waiting("large", cpu=3000, arrived=1))
    world.now = 30
    world.end("s0")
    world.add(make_waiting("s4", arrived=30))
    assert world.go() == ["s4"]
    world.now = 70
    world.end("s1", "s2")
    world.add(make_waiting("s5", arrived=70), make_waiting("s6", arrived=70))
    assert world.go() == []
    assert str(world.queue.story("s5")).startswith("BehindOlder: quota is kept for a/large")
    world.add(make_waiting("vip", priority=1, arrived=71))
    assert world.go() == ["vip"]
    world.end("s3", "s4")
    assert world.go() == ["large"]
    world.end("vip")
    assert world.go() == ["s5"]
    world.check()


def test_what_is_kept_for_a_borrower_is_not_kept_from_a_guarantee() -> None:
    world = two_tenants(pool=6000, a=2000)
    world.ledger.record(make_charge("running", "b", cpu=4000))
    world.add(make_waiting("large", cpu=5000, arrived=0), make_waiting("small", arrived=1))
    world.add(make_waiting("b0", "b", arrived=0))
    world.now = 100
    assert world.go() == ["small"]


def test_a_node_that_is_kept_for_two_is_shut_once_and_opens_whole() -> None:
    state = ClusterState([make_node("n0", cpu=4000)])
    room = ClusterRoom(Cycle(state, make_policy("best-fit", 0, None)))
    free = state.free.copy()
    assert room.hold(make_waiting("one"), "n0", ()) == "n0"
    assert room.hold(make_waiting("two"), "n0", ()) == "n0"
    room.unhold("n0")
    room.unhold("n0")
    assert (state.free == free).all()
