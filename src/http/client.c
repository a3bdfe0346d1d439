// SPDX-License-Identifier: Apache-2.0
// libcurl says which sockets it waits on (on_socket) and when it wants to be called (on_timer);
// both are carried to the worker's loop. A finished or cancelled call leaves the multi handle from
// a deferred job only, never from inside a libcurl callback.
//
// A worker has two multi handles: one pools connections, the other makes one for each call, without
// a limit per host, so that hosts which do not answer delay no other call.
//
// libcurl resolves names on threads of its own; with CURLOPT_QUICK_EXIT it does not wait for one
// that is still asking when its call ends.
//
// Client certificates are read by libcurl when it connects; so that a renewed file takes effect,
// the pool is told to open a fresh connection when a file's stamp has changed (looked at once a
// second).
#include "http/client.h"

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "base/mem.h"
#include "base/time.h"
#include "loop/watch.h"
#include "sys/clock.h"
#include "sys/errors.h"
#include "sys/file.h"
#include "sys/socket.h"

#define CONNECTIONS_MAX 64
#define REDIRECTS_MAX 5
#define SPARE_MAX 32
#define BUFFER_SIZE 16384L
#define BUFFER_SIZE_HEAD 2048L // where no body is wanted
#define NAMES_FRESH_S 30L
#define HEADER_BYTES_MAX 65536
#define STAMP_PERIOD_NS NS_PER_S

struct http_client {
    CURLM *multi;
    struct worker *worker;
    struct timer timer;
    struct job reap;
    struct list calls;
    CURL *spare[SPARE_MAX]; // handles for the next calls: making one costs more than the call
    size_t spare_count;
    uint64_t stamps;
    uint64_t stamps_at_ns;
    bool fresh_connect;
};

struct socket_watch {
    struct watch watch;
    struct http_client *client;
    curl_socket_t fd;
};

struct http_call {
    struct list node;
    struct http_client *client;
    CURL *easy;
    struct curl_slist *headers;
    struct curl_slist *connect_to;
    struct buf body;
    struct buf answer;
    struct buf answer_headers;
    http_call_fn *done;
    void (*chunk)(void *arg, struct slice bytes);
    void *arg;
    bool keep_headers;
    bool too_large;
    bool head_only;
    bool cut_body;
    bool follow_redirects;
    bool location;   // of the head being read
    bool had_enough; // the transfer was ended by us, with what was wanted
    uint64_t started_ns;
    uint64_t connected_ns; // when TLS began; 0: it did not
    uint64_t tls_not_after_s;
    const char *tls_problem; // OpenSSL's static text; counts only when the call failed
    char error[CURL_ERROR_SIZE];
};

// libcurl brings GnuTLS along, for a protocol that no call of ours may speak. It would set itself
// up as the process begins, for 0.8 MiB and some milliseconds, unless the program exports this (a
// hook of GnuTLS; src/CMakeLists.txt exports it).
int _gnutls_global_init_skip(void);
int _gnutls_global_init_skip(void)
{
    return 1;
}

enum weir_result http_client_global_init(void)
{
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? WEIR_OK : WEIR_MEMORY;
}

void http_client_global_fini(void)
{
    curl_global_cleanup();
}

static CURL *take_easy(struct http_client *client)
{
    return client->spare_count > 0 ? client->spare[--client->spare_count] : curl_easy_init();
}

static void give_easy(struct http_client *client, CURL *easy)
{
    curl_multi_remove_handle(client->multi, easy);
    if (client->spare_count == SPARE_MAX) {
        curl_easy_cleanup(easy);
        return;
    }
    curl_easy_reset(easy);
    client->spare[client->spare_count++] = easy;
}

static void call_free(struct http_call *call)
{
    list_remove(&call->node);
    if (call->easy != NULL) {
        give_easy(call->client, call->easy);
    }
    curl_slist_free_all(call->headers);
    curl_slist_free_all(call->connect_to);
    buf_reset(&call->body);
    buf_reset(&call->answer);
    buf_reset(&call->answer_headers);
    mem_free(call);
}

// ---- Outcomes

