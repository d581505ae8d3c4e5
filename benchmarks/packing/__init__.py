"""Packs published vector bin packing instances and compares with the best known of 351 heuristics."""
