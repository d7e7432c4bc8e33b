"""Tests that look at bytes on a socket."""
