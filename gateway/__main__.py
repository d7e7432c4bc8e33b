"""`python -m gateway` is the command `fhir-gateway`."""

from gateway.cli import main

main()
