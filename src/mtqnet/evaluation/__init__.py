"""Evaluation: rating tables, agreement, comparisons, gates, pictures and reports. It never imports torch."""
