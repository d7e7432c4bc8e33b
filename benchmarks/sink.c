/* Reads HTTP/1.1 bodies as fast as they come and throws them away: the client of the throughput and memory benchmarks.
 *
 *   sink PORT TARGET ACCEPT CONNECTIONS REPEATS PAUSE_BYTES PAUSE_MS
 *
 * Opens CONNECTIONS to 127.0.0.1 and asks REPEATS times on each for TARGET; a * in it becomes the number of the request
 * on its connection, from 0 on. With PAUSE_BYTES, every connection stops reading after that many bytes of its first body
 * until all have, and then for PAUSE_MS: readers that stall together.
 * Prints "SECONDS BYTES RESPONSES MEDIAN FIRST": the fourth in seconds from a request to the last byte of its response, the
 * last when the first byte of a body came, by CLOCK_MONOTONIC. Anything but 200 with a Content-Length and exactly that many
 * bytes, or with chunks to the last one, ends with status 1. Chunk sizes and what else frames chunks are not counted.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 256 * 1024, HEAD = 16 * 1024, MOST = 1024 };

struct reader {
    int fd;
    int repeats;         /* requests still to be answered, this one included */
    double asked;        /* when the present one was */
    int in_body, paused; /* where it stands */
    long left, taken;    /* bytes of the present body; of a chunked one, `left` are the present chunk's */
    int chunked, line;   /* its framing; characters of the present line, between chunks */
    int last, ended;     /* the chunk of size 0 was there; so was the empty line after it */
    size_t head_length;
    char head[HEAD + 1];
};

static struct reader readers[MOST];
static char piece[PIECE];
static const char *port, *target, *accepted;
static long total, responses, pause_bytes;
static int paused, waited, repeats;
static double *durations; /* seconds of each response */
static double first;      /* when the first byte of a body came */

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void ask(struct reader *r) {
    r->in_body = r->chunked = r->line = r->last = r->ended = 0;
    r->head_length = 0;
    r->left = r->taken = 0;
    char number[16] = "", request[HEAD];
    const char *rest = strchr(target, '*');
    int before = rest ? (int)(rest - target) : (int)strlen(target);
    if (rest) snprintf(number, sizeof number, "%d", repeats - r->repeats);
    const char *form = "GET %.*s%s%s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nAccept: %s\r\n\r\n";
    size_t length = snprintf(request, sizeof request, form, before, target, number, rest ? rest + 1 : "", port, accepted);
    r->asked = now();
    if (send(r->fd, request, length, MSG_NOSIGNAL) != (ssize_t)length) fail("send");
}

/* A character of what stands between chunks: lines with their size, the line end after each, the trailer. */
static void between_chunks(struct reader *r, char c) {
    if (c == '\r') return;
    if (c != '\n') {
        const char *digits = "0123456789abcdef", *digit = strchr(digits, c | 0x20);
        if (!r->last && (!digit || r->left > 1L << 40)) {
            fprintf(stderr, "no size of a chunk\n");
            exit(1);
        }
        if (!r->last) r->left = r->left * 16 + (digit - digits);
        r->line++;
        return;
    }
    if (r->last && !r->line) r->ended = 1;
    if (r->line && !r->left) r->last = 1;
    r->line = 0;
}

/* Bytes of the body's framing and of itself. */
static void take(struct reader *r, const char *data, long length) {
    while (length > 0) {
        if (r->chunked && (r->line || !r->left)) {
            if (r->ended) { /* more than one body */
                r->ended = 2;
                return;
            }
            between_chunks(r, *data++);
            length--;
            continue;
        }
        long part = r->chunked && r->left < length ? r->left : length;
        if (!first) first = now();
        r->left -= part;
        r->taken += part;
        total += part;
        data += part;
        length -= part;
    }
}