static size_t split_headers(
    struct slice text, struct http_call_header headers[HTTP_CALL_HEADERS_MAX])
{
    size_t count = 0;
    struct slice line;
    while (count < HTTP_CALL_HEADERS_MAX && slice_split(&text, '\n', &line)) {
        ptrdiff_t colon = slice_find(line, ':');
        if (slice_starts_with_nocase(line, SLICE("HTTP/"))) {
            count = 0; // the head of an interim answer ends here
        } else if (colon > 0) {
            char *name = (char *)(uintptr_t)line.at; // our own buffer
            for (ptrdiff_t i = 0; i < colon; i++) {
                name[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
            }
            headers[count].name = slice_of(line.at, (size_t)colon);
            headers[count++].value = slice_trim(slice_skip(line, (size_t)colon + 1));
        }
    }
    return count;
}

static enum http_call_outcome outcome_of(const struct http_call *call, CURLcode code)
{
    if (call->had_enough) {
        return HTTP_CALL_ANSWERED;
    }
    if (call->too_large || code == CURLE_FILESIZE_EXCEEDED) {
        return HTTP_CALL_TOO_LARGE;
    }
    if (code == CURLE_OPERATION_TIMEDOUT) {
        return HTTP_CALL_TIMEOUT;
    }
    return code == CURLE_OK ? HTTP_CALL_ANSWERED : HTTP_CALL_FAILED;
}

static enum weir_result failure_of(CURL *easy, CURLcode code)
{
    long error = 0;
    // Only what happens on the wire is told apart; the rest is ours.
    switch ((int)code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return WEIR_NOT_FOUND;
    case CURLE_COULDNT_CONNECT:
        curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &error);
        return error == 0 ? WEIR_UNREACHABLE : sys_result_of_errno((int)error);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
        return WEIR_CRYPTO;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
        return WEIR_RESET;
    case CURLE_GOT_NOTHING:
        return WEIR_CLOSED;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_BAD_CONTENT_ENCODING:
        return WEIR_PROTOCOL;
    case CURLE_OUT_OF_MEMORY:
        return WEIR_MEMORY;
    default:
        return WEIR_IO;
    }
}

static void read_timing(const struct http_call *call, struct http_call_timing *timing)
{
    CURL *easy = call->easy;
    curl_easy_getinfo(easy, CURLINFO_NAMELOOKUP_TIME, &timing->name);
    curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME, &timing->connect);
    curl_easy_getinfo(easy, CURLINFO_APPCONNECT_TIME, &timing->tls);
    curl_easy_getinfo(easy, CURLINFO_STARTTRANSFER_TIME, &timing->first_byte);
    // libcurl sets it only when TLS is through as well.
    if (timing->connect <= 0 && call->connected_ns != 0) {
        timing->connect = (double)(call->connected_ns - call->started_ns) / (double)NS_PER_S;
    }
}

static void finish(struct http_call *call, CURLcode code)
{
    struct http_call_header headers[HTTP_CALL_HEADERS_MAX];
    struct http_call_result result = {
        .outcome = outcome_of(call, code),
        .body = buf_slice(&call->answer),
        .error = call->error[0] != '\0' ? call->error : curl_easy_strerror(code),
        .headers = headers,
        .tls_not_after_s = call->tls_not_after_s,
    };
    long status = 0;
    if (result.outcome == HTTP_CALL_FAILED) {
        result.failure = failure_of(call->easy, code);
        result.tls_problem = call->tls_problem;
    }
    read_timing(call, &result.timing);
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(call->easy, CURLINFO_TOTAL_TIME, &result.seconds);
    result.status = (unsigned)status;
    if (call->keep_headers) {
        result.header_count = split_headers(buf_slice(&call->answer_headers), headers);
    }
    call->done(call->arg, &result);
    call_free(call);
}

static void on_reap(struct worker *worker, struct job *job)
{
    struct http_client *client = container_of(job, struct http_client, reap);
    (void)worker;
    int left;
    for (CURLMsg *message = curl_multi_info_read(client->multi, &left); message != NULL;
         message = curl_multi_info_read(client->multi, &left)) {
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        struct http_call *call;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        finish(call, message->data.result);
    }
}

