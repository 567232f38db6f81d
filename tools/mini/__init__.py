"""How the embedded mini models were made: fetch, train, assemble, evaluate."""
