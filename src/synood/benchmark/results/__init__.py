"""Measured rows, published rows, estimates and comparisons."""
