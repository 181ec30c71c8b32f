"""Protocols: the numbers of each engine, as YAML data."""