static void drive(struct http_client *client, curl_socket_t fd, int events)
{
    int running;
    curl_multi_socket_action(client->multi, fd, events, &running);
    if (!list_linked(&client->reap.node)) {
        worker_defer(client->worker, &client->reap, on_reap);
    }
}

// ---- libcurl's wishes

static void on_ready(struct watch *watch, unsigned events)
{
    struct socket_watch *socket = container_of(watch, struct socket_watch, watch);
    int flags = 0;
    flags |= (events & WATCH_READ) != 0 ? CURL_CSELECT_IN : 0;
    flags |= (events & WATCH_WRITE) != 0 ? CURL_CSELECT_OUT : 0;
    drive(socket->client, socket->fd, flags);
}

static void on_watch_closed(struct watch *watch)
{
    mem_free(container_of(watch, struct socket_watch, watch));
}

static struct socket_watch *new_watch(struct http_client *client, curl_socket_t fd)
{
    struct socket_watch *socket = mem_zalloc(sizeof *socket);
    if (socket == NULL) {
        return NULL;
    }
    socket->client = client;
    socket->fd = fd;
    if (watch_open(client->worker, &socket->watch, fd, on_ready) != WEIR_OK) {
        mem_free(socket);
        return NULL;
    }
    curl_multi_assign(client->multi, fd, socket);
    return socket;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned)
{
    struct http_client *client = arg;
    struct socket_watch *socket = assigned;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (socket != NULL) {
            curl_multi_assign(client->multi, fd, NULL);
            watch_close(&socket->watch, on_watch_closed);
        }
        return 0;
    }
    if (socket == NULL) {
        socket = new_watch(client, fd);
    }
    if (socket == NULL) {
        return 0; // without a watch the call runs into its deadline
    }
    unsigned events = 0;
    events |= (what & CURL_POLL_IN) != 0 ? (unsigned)WATCH_READ : 0;
    events |= (what & CURL_POLL_OUT) != 0 ? (unsigned)WATCH_WRITE : 0;
    watch_want(&socket->watch, events);
    return 0;
}

static void on_timeout(struct timer *timer)
{
    drive(container_of(timer, struct http_client, timer), CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct http_client *client = arg;
    (void)multi;
    if (timeout_ms < 0) {
        timer_cancel(&client->timer);
    } else {
        uint64_t delay_ns = time_from_ms((uint64_t)timeout_ms);
        // "At once" must not wait for the wheel's next tick.
        worker_arm(client->worker, &client->timer,
            timeout_ms == 0 ? 0 : worker_now(client->worker) + delay_ns);
    }
    return 0;
}

static bool is_fine(const struct http_call *call)
{
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    return status == 200;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    if (call->chunk != NULL && is_fine(call)) {
        call->chunk(call->arg, slice_of(bytes, size * count));
        return size * count;
    }
    size_t room = call->answer.len_max - call->answer.len;
    if (call->cut_body && size * count > room) {
        call->had_enough = buf_append(&call->answer, bytes, room) == WEIR_OK;
        return 0;
    }
    enum weir_result result = buf_append(&call->answer, bytes, size * count);
    call->too_large = result == WEIR_FULL;
    return result == WEIR_OK ? size * count : 0;
}

// The empty line behind the head of the answer that counts: not an interim one, nor one that sends
// the client elsewhere.
static bool is_final_end(struct http_call *call, struct slice line)
{
    long status = 0;
    if (slice_starts_with_nocase(line, SLICE("HTTP/"))) {
        call->location = false;
    } else if (slice_starts_with_nocase(line, SLICE("location:"))) {
        call->location = true;
    }
    if (slice_trim(line).len > 0) {
        return false;
    }
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    bool elsewhere = call->follow_redirects && call->location && status >= 300 && status < 400;
    return status >= 200 && !elsewhere;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    if (call->head_only && is_final_end(call, slice_of(bytes, size * count))) {
        call->had_enough = true;
        return 0;
    }
    if (!call->keep_headers) {
        return size * count;
    }
    enum weir_result result = buf_append(&call->answer_headers, bytes, size * count);
    call->too_large = result == WEIR_FULL;
    return result == WEIR_OK ? size * count : 0;
}

// ---- The clients of a worker

static struct http_client *client_of(struct worker *worker, enum worker_room room)
{
    struct http_client *client = worker->rooms[room];
    long host_max = room == ROOM_HTTP_ONCE ? 0 : (long)CONNECTIONS_MAX; // 0: no limit
    if (client != NULL) {
        return client;
    }
    client = mem_zalloc(sizeof *client);
    if (client == NULL) {
        return NULL;
    }
    client->multi = curl_multi_init();
    if (client->multi == NULL) {
        mem_free(client);
        return NULL;
    }
    client->worker = worker;
    timer_init(&client->timer, on_timeout);
    list_init(&client->reap.node);
    list_init(&client->calls);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX);
    curl_multi_setopt(client->multi, CURLMOPT_MAX_HOST_CONNECTIONS, host_max);
    worker->rooms[room] = client;
    return client;
}

