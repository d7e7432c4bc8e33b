"""Tests that break something on purpose while a document is being read."""
