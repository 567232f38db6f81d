"""The run directory: what a run keeps on disk, and how it survives a kill."""
