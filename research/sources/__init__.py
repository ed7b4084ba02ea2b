"""Collect public speech and noise for the corpus builder: catalogue, download, conversion."""
