"""Decides where one pod stands: cluster state, what fits, what is best. Read `cycle` first."""
