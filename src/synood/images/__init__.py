"""Images: where they come from, how they are decoded, and which of them the method redraws."""
