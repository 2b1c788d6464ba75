"""Captures, traces, statistics."""
