/* Preloaded into a process: logs what it does to the files below POWER_CUT_ROOT, in order, to POWER_CUT_LOG.
 *
 * A line per operation; "write" and "note" are followed by their data. What is written to the file
 * POWER_CUT_NOTES is a note: the test marks other events with it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *notes;
static FILE *journal;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void start(void) {
    root = getenv("POWER_CUT_ROOT");
    notes = getenv("POWER_CUT_NOTES");
    const char *path = getenv("POWER_CUT_LOG");
    if (root && notes && path) journal = fopen(path, "ae");
}

static int is_below_root(const char *path) {
    size_t length = root ? strlen(root) : 0;
    return journal && !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

/* The absolute path of a name; of a descriptor if the name is null. */
static const char *resolve(int folder, const char *name, char *path) {
    char base[PATH_MAX] = "", link[64];
    if (name && name[0] == '/') return strcpy(path, name);
    if (name && folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) return strcpy(path, "");
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length < 0) return strcpy(path, "");
        base[length] = 0;
    }
    if (!name) return strcpy(path, base);
    snprintf(path, PATH_MAX, "%.2000s/%.2000s", base, name);
    return path;
}

static void record(const void *data, size_t length, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(journal, format, arguments);
    va_end(arguments);
    fputc('\n', journal);
    if (length) fwrite(data, 1, length, journal);
    fflush(journal);
}

static unsigned long inode_of(const char *path) {
    struct stat status;
    return fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) ? 0 : status.st_ino;
}

static unsigned long inode_of_descriptor(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) ? 0 : status.st_ino;
}

static int opened(int folder, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    resolve(folder, name, path);
    int (*real)(int, const char *, int, ...) = REAL(openat);
    if (!is_below_root(path)) return real(folder, name, flags, mode);
    pthread_mutex_lock(&lock);
    int existed = inode_of(path) != 0;
    int descriptor = real(folder, name, flags, mode);
    if (descriptor >= 0 && !existed && flags & O_CREAT)
        record(NULL, 0, "create %lu %s", inode_of_descriptor(descriptor), path);
    else if (descriptor >= 0 && flags & O_TRUNC)
        record(NULL, 0, "truncate %lu 0", inode_of_descriptor(descriptor));
    pthread_mutex_unlock(&lock);
    return descriptor;
}

#define MODE(flags, mode) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); }

int open(const char *name, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, name, flags, mode); }
int openat(int at, const char *name, int flags, ...) { MODE(flags, mode) return opened(at, name, flags, mode); }
int openat64(int at, const char *name, int flags, ...) { MODE(flags, mode) return opened(at, name, flags, mode); }
int creat(const char *name, mode_t mode) { return opened(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *name, mode_t mode) { return opened(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }

static off_t position_of(int descriptor) {
    struct stat status;
    if (fcntl(descriptor, F_GETFL) & O_APPEND) return fstat(descriptor, &status) ? 0 : status.st_size;
    return lseek(descriptor, 0, SEEK_CUR);
}

static ssize_t written(int descriptor, const void *data, size_t length, off_t at) {
    char path[PATH_MAX];
    ssize_t (*real)(int, const void *, size_t) = REAL(write);
    ssize_t (*real_at)(int, const void *, size_t, off_t) = REAL(pwrite);
    if (!journal || descriptor == fileno(journal)) return at < 0 ? real(descriptor, data, length) : real_at(descriptor, data, length, at);
    resolve(descriptor, NULL, path);
    int is_note = !strcmp(path, notes);
    if (!is_note && !is_below_root(path)) return at < 0 ? real(descriptor, data, length) : real_at(descriptor, data, length, at);
    pthread_mutex_lock(&lock);
    off_t start = at < 0 ? position_of(descriptor) : at;
    ssize_t count = at < 0 ? real(descriptor, data, length) : real_at(descriptor, data, length, at);
    if (count > 0 && is_note) record(data, count, "note %zd", count);
    else if (count > 0) record(data, count, "write %lu %lld %zd", inode_of_descriptor(descriptor), (long long)start, count);
    pthread_mutex_unlock(&lock);
    return count;
}

ssize_t write(int descriptor, const void *data, size_t length) { return written(descriptor, data, length, -1); }
ssize_t pwrite(int descriptor, const void *data, size_t length, off_t at) { return written(descriptor, data, length, at); }
ssize_t pwrite64(int descriptor, const void *data, size_t length, off_t at) { return written(descriptor, data, length, at); }
ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        ssize_t length = write(descriptor, parts[i].iov_base, parts[i].iov_len);
        if (length < 0) return total ? total : length;
        total += length;
        if ((size_t)length < parts[i].iov_len) break;
    }
    return total;
}

/* Runs a call and logs it if it succeeded and its path is below the root. */
#define LOGGED(call, path, ...) \
    if (!is_below_root(path)) return call; \
    pthread_mutex_lock(&lock); \
    int result = call; \
    if (!result) record(NULL, 0, __VA_ARGS__); \
    pthread_mutex_unlock(&lock); \
    return result;

int ftruncate(int descriptor, off_t length) {
    char path[PATH_MAX];
    resolve(descriptor, NULL, path);
    LOGGED(REAL(ftruncate)(descriptor, length), path, "truncate %lu %lld", inode_of_descriptor(descriptor), (long long)length)
}
int ftruncate64(int descriptor, off_t length) { return ftruncate(descriptor, length); }

int fsync(int descriptor) {
    char path[PATH_MAX];
    resolve(descriptor, NULL, path);
    LOGGED(REAL(fsync)(descriptor), path, "sync %lu", inode_of_descriptor(descriptor))
}
int fdatasync(int descriptor) { return fsync(descriptor); }

int mkdirat(int at, const char *name, mode_t mode) {
    char path[PATH_MAX];
    resolve(at, name, path);
    LOGGED(REAL(mkdirat)(at, name, mode), path, "mkdir %lu %s", inode_of(path), path)
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    char path[PATH_MAX];
    resolve(to_at, to, path);
    LOGGED(REAL(linkat)(from_at, from, to_at, to, flags), path, "link %lu %s", inode_of(path), path)
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int at, const char *name, int flags) {
    char path[PATH_MAX];
    resolve(at, name, path);
    LOGGED(REAL(unlinkat)(at, name, flags), path, "unlink %s", path)
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int remove(const char *name) { return unlink(name); }

int renameat(int from_at, const char *from, int to_at, const char *to) {
    char path[PATH_MAX], source[PATH_MAX];
    resolve(from_at, from, source);
    resolve(to_at, to, path);
    LOGGED(REAL(renameat)(from_at, from, to_at, to), path, "rename %s %s", source, path)
}
int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }
