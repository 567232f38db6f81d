"""Words become prompts, and prompts far from every class name become negative labels."""
