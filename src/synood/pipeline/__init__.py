"""The stages of the method tied together in one run directory that can be resumed."""
