"""Which tenant a pod of a trace belongs to: rules over its columns, first match wins.

A rule reads `column=value: tenant`; `*: tenant` matches every pod. Rules stand in a file, one a line (`#` starts a
comment), or on the command line, separated by `;`. Pure; called by the trace readers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from scheduler.errors import BadInput, Problem

EVERY = "*"


class Rule(msgspec.Struct, frozen=True):
    """Pods whose `column` holds `value` are `tenant`'s."""

    column: str
    value: str
    tenant: str


class Assignment:
    """Rules in order; with none of them every pod is nobody's."""

    def __init__(self, rules: tuple[Rule, ...] = ()) -> None:
        self.rules = rules

    @property
    def columns(self) -> frozenset[str]:
        """The columns that the rules look at."""
        return frozenset(rule.column for rule in self.rules if rule.column != EVERY)

    def tenant_of(self, columns: Mapping[str, str]) -> str:
        """The tenant of a pod with these columns, or empty."""
        for rule in self.rules:
            if rule.column == EVERY or columns.get(rule.column) == rule.value:
                return rule.tenant
        return ""


def parse(text: str, path: str, tenants: Collection[str]) -> Assignment:
    """Read rules.

    Raises:
        BadInput: a rule that is none, or one that names a tenant that does not exist; all of them at once.
    """
    rules, problems = [], []
    for number, line in enumerate(text.replace(";", "\n").splitlines(), start=1):
        stated = line.partition("#")[0].strip()
        if not stated:
            continue
        rule = _rule(stated)
        if rule is None:
            problems.append(
                Problem(path, number, f"{stated!r} is no rule", "write `column=value: tenant` or `*: tenant`")
            )
        elif rule.tenant not in tenants:
            known = ", ".join(sorted(tenants)) or "none"
            problems.append(
                Problem(path, number, f"unknown tenant {rule.tenant!r}", f"the tenant files name: {known}")
            )
        else:
            rules.append(rule)
    if not rules and not problems:
        problems.append(Problem(path, 1, "holds no rule", "write `column=value: tenant` or `*: tenant`"))
    if problems:
        raise BadInput(problems)
    return Assignment(tuple(rules))


def _rule(stated: str) -> Rule | None:
    condition, colon, tenant = stated.rpartition(":")
    column, equals, value = condition.strip().partition("=")
    if not colon or not tenant.strip() or (column != EVERY and not equals):
        return None
    return Rule(column.strip(), value.strip(), tenant.strip())
