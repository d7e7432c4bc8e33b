"""Tests of the id schemes."""
