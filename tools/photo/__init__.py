"""How the embedded bundle `photo` was made: fetch, assemble, evaluate; not in the wheel."""
