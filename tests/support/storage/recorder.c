/* Preloaded into a process: writes into a journal what it asks the system to do with LMDB's file, in order.
 *
 * LMDB writes with these calls only, unless it is told to write through its memory map, which is reported too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

struct head { char kind; char synced; int64_t offset, size; } __attribute__((packed));

static int is_database(int file)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path);
    return size > 9 && !memcmp(path + size - 9, "/data.mdb", 9);
}

static void note(char kind, int file, int64_t offset, const struct iovec *parts, int count)
{
    static ssize_t (*put)(int, const struct iovec *, int);
    const char *journal = getenv("POWER_JOURNAL");
    struct iovec all[1025];
    struct head head = {kind, 0, offset, 0};
    if (!journal || !is_database(file) || count > 1024)
        return;
    if (!put)
        put = dlsym(RTLD_NEXT, "writev");
    head.synced = (fcntl(file, F_GETFL) & O_DSYNC) != 0; /* as is the descriptor of the meta pages */
    all[0] = (struct iovec){&head, sizeof head};
    for (int i = 0; i < count; i++) {
        all[i + 1] = parts[i];
        head.size += parts[i].iov_len;
    }
    if (put(atoi(journal), all, count + 1) != (ssize_t)(sizeof head + head.size))
        abort();
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, name)

ssize_t pwrite(int file, const void *from, size_t size, off_t offset)
{
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    note('W', file, offset, &(struct iovec){(void *)from, size}, 1);
    return real(file, from, size, offset);
}

ssize_t write(int file, const void *from, size_t size)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    note('W', file, lseek(file, 0, SEEK_CUR), &(struct iovec){(void *)from, size}, 1);
    return real(file, from, size);
}

ssize_t writev(int file, const struct iovec *parts, int count)
{
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    note('W', file, lseek(file, 0, SEEK_CUR), parts, count);
    return real(file, parts, count);
}

int ftruncate(int file, off_t size)
{
    REAL(int, "ftruncate", int, off_t);
    note('T', file, size, 0, 0);
    return real(file, size);
}

int fdatasync(int file)
{
    REAL(int, "fdatasync", int);
    int failed = real(file);
    note('S', file, 0, 0, 0);
    return failed;
}

int fsync(int file)
{
    REAL(int, "fsync", int);
    int failed = real(file);
    note('S', file, 0, 0, 0);
    return failed;
}

void *mmap(void *at, size_t size, int protection, int flags, int file, off_t offset)
{
    REAL(void *, "mmap", void *, size_t, int, int, int, off_t);
    if (file >= 0 && protection & PROT_WRITE && flags & MAP_SHARED)
        note('X', file, offset, 0, 0);
    return real(at, size, protection, flags, file, offset);
}
