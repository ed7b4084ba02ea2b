"""The labeller of S-, N- and G-MOS: fit of its curves to ratings, and comparison with other measures."""
