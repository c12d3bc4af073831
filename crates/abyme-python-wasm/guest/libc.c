// Functions that zig's headers for WASI declare and its libc does not have. They find nothing: there is no
// network.
#include <netdb.h>
#include <stddef.h>

static int last_error;
int *__h_errno_location(void) { return &last_error; }

static void *nothing(void) {
    last_error = 1;  // HOST_NOT_FOUND
    return NULL;
}

struct hostent *gethostbyname(const char *name) { (void)name; return nothing(); }
struct hostent *gethostbyaddr(const void *address, socklen_t size, int kind) {
    (void)address, (void)size, (void)kind;
    return nothing();
}
struct servent *getservbyname(const char *name, const char *protocol) {
    (void)name, (void)protocol;
    return nothing();
}
struct servent *getservbyport(int port, const char *protocol) {
    (void)port, (void)protocol;
    return nothing();
}
struct protoent *getprotobyname(const char *name) { (void)name; return nothing(); }
const char *hstrerror(int code) { (void)code; return "there is no network"; }
