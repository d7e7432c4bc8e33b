/* A TCP proxy that makes a loopback connection long: the network of the benchmarks that are not run on one machine.
 *
 *   delay PORT TARGET_PORT MICROSECONDS
 *
 * Listens on 127.0.0.1:PORT and relays to 127.0.0.1:TARGET_PORT. Every byte arrives MICROSECONDS after it was sent, in
 * each direction, so a round trip takes twice that; up to MOST bytes may be under way, so the bandwidth is not limited.
 * Runs until it is ended.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 256 * 1024, MOST = 64 * 1024 * 1024, CONNECTIONS = 256 };

struct piece {
    double due;
    size_t size, left; /* a size of 0 is the end of the flow */
    struct piece *next;
    char data[PIECE];
};

struct flow {
    int from, to;
    int ended, finished; /* its end was read; and passed on */
    int blocked;         /* the receiver takes no more for now */
    size_t waiting;
    struct piece *first, *last;
};

static struct flow flows[CONNECTIONS][2];
static struct piece *unused; /* the last one used is taken first: it is still in the processor's cache */
static int used; /* no connection has this number or a higher one */
static double delay;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static struct sockaddr_in loopback(const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void prepare(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, O_NONBLOCK);
}

static void begin(int client, struct sockaddr_in *target) {
    int number = 0, server = socket(AF_INET, SOCK_STREAM, 0);
    while (number < CONNECTIONS && flows[number][0].from >= 0) number++;
    if (number == CONNECTIONS || connect(server, (struct sockaddr *)target, sizeof *target)) {
        close(client);
        close(server);
        return;
    }
    if (number == used) used++;
    prepare(client);
    prepare(server);
    flows[number][0] = (struct flow){.from = client, .to = server};
    flows[number][1] = (struct flow){.from = server, .to = client};
}

static void take_first(struct flow *f) {
    struct piece *p = f->first;
    f->first = p->next;
    f->waiting -= p->size;
    p->next = unused;
    unused = p;
}

static void end(struct flow pair[2]) {
    close(pair[0].from);
    close(pair[0].to);
    for (int i = 0; i < 2; i++) {
        while (pair[i].first) take_first(&pair[i]);
        pair[i].from = -1;
    }
}

/* Take what came; returns whether the connection still stands. */
static int receive(struct flow *f) {
    struct piece *p = unused;
    if (p) unused = p->next;
    else if (!(p = malloc(sizeof *p))) fail("malloc");
    ssize_t got = recv(f->from, p->data, PIECE, 0);
    if (got < 0) {
        p->next = unused;
        unused = p;
        return errno == EAGAIN;
    }
    p->size = p->left = got;
    p->due = now() + delay;
    p->next = NULL;
    if (f->first) f->last->next = p;
    else f->first = p;
    f->last = p;
    f->waiting += got;
    f->ended = !got;
    return 1;
}

/* Pass on what is due; returns whether the connection still stands. */
static int deliver(struct flow *f, double time) {
    while (f->first && f->first->due <= time && !f->blocked) {
        struct piece *p = f->first;
        if (!p->size) {
            shutdown(f->to, SHUT_WR);
            f->finished = 1;
        }
        while (p->left) {
            ssize_t sent = send(f->to, p->data + p->size - p->left, p->left, 0);
            if (sent < 0) {
                f->blocked = errno == EAGAIN;
                return f->blocked;
            }
            p->left -= sent;
        }
        take_first(f);
    }
    return 1;
}

/* Wait for a socket or for the first piece that is due. */
static void await(struct pollfd *set, int count) {
    double due = -1, left;
    for (int i = 0; i < used; i++)
        for (int k = 0; k < 2; k++) {
            struct flow *f = &flows[i][k];
            if (f->from >= 0 && f->first && !f->blocked && (due < 0 || f->first->due < due)) due = f->first->due;
        }
    left = due - now();
    if (left < 0) left = 0;
    struct timespec wait = {.tv_sec = (time_t)left, .tv_nsec = (long)((left - (time_t)left) * 1e9)};
    if (ppoll(set, count, due < 0 ? NULL : &wait, NULL) < 0) fail("ppoll");
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "delay PORT TARGET_PORT MICROSECONDS\n"), 2;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in here = loopback(argv[1]), target = loopback(argv[2]);
    delay = atol(argv[3]) / 1e6;
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1); /* nanoseconds; a timer is otherwise up to 50 microseconds late */
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 128)) fail("listen");
    for (int i = 0; i < CONNECTIONS; i++) flows[i][0].from = flows[i][1].from = -1;
    struct pollfd set[1 + 2 * CONNECTIONS];
    for (;;) {
        set[0] = (struct pollfd){.fd = listener, .events = POLLIN};
        for (int i = 0; i < used; i++)
            for (int k = 0; k < 2; k++) {
                struct flow *in = &flows[i][k], *out = &flows[i][1 - k]; /* they meet in one socket, in->from */
                short events = (!in->ended && in->waiting < MOST ? POLLIN : 0) | (out->blocked ? POLLOUT : 0);
                set[1 + 2 * i + k] = (struct pollfd){.fd = events ? in->from : -1, .events = events};
            }
        await(set, 1 + 2 * used);
        for (int i = 0; i < used; i++) {
            int stands = flows[i][0].from >= 0;
            if (!stands) continue;
            for (int k = 0; k < 2; k++) {
                short seen = set[1 + 2 * i + k].revents;
                if (seen & (POLLOUT | POLLERR)) flows[i][1 - k].blocked = 0;
                if (seen & (POLLIN | POLLHUP | POLLERR) && !flows[i][k].ended) stands = stands && receive(&flows[i][k]);
            }
            double time = now();
            stands = stands && deliver(&flows[i][0], time) && deliver(&flows[i][1], time);
            if (!stands || (flows[i][0].finished && flows[i][1].finished)) end(flows[i]);
        }
        if (set[0].revents) {
            int client = accept(listener, NULL, NULL);
            if (client >= 0) begin(client, &target);
        }
    }
}
