"""Several serving processes on one address: a supervisor that binds it and serves nobody, and workers that inherit it.

Rules of this package:
1. The supervisor never touches a document, an archive or a token: it starts workers, speaks for them on the admin listener,
   and replaces those that die. What a worker is, `gateway.app` decides.
2. A worker is a new process (fork and exec), never a copy of a running one: threads, sockets and random numbers of a parent do
   not survive in copies.
3. All workers accept from the sockets that the supervisor bound. A connection that nobody accepted yet belongs to all of them,
   so it does not die with one.
4. Workers obey the channel to their supervisor, not the signals of a terminal or a service manager; they end when it closes.
5. A configuration is prepared by all workers before any of them uses it.
"""
