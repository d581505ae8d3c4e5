"""What the CEL texts of this package share: a rule, and the variables that say whose a request is. Pure.

All of it is constant text. Variables are evaluated by the API server only when a rule needs them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

Variables = list[dict[str, str]]


class Rule(NamedTuple):
    """`holds` is CEL that is true of a harmless object; `why` is CEL for the sentence after the name."""

    name: str
    holds: str
    why: str


def variable(name: str, expression: str) -> dict[str, str]:
    """A CEL variable, on one line."""
    return {"name": name, "expression": " ".join(expression.split())}


def owner_of(namespace: str, tenant: str) -> Variables:
    """Variables that end in `tenant`: who owns the namespace that the CEL expression `namespace` names.

    An explicit name wins, then the longest prefix, as `TenantSet.tenant_of` has it; empty = nobody. The beginnings
    of the name are looked up, longest first, so that the cost does not grow with the number of tenants.
    """
    name, covering = f"{tenant}Namespace", f"{tenant}Prefixes"
    lengths = ", ".join(map(str, range(63, 0, -1)))  # a namespace is a DNS label
    begins = f"variables.{name}.substring(0, n)"
    return [
        variable(name, namespace),
        variable(
            covering,
            f"""[{lengths}].filter(n, n <= variables.{name}.size() && {begins} in params.spec.prefixes)
            .map(n, {begins})""",
        ),
        variable(
            tenant,
            f"""variables.{name} in params.spec.namespaces ? params.spec.namespaces[variables.{name}]
            : (variables.{covering}.size() == 0 ? '' : params.spec.prefixes[variables.{covering}[0]])""",
        ),
    ]


def fact(key: str) -> str:
    """A fact about the tenant; to be read only where there is one."""
    return f"params.spec.tenants[variables.tenant].{key}"


REQUEST_TENANT: Final[Variables] = [
    *owner_of("request.namespace", "tenant"),
    variable("untrusted", f"variables.tenant != '' && {fact('trust')} == 'untrusted'"),
]


def allowed_everywhere(group: str, resource: str, verb: str, subresource: str = "") -> str:
    """Whether the author may do this in every namespace: true of the platform, never of a tenant.

    The arguments are CEL expressions.
    """
    check = f"authorizer.group({group}).resource({resource})"
    if subresource:
        check += f".subresource({subresource})"
    return f"{check}.check({verb}).allowed()"
