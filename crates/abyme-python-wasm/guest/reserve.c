// A reserve of memory, for the work that is left to do when the rest is full.
//
// Without it a cell that fills the memory leaves nothing to raise its MemoryError with (CPython 3.13 then
// looks for a handler for ever, because the record of its position takes an allocation), to report the error,
// or to run `del` in the next cell.
#include "abyme.h"
#include <stdbool.h>
#include <stdlib.h>

// zig's malloc takes pages of 64 KiB, one for small objects of each size, and never splits or joins larger
// blocks. So the reserve is a number of such pages.
#define BLOCKS 32
#define BLOCK (60 << 10)

// Volatile, because a compiler may leave out memory that is never used.
static void *volatile reserve[BLOCKS];

static void give_back(void *volatile blocks[BLOCKS]) {
    for (int at = 0; at < BLOCKS; at++) {
        free(blocks[at]);
        blocks[at] = NULL;
    }
}

// Takes all blocks or none.
static bool take(void *volatile blocks[BLOCKS]) {
    for (int at = 0; at < BLOCKS; at++) {
        blocks[at] = malloc(BLOCK);
        if (blocks[at] == NULL) {
            give_back(blocks);
            return false;
        }
    }
    return true;
}

// Called when a cell begins: takes the reserve again if it was given up.
void abyme_restock_reserve(void) {
    if (reserve[0] != NULL) return;
    // Taking the reserve must leave as much free, or a full memory would stay full.
    void *volatile room[BLOCKS] = {NULL};
    if (take(room)) {
        take(reserve);
        give_back(room);
    }
}

// Gives the reserve up if an allocation failed.
static void *checked(void *block) {
    if (block == NULL) give_back(reserve);
    return block;
}

static void *reserve_malloc(void *context, size_t size) { return checked(malloc(size ? size : 1)); }

static void *reserve_calloc(void *context, size_t count, size_t size) {
    return checked(count && size ? calloc(count, size) : calloc(1, 1));
}

static void *reserve_realloc(void *context, void *block, size_t size) {
    return checked(realloc(block, size ? size : 1));
}

static void reserve_free(void *context, void *block) { free(block); }

// Called before CPython starts: its allocations, plain malloc in this build, give the reserve up when they
// fail.
void abyme_use_reserve(void) {
    PyMemAllocatorEx allocator = {NULL, reserve_malloc, reserve_calloc, reserve_realloc, reserve_free};
    PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &allocator);
    PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &allocator);
    PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &allocator);
}