static void client_fini(struct worker *worker, enum worker_room room)
{
    struct http_client *client = worker->rooms[room];
    if (client == NULL) {
        return;
    }
    list_for_each_safe (node, &client->calls) {
        call_free(container_of(node, struct http_call, node));
    }
    while (client->spare_count > 0) {
        curl_easy_cleanup(client->spare[--client->spare_count]);
    }
    curl_multi_cleanup(client->multi);
    timer_cancel(&client->timer);
    list_remove(&client->reap.node);
    worker->rooms[room] = NULL;
    mem_free(client);
}

void http_client_fini(struct worker *worker)
{
    client_fini(worker, ROOM_HTTP_CLIENT);
    client_fini(worker, ROOM_HTTP_ONCE);
}

static uint64_t stamp_of(const char *path)
{
    return path == NULL ? 0 : sys_file_stamp(path);
}

static bool files_changed(struct http_client *client, const struct http_tls_profile *tls)
{
    uint64_t now_ns = worker_now(client->worker);
    if (client->stamps_at_ns != 0 && now_ns < client->stamps_at_ns + STAMP_PERIOD_NS) {
        return false;
    }
    uint64_t stamps = stamp_of(tls->ca_path) * 961 + stamp_of(tls->certificate_path) * 31 +
                      stamp_of(tls->key_path);
    bool changed = client->stamps_at_ns != 0 && stamps != client->stamps;
    client->stamps = stamps;
    client->stamps_at_ns = now_ns;
    return changed;
}

// ---- Calls

static bool set_headers(struct http_call *call, const char *const *headers)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    for (; list != NULL && headers != NULL && *headers != NULL; headers++) {
        struct curl_slist *longer = curl_slist_append(list, *headers);
        if (longer == NULL) {
            curl_slist_free_all(list);
            return false;
        }
        list = longer;
    }
    call->headers = list;
    return list != NULL;
}

static bool set_connect_to(struct http_call *call, const char *place)
{
    char entry[512];
    int len = snprintf(entry, sizeof entry, "::%s", place); // whatever the URL says
    if (len < 0 || (size_t)len >= sizeof entry) {
        return false;
    }
    call->connect_to = curl_slist_append(NULL, entry);
    return call->connect_to != NULL &&
           curl_easy_setopt(call->easy, CURLOPT_CONNECT_TO, call->connect_to) == CURLE_OK;
}

// Judges as OpenSSL does, and remembers what it saw.
static int on_certificate(X509_STORE_CTX *store, void *arg)
{
    struct http_call *call = arg;
    int ok = X509_verify_cert(store);
    const X509 *leaf = X509_STORE_CTX_get0_cert(store);
    struct tm end;
    if (leaf != NULL && ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &end) == 1) {
        time_t seconds = timegm(&end);
        call->tls_not_after_s = seconds < 0 ? 0 : (uint64_t)seconds;
    }
    if (ok <= 0) {
        call->tls_problem = X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
    }
    return ok;
}

static CURLcode on_tls_context(CURL *easy, void *context, void *arg)
{
    struct http_call *call = arg;
    (void)easy;
    call->connected_ns = sys_now_ns();
    SSL_CTX_set_cert_verify_callback(context, on_certificate, call);
    return CURLE_OK;
}

