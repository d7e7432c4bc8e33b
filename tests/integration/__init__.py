"""Tests of the whole gateway, started as its users start it."""
