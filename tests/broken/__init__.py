"""Broken configurations, each as its file with what `fhir-gateway check` says of it beside it.

`shelf/NAME.yaml` is the configuration, `shelf/NAME.txt` the answer: exit code, then every line. `python -m tests.broken` writes
the answers anew; read the difference before you commit it. Words in a comment at the top say what a case needs:
`environment` variables, the `account` that asks, a `disk` that is full. `$redis` and the like are the ports of `site`.
"""
