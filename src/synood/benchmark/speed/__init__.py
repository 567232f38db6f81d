"""The speed of the hot paths on this machine, each beside a peer or its floor."""
