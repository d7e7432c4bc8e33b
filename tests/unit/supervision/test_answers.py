"""What several workers say as one."""

from __future__ import annotations

from gateway.supervision.answers import merged


def test_numbers_add_up_times_do_not_and_the_worst_word_wins() -> None:
    one = {"status": "ready", "requests": {"answered": 3, "in_flight": 1}, "uptime_seconds": 7.5, "hit_ratio": 0.5,
           "sources": {"a": {"state": "ok", "limit": 4, "latency_ms": {"p50": 1.0}}}, "entries": None}  # fmt: skip
    two = {"status": "ready", "requests": {"answered": 4, "in_flight": 0}, "uptime_seconds": 9.5, "hit_ratio": 1.0,
           "sources": {"a": {"state": "away", "limit": 4, "latency_ms": None}}, "entries": 2}  # fmt: skip
    assert merged([one, two]) == {
        "status": "ready",
        "requests": {"answered": 7, "in_flight": 1},
        "uptime_seconds": 9.5,
        "hit_ratio": 0.75,
        "sources": {"a": {"state": "away", "limit": 8, "latency_ms": {"p50": 1.0}}},
        "entries": 2,
    }


def test_lists_are_joined_by_name_and_what_expires_first_counts() -> None:
    one = {"certificates": [{"key": "server.tls.certificate", "days": 12}], "sinks": [{"name": "x", "sent": 2}]}
    two = {"certificates": [{"key": "server.tls.certificate", "days": 11}], "sinks": [{"name": "x", "sent": 3}]}
    assert merged([one, two]) == {
        "certificates": [{"key": "server.tls.certificate", "days": 11}],
        "sinks": [{"name": "x", "sent": 5}],
    }


def test_what_lies_in_redis_is_counted_once_and_what_lies_in_memory_as_often_as_it_lies_there() -> None:
    shared = {"backend": "redis", "entries": 5, "bytes": 50, "limit": None, "stored": 2}
    assert merged([shared, shared]) == shared | {"stored": 4}
    own = {"backend": "memory", "entries": 5, "bytes": 50, "limit": 100, "stored": 2}
    assert merged([own, own]) == {"backend": "memory", "entries": 10, "bytes": 100, "limit": 200, "stored": 4}


def test_one_worker_says_what_it_says() -> None:
    said = {"a": 1, "b": [1, 2], "c": {"d": None}, "e": True}
    assert merged([said]) == said


def test_a_part_is_of_the_sum_and_a_latency_is_none() -> None:
    one = {"cache_hits": 1, "cache_misses": 0, "cache_hit_ratio": 1.0, "latency_ms": {"p50": 2.0, "p99": 9.0}}
    two = {"cache_hits": 1, "cache_misses": 6, "cache_hit_ratio": 0.1429, "latency_ms": {"p50": 1.0, "p99": 8.0}}
    assert merged([one, two]) == {
        "cache_hits": 2,
        "cache_misses": 6,
        "cache_hit_ratio": 0.25,
        "latency_ms": {"p50": 2.0, "p99": 9.0},
    }
    idle = {"hits": 0, "misses": 0, "hit_ratio": None}
    assert merged([idle, idle]) == idle
