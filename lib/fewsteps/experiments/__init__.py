"""Experiments: a frozen setting in, rows of a result table out."""
