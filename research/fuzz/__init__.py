"""Coverage-guided fuzzing of the parts that read untrusted input. Run by `make fuzz`."""
