"""Endpoints, a file a group."""