// libcurl would leave its sockets open in programs that we start.
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)arg;
    (void)purpose;
    int fd;
    enum weir_result result =
        sys_socket(address->family, address->socktype, address->protocol, &fd);
    return result == WEIR_OK ? fd : CURL_SOCKET_BAD;
}

// Connections that serve one call.
static void set_once(struct http_call *call)
{
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, NAMES_FRESH_S);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); // with it, nothing is kept of the bundle
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls_context);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, call);
}

static void set_redirects(CURL *easy, const char *url)
{
    bool tls = slice_starts_with_nocase(slice_str(url), SLICE("https:"));
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, tls ? "https" : "http,https");
}

static void set_tls(CURL *easy, struct http_client *client, const struct http_tls_profile *tls)
{
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, tls->verify ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, tls->verify ? 2L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (tls->ca_path != NULL) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, tls->ca_path);
    }
    if (tls->certificate_path != NULL) {
        curl_easy_setopt(easy, CURLOPT_SSLCERT, tls->certificate_path);
        curl_easy_setopt(easy, CURLOPT_SSLKEY, tls->key_path);
        if (tls->key_passphrase != NULL) {
            curl_easy_setopt(easy, CURLOPT_KEYPASSWD, tls->key_passphrase);
        }
    }
    if (files_changed(client, tls)) {
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    }
}

static void set_body(struct http_call *call, const char *method, bool once)
{
    CURL *easy = call->easy;
    struct slice body = buf_slice(&call->body);
    if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return;
    }
    if (strcmp(method, "GET") == 0 && (body.len == 0 || !once)) {
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
        return;
    }
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.at);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
}

static bool set_up(struct http_call *call, const struct http_call_options *options)
{
    CURL *easy = call->easy;
    if (curl_easy_setopt(easy, CURLOPT_URL, options->url) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK ||
        !set_headers(call, options->headers) ||
        (options->connect_to != NULL && !set_connect_to(call, options->connect_to)) ||
        (options->unix_path != NULL &&
            curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, options->unix_path) != CURLE_OK)) {
        return false;
    }
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(options->timeout_ns / NS_PER_MS));
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(options->timeout_ns / NS_PER_MS));
    if (!options->cut_body && !options->head_only && options->chunk == NULL) {
        curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)options->response_max);
    }
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, options->head_only ? BUFFER_SIZE_HEAD : BUFFER_SIZE);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 16384L);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    set_body(call, options->method, options->once);
    if (options->once) {
        set_once(call);
    }
    if (options->follow_redirects) {
        set_redirects(easy, options->url);
    }
    if (options->tls != NULL) {
        set_tls(easy, call->client, options->tls);
    }
    return true;
}

struct http_call *http_call_start(
    struct worker *worker, const struct http_call_options *options, http_call_fn *done, void *arg)
{
    struct http_client *client =
        client_of(worker, options->once ? ROOM_HTTP_ONCE : ROOM_HTTP_CLIENT);
    struct http_call *call = client == NULL ? NULL : mem_zalloc(sizeof *call);
    if (call == NULL) {
        return NULL;
    }
    list_init(&call->node);
    call->client = client;
    call->done = done;
    call->chunk = options->chunk;
    call->arg = arg;
    call->keep_headers = options->keep_headers;
    call->started_ns = sys_now_ns();
    call->head_only = options->head_only;
    call->cut_body = options->cut_body;
    call->follow_redirects = options->follow_redirects;
    buf_init(&call->body, options->body.len);
    buf_init(&call->answer, options->response_max);
    buf_init(&call->answer_headers, HEADER_BYTES_MAX);
    call->easy = take_easy(client);
    if (call->easy == NULL || buf_append_slice(&call->body, options->body) != WEIR_OK ||
        !set_up(call, options) || curl_multi_add_handle(client->multi, call->easy) != CURLM_OK) {
        call_free(call);
        return NULL;
    }
    list_push_back(&client->calls, &call->node);
    return call;
}

void http_call_cancel(struct http_call *call)
{
    if (call != NULL) {
        call_free(call);
    }
}
