"""Synthetic images as files for other tools."""
