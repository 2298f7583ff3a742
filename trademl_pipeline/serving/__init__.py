"""Serving of published predictions."""
