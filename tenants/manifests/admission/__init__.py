"""Admission without a webhook: CEL policies that the API server evaluates itself.

Their text is constant. What differs between clusters (tenants, namespaces, classes) reaches it as `params`,
the TenantTable that `facts` renders, so nothing that a tenant file says is ever part of an expression.
"""
