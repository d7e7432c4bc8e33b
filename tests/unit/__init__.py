"""Tests of one module each; the names mirror the code."""
