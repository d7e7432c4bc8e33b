"""Tests that run the adapter conformance kit."""
