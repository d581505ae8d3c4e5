"""CEL variables that say whose a request is, and the two checks on its author. Pure text, all constant.

Used by every policy of this package; the variables are evaluated only when a rule needs them.
"""

from __future__ import annotations

from typing import Final

Variables = list[dict[str, str]]


def variable(name: str, expression: str) -> dict[str, str]:
    """A CEL variable, on one line."""
    return {"name": name, "expression": " ".join(expression.split())}


def owner_of(namespace: str, tenant: str) -> Variables:
    """Variables that end in `tenant`: who owns the namespace that the CEL expression `namespace` names.

    An explicit name wins, then the longest prefix, as `TenantSet.tenant_of` has it; empty = nobody.
    """
    covering, longest = f"{tenant}Covering", f"{tenant}Longest"
    return [
        variable(
            covering,
            f"params.data['prefixes'].split(' ').filter(p, p != '' && ({namespace}).startsWith(p))",
        ),
        variable(longest, f"variables.{covering}.filter(p, variables.{covering}.all(q, p.startsWith(q)))"),
        variable(
            tenant,
            f"""('namespace.' + ({namespace})) in params.data ? params.data['namespace.' + ({namespace})]
            : (variables.{longest}.size() == 0 ? '' : params.data['prefix.' + variables.{longest}[0]])""",
        ),
    ]


def fact(key: str) -> str:
    """The tenant's fact, or empty when nobody owns the namespace."""
    return f"(variables.tenant == '' ? '' : params.data['{key}.' + variables.tenant])"


REQUEST_TENANT: Final[Variables] = [
    *owner_of("request.namespace", "tenant"),
    variable("trust", fact("trust")),
    variable("untrusted", "variables.trust == 'untrusted'"),
]


def allowed_everywhere(group: str, resource: str, verb: str, subresource: str = "") -> str:
    """Whether the author may do this in every namespace: true of the platform, never of a tenant.

    The arguments are CEL expressions.
    """
    check = f"authorizer.group({group}).resource({resource})"
    if subresource:
        check += f".subresource({subresource})"
    return f"{check}.check({verb}).allowed()"
