"""Class names, prompts and negative labels: words far from every class name."""
