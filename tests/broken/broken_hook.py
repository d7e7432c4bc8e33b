"""A module that fails while it is imported, as one does that looks for its service too early."""

raise RuntimeError("no service")
