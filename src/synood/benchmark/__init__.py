"""Suites of test sets, baselines, tables and the report."""
