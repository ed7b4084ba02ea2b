"""What scores are for: held against ratings, compared, gated, drawn, reported. Nothing in here imports torch."""
