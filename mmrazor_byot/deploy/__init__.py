"""Trained networks on their way out."""
