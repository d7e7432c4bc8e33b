"""HTTP and FHIR semantics without I/O: header text in, a decision out, and the caller acts on it.

What lives here: what a request asks for (`interactions`, `parameters`, `negotiation` over `accept`, `ranges`,
`conditional`), the grammar of media types (`media_type`, over `fields`), and the named answers to the points where the
NHS specifications disagree (`profile`). What must not: sockets, files, aiohttp, asyncio, Redis, and every name of an
archive.

Three promises hold in every module. Text from the network never raises anything but `parameters.ParameterError`; work
is linear in the length of the text; and nothing a client sent is repeated in an exception. The modules are the
namespaces (`ranges.parse`, `conditional.evaluate`), so this package re-exports nothing and importing it is free.
"""
