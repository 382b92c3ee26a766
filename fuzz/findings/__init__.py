"""What fuzzing found. See README.md."""
