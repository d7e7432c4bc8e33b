"""Tests about the project itself: architecture, packaging, set-up, documentation."""
