"""The exit codes of every command."""

DONE, OUR_FAULT, INPUT_FAULT, OOD_FOUND, STOPPED, TERMINATED = 0, 1, 2, 3, 130, 143
DRIFT_FOUND = OOD_FOUND  # asked for and found
