"""The test suite; `tests/conftest.py` says what holds for every test, `tests/support` what tests share."""
