"""What fuzzing found in other software. README.md has the table."""
