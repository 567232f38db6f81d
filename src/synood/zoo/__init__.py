"""The embedded mini world and mini models: how they were made, and their weights."""
