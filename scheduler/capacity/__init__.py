"""How much cluster a workload needs under different ways of keeping tenants apart, and what is left over."""
