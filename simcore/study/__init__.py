"""Scenarios and what is learnt from them."""
