"""Where pictures come from, how they are read, and which of them the method redraws."""
