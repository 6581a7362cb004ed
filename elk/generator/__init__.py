"""Writes what is made out of tables: the mappings of `fields.csv`, and Kibana's saved objects.

A tool for development: `python -m elk.generator`. Not here: loading them (`elk/setup`).
"""
