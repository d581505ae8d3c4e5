"""The escape table against a real API server: every way out, by every verb, as a real tenant user."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from tests.real.kubernetes.world import (
    STRICT,
    TRUSTED,
    UNTRUSTED,
    Change,
    World,
    assert_denied,
    bind,
    change_image,
    debug,
    pods,
    resize,
)
from tests.support.escapes import ESCAPES, HARMLESS, Escape, Json, Place, escaping, plain_pod

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("kubernetes")]


def row(escape: Escape) -> str:
    return escape.name


every_escape = pytest.mark.parametrize("escape", ESCAPES, ids=row)


def test_the_table_is_wide_and_each_row_is_one_of_its_kind() -> None:
    assert len(ESCAPES) >= 40
    assert len({e.name for e in ESCAPES}) == len(ESCAPES)


@every_escape
def test_an_escape_is_refused_when_created(world: World, escape: Escape) -> None:
    pod = escaping(escape, plain_pod(escape.name))
    assert_denied(world.ada.create(pod, UNTRUSTED), escape.rule)


@pytest.mark.parametrize("harmless", HARMLESS, ids=row)
def test_what_is_harmless_is_let_in(world: World, harmless: Escape) -> None:
    pod = escaping(harmless, plain_pod(harmless.name))
    for namespace in (UNTRUSTED, STRICT):
        answer = world.try_pod(world.ada, namespace, pod)
        assert answer.ok, answer.message


@every_escape
def test_every_right_in_the_namespace_does_not_help(world: World, escape: Escape) -> None:
    pod = escaping(escape, plain_pod(escape.name))
    assert_denied(world.mallory.create(pod, UNTRUSTED), escape.rule)


@every_escape
def test_not_even_the_platform_can_create_one_by_mistake(world: World, escape: Escape) -> None:
    pod = escaping(escape, plain_pod(escape.name))
    assert_denied(world.admin.create(pod, UNTRUSTED), escape.rule)


@every_escape
def test_with_pod_security_too_it_stays_out_whoever_speaks_first(world: World, escape: Escape) -> None:
    answer = world.ada.create(escaping(escape, plain_pod(escape.name)), STRICT)
    assert answer.status == 403
    assert f"bulkhead: {escape.rule}: " in answer.message or "violates PodSecurity" in answer.message


@every_escape
def test_a_trusted_tenant_is_free_to(world: World, escape: Escape) -> None:
    answer = world.try_pod(world.grace, TRUSTED, escaping(escape, plain_pod(escape.name)))
    if escape.trusted_rule:
        assert_denied(answer, escape.trusted_rule)
    else:
        assert answer.ok, answer.message


# A running pod's fields are immutable to everybody but annotations and added tolerations, so there the API
# server's own validation refuses before any policy is asked.
MUTABLE = {"runtime-annotation", "toleration"}
ALSO_MUTABLE = {"static-source", "static-hash"}  # the mirror annotation itself is immutable


@every_escape
def test_a_plain_pod_cannot_be_updated_into_one(world: World, escape: Escape) -> None:
    path = pods(world, UNTRUSTED, "plain")
    answer = world.ada.replace(path + "?dryRun=All", escaping(escape, world.ada.get(path).body))
    if escape.rule in MUTABLE or escape.name in ALSO_MUTABLE:
        assert_denied(answer, escape.rule)
    else:
        assert answer.status == 422, answer.message


@pytest.mark.parametrize(
    "escape", [e for e in ESCAPES if e.rule in MUTABLE or e.name in ALSO_MUTABLE], ids=row
)
def test_a_trusted_tenant_may_update_into_one(world: World, escape: Escape) -> None:
    path = pods(world, TRUSTED, "plain")
    answer = world.grace.replace(path + "?dryRun=All", escaping(escape, world.grace.get(path).body))
    assert answer.ok, answer.message


VERBS: dict[str, Change] = {
    "update": change_image(lambda world: world.ada),
    "ephemeralcontainers": debug(lambda world: world.ada),
    "resize": resize(lambda world: world.ada),
}
TRUSTED_VERBS: dict[str, Change] = {
    "update": change_image(lambda world: world.grace),
    "ephemeralcontainers": debug(lambda world: world.grace),
    "resize": resize(lambda world: world.grace),
}
every_verb = pytest.mark.parametrize("verb", VERBS)
LEGACY = [e for e in ESCAPES if not e.on_create_only]


@every_verb
@pytest.mark.parametrize("escape", LEGACY, ids=row)
def test_one_from_before_the_policies_cannot_be_changed(world: World, verb: str, escape: Escape) -> None:
    assert_denied(VERBS[verb](world, UNTRUSTED, f"legacy-{escape.name}"), escape.rule)


@every_verb
@pytest.mark.parametrize("escape", [e for e in LEGACY if not e.trusted_rule], ids=row)
def test_a_trusted_tenant_changes_its_own(world: World, verb: str, escape: Escape) -> None:
    answer = TRUSTED_VERBS[verb](world, TRUSTED, f"legacy-{escape.name}")
    assert answer.ok, answer.message


@every_verb
def test_a_plain_pod_is_changed_freely(world: World, verb: str) -> None:
    for change, namespace in ((VERBS[verb], UNTRUSTED), (TRUSTED_VERBS[verb], TRUSTED)):
        answer = change(world, namespace, "plain")
        assert answer.ok, answer.message


@every_escape
def test_only_the_scheduler_binds(world: World, escape: Escape) -> None:
    name = f"legacy-{escape.name}"
    assert_denied(bind(lambda world: world.mallory)(world, UNTRUSTED, name), "binding")
    refused = bind(lambda world: world.ada)(world, UNTRUSTED, name)
    assert refused.status == 403
    assert "cannot create resource" in refused.message  # RBAC alone refuses who was granted what we render


def test_whoever_may_bind_everywhere_binds_here(world: World) -> None:
    answer = bind(lambda world: world.admin)(world, UNTRUSTED, "plain")
    assert answer.ok, answer.message


def in_security_context() -> Iterator[Escape]:
    """Rows that an ephemeral container can try as well."""
    for escape in ESCAPES:
        if escape.place is Place.MAIN and set(escape.container) == {"securityContext"}:
            yield escape


@pytest.mark.parametrize("escape", list(in_security_context()), ids=row)
def test_an_ephemeral_container_cannot_be_one(world: World, escape: Escape) -> None:
    settings = copy.deepcopy(escape.container["securityContext"])
    answer = debug(lambda world: world.ada, **settings)(world, UNTRUSTED, "plain")
    assert_denied(answer, escape.rule)
    allowed = debug(lambda world: world.grace, **settings)(world, TRUSTED, "plain")
    assert allowed.ok, allowed.message


def test_one_from_before_can_still_be_labelled_finished_and_deleted(world: World) -> None:
    path = pods(world, UNTRUSTED, "legacy-host-pid")
    patch: Json = {
        "metadata": {"labels": {"team": "blue"}, "finalizers": ["batch.kubernetes.io/job-tracking"]}
    }
    done: Json = {"metadata": {"finalizers": []}}
    for change in (patch, done):
        answer = world.admin.merge(path, change)
        assert answer.ok, answer.message
    answer = world.ada.call("DELETE", path + "?dryRun=All")
    assert answer.ok, answer.message
