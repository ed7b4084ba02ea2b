"""Units, for those who need no settings."""

MB = 1_000_000
"""Bytes"""
