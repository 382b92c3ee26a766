"""`monitor --live`: what it shows, keeps and saves."""
