"""Tenant files: YAML with positions -> checked documents -> a TenantSet, or every Problem at once."""
