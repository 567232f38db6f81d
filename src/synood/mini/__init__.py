"""The embedded mini world and the bundles that the package needs at run time."""
