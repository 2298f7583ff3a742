"""Certificates: the evidence that a month of predictions carries, and how it is verified."""
