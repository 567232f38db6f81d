"""What made the package, and is not in it."""