/* The head is complete at `end`; what follows it is the body's beginning. */
static void begin_body(struct reader *r, char *end) {
    *end = 0;
    if (strncmp(r->head, "HTTP/1.1 200 ", 13) != 0) {
        fprintf(stderr, "answered: %.60s\n", r->head);
        exit(1);
    }
    char *field = strcasestr(r->head, "\r\nContent-Length:");
    r->chunked = strcasestr(r->head, "\r\nTransfer-Encoding: chunked") != NULL;
    if (!field == !r->chunked) {
        fprintf(stderr, "neither a Content-Length nor chunks\n");
        exit(1);
    }
    r->in_body = 1;
    r->left = field ? atol(field + 17) : 0;
    take(r, end + 4, r->head_length - (end + 4 - r->head));
}

static void end_body(struct reader *r) {
    durations[responses++] = now() - r->asked;
    if (r->left < 0 || r->ended > 1) {
        fprintf(stderr, "more bytes than the response has\n");
        exit(1);
    }
    if (--r->repeats > 0) {
        ask(r);
    } else {
        close(r->fd);
        r->fd = -1;
    }
}

/* One recv; the socket has something to say. */
static void advance(struct reader *r) {
    char *into = r->in_body ? piece : r->head + r->head_length;
    size_t room = r->in_body ? (r->chunked || r->left > PIECE ? PIECE : (size_t)r->left) : HEAD - r->head_length;
    ssize_t got = recv(r->fd, into, room, 0);
    if (got < 0) fail("recv");
    if (got == 0) {
        fprintf(stderr, "the connection ended early\n");
        exit(1);
    }
    if (r->in_body) {
        take(r, piece, got);
    } else {
        r->head_length += got;
        r->head[r->head_length] = 0;
        char *end = strstr(r->head, "\r\n\r\n");
        if (!end) return;
        begin_body(r, end);
    }
    if (pause_bytes && !waited && !r->paused && r->taken >= pause_bytes) {
        r->paused = 1;
        paused++;
    }
    if (r->chunked ? r->ended : r->left <= 0) end_body(r);
}

static int ascending(const void *one, const void *other) {
    double difference = *(const double *)one - *(const double *)other;
    return (difference > 0) - (difference < 0);
}

int main(int argc, char **argv) {
    if (argc != 8) return fprintf(stderr, "sink PORT TARGET ACCEPT CONNECTIONS REPEATS PAUSE_BYTES PAUSE_MS\n"), 2;
    int connections = atoi(argv[4]), alive = connections;
    repeats = atoi(argv[5]);
    if (connections < 1 || connections > MOST || repeats < 1) return 2;
    port = argv[1];
    target = argv[2];
    accepted = argv[3];
    pause_bytes = atol(argv[6]);
    durations = calloc((size_t)connections * repeats, sizeof *durations);
    if (!durations) fail("calloc");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < connections; i++) {
        readers[i].repeats = repeats;
        readers[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(readers[i].fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    }
    double start = now();
    for (int i = 0; i < connections; i++) ask(&readers[i]);
    struct pollfd set[MOST];
    while (alive) {
        if (paused == connections) {
            usleep(atol(argv[7]) * 1000);
            waited = 1;
            paused = 0;
            for (int i = 0; i < connections; i++) readers[i].paused = 0;
        }
        if (connections > 1) {
            for (int i = 0; i < connections; i++)
                set[i] = (struct pollfd){.fd = readers[i].paused ? -1 : readers[i].fd, .events = POLLIN};
            if (poll(set, connections, -1) < 0) fail("poll");
        }
        for (int i = 0; i < connections; i++) {
            if (connections > 1 && !set[i].revents) continue;
            advance(&readers[i]);
            if (readers[i].fd < 0) alive--;
        }
    }
    double seconds = now() - start;
    qsort(durations, responses, sizeof *durations, ascending);
    printf("%.6f %ld %ld %.7f %.6f\n", seconds, total, responses, durations[responses / 2], first);
    return 0;
}
