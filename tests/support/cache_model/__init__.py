"""A model of what a cache may serve, and the load that is held against it.

    evidence        what happened around an answer that is complained of
    truth           every version of every document with the time for which it was current; judges each answer
    reading         a lean client: answers as they came, whole or broken off
    weather         what is done to archives meanwhile: writes, deletions, broken reads, outages
    network         a network that fails for a moment
    archive         the archive as a server of its own, and the adapter that speaks with it, for gateways that are processes
    places          the gateways that are asked: objects in this process, or processes that are killed
    troubled_redis  a real Redis that is killed, stopped, emptied and too small
    backends        caches and settings of caches, by backend
    run             one run with its figures; `python -m tests.support.cache_model.run --backend memory --reads 20000`

Time is this process's monotonic clock. A version counts as current from the moment before it was written to the moment after
it was replaced, so that the model never accuses a gateway of what the archive may have answered.
"""
