"""Results as HTML, Markdown, LaTeX and charts."""
