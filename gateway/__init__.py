"""FHIR document gateway: a legacy clinical document archive, answered as FHIR Binary.

Importing this package does no work; `gateway.app` composes the service and `gateway.cli` is its command.
"""

__version__ = "0.1.0"
