"""Where the heavy work of a run is done: in this process, or by workers of a cluster."""
