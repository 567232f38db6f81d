"""How a method is fitted on a suite and scored; the controls."""
